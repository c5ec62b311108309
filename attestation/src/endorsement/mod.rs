//! Endorsements: what a vendor says about a machine. Whoever hands over the evidence hands these
//! over too, in any order, PEM, DER, XML or JSON, several in one file; which is which is found by
//! content.
//!
//! Nothing here is believed for being here: a certificate or revocation list counts only once a
//! chain of signatures from it to a pinned root has been checked. What does not parse, or speaks
//! of something else, is left aside and counted.

mod certificate;
mod crl;
mod dates;
mod extensions;
mod frame;

pub mod intel;
pub mod ocsp;
pub mod path;
pub mod rim;
pub mod xml;

pub use certificate::{Certificate, CertificateError, Extension, KeyUsages, Name};
pub use crl::{Crl, Revoked};
pub use dates::rfc3339;
pub(crate) use extensions::EXTENDED_KEY_USAGE;
pub(crate) use frame::Element;
#[cfg(test)]
pub(crate) use frame::der;

use x509_parser::pem::Pem;

use crate::signature::Memory;
use crate::tee::csv::certificate::HygonCertificate;
use crate::tee::tdx::event_log::{EventLog, MAX_LOGS};

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
    /// Every OCSP answer that parsed.
    pub ocsp_answers: Vec<ocsp::OcspAnswer>,
    /// Every NVIDIA reference integrity manifest that parsed.
    pub rims: Vec<rim::Rim>,
    /// Every TCB info about TDX that parsed.
    pub tcb_infos: Vec<intel::Signed<intel::TcbInfo>>,
    /// Every identity of the TD quoting enclave that parsed.
    pub qe_identities: Vec<intel::Signed<intel::QeIdentity>>,
    /// Every log of a TD's boot that parsed.
    pub event_logs: Vec<EventLog>,
    /// Every certificate in Hygon's form that parsed.
    pub hygon: Vec<HygonCertificate>,
    /// How many pieces were left aside: unreadable, too large, or more than [`MAX_ENDORSEMENTS`].
    pub left_aside: usize,
    /// For keys that come with the evidence itself.
    pub(crate) memory: Memory,
}

