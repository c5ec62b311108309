//! Attestation reports of Hygon CSV: one page, of which the guest's part is signed by the PEK.
//!
//! | offset | version 1 | version 2 (firmware API 1.4 and later) |
//! |---|---|---|
//! | 0 | digest of the owner's session key, 32 | the same |
//! | 32, 48 | VM id, VM version, 16 each | the same |
//! | 64 | what the guest asked to have signed, 64 | the same |
//! | 128 | the guest's nonce, 16 | the same |
//! | 144 | launch digest (SM3), 32 | the same |
//! | 176 | launch policy | the same |
//! | 180 | usage and algorithm of the key that signs | the same |
//! | 188 | the firmware's nonce | build of the firmware |
//! | 192 | signature | version of the registers, 14 reserved, five registers of 32 (208) |
//! | 336 | PEK certificate, serial number, MAC | signature at 1024, PEK certificate at 1168 |
//!
//! In version 1 the firmware disguises every field by XOR with its nonce, and signs them so. The
//! nonce itself is not signed, so such a report is believed only where a field is known beforehand
//! (see the `nonce` check).
//! Guests' libraries undo that for the certificate before they pass the report on, or do not: both
//! are taken.
//!
//! Left out: the MAC over certificate and serial number. Its key is the nonce that stands beside
//! it, so it proves nothing to a third party, and the serial number is nobody's word. Behind the
//! MAC the page must be zero.

use super::certificate::{CHIP_FORM_BYTES, HygonCertificate, Usage};
use super::sm2::{self, PAIR_BYTES};

/// Length of a report: one page.
pub const REPORT_BYTES: usize = 4096;
/// Bytes of a version 1 report that are used; some tools cut the zeros off.
pub const SHORT_REPORT_BYTES: usize = 2548;

const SIGNED_BYTES_1: usize = 180;
const SIGNATURE_AT_1: usize = 192;
const PEK_AT_1: usize = 336;
/// Behind the PEK certificate: serial number, reserved, MAC.
const AFTER_PEK_BYTES: usize = 64 + 32 + 32;
const SIGNED_BYTES_2: usize = 1024;
const PEK_AT_2: usize = SIGNED_BYTES_2 + PAIR_BYTES;
/// What extended reports are marked with by the drivers that ask for them.
const EXTENDED_MAGIC: &[u8; 16] = b"ATTESTATION_EXT\0";
/// Flag of an extended report.
const EXTENDED_FLAG: u32 = 1;

/// Why bytes are not a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Another length.
    #[error(
        "a report is {REPORT_BYTES} bytes (version 1 at least {SHORT_REPORT_BYTES}), got {got}"
    )]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// Magic and flags say neither version.
    #[error("neither version 1 nor version 2: flags {flags:#x}")]
    Version {
        /// As they stand.
        flags: u32,
    },
    /// No place of a report holds a PEK certificate.
    #[error("no PEK certificate where a report of either version has it")]
    NoPek,
    /// The page goes on after the report, and not with zeros.
    #[error("bytes after the report must be zero")]
    Tail,
    /// r or s has digits SM2 does not use.
    #[error("the signature is no SM2 signature in Hygon's form")]
    Signature,
}

/// Launch policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(pub u32);

impl GuestPolicy {
    /// Bit 0, not set: the host may read and write the guest.
    pub fn debug_allowed(self) -> bool {
        self.0 & 1 == 0
    }
    /// Bit 1, not set: other guests may share the key.
    pub fn key_sharing_allowed(self) -> bool {
        self.0 & (1 << 1) == 0
    }
    /// Bit 3, not set: the guest may be sent to another platform.
    pub fn sending_allowed(self) -> bool {
        self.0 & (1 << 3) == 0
    }
    /// Bits 2 and 6: registers are protected too (CSV2), memory is (CSV3).
    pub fn generation(self) -> Generation {
        match (self.0 >> 6 & 1, self.0 >> 2 & 1) {
            (1, _) => Generation::Csv3,
            (_, 1) => Generation::Csv2,
            _ => Generation::Csv,
        }
    }
}

