//! The leaf: a VCEK or VLEK certificate and AMD's extensions in it (AMD 57230, *VCEK Certificate
//! and KDS Interface Specification*), all under 1.3.6.1.4.1.3704.1.

use super::product::ProductLine;
use super::report::SigningKey;
use super::tcb::{RawTcb, Tcb};
use crate::endorsement::Certificate;

const PRODUCT_NAME: &str = "1.3.6.1.4.1.3704.1.2";
const BOOTLOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
const SPL_4: &str = "1.3.6.1.4.1.3704.1.3.4";
const SPL_5: &str = "1.3.6.1.4.1.3704.1.3.5";
const SPL_6: &str = "1.3.6.1.4.1.3704.1.3.6";
const SPL_7: &str = "1.3.6.1.4.1.3704.1.3.7";
const MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
const HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";
const PROVIDER_ID: &str = "1.3.6.1.4.1.3704.1.5";

/// Prefix of every extension AMD defines for these certificates.
const AMD_ARC: &str = "1.3.6.1.4.1.3704.1.";

/// What a leaf certificate says of the key's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub certificate: Certificate,
    /// VCEK or VLEK, by the subject's common name.
    pub kind: SigningKey,
    /// The productName extension.
    pub product_name: String,
    /// The TCB the key is derived for, decoded.
    pub tcb: Tcb,
    /// The same as eight bytes in the layout of the product, reserved parts included; `None` when
    /// the product line is unknown.
    pub raw_tcb: Option<RawTcb>,
    /// Chip the key lives in: 8 bytes on Turin, 64 elsewhere; VCEK only.
    pub hardware_id: Option<Vec<u8>>,
    /// Provider the key was given to; VLEK only.
    pub provider_id: Option<String>,
}

impl Leaf {
    /// Reads a leaf; `None` when the certificate is about something else.
    pub fn of(certificate: &Certificate) -> Option<Leaf> {
        let kind = match certificate.subject.common_name.as_str() {
            "SEV-VCEK" => SigningKey::Vcek,
            "SEV-VLEK" => SigningKey::Vlek,
            _ => return None,
        };
        let number = |oid| integer(certificate.extension(oid)?);
        let optional = |oid| match certificate.extension(oid) {
            Some(value) => integer(value),
            None => Some(0),
        };
        let product_name = ia5_string(certificate.extension(PRODUCT_NAME)?)?;
        let line = ProductLine::of_certificate_name(&product_name);
        let tcb = Tcb {
            fmc: match certificate.extension(FMC) {
                Some(value) => Some(integer(value)?),
                None => None,
            },
            bootloader: number(BOOTLOADER)?,
            tee: number(TEE)?,
            snp: number(SNP)?,
            microcode: number(MICROCODE)?,
        };
        let reserved = [optional(SPL_4)?, optional(SPL_5)?, optional(SPL_6)?, optional(SPL_7)?];
        Some(Leaf {
            kind,
            tcb,
            raw_tcb: line.map(|line| with_reserved(tcb, line, reserved)),
            product_name,
            hardware_id: certificate.extension(HARDWARE_ID).map(<[u8]>::to_vec),
            provider_id: certificate.extension(PROVIDER_ID).and_then(ia5_string),
            certificate: certificate.clone(),
        })
    }

    /// The product line its productName speaks of.
    pub fn line(&self) -> Option<ProductLine> {
        ProductLine::of_certificate_name(&self.product_name)
    }

    /// Critical extensions that neither RFC 5280 nor AMD explains to us.
    pub fn unknown_critical(certificate: &Certificate) -> Option<&str> {
        let unknown = certificate.extensions.iter().find(|extension| {
            extension.critical && !extension.understood && !extension.oid.starts_with(AMD_ARC)
        })?;
        Some(&unknown.oid)
    }
}

/// spl4 to spl7 name the reserved bytes of a TCB version in order; Turin's spl4 is in use (SNP),
/// so only the last three remain there.
fn with_reserved(tcb: Tcb, line: ProductLine, reserved: [u8; 4]) -> RawTcb {
    let [spl_4, spl_5, spl_6, spl_7] = reserved;
    let mut raw = tcb.encode(line);
    match line {
        ProductLine::Milan | ProductLine::Genoa => {
            raw.0[2..6].copy_from_slice(&[spl_4, spl_5, spl_6, spl_7]);
        }
        ProductLine::Turin => raw.0[4..7].copy_from_slice(&[spl_5, spl_6, spl_7]),
    }
    raw
}

/// A DER INTEGER from 0 to 255: one byte, or two with a leading zero.
fn integer(der: &[u8]) -> Option<u8> {
    match *der {
        [0x02, 0x01, value] if value < 0x80 => Some(value),
        [0x02, 0x02, 0x00, value] if value >= 0x80 => Some(value),
        _ => None,
    }
}

/// A DER IA5String of up to 127 characters.
fn ia5_string(der: &[u8]) -> Option<String> {
    match der {
        [0x16, length, text @ ..] if usize::from(*length) == text.len() && text.is_ascii() => {
            String::from_utf8(text.to_vec()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_the_shortest_form_of_an_integer() {
        assert_eq!(integer(&[2, 1, 0x7f]), Some(0x7f));
        assert_eq!(integer(&[2, 2, 0, 0xdb]), Some(0xdb));
        for bad in [&[2, 1, 0x80][..], &[2, 2, 0, 0x7f], &[2, 2, 1, 0], &[2, 1], &[]] {
            assert_eq!(integer(bad), None);
        }
    }

    #[test]
    fn refuses_a_string_whose_length_lies() {
        assert_eq!(ia5_string(b"\x16\x05Milan").as_deref(), Some("Milan"));
        assert_eq!(ia5_string(b"\x16\x04Milan"), None);
        assert_eq!(ia5_string(b"\x0c\x05Milan"), None);
    }
}
