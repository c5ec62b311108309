//! Extensions of a certificate that only some of its readers ask for.

use super::Certificate;
use super::frame::Element;

const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
/// extendedKeyUsage (RFC 5280 §4.2.1.12).
pub(crate) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;

/// id-kp-OCSPSigning, 1.3.6.1.5.5.7.3.9, as DER content.
const OCSP_SIGNING: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 9];

impl Certificate {
    /// Whether `now` lies inside its dates.
    pub fn is_valid_at(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Its serial number without the byte DER puts before a high bit.
    pub fn short_serial(&self) -> &[u8] {
        self.serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(&self.serial)
    }

    /// Whether it may sign data: digitalSignature, or no key usage at all.
    pub(crate) fn may_sign_data(&self) -> bool {
        let Some(value) = self.extension(KEY_USAGE) else { return true };
        let content = Element::read(value).and_then(|(element, _)| element.content_of(BIT_STRING));
        // Content: number of unused bits, then the bits, digitalSignature the highest.
        content.and_then(|content| content.get(1)).is_some_and(|bits| bits & 0x80 != 0)
    }

    /// Whether it may sign certificates: a CA whose key usage, if there is any, says so.
    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.is_ca == Some(true) && self.key_usage.is_none_or(|usage| usage.signs_certificates)
    }

    /// How many authorities may stand below it (RFC 5280 §4.2.1.9); `None` without a limit. A value
    /// that does not read allows none.
    pub(crate) fn path_length(&self) -> Option<usize> {
        let value = self.extension(BASIC_CONSTRAINTS)?;
        let Some((whole, _)) = Element::read(value) else { return Some(0) };
        let mut rest = whole.content_of(SEQUENCE).unwrap_or(&[]);
        while let Some((element, after)) = Element::read(rest) {
            if let Some(number) = element.content_of(INTEGER) {
                return Some(match number {
                    [small] => usize::from(*small),
                    _ => 0,
                });
            }
            rest = after;
        }
        None
    }

    /// Whether it was made for signing OCSP answers: its extended key usage says so, it may sign data
    /// and no certificates, and nothing else in it is critical.
    pub(crate) fn is_for_ocsp(&self) -> bool {
        let mut extensions = self.extensions.iter();
        self.is_ca != Some(true)
            && self.may_sign_data()
            && self.names_ocsp_signing()
            && extensions.all(|extension| {
                !extension.critical || extension.understood || extension.oid == EXTENDED_KEY_USAGE
            })
    }

    /// Whether its extended key usage names the signing of OCSP answers.
    pub(crate) fn names_ocsp_signing(&self) -> bool {
        let Some(value) = self.extension(EXTENDED_KEY_USAGE) else { return false };
        let list = Element::read(value).and_then(|(element, _)| element.content_of(SEQUENCE));
        let mut rest = list.unwrap_or(&[]);
        while let Some((element, after)) = Element::read(rest) {
            if element.content_of(OBJECT) == Some(&OCSP_SIGNING) {
                return true;
            }
            rest = after;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_serial_lacks_the_leading_zero_but_is_never_empty() {
        let root = include_bytes!("../tee/snp/roots/ark-milan.der");
        let mut certificate = Certificate::from_der(root).unwrap();
        for (serial, short) in [
            (&[0, 0x80, 1][..], &[0x80, 1][..]),
            (&[0x7f, 0], &[0x7f, 0]),
            (&[0, 0, 1], &[0, 1]),
            (&[0], &[0]),
        ] {
            certificate.serial = serial.to_vec();
            assert_eq!(certificate.short_serial(), short);
        }
    }
}