/// How much the host is kept out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Memory is encrypted.
    Csv,
    /// And registers.
    Csv2,
    /// And the host cannot write or remap memory.
    Csv3,
}

impl Generation {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Generation::Csv => "csv",
            Generation::Csv2 => "csv2",
            Generation::Csv3 => "csv3",
        }
    }
}

/// A report, parsed beside its bytes; fields undisguised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 1 or 2.
    pub version: u8,
    /// Digest of the owner's session key.
    pub user_pubkey_digest: [u8; 32],
    /// The owner's.
    pub vm_id: [u8; 16],
    /// The owner's.
    pub vm_version: [u8; 16],
    /// What the guest asked to have signed.
    pub report_data: [u8; 64],
    /// The guest's nonce.
    pub nonce: [u8; 16],
    /// Launch digest.
    pub measurement: [u8; 32],
    /// Launch policy.
    pub policy: GuestPolicy,
    /// Usage of the key that signs, as it stands.
    pub signing_usage: u32,
    /// Algorithm it signs with, as it stands.
    pub signature_algorithm: u32,
    /// Build of the firmware, since version 2.
    pub firmware_build: Option<u32>,
    /// Runtime registers, since version 2.
    pub registers: Option<[[u8; 32]; 5]>,
    /// The PEK certificate inside.
    pub pek: HygonCertificate,
    signed: Vec<u8>,
    signature: [u8; 64],
}

impl Report {
    /// Parses a report without the mark its driver gave it: the version is told by where the PEK
    /// certificate stands.
    pub fn parse(bytes: &[u8]) -> Result<Report, ReportError> {
        match Report::of_version_1(bytes) {
            Err(ReportError::NoPek) => Report::of_version_2(bytes),
            other => other,
        }
    }

    /// Parses a report with the mark its driver gave it.
    pub fn parse_marked(magic: &[u8], flags: u32, bytes: &[u8]) -> Result<Report, ReportError> {
        match (magic == EXTENDED_MAGIC, flags) {
            (true, EXTENDED_FLAG) => Report::of_version_2(bytes),
            (true, 0) => Report::of_version_1(bytes),
            (false, 0) if magic.iter().all(|byte| *byte == 0) => Report::of_version_1(bytes),
            (_, flags) => Err(ReportError::Version { flags }),
        }
    }

    fn of_version_1(bytes: &[u8]) -> Result<Report, ReportError> {
        let page = page(bytes)?;
        let plain = undisguised(&page);
        let pek = pek_at(&page, PEK_AT_1).or_else(|| pek_at(&plain, PEK_AT_1));
        let pek = pek.ok_or(ReportError::NoPek)?;
        nothing_after(&page, PEK_AT_1)?;
        let signature = field::<SIGNATURE_AT_1, PAIR_BYTES>(&page);
        let signed = field::<0, SIGNED_BYTES_1>(&page).to_vec();
        Report::of_fields(1, &plain, pek, signed, &signature)
    }

    fn of_version_2(bytes: &[u8]) -> Result<Report, ReportError> {
        let page = page(bytes)?;
        let pek = pek_at(&page, PEK_AT_2).ok_or(ReportError::NoPek)?;
        nothing_after(&page, PEK_AT_2)?;
        let signature = field::<SIGNED_BYTES_2, PAIR_BYTES>(&page);
        let signed = field::<0, SIGNED_BYTES_2>(&page).to_vec();
        let registers = [
            field::<208, 32>(&page),
            field::<240, 32>(&page),
            field::<272, 32>(&page),
            field::<304, 32>(&page),
            field::<336, 32>(&page),
        ];
        let report = Report::of_fields(2, &page, pek, signed, &signature)?;
        let firmware_build = Some(u32::from_le_bytes(field::<188, 4>(&page)));
        Ok(Report { firmware_build, registers: Some(registers), ..report })
    }

