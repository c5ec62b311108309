//! Hygon's certificates, which are no X.509: fixed fields, little-endian, without dates.
//!
//! | | root form (HRK, HSK), 832 bytes | chip form (CEK, PEK), 2084 bytes |
//! |---|---|---|
//! | version | 0, 1 | 0, 1 |
//! | ids of key and signer | 4 and 20, 16 bytes each | |
//! | firmware version | | 4 |
//! | usage | 36 | 8 |
//! | algorithm | | 12, 4 is SM2 |
//! | curve, x, y | 64, 68, 140 | 16, 20, 92 |
//! | user id: length, name | 212, 214 | 164, 166 |
//! | end of the signed part | 576 | 1044 |
//! | signatures | 576: r, s | 1044 and 1564: usage, algorithm, r, s, zeros |
//!
//! Source: Hygon's csv-rs and the CSV headers of rats-tls and librats. Reserved bytes outside the
//! signed part must be zero. The second signature of a PEK is the owner's (OCA), which says nothing
//! about the chip and is not read.

use super::sm2::{self, Key, PAIR_BYTES};

/// Length of a certificate in root form.
pub const ROOT_FORM_BYTES: usize = 832;
/// Length of a certificate in chip form.
pub const CHIP_FORM_BYTES: usize = 2084;

const VERSION: u32 = 1;
const ALGORITHM_SM2: u32 = 4;
const CURVE_SM2: u32 = 3;
const ROOT_SIGNED_BYTES: usize = 576;
const CHIP_SIGNED_BYTES: usize = 1044;
const SIGNATURE_SLOT_BYTES: usize = 520;
/// Room for a user id behind its length.
const MAX_USER_ID_BYTES: usize = 254;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Hygon's root.
    Hrk,
    /// Hygon's signing key for a line of products.
    Hsk,
    /// A chip's endorsement key.
    Cek,
    /// A platform's endorsement key, made by its firmware: signs reports.
    Pek,
}

impl Usage {
    pub(super) fn of(value: u32) -> Option<Usage> {
        match value {
            0x0000 => Some(Usage::Hrk),
            0x0013 => Some(Usage::Hsk),
            0x1004 => Some(Usage::Cek),
            0x1002 => Some(Usage::Pek),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Usage::Hrk => "HRK",
            Usage::Hsk => "HSK",
            Usage::Cek => "CEK",
            Usage::Pek => "PEK",
        }
    }
}

/// A certificate, parsed beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HygonCertificate {
    /// What its key is for.
    pub usage: Usage,
    /// The whole certificate.
    pub bytes: Vec<u8>,
    pub(super) key: Key,
    /// Ids of its own and its signer's key; zero in chip form.
    key_id: [u8; 16],
    signer_id: [u8; 16],
    signed_bytes: usize,
    /// By whom and what, as far as the form says.
    signature: (Usage, [u8; 64]),
}

impl HygonCertificate {
    /// Parses one certificate of either form, told by its length.
    pub fn parse(bytes: &[u8]) -> Option<HygonCertificate> {
        match bytes.len() {
            ROOT_FORM_BYTES => HygonCertificate::of_root_form(bytes),
            CHIP_FORM_BYTES => HygonCertificate::of_chip_form(bytes),
            _ => None,
        }
    }

    /// The certificates in a file of Hygon's: one, or an HSK with a CEK behind it.
    pub fn read(file: &[u8]) -> Option<Vec<HygonCertificate>> {
        if file.len() == ROOT_FORM_BYTES + CHIP_FORM_BYTES {
            let (first, second) = file.split_at_checked(ROOT_FORM_BYTES)?;
            return Some(vec![HygonCertificate::parse(first)?, HygonCertificate::parse(second)?]);
        }
        HygonCertificate::parse(file).map(|one| vec![one])
    }

    fn of_root_form(bytes: &[u8]) -> Option<HygonCertificate> {
        let usage =
            Usage::of(word(bytes, 36)?).filter(|usage| matches!(usage, Usage::Hrk | Usage::Hsk))?;
        let is_right = word(bytes, 0)? == VERSION && word(bytes, 64)? == CURVE_SM2;
        let signature = sm2::numbers(array(bytes, ROOT_SIGNED_BYTES)?)?;
        let tail = bytes.get(ROOT_SIGNED_BYTES + PAIR_BYTES..)?;
        (is_right && is_zero(tail)).then_some(HygonCertificate {
            usage,
            bytes: bytes.to_vec(),
            key: key(bytes, 68, 212)?,
            key_id: *array(bytes, 4)?,
            signer_id: *array(bytes, 20)?,
            signed_bytes: ROOT_SIGNED_BYTES,
            signature: (Usage::Hrk, signature),
        })
    }

