//! The fields of a SEV-SNP report (AMD 56860, ATTESTATION_REPORT).

use bulla_attestation::tee::snp::report::{GuestPolicy, Report};
use data_encoding::HEXLOWER;

use super::describe::Field;

/// Every field; empty where the bytes are no report.
pub fn fields(bytes: &[u8]) -> Vec<Field> {
    let Ok(report) = Report::parse(bytes) else { return Vec::new() };
    let slice = |at: usize, length: usize| bytes.get(at..at + length).unwrap_or_default();
    let hex = |at: usize, length: usize| HEXLOWER.encode(slice(at, length));
    let number = |at: usize, length: usize| {
        slice(at, length).iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let version = |at: usize| {
        let [build, minor, major] = [number(at, 1), number(at + 1, 1), number(at + 2, 1)];
        format!("{major}.{minor} build {build}")
    };
    let line = report.cpu.and_then(|cpu| cpu.line());
    let tcb = |at: usize| {
        let raw = hex(at, 8);
        let parts = slice(at, 8).to_vec();
        match (line.map(|line| line.amd_name()), parts.as_slice()) {
            (Some("Turin"), [fmc, bootloader, tee, snp, .., microcode]) => format!(
                "{raw}: FMC {fmc}, bootloader {bootloader}, TEE {tee}, SNP {snp}, microcode {microcode}"
            ),
            (_, [bootloader, tee, .., snp, microcode]) => format!(
                "{raw}: bootloader {bootloader}, TEE {tee}, SNP {snp}, microcode {microcode}"
            ),
            _ => raw,
        }
    };
    let mut fields = vec![
        Field::new("version", report.version, "version of this report's layout"),
        Field::new(
            "guest_svn",
            report.guest_svn,
            "security version of the guest, as its ID block states",
        ),
        Field::new("policy", format!("{:#x}", report.policy.0), "launch policy of the guest"),
    ];
    fields.extend(policy(report.policy));
    fields.extend([
        Field::new("family_id", hex(0x10, 16), "family of the guest, as its ID block states"),
        Field::new("image_id", hex(0x20, 16), "image of the guest, as its ID block states"),
        Field::new("vmpl", report.vmpl, "privilege level that asked; 0 is the highest"),
        Field::new("signature_algo", report.signature_algorithm, "1: ECDSA P-384 with SHA-384"),
        Field::new("current_tcb", tcb(0x38), "firmware that runs now"),
        Field::new(
            "platform_info",
            format!("{:#x}", report.platform_info.0),
            "state of the platform",
        ),
    ]);
    fields.extend(platform(report.platform_info.0));
    fields.extend([
        Field::new(
            "signing_key",
            report.signing_key.to_string(),
            "kind of key that signed: VCEK is the chip's, VLEK a provider's",
        ),
        Field::new(
            "author_key_en",
            number(0x48, 4) & 1 == 1,
            "whether an author key signed the ID key",
        ),
        Field::new(
            "mask_chip_key",
            report.key_is_masked,
            "whether the host keeps chip keys from signing",
        ),
        Field::new("report_data", hex(0x50, 64), "what the guest asked to have signed"),
        Field::new(
            "measurement",
            hex(0x90, 48),
            "launch digest: the guest's memory and state when it began",
        ),
        Field::new("host_data", hex(0xc0, 32), "what the host attached at launch"),
        Field::new(
            "id_key_digest",
            hex(0xe0, 48),
            "SHA-384 of the key that signed the ID block; zero: none",
        ),
        Field::new(
            "author_key_digest",
            hex(0x110, 48),
            "SHA-384 of the key that signed the ID key; zero: none",
        ),
        Field::new("report_id", hex(0x140, 32), "name of this guest on this host"),
        Field::new("report_id_ma", hex(0x160, 32), "name of its migration agent; all ones: none"),
        Field::new("reported_tcb", tcb(0x180), "firmware the signing key is derived for"),
    ]);
    if let Some(cpu) = report.cpu {
        let text =
            format!("family {:#x} model {:#x} stepping {:#x}", cpu.family, cpu.model, cpu.stepping);
        fields.push(Field::new("cpu", text, "the processor"));
        fields.push(Field::new("product", line.map(|line| line.amd_name()), "its product line"));
    }
    fields.extend([
        Field::new(
            "chip_id",
            hex(0x1a0, 64),
            "the chip; Turin uses the first 8 bytes; zero: hidden by the host",
        ),
        Field::new("committed_tcb", tcb(0x1e0), "firmware below which the platform cannot go back"),
        Field::new("current_version", version(0x1e8), "firmware version that runs"),
        Field::new("committed_version", version(0x1ec), "firmware version that is committed"),
        Field::new("launch_tcb", tcb(0x1f0), "firmware when the guest began"),
    ]);
    if report.version >= 5 {
        fields.extend([
            Field::new(
                "launch_mit_vector",
                hex(0x1f8, 8),
                "mitigations in force when the guest began",
            ),
            Field::new("current_mit_vector", hex(0x200, 8), "mitigations in force now"),
        ]);
    }
    let (r, s) = report.signature().split_at(report.signature().len() / 2);
    fields.extend([
        Field::new("signature_r", HEXLOWER.encode(r), "first half of the signature, big-endian"),
        Field::new("signature_s", HEXLOWER.encode(s), "second half of the signature, big-endian"),
    ]);
    fields
}

fn policy(policy: GuestPolicy) -> Vec<Field> {
    let bit = |bit: u32| policy.0 & (1 << bit) != 0;
    let abi = format!("{}.{}", policy.0 >> 8 & 0xff, policy.0 & 0xff);
    vec![
        Field::new("  abi", abi, "oldest firmware interface it may run on"),
        Field::new("  smt_allowed", bit(16), "sibling threads may be on"),
        Field::new("  migration_agent", bit(18), "a migration agent may move it"),
        Field::new("  debug_allowed", bit(19), "the host may read and write its memory"),
        Field::new("  single_socket", bit(20), "it may run on one socket only"),
        Field::new("  cxl_allowed", bit(21), "memory may be behind CXL"),
        Field::new("  aes_256_xts", bit(22), "memory must be encrypted with AES-256-XTS"),
        Field::new("  rapl_disabled", bit(23), "power measurements must be off"),
        Field::new("  ciphertext_hiding", bit(24), "the host must not see ciphertext"),
        Field::new("  page_swap_disabled", bit(25), "pages must not be moved or swapped"),
    ]
}

fn platform(info: u64) -> Vec<Field> {
    let bit = |bit: u32| info & (1 << bit) != 0;
    vec![
        Field::new("  smt_enabled", bit(0), "sibling threads are on"),
        Field::new("  tsme_enabled", bit(1), "all memory is encrypted transparently"),
        Field::new("  ecc_enabled", bit(2), "memory has error correction"),
        Field::new("  rapl_disabled", bit(3), "power measurements are off"),
        Field::new("  ciphertext_hiding", bit(4), "the host does not see ciphertext"),
        Field::new("  alias_check_complete", bit(5), "memory was checked for aliases since reset"),
        Field::new("  tio_enabled", bit(7), "trusted devices are on"),
    ]
}
