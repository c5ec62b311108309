//! The attestation report (AMD 56860, *SEV Secure Nested Paging Firmware ABI Specification*,
//! ATTESTATION_REPORT), versions 2 to 5, read at fixed offsets from the bytes as received.
//!
//! The signature covers bytes 0x000 to 0x29F. Of the rest only r and s (48 significant bytes each)
//! mean anything; this reader demands that everything else there is zero, so that no byte of an
//! accepted report can change unnoticed. (Swapping s for n - s still makes another valid
//! signature over the same bytes, as ECDSA allows; nothing here is identified by its signature.)

use super::product::Cpu;
use super::tcb::RawTcb;

/// Length of a report in bytes.
pub const REPORT_BYTES: usize = 0x4a0;
/// Oldest and newest report version understood.
pub const REPORT_VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// SIGNATURE_ALGO of ECDSA P-384 with SHA-384, the only one defined.
pub const ECDSA_P384_SHA384: u32 = 1;

const SIGNED_BYTES: usize = 0x2a0;
/// r and s: 72-byte little-endian fields, P-384 uses 48 of them.
const SCALAR_FIELD_BYTES: usize = 72;
const SCALAR_BYTES: usize = 48;

/// Why bytes are not a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Another length: truncated, or something else.
    #[error("a report is {REPORT_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// A version this crate has not been taught.
    #[error("report version must be 2 to 5, got {got}")]
    Version {
        /// Version found.
        got: u32,
    },
    /// Bytes after the signed part that must be zero are not.
    #[error("bytes outside r and s at offset {offset:#x} must be zero")]
    Padding {
        /// Where.
        offset: usize,
    },
}

/// Which key the firmware says it signed with (KEY_INFO bits 2 to 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// The chip's own versioned key.
    Vcek,
    /// A key AMD gave a cloud provider for many chips.
    Vlek,
    /// None: the report is not signed.
    None,
    /// A value not defined.
    Undefined(u8),
}

impl std::fmt::Display for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SigningKey::Vcek => f.write_str("vcek"),
            SigningKey::Vlek => f.write_str("vlek"),
            SigningKey::None => f.write_str("none"),
            SigningKey::Undefined(value) => write!(f, "undefined ({value})"),
        }
    }
}

/// Launch policy of the guest (offset 0x008).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// Bit 16: simultaneous multithreading is allowed.
    pub fn smt_allowed(self) -> bool {
        self.0 & (1 << 16) != 0
    }
    /// Bit 18: a migration agent may be associated.
    pub fn migration_agent_allowed(self) -> bool {
        self.0 & (1 << 18) != 0
    }
    /// Bit 19: the host may read and write the guest.
    pub fn debug_allowed(self) -> bool {
        self.0 & (1 << 19) != 0
    }
    /// Bit 20: the guest may run on one socket only.
    pub fn single_socket_only(self) -> bool {
        self.0 & (1 << 20) != 0
    }
}

/// What the firmware says of the platform (offset 0x040). Bits are added with each version, so
/// unknown ones are no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformInfo(pub u64);

impl PlatformInfo {
    /// Bit 0: simultaneous multithreading is on.
    pub fn smt_enabled(self) -> bool {
        self.0 & 1 != 0
    }
    /// Bit 5, since version 3: no two addresses lead to the same memory, checked since the last
    /// reset (BadRAM, CVE-2024-21944).
    pub fn alias_check_complete(self) -> bool {
        self.0 & (1 << 5) != 0
    }
}

/// A report, parsed beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 0x000: 2 to 5.
    pub version: u32,
    /// 0x004: security version of the guest, as its ID block states.
    pub guest_svn: u32,
    /// 0x008.
    pub policy: GuestPolicy,
    /// 0x030: privilege level that asked for the report, 0 the highest.
    pub vmpl: u32,
    /// 0x034.
    pub signature_algorithm: u32,
    /// 0x038: TCB running now.
    pub current_tcb: RawTcb,
    /// 0x040.
    pub platform_info: PlatformInfo,
    /// 0x048 bits 2 to 4.
    pub signing_key: SigningKey,
    /// 0x048 bit 1: no key signs, the signature is zero.
    pub key_is_masked: bool,
    /// 0x050: what the guest asked to have signed.
    pub report_data: [u8; 64],
    /// 0x090: launch digest.
    pub measurement: [u8; 48],
    /// 0x0C0: what the host attached at launch.
    pub host_data: [u8; 32],
    /// 0x0E0: SHA-384 of the key that signed the ID block.
    pub id_key_digest: [u8; 48],
    /// 0x180: TCB the signing key is derived for.
    pub reported_tcb: RawTcb,
    /// 0x188, since version 3.
    pub cpu: Option<Cpu>,
    /// 0x1A0: as it stands; Turin uses 8 of the 64 bytes, zero where masked.
    pub chip_id: [u8; 64],
    /// 0x1E0: TCB below which the platform cannot go any more.
    pub committed_tcb: RawTcb,
    /// 0x1F0: TCB when the guest was launched or imported.
    pub launch_tcb: RawTcb,
    signed: [u8; SIGNED_BYTES],
    signature: [u8; 2 * SCALAR_BYTES],
}

