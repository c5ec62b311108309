//! The vendors' services: fixed addresses, and the few numbers that are put into them.
//!
//! Sources: AMD 57230, *VCEK Certificate and KDS Interface Specification*, chapter 4; Intel, *API
//! for Provisioning Certification Service for ECDSA Attestation* v4; NVIDIA, *RIM Service* and
//! *OCSP Service* in the attestation documentation.

use bulla_attestation::tee::snp::tcb::Tcb;
use data_encoding::HEXLOWER;

use super::need::Need;
use super::ocsp_request::ocsp_request;

/// A vendor's service. Its host stands here and comes from nowhere else.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// For people.
    pub name: &'static str,
    /// The host; https, port 443.
    pub host: &'static str,
}

const AMD: &Service = &Service { name: "AMD Key Distribution Service", host: "kdsintf.amd.com" };
const INTEL: &Service = &Service {
    name: "Intel Provisioning Certification Service",
    host: "api.trustedservices.intel.com",
};
const INTEL_CERTIFICATES: &Service =
    &Service { name: "Intel certificates", host: "certificates.trustedservices.intel.com" };
const NVIDIA_RIM: &Service =
    &Service { name: "NVIDIA RIM Service", host: "rim.attestation.nvidia.com" };
const NVIDIA_OCSP: &Service =
    &Service { name: "NVIDIA OCSP responder", host: "ocsp.ndis.nvidia.com" };

/// Every service that is ever asked.
pub const SERVICES: [&Service; 5] = [AMD, INTEL, INTEL_CERTIFICATES, NVIDIA_RIM, NVIDIA_OCSP];

/// Largest certificate or chain, in bytes (ours; AMD's chain has 5 KiB).
const MAX_CERTIFICATES_BYTES: usize = 64 << 10;
/// Largest revocation list, in bytes (ours; they grow with what is revoked).
const MAX_CRL_BYTES: usize = 4 << 20;
/// Largest signed JSON of Intel, in bytes (ours; TCB information has 20 KiB).
const MAX_COLLATERAL_BYTES: usize = 1 << 20;
/// Largest manifest in NVIDIA's wrapping, in bytes (ours; near 1 MiB).
const MAX_RIM_BYTES: usize = 4 << 20;
/// Largest OCSP answer, in bytes (ours; NVIDIA's have 1 KiB).
const MAX_OCSP_BYTES: usize = 64 << 10;

/// One request to a vendor's service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whom to ask.
    pub service: &'static Service,
    /// Path and query.
    pub path: String,
    /// What to send; nothing for `GET`.
    pub body: Option<Vec<u8>>,
    /// Largest answer that is read, in bytes.
    pub max_bytes: usize,
    /// The header in which the answer's issuer chain travels, percent-encoded PEM.
    pub chain_header: Option<&'static str>,
}

/// Why no service has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfetchable {
    /// VLEK certificates are given to providers only.
    #[error(
        "a VLEK certificate is handed out by the cloud provider's host, not by AMD: take it from the extended report (SNP_GET_EXT_REPORT) on that machine"
    )]
    Vlek,
    /// A certificate whose issuer has no key an OCSP request can name.
    #[error("no OCSP request can be made about this certificate")]
    Ocsp,
}

impl Request {
    /// The request that brings what is needed.
    pub fn of(need: &Need) -> Result<Request, Unfetchable> {
        let get = |service, path: String, max_bytes| Request {
            service,
            path,
            body: None,
            max_bytes,
            chain_header: None,
        };
        Ok(match need {
            Need::AmdVcek { line, hardware_id, tcb } => {
                let (product, id) = (line.amd_name(), HEXLOWER.encode(hardware_id));
                let path = format!("/vcek/v1/{product}/{id}?{}", tcb_query(tcb));
                get(AMD, path, MAX_CERTIFICATES_BYTES)
            }
            Need::AmdVlek { .. } => return Err(Unfetchable::Vlek),
            Need::AmdChain { line, key } => {
                let path = format!("/{}/v1/{}/cert_chain", key.word(), line.amd_name());
                get(AMD, path, MAX_CERTIFICATES_BYTES)
            }
            Need::AmdCrl { line, key } => {
                let path = format!("/{}/v1/{}/crl", key.word(), line.amd_name());
                get(AMD, path, MAX_CRL_BYTES)
            }
            Need::IntelTcbInfo { fmspc } => Request {
                chain_header: Some("tcb-info-issuer-chain"),
                ..get(INTEL, tcb_info_path(fmspc), MAX_COLLATERAL_BYTES)
            },
            Need::IntelQeIdentity => Request {
                chain_header: Some("sgx-enclave-identity-issuer-chain"),
                ..get(INTEL, "/tdx/certification/v4/qe/identity".to_owned(), MAX_COLLATERAL_BYTES)
            },
            Need::IntelPckCrl { authority } => {
                let path =
                    format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", authority.word());
                let chain_header = Some("sgx-pck-crl-issuer-chain");
                Request { chain_header, ..get(INTEL, path, MAX_CRL_BYTES) }
            }
            Need::IntelRootCrl => {
                get(INTEL_CERTIFICATES, "/IntelSGXRootCA.der".to_owned(), MAX_CRL_BYTES)
            }
            Need::NvidiaRim { id } => {
                get(NVIDIA_RIM, format!("/v1/rim/{}", id.as_str()), MAX_RIM_BYTES)
            }
            Need::NvidiaOcsp { certificate, issuer } => {
                let body = ocsp_request(certificate, issuer).ok_or(Unfetchable::Ocsp)?;
                Request { body: Some(body), ..get(NVIDIA_OCSP, "/".to_owned(), MAX_OCSP_BYTES) }
            }
        })
    }