    /// The fields both versions have, from a page without disguise.
    fn of_fields(
        version: u8,
        page: &Page,
        pek: HygonCertificate,
        signed: Vec<u8>,
        signature: &[u8; PAIR_BYTES],
    ) -> Result<Report, ReportError> {
        Ok(Report {
            version,
            user_pubkey_digest: field::<0, 32>(page),
            vm_id: field::<32, 16>(page),
            vm_version: field::<48, 16>(page),
            report_data: field::<64, 64>(page),
            nonce: field::<128, 16>(page),
            measurement: field::<144, 32>(page),
            policy: GuestPolicy(u32::from_le_bytes(field::<176, 4>(page))),
            signing_usage: u32::from_le_bytes(field::<180, 4>(page)),
            signature_algorithm: u32::from_le_bytes(field::<184, 4>(page)),
            firmware_build: None,
            registers: None,
            pek,
            signed,
            signature: sm2::numbers(signature).ok_or(ReportError::Signature)?,
        })
    }

    /// Whether the PEK inside made the signature.
    pub fn is_signed(&self) -> bool {
        self.pek.key.verifies(&self.signed, &self.signature)
    }
}

type Page = [u8; REPORT_BYTES];

/// The report, zeros restored where a tool cut them off.
fn page(bytes: &[u8]) -> Result<Page, ReportError> {
    if !(SHORT_REPORT_BYTES..=REPORT_BYTES).contains(&bytes.len()) {
        return Err(ReportError::Length { got: bytes.len() });
    }
    let mut page = [0; REPORT_BYTES];
    for (to, from) in page.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(page)
}

/// Every byte without the firmware's nonce; meaningless for signature and nonce themselves.
fn undisguised(page: &Page) -> Page {
    let nonce = field::<188, 4>(page);
    let mut plain = *page;
    for (byte, nonce) in plain.iter_mut().zip(nonce.into_iter().cycle()) {
        *byte ^= nonce;
    }
    plain
}

fn pek_at(page: &Page, at: usize) -> Option<HygonCertificate> {
    let pek = HygonCertificate::parse(page.get(at..)?.get(..CHIP_FORM_BYTES)?)?;
    (pek.usage == Usage::Pek).then_some(pek)
}

fn nothing_after(page: &Page, pek_at: usize) -> Result<(), ReportError> {
    let tail = page.get(pek_at + CHIP_FORM_BYTES + AFTER_PEK_BYTES..).unwrap_or_default();
    if tail.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(ReportError::Tail) }
}

/// `LEN` bytes at `AT`, checked against the report's length at compile time.
fn field<const AT: usize, const LEN: usize>(page: &Page) -> [u8; LEN] {
    const { assert!(AT + LEN <= REPORT_BYTES) };
    let mut bytes = [0; LEN];
    bytes.copy_from_slice(&page[AT..AT + LEN]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_have_names() {
        let all = [Generation::Csv, Generation::Csv2, Generation::Csv3];
        assert_eq!(all.map(Generation::name), ["csv", "csv2", "csv3"]);
    }

    #[test]
    fn refuses_lengths_versions_and_pages_without_a_certificate() {
        for got in [0, SHORT_REPORT_BYTES - 1, REPORT_BYTES + 1] {
            assert_eq!(Report::parse(&vec![0; got]), Err(ReportError::Length { got }));
        }
        assert_eq!(Report::parse(&[0; REPORT_BYTES]), Err(ReportError::NoPek));
        let marked = |magic: &[u8], flags| Report::parse_marked(magic, flags, &[0; REPORT_BYTES]);
        assert_eq!(marked(EXTENDED_MAGIC, 1), Err(ReportError::NoPek));
        assert_eq!(marked(EXTENDED_MAGIC, 2), Err(ReportError::Version { flags: 2 }));
        assert_eq!(marked(b"another mark", 0), Err(ReportError::Version { flags: 0 }));
    }

    #[test]
    fn reads_the_policy_bit_by_bit() {
        let strict = GuestPolicy(0b0100_1111);
        assert!(!strict.debug_allowed() && !strict.key_sharing_allowed());
        assert!(!strict.sending_allowed());
        assert_eq!(strict.generation(), Generation::Csv3);
        let open = GuestPolicy(0b100);
        assert!(open.debug_allowed() && open.key_sharing_allowed() && open.sending_allowed());
        assert_eq!(open.generation(), Generation::Csv2);
        assert_eq!(GuestPolicy(0).generation(), Generation::Csv);
    }
}