    fn of_chip_form(bytes: &[u8]) -> Option<HygonCertificate> {
        let usage =
            Usage::of(word(bytes, 8)?).filter(|usage| matches!(usage, Usage::Cek | Usage::Pek))?;
        let is_right = word(bytes, 0)? == VERSION
            && word(bytes, 12)? == ALGORITHM_SM2
            && word(bytes, 16)? == CURVE_SM2;
        let slot = bytes.get(CHIP_SIGNED_BYTES..)?.get(..SIGNATURE_SLOT_BYTES)?;
        let is_signed = word(slot, 4)? == ALGORITHM_SM2 && is_zero(slot.get(8 + PAIR_BYTES..)?);
        (is_right && is_signed).then_some(HygonCertificate {
            usage,
            bytes: bytes.to_vec(),
            key: key(bytes, 20, 164)?,
            key_id: [0; 16],
            signer_id: [0; 16],
            signed_bytes: CHIP_SIGNED_BYTES,
            signature: (Usage::of(word(slot, 0)?)?, sm2::numbers(array(slot, 8)?)?),
        })
    }

    /// The name its key signs under.
    pub fn user_id(&self) -> &str {
        &self.key.user_id
    }

    /// What its signature covers: the same bytes, however often it was signed and whatever was
    /// written behind them.
    pub fn signed_part(&self) -> &[u8] {
        self.bytes.get(..self.signed_bytes).unwrap_or_default()
    }

    /// What the key is for that signed it.
    pub fn signer(&self) -> Usage {
        let (by, _) = self.signature;
        by
    }

    /// Whether `issuer` made the signature: its key, its usage, its id where the form names one.
    pub fn is_signed_by(&self, issuer: &HygonCertificate) -> bool {
        let (by, signature) = &self.signature;
        *by == issuer.usage
            && (self.signed_bytes == CHIP_SIGNED_BYTES || self.signer_id == issuer.key_id)
            && issuer.key.verifies(self.signed_part(), signature)
    }
}

/// The key whose x begins at `at`, with the user id whose length stands at `user_id_at`.
fn key(bytes: &[u8], at: usize, user_id_at: usize) -> Option<Key> {
    let length = usize::from(u16::from_le_bytes(*array(bytes, user_id_at)?));
    let room = bytes.get(user_id_at + 2..)?.get(..MAX_USER_ID_BYTES)?;
    let user_id = std::str::from_utf8(room.get(..length)?).ok()?;
    Key::of(array(bytes, at)?, user_id)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|word| u32::from_le_bytes(*word))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tee::csv::HRK;

    #[test]
    fn usages_have_the_names_of_their_keys() {
        let all = [Usage::Hrk, Usage::Hsk, Usage::Cek, Usage::Pek];
        assert_eq!(all.map(Usage::name), ["HRK", "HSK", "CEK", "PEK"]);
    }

    #[test]
    fn the_root_signed_itself() {
        let root = HygonCertificate::parse(HRK).unwrap();
        assert_eq!((root.usage, root.key.user_id.as_str()), (Usage::Hrk, "HYGON-SSD-HRK"));
        assert!(root.is_signed_by(&root));
    }

    #[test]
    fn no_flipped_bit_of_the_root_is_accepted() {
        let root = HygonCertificate::parse(HRK).unwrap();
        for at in (0..HRK.len()).step_by(5) {
            let mut altered = HRK.to_vec();
            altered[at] ^= 1 << (at % 8);
            let parsed = HygonCertificate::parse(&altered);
            assert!(!parsed.is_some_and(|altered| altered.is_signed_by(&root)), "byte {at}");
        }
    }

    #[test]
    fn refuses_every_other_length() {
        for length in [0, 1, 831, 833, 2083, 2085, 2915] {
            assert_eq!(HygonCertificate::read(&vec![1; length]), None, "{length}");
        }
    }
}