    /// The whole address.
    pub fn url(&self) -> String {
        format!("https://{}{}", self.service.host, self.path)
    }

    /// `GET` or `POST`.
    pub fn method(&self) -> &'static str {
        if self.body.is_some() { "POST" } else { "GET" }
    }
}

/// Security versions, two decimal digits each; Turin's FMC first.
fn tcb_query(tcb: &Tcb) -> String {
    let Tcb { fmc, bootloader, tee, snp, microcode } = tcb;
    let fmc = fmc.map_or(String::new(), |fmc| format!("fmcSPL={fmc:02}&"));
    format!("{fmc}blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}")
}

fn tcb_info_path(fmspc: &[u8; 6]) -> String {
    format!("/tdx/certification/v4/tcb?fmspc={}", HEXLOWER.encode(fmspc))
}

/// A stranger's name, safe to print.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endorsements::{AmdKey, PckAuthority, RimId};
    use bulla_attestation::tee::snp::product::ProductLine;

    fn url(need: Need) -> String {
        Request::of(&need).unwrap().url()
    }

    fn tcb(fmc: Option<u8>) -> Tcb {
        Tcb { fmc, bootloader: 3, tee: 0, snp: 8, microcode: 115 }
    }

    /// The forms of the vendors' own documents.
    #[test]
    fn addresses_are_those_the_vendors_document() {
        let milan = ProductLine::Milan;
        let vcek = Need::AmdVcek { line: milan, hardware_id: vec![0xab; 64], tcb: tcb(None) };
        assert_eq!(
            url(vcek),
            format!(
                "https://kdsintf.amd.com/vcek/v1/Milan/{}?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115",
                "ab".repeat(64)
            )
        );
        let hardware_id = HEXLOWER.decode(b"6bb1229b7692b710").unwrap();
        let tcb = Tcb { fmc: Some(1), bootloader: 1, tee: 1, snp: 4, microcode: 82 };
        assert_eq!(
            url(Need::AmdVcek { line: ProductLine::Turin, hardware_id, tcb }),
            "https://kdsintf.amd.com/vcek/v1/Turin/6bb1229b7692b710?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=82"
        );
        let (line, key) = (ProductLine::Genoa, AmdKey::Vlek);
        assert_eq!(
            url(Need::AmdChain { line, key }),
            "https://kdsintf.amd.com/vlek/v1/Genoa/cert_chain"
        );
        let key = AmdKey::Vcek;
        assert_eq!(url(Need::AmdCrl { line, key }), "https://kdsintf.amd.com/vcek/v1/Genoa/crl");
        assert_eq!(
            url(Need::IntelTcbInfo { fmspc: [0x50, 0x80, 0x6f, 0, 0, 0] }),
            "https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=50806f000000"
        );
        assert_eq!(
            url(Need::IntelQeIdentity),
            "https://api.trustedservices.intel.com/tdx/certification/v4/qe/identity"
        );
        assert_eq!(
            url(Need::IntelPckCrl { authority: PckAuthority::Platform }),
            "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der"
        );
        assert_eq!(
            url(Need::IntelRootCrl),
            "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
        );
        assert_eq!(
            url(Need::NvidiaRim { id: RimId::new("NV_GPU_DRIVER_GH100_550.90.07").unwrap() }),
            "https://rim.attestation.nvidia.com/v1/rim/NV_GPU_DRIVER_GH100_550.90.07"
        );
    }

    #[test]
    fn a_vlek_is_nobodys_to_fetch() {
        let need = Need::AmdVlek { line: ProductLine::Milan, tcb: tcb(None) };
        assert_eq!(Request::of(&need), Err(Unfetchable::Vlek));
    }
}