impl Endorsements {
    /// Sorts `blobs`: DER certificates, revocation lists and OCSP answers (as they are, in hex or in
    /// base64), PEM text with any number of them, manifests, Intel's collateral, event logs.
    pub fn sort<'a>(blobs: impl IntoIterator<Item = &'a [u8]>) -> Endorsements {
        let mut sorted = Endorsements::default();
        for blob in blobs {
            if blob.len() > MAX_ENDORSEMENT_BYTES {
                sorted.left_aside += 1;
            } else if let Some(certificates) = HygonCertificate::read(blob) {
                sorted.add_hygon(certificates);
            } else if let Some(found) = intel::read(blob) {
                sorted.add_collateral(found);
                EventLog::read(blob).into_iter().for_each(|log| sorted.add_event_log(log));
            } else if let Some(log) = EventLog::read(blob) {
                sorted.add_event_log(log);
            } else if is_pem(blob) {
                sorted.add_pem(blob);
            } else if let Some(rim) = as_rim(blob) {
                sorted.add_rim(rim);
            } else {
                sorted.add_bytes(blob);
            }
        }
        sorted
    }

    /// DER, or DER or PEM in hex or base64.
    fn add_bytes(&mut self, blob: &[u8]) {
        let text = std::str::from_utf8(blob).ok().filter(|text| text.is_ascii());
        match text.map(intel::bytes_of) {
            Some(decoded) if is_pem(&decoded) => self.add_pem(&decoded),
            Some(decoded) => self.add_der(&decoded),
            None => self.add_der(blob),
        }
    }

    fn add_collateral(&mut self, found: intel::Found) {
        self.left_aside += found.left_aside;
        for info in found.tcb_infos {
            if self.tcb_infos.len() >= MAX_ENDORSEMENTS {
                self.left_aside += 1;
            } else if !self.tcb_infos.contains(&info) {
                self.tcb_infos.push(info);
            }
        }
        for identity in found.qe_identities {
            if self.qe_identities.len() >= MAX_ENDORSEMENTS {
                self.left_aside += 1;
            } else if !self.qe_identities.contains(&identity) {
                self.qe_identities.push(identity);
            }
        }
        for blob in found.blobs {
            if is_pem(&blob) { self.add_pem(&blob) } else { self.add_der(&blob) }
        }
    }

    /// From now on, valid signatures by the keys in here are computed once per `memory`.
    pub fn remember_in(&mut self, memory: &Memory) {
        let rims = self.rims.iter_mut().flat_map(|rim| &mut rim.certificates);
        let answers = self.ocsp_answers.iter_mut().flat_map(|answer| &mut answer.certificates);
        let all = self.certificates.iter_mut().chain(rims).chain(answers);
        all.for_each(|certificate| certificate.remember_in(memory));
        self.memory = memory.clone();
    }

    fn add_event_log(&mut self, log: EventLog) {
        if self.event_logs.len() >= MAX_LOGS {
            self.left_aside += 1;
        } else {
            self.event_logs.push(log);
        }
    }

    fn add_hygon(&mut self, certificates: Vec<HygonCertificate>) {
        for certificate in certificates {
            if self.hygon.len() >= MAX_ENDORSEMENTS {
                self.left_aside += 1;
            } else if !self.hygon.contains(&certificate) {
                self.hygon.push(certificate);
            }
        }
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
        } else if let Some(answer) = ocsp::OcspAnswer::from_der(der) {
            self.add_ocsp_answer(answer);
        } else {
            self.left_aside += 1;
        }
    }

    fn add_ocsp_answer(&mut self, answer: ocsp::OcspAnswer) {
        if self.ocsp_answers.len() >= MAX_ENDORSEMENTS {
            self.left_aside += 1;
        } else {
            self.ocsp_answers.push(answer);
        }
    }

    fn add_rim(&mut self, rim: rim::Rim) {
        if self.rims.len() >= MAX_ENDORSEMENTS {
            self.left_aside += 1;
        } else if !self.rims.contains(&rim) {
            self.rims.push(rim);
        }
    }
}

/// A manifest is XML, or JSON around it; what is neither is no manifest.
fn as_rim(blob: &[u8]) -> Option<rim::Rim> {
    let first = blob.strip_prefix(b"\xef\xbb\xbf").unwrap_or(blob).trim_ascii_start().first();
    let is_candidate = matches!(first, Some(b'<' | b'{'));
    is_candidate.then(|| rim::Rim::read(blob).ok()).flatten()
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
            b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        ]);
        assert!(sorted.certificates.is_empty() && sorted.crls.is_empty());
        assert_eq!(sorted.left_aside, 5);
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
    fn a_piece_has_at_most_four_mebibytes() {
        let root = data_encoding::BASE64.encode(include_bytes!("../tee/snp/roots/ark-milan.der"));
        let mut pem = format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n");
        pem.push_str(&"\n".repeat(4 * 1024 * 1024 - pem.len()));
        assert_eq!(Endorsements::sort([pem.as_bytes()]).certificates.len(), 1);
        pem.push('\n');
        let sorted = Endorsements::sort([pem.as_bytes()]);
        assert_eq!((sorted.certificates.len(), sorted.left_aside), (0, 1));
    }

    #[test]
    fn pem_in_base64_is_pem() {
        let root = data_encoding::BASE64.encode(include_bytes!("../tee/snp/roots/ark-milan.der"));
        let pem = format!("-----BEGIN CERTIFICATE-----\n{root}\n-----END CERTIFICATE-----\n");
        let encoded = data_encoding::BASE64.encode(pem.as_bytes());
        assert_eq!(Endorsements::sort([encoded.as_bytes()]).certificates.len(), 1);
    }

    #[test]
    fn keeps_a_certificate_given_twice_once() {
        let root = include_bytes!("../tee/snp/roots/ark-milan.der");
        assert_eq!(Endorsements::sort([&root[..], &root[..]]).certificates.len(), 1);
    }
}
