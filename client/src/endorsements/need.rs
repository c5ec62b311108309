//! One endorsement that an appraisal needs, by what it must be about.

use bulla_attestation::endorsement::Certificate;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_attestation::tee::snp::tcb::Tcb;
use data_encoding::HEXLOWER;

/// Longest identifier of a manifest, in bytes (ours; NVIDIA's are near 40).
const MAX_RIM_ID_BYTES: usize = 96;
/// What identifiers of manifests begin with.
const RIM_ID_PREFIXES: [&str; 4] =
    ["NV_GPU_DRIVER_", "NV_GPU_CC_DRIVER_", "NV_GPU_VBIOS_", "NV_SWITCH_BIOS_"];

/// Which of AMD's keys signs a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AmdKey {
    /// The chip's own.
    Vcek,
    /// One AMD gave a cloud provider.
    Vlek,
}

impl AmdKey {
    /// As it stands in addresses of AMD's service.
    pub fn word(self) -> &'static str {
        match self {
            AmdKey::Vcek => "vcek",
            AmdKey::Vlek => "vlek",
        }
    }
}

/// Which of Intel's authorities issued a platform's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PckAuthority {
    /// `Intel SGX PCK Platform CA`: multi-package platforms.
    Platform,
    /// `Intel SGX PCK Processor CA`.
    Processor,
}

impl PckAuthority {
    /// The common name of its certificate.
    pub fn common_name(self) -> &'static str {
        match self {
            PckAuthority::Platform => "Intel SGX PCK Platform CA",
            PckAuthority::Processor => "Intel SGX PCK Processor CA",
        }
    }

    /// As it stands in addresses of Intel's service.
    pub fn word(self) -> &'static str {
        match self {
            PckAuthority::Platform => "platform",
            PckAuthority::Processor => "processor",
        }
    }

    /// The authority with this common name.
    pub fn of_common_name(name: &str) -> Option<PckAuthority> {
        let all = [PckAuthority::Platform, PckAuthority::Processor];
        all.into_iter().find(|authority| authority.common_name() == name)
    }
}

/// The name under which NVIDIA's service has a manifest: letters, digits, dots and underscores,
/// beginning as such names do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RimId(String);

impl RimId {
    /// The identifier, if `text` is one.
    pub fn new(text: &str) -> Option<RimId> {
        let known = RIM_ID_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
        let good = known
            && text.len() <= MAX_RIM_ID_BYTES
            && text.bytes().all(plain)
            && !text.contains("..");
        good.then(|| RimId(text.to_owned()))
    }

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One endorsement that an appraisal needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The certificate of a chip's key at one TCB.
    AmdVcek {
        /// The product line.
        line: ProductLine,
        /// 8 bytes on Turin, 64 elsewhere.
        hardware_id: Vec<u8>,
        /// The TCB the key is derived for.
        tcb: Tcb,
    },
    /// The certificate of a provider's key at one TCB: only the provider has it.
    AmdVlek {
        /// The product line.
        line: ProductLine,
        /// The TCB the key is derived for.
        tcb: Tcb,
    },
    /// The intermediate under AMD's root: ASK or ASVK.
    AmdChain {
        /// The product line.
        line: ProductLine,
        /// Above which key.
        key: AmdKey,
    },
    /// What AMD's root has revoked.
    AmdCrl {
        /// The product line.
        line: ProductLine,
        /// Above which key.
        key: AmdKey,
    },
    /// TCB information of a platform, for TDX.
    IntelTcbInfo {
        /// Family, model, stepping, platform and custom SKU.
        fmspc: [u8; 6],
    },
    /// The identity of the TD quoting enclave.
    IntelQeIdentity,
    /// What the authority above platforms' certificates has revoked.
    IntelPckCrl {
        /// The authority.
        authority: PckAuthority,
    },
    /// What Intel's root has revoked.
    IntelRootCrl,
    /// A manifest.
    NvidiaRim {
        /// Its name.
        id: RimId,
    },
    /// Whether NVIDIA has revoked a certificate or put it on hold.
    NvidiaOcsp {
        /// The certificate.
        certificate: Box<Certificate>,
        /// Its issuer's.
        issuer: Box<Certificate>,
    },
}

impl Need {
    /// Common name of AMD's intermediate of a line.
    pub(super) fn amd_intermediate(line: ProductLine, key: AmdKey) -> String {
        match key {
            AmdKey::Vcek => format!("SEV-{}", line.amd_name()),
            AmdKey::Vlek => format!("SEV-VLEK-{}", line.amd_name()),
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let amd = |line: &ProductLine| line.amd_name();
        match self {
            Need::AmdVcek { line, hardware_id, tcb } => {
                let chip = HEXLOWER.encode(hardware_id.get(..8).unwrap_or(hardware_id));
                write!(f, "VCEK of {} chip {chip}… at {tcb}", amd(line))
            }
            Need::AmdVlek { line, tcb } => write!(f, "VLEK for {} at {tcb}", amd(line)),
            Need::AmdChain { line, key } => {
                write!(f, "intermediate above {} {}s", amd(line), key.word().to_uppercase())
            }
            Need::AmdCrl { line, key } => {
                let (line, key) = (amd(line), key.word().to_uppercase());
                write!(f, "revocation list above {line} {key}s")
            }
            Need::IntelTcbInfo { fmspc } => {
                write!(f, "TDX TCB information of FMSPC {}", HEXLOWER.encode(fmspc))
            }
            Need::IntelQeIdentity => f.write_str("identity of the TD quoting enclave"),
            Need::IntelPckCrl { authority } => {
                write!(f, "revocation list of {}", authority.common_name())
            }
            Need::IntelRootCrl => f.write_str("revocation list of Intel SGX Root CA"),
            Need::NvidiaRim { id } => write!(f, "manifest {}", id.as_str()),
            Need::NvidiaOcsp { certificate, .. } => {
                let serial = HEXLOWER
                    .encode(certificate.serial.get(..24).unwrap_or(certificate.serial.as_slice()));
                let name = crate::endorsements::service::plain(&certificate.subject.common_name);
                write!(f, "OCSP answer for {name} (serial {serial})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_identifiers_of_manifests_and_nothing_that_could_be_an_address() {
        for good in [
            "NV_GPU_DRIVER_GH100_550.90.07",
            "NV_GPU_VBIOS_1010_0200_882_96009F0001",
            "NV_SWITCH_BIOS_5612_0002_890_9610550001",
        ] {
            assert_eq!(RimId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "GH100",
            "NV_GPU_DRIVER_../../x",
            "NV_GPU_DRIVER_GH100_550/90",
            "NV_GPU_DRIVER_GH100?x=1",
            "NV_GPU_DRIVER_GH100#x",
            "NV_GPU_DRIVER_GH100 HTTP/1.1\r\n",
            "NV_GPU_DRIVER_%2e%2e",
            "NV_GPU_DRIVER_a",
            "https://evil.example/NV_GPU_DRIVER_GH100",
        ] {
            assert_eq!(RimId::new(bad), None, "{bad:?}");
        }
        assert_eq!(RimId::new(&format!("NV_GPU_DRIVER_{}", "A".repeat(90))), None);
    }
}
