//! One simulated processor: a versioned chip key, its certificate, and the reports it signs.

use bulla_attestation::tee::snp::product::ProductLine;
use bulla_attestation::tee::snp::report::REPORT_BYTES;
use bulla_attestation::tee::snp::tcb::Tcb;
use p384::ecdsa::signature::Signer;
use p384::ecdsa::{Signature, SigningKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::authority::{Authority, Validity};
use super::der::{Certificate, Extension, Name, bit_string, integer, object, sequence, tagged};
use super::report::{ReportTemplate, SIGNED_BYTES};

/// Length of a P-384 scalar.
const SCALAR_BYTES: usize = 48;
/// Length of the r and s fields in a report, little-endian, 48 bytes significant.
const SCALAR_FIELD_BYTES: usize = 72;

const OID_EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const OID_P384: &str = "1.3.132.0.34";
const AMD_ARC: &str = "1.3.6.1.4.1.3704.1";

/// Why there is no chip.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChipError {
    /// Stored bytes are not a P-384 scalar.
    #[error("VCEK key does not read (48 bytes expected): delete the folder to make a new chain")]
    Malformed,
}

/// What a VCEK certificate says, before it is signed; every field can be made wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafTemplate {
    /// `SEV-VCEK` or `SEV-VLEK`.
    pub common_name: String,
    /// Common name of the issuer.
    pub issuer: Name,
    /// structVersion: 0, or 1 on Turin.
    pub struct_version: u8,
    /// productName, such as `Genoa`.
    pub product_name: String,
    /// TCB the key is derived for.
    pub tcb: Tcb,
    /// Chip the key lives in.
    pub hardware_id: Option<Vec<u8>>,
    /// Provider the key was given to (VLEK).
    pub provider_id: Option<String>,
    /// Validity.
    pub validity: Validity,
    /// Further extensions.
    pub more_extensions: Vec<Extension>,
}

impl LeafTemplate {
    /// A VCEK certificate that agrees with `report`.
    pub fn for_report(
        line: ProductLine,
        report: &ReportTemplate,
        validity: Validity,
    ) -> LeafTemplate {
        let hardware_id = match line {
            ProductLine::Turin => report.chip_id[..8].to_vec(),
            ProductLine::Milan | ProductLine::Genoa => report.chip_id.to_vec(),
        };
        LeafTemplate {
            common_name: "SEV-VCEK".to_owned(),
            issuer: Authority::ask_name(line),
            struct_version: u8::from(line == ProductLine::Turin),
            product_name: line.amd_name().to_owned(),
            tcb: report.reported_tcb.decode(line),
            hardware_id: Some(hardware_id),
            provider_id: None,
            validity,
            more_extensions: Vec::new(),
        }
    }

    fn certificate(&self, public_point: &[u8]) -> Certificate {
        let algorithm = sequence(&[object(OID_EC_PUBLIC_KEY), object(OID_P384)]);
        Certificate {
            serial: 0,
            issuer: self.issuer.clone(),
            subject: Name(self.common_name.clone()),
            not_before: self.validity.not_before,
            not_after: self.validity.not_after,
            spki: sequence(&[algorithm, bit_string(public_point)]),
            extensions: self.extensions(),
        }
    }

    /// AMD's extensions, in AMD's order and encoding.
    fn extensions(&self) -> Vec<Extension> {
        let ia5 = |text: &str| tagged(0x16, text.as_bytes());
        let number = |value: u8| integer(value.into());
        let Tcb { fmc, bootloader, tee, snp, microcode } = self.tcb;
        let mut parts = vec![
            ("1", number(self.struct_version)),
            ("2", ia5(&self.product_name)),
            ("3.1", number(bootloader)),
            ("3.2", number(tee)),
            ("3.3", number(snp)),
            ("3.5", number(0)),
            ("3.6", number(0)),
            ("3.7", number(0)),
            ("3.8", number(microcode)),
        ];
        match fmc {
            Some(fmc) => parts.push(("3.9", number(fmc))),
            None => parts.push(("3.4", number(0))),
        }
        parts.extend(self.hardware_id.clone().map(|id| ("4", id)));
        parts.extend(self.provider_id.as_deref().map(|id| ("5", ia5(id))));
        let extensions = parts.into_iter().map(|(arc, value)| Extension {
            oid: format!("{AMD_ARC}.{arc}"),
            critical: false,
            value,
        });
        extensions.chain(self.more_extensions.iter().cloned()).collect()
    }
}

/// A simulated processor.
#[derive(Clone)]
pub struct Chip {
    vcek: SigningKey,
    certificate: Vec<u8>,
}

impl Chip {
    /// Makes a key and has `authority` certify it as `leaf` says.
    pub fn generate(authority: &Authority, leaf: &LeafTemplate, rng: &mut impl CryptoRng) -> Chip {
        let vcek = loop {
            let mut scalar = Zeroizing::new([0; SCALAR_BYTES]);
            rng.fill_bytes(&mut scalar[..]);
            // Fails for zero and for values beyond the group order: once in 2^190 draws.
            if let Ok(key) = SigningKey::from_slice(&scalar[..]) {
                break key;
            }
        };
        let mut chip = Chip { vcek, certificate: Vec::new() };
        chip.certificate = chip.certified(authority, leaf, rng);
        chip
    }

    /// Takes up a stored key and certificate.
    pub fn from_stored(scalar: &[u8], certificate: Vec<u8>) -> Result<Chip, ChipError> {
        let vcek = SigningKey::from_slice(scalar).map_err(|_| ChipError::Malformed)?;
        Ok(Chip { vcek, certificate })
    }

    /// Another certificate for the same key.
    pub fn certified(
        &self,
        authority: &Authority,
        leaf: &LeafTemplate,
        rng: &mut impl CryptoRng,
    ) -> Vec<u8> {
        let point = self.vcek.verifying_key().to_sec1_point(false);
        authority.sign_with_ask(&leaf.certificate(point.as_bytes()), rng)
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The key: 48 bytes, big-endian.
    pub fn scalar(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.vcek.to_bytes().to_vec())
    }

    /// A signed report over `report_data`. Deterministic (RFC 6979): the same template gives the
    /// same bytes.
    pub fn report(&self, template: &ReportTemplate, report_data: &[u8; 64]) -> Vec<u8> {
        self.sign(&template.encode(report_data))
    }

    /// A report over any body.
    pub fn sign(&self, body: &[u8; SIGNED_BYTES]) -> Vec<u8> {
        let signature: Signature = self.vcek.sign(body);
        let (r, s) = signature.split_bytes();
        let mut report = body.to_vec();
        report.resize(REPORT_BYTES, 0);
        for (at, scalar) in [(SIGNED_BYTES, r), (SIGNED_BYTES + SCALAR_FIELD_BYTES, s)] {
            for (offset, byte) in scalar.iter().rev().enumerate() {
                report[at + offset] = *byte;
            }
        }
        report
    }
}