impl Report {
    /// Parses a report.
    pub fn parse(bytes: &[u8]) -> Result<Report, ReportError> {
        let raw: &[u8; REPORT_BYTES] =
            bytes.try_into().map_err(|_| ReportError::Length { got: bytes.len() })?;
        let version = u32::from_le_bytes(field::<0x000, 4>(raw));
        if !REPORT_VERSIONS.contains(&version) {
            return Err(ReportError::Version { got: version });
        }
        let key_info = u32::from_le_bytes(field::<0x048, 4>(raw));
        let [family, model, stepping] = field::<0x188, 3>(raw);
        Ok(Report {
            version,
            guest_svn: u32::from_le_bytes(field::<0x004, 4>(raw)),
            policy: GuestPolicy(u64::from_le_bytes(field::<0x008, 8>(raw))),
            vmpl: u32::from_le_bytes(field::<0x030, 4>(raw)),
            signature_algorithm: u32::from_le_bytes(field::<0x034, 4>(raw)),
            current_tcb: RawTcb(field::<0x038, 8>(raw)),
            platform_info: PlatformInfo(u64::from_le_bytes(field::<0x040, 8>(raw))),
            signing_key: signing_key(key_info),
            key_is_masked: key_info & 0b10 != 0,
            report_data: field::<0x050, 64>(raw),
            measurement: field::<0x090, 48>(raw),
            host_data: field::<0x0c0, 32>(raw),
            id_key_digest: field::<0x0e0, 48>(raw),
            reported_tcb: RawTcb(field::<0x180, 8>(raw)),
            cpu: (version >= 3).then_some(Cpu { family, model, stepping }),
            chip_id: field::<0x1a0, 64>(raw),
            committed_tcb: RawTcb(field::<0x1e0, 8>(raw)),
            launch_tcb: RawTcb(field::<0x1f0, 8>(raw)),
            signed: field::<0x000, SIGNED_BYTES>(raw),
            signature: signature(raw)?,
        })
    }

    /// The bytes the signature covers, as received.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// The signature as r || s, big-endian, 48 bytes each.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the platform hides its chip id (MASK_CHIP_ID): all 64 bytes are zero.
    pub fn chip_id_is_masked(&self) -> bool {
        self.chip_id == [0; 64]
    }
}

fn signing_key(key_info: u32) -> SigningKey {
    match (key_info >> 2) & 0b111 {
        0 => SigningKey::Vcek,
        1 => SigningKey::Vlek,
        7 => SigningKey::None,
        other => SigningKey::Undefined(other as u8),
    }
}

/// r at 0x2A0, s at 0x2E8, little-endian; turned big-endian.
fn signature(raw: &[u8; REPORT_BYTES]) -> Result<[u8; 2 * SCALAR_BYTES], ReportError> {
    let tail = &raw[SIGNED_BYTES..];
    let is_scalar =
        |at: usize| at < 2 * SCALAR_FIELD_BYTES && at % SCALAR_FIELD_BYTES < SCALAR_BYTES;
    if let Some(at) = (0..tail.len()).find(|&at| tail[at] != 0 && !is_scalar(at)) {
        return Err(ReportError::Padding { offset: SIGNED_BYTES + at });
    }
    let mut signature = [0; 2 * SCALAR_BYTES];
    for (scalar, start) in signature.chunks_exact_mut(SCALAR_BYTES).zip([0, SCALAR_FIELD_BYTES]) {
        scalar.copy_from_slice(&tail[start..start + SCALAR_BYTES]);
        scalar.reverse();
    }
    Ok(signature)
}

/// `LEN` bytes at `AT`, checked against the report's length at compile time.
fn field<const AT: usize, const LEN: usize>(raw: &[u8; REPORT_BYTES]) -> [u8; LEN] {
    const { assert!(AT + LEN <= REPORT_BYTES) };
    let mut bytes = [0; LEN];
    bytes.copy_from_slice(&raw[AT..AT + LEN]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(version: u8) -> Vec<u8> {
        let mut bytes = vec![0; REPORT_BYTES];
        bytes[0] = version;
        bytes
    }

    #[test]
    fn refuses_every_other_length() {
        for got in [0, 1, 793, REPORT_BYTES - 1, REPORT_BYTES + 1, 4000] {
            let bytes = vec![2; got];
            assert_eq!(Report::parse(&bytes), Err(ReportError::Length { got }));
        }
    }

    #[test]
    fn says_where_padding_is_not_zero() {
        for offset in [0x2a0 + 48, 0x2a0 + 71, 0x2e8 + 48, REPORT_BYTES - 1] {
            let mut bytes = blank(2);
            bytes[offset] = 1;
            assert_eq!(Report::parse(&bytes), Err(ReportError::Padding { offset }));
        }
    }

    #[test]
    fn refuses_versions_it_was_not_taught() {
        for version in [0, 1, 6, 255] {
            let got = u32::from(version);
            assert_eq!(Report::parse(&blank(version)), Err(ReportError::Version { got }));
        }
    }

    #[test]
    fn refuses_any_byte_after_the_signed_part_that_is_not_r_or_s() {
        let scalars = [0x2a0..0x2a0 + 48, 0x2e8..0x2e8 + 48];
        for offset in 0x2a0..REPORT_BYTES {
            let mut bytes = blank(5);
            bytes[offset] = 1;
            let is_scalar = scalars.iter().any(|range| range.contains(&offset));
            assert_eq!(Report::parse(&bytes).is_ok(), is_scalar, "offset {offset:#x}");
        }
    }

    #[test]
    fn reads_the_processor_only_where_the_version_has_it() {
        let mut bytes = blank(2);
        bytes[0x188] = 0x19;
        assert_eq!(Report::parse(&bytes).unwrap().cpu, None);
        bytes[0] = 3;
        assert_eq!(Report::parse(&bytes).unwrap().cpu.unwrap().family, 0x19);
    }

    #[test]
    fn reads_the_signing_key_from_bits_two_to_four() {
        for (bits, key) in [
            (0b00000, SigningKey::Vcek),
            (0b00100, SigningKey::Vlek),
            (0b11100, SigningKey::None),
            (0b01000, SigningKey::Undefined(2)),
        ] {
            let mut bytes = blank(2);
            bytes[0x48] = bits;
            assert_eq!(Report::parse(&bytes).unwrap().signing_key, key);
        }
    }
}
