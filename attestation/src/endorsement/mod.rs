//! Endorsements: what a vendor says about a machine. Whoever hands over the evidence hands these
//! over too, in any order, PEM or DER, several in one file; which is which is found by content.
//!
//! Nothing here is believed for being here: a certificate or revocation list counts only once a
//! chain of signatures from it to a pinned root has been checked. What does not parse, or speaks
//! of something else, is left aside and counted.

mod certificate;
mod crl;
mod dates;
mod frame;

pub use certificate::{Certificate, CertificateError, Extension, KeyUsages, Name};
pub use crl::{Crl, Revoked};
pub use dates::rfc3339;

use x509_parser::pem::Pem;

/// Most endorsements one appraisal looks at (ours; a real set has three to six).
pub const MAX_ENDORSEMENTS: usize = 64;
/// Largest single endorsement in bytes (ours; certificates are a few KiB, NVIDIA's RIMs near 1 MiB).
pub const MAX_ENDORSEMENT_BYTES: usize = 4 * 1024 * 1024;

/// Certificates and revocation lists, sorted by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endorsements {
    /// Every certificate that parsed.
    pub certificates: Vec<Certificate>,
    /// Every certificate revocation list that parsed.
    pub crls: Vec<Crl>,
    /// How many pieces were left aside: unreadable, too large, or more than [`MAX_ENDORSEMENTS`].
    pub left_aside: usize,
}

impl Endorsements {
    /// Sorts `blobs`: DER certificates, DER revocation lists, or PEM text with any number of both.
    pub fn sort<'a>(blobs: impl IntoIterator<Item = &'a [u8]>) -> Endorsements {
        let mut sorted = Endorsements::default();
        for blob in blobs {
            if blob.len() > MAX_ENDORSEMENT_BYTES {
                sorted.left_aside += 1;
            } else if is_pem(blob) {
                sorted.add_pem(blob);
            } else {
                sorted.add_der(blob);
            }
        }
        sorted
    }

    fn add_pem(&mut self, text: &[u8]) {
        for block in Pem::iter_from_buffer(text).take(MAX_ENDORSEMENTS) {
            match block {
                Ok(block) => self.add_der(&block.contents),
                Err(_) => {
                    // After a broken block the rest of the text has no reliable beginning.
                    self.left_aside += 1;
                    return;
                }
            }
        }
    }

    fn add_der(&mut self, der: &[u8]) {
        if self.certificates.len() + self.crls.len() >= MAX_ENDORSEMENTS {
            self.left_aside += 1;
        } else if let Ok(certificate) = Certificate::from_der(der) {
            if !self.certificates.contains(&certificate) {
                self.certificates.push(certificate);
            }
        } else if let Ok(crl) = Crl::from_der(der) {
            self.crls.push(crl);
        } else {
            self.left_aside += 1;
        }
    }
}

/// DER certificates begin with SEQUENCE (0x30), which no PEM text does.
fn is_pem(blob: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    blob.first() != Some(&0x30) && blob.windows(BEGIN.len()).any(|window| window == BEGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_rubbish_aside_and_counts_it() {
        let sorted = Endorsements::sort([
            &b"not an endorsement"[..],
            b"",
            b"\x30\x03\x02\x01\x01",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ]);
        assert!(sorted.certificates.is_empty() && sorted.crls.is_empty());
        assert_eq!(sorted.left_aside, 4);
    }

    #[test]
    fn refuses_to_hold_more_than_its_limit() {
        let root = include_bytes!("../tee/snp/roots/ark-milan.der");
        // Changing the last byte changes the signature: another certificate that still parses.
        let many: Vec<Vec<u8>> = (0..MAX_ENDORSEMENTS + 5)
            .map(|n| {
                let mut other = root.to_vec();
                *other.last_mut().unwrap() = n as u8;
                other
            })
            .collect();
        let sorted = Endorsements::sort(many.iter().map(Vec::as_slice));
        assert_eq!((sorted.certificates.len(), sorted.left_aside), (MAX_ENDORSEMENTS, 5));
    }

    #[test]
    fn keeps_a_certificate_given_twice_once() {
        let root = include_bytes!("../tee/snp/roots/ark-milan.der");
        assert_eq!(Endorsements::sort([&root[..], &root[..]]).certificates.len(), 1);
    }
}
