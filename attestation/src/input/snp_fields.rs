//! SEV-SNP reports written field by field: the JSON of the `sev` crate (snpguest, Trustee, and what
//! embeds them) and of go-sev-guest, and go-sev-guest's protobuf. The report's bytes are put
//! together again; whether they are the signed ones, the signature says.

use serde_json::value::RawValue;

use super::json::{Object, bytes_of, text_of};
use crate::tee::snp::report::REPORT_BYTES;

/// A field: offset and length in the report, its number in go-sev-guest's `Report`, its names.
struct Field {
    at: usize,
    bytes: usize,
    number: u64,
    names: &'static [&'static str],
}

const fn field(at: usize, bytes: usize, number: u64, names: &'static [&'static str]) -> Field {
    Field { at, bytes, number, names }
}

/// Fields whose absence means another document.
const NEEDED: [&[&str]; 5] = [
    &["version"],
    &["measurement"],
    &["report_data", "reportData"],
    &["chip_id", "chipId"],
    &["signature"],
];
/// Number of `cpuid1eax_fms` in go-sev-guest's `Report`.
const PROTO_CPUID: u64 = 29;
/// Where family, model and stepping stand.
const CPUID_AT: usize = 0x188;
const SIGNATURE_AT: usize = 0x2a0;
/// r and s are fields of this length each.
const SCALAR_FIELD_BYTES: usize = 72;

/// AMD 56860, ATTESTATION_REPORT. Number 0: not a field of its own there.
const FIELDS: [Field; 40] = [
    field(0x000, 4, 1, &["version"]),
    field(0x004, 4, 2, &["guest_svn", "guestSvn"]),
    field(0x008, 8, 3, &["policy"]),
    field(0x010, 16, 4, &["family_id", "familyId"]),
    field(0x020, 16, 5, &["image_id", "imageId"]),
    field(0x030, 4, 6, &["vmpl"]),
    field(0x034, 4, 7, &["sig_algo", "signature_algo", "signatureAlgo"]),
    field(0x038, 8, 8, &["current_tcb", "currentTcb"]),
    field(0x040, 8, 9, &["plat_info", "platform_info", "platformInfo"]),
    field(
        0x048,
        4,
        10,
        &["key_info", "signer_info", "signerInfo", "_author_key_en", "author_key_en"],
    ),
    field(0x050, 64, 11, &["report_data", "reportData"]),
    field(0x090, 48, 12, &["measurement"]),
    field(0x0c0, 32, 13, &["host_data", "hostData"]),
    field(0x0e0, 48, 14, &["id_key_digest", "idKeyDigest"]),
    field(0x110, 48, 15, &["author_key_digest", "authorKeyDigest"]),
    field(0x140, 32, 16, &["report_id", "reportId"]),
    field(0x160, 32, 17, &["report_id_ma", "reportIdMa"]),
    field(0x180, 8, 18, &["reported_tcb", "reportedTcb"]),
    field(0x188, 1, 0, &["cpuid_fam_id", "cpuid_family"]),
    field(0x189, 1, 0, &["cpuid_mod_id", "cpuid_model"]),
    field(0x18a, 1, 0, &["cpuid_step", "cpuid_stepping"]),
    field(0x188, 3, PROTO_CPUID, &["cpuid1eax_fms", "cpuid1eaxFms"]),
    field(0x1a0, 64, 19, &["chip_id", "chipId"]),
    field(0x1e0, 8, 20, &["committed_tcb", "committedTcb"]),
    field(0x1e8, 3, 0, &["current"]),
    field(0x1e8, 1, 21, &["current_build", "currentBuild"]),
    field(0x1e9, 1, 22, &["current_minor", "currentMinor"]),
    field(0x1ea, 1, 23, &["current_major", "currentMajor"]),
    field(0x1ec, 3, 0, &["committed"]),
    field(0x1ec, 1, 24, &["committed_build", "committedBuild"]),
    field(0x1ed, 1, 25, &["committed_minor", "committedMinor"]),
    field(0x1ee, 1, 26, &["committed_major", "committedMajor"]),
    field(0x1f0, 8, 27, &["launch_tcb", "launchTcb"]),
    field(0x1f8, 8, 30, &["launch_mit_vector", "launchMitVector"]),
    field(0x200, 8, 31, &["current_mit_vector", "currentMitVector"]),
    field(SIGNATURE_AT, 512, 28, &["signature"]),
    // The sev crate writes two more in some versions; both are zero in every report.
    field(0x04c, 4, 0, &["_reserved_0"]),
    field(0x1eb, 1, 0, &["_reserved_2"]),
    field(0x1ef, 1, 0, &["_reserved_3"]),
    field(0x18b, 21, 0, &["_reserved_1"]),
];

/// The report a JSON object spells out; `None` where it spells out none.
pub(super) fn from_json(object: &Object<'_>) -> Option<Vec<u8>> {
    if !NEEDED.iter().all(|names| object.has(names)) {
        return None;
    }
    let mut report = vec![0; REPORT_BYTES];
    for field in &FIELDS {
        let value = object.member(field.names).filter(|value| value.get() != "null");
        let Some(value) = value else { continue };
        let bytes = match field.number {
            PROTO_CPUID => processor(number_of(value)?).to_vec(),
            _ => field_bytes(field, value)?,
        };
        put(&mut report, field, &bytes);
    }
    Some(report)
}

/// The report that go-sev-guest's `Report` message spells out, from its fields.
pub(super) fn from_proto<'a>(
    numbers: impl Iterator<Item = (u64, u64)>,
    texts: impl Iterator<Item = (u64, &'a [u8])>,
) -> Option<Vec<u8>> {
    let mut report = vec![0; REPORT_BYTES];
    let mut count = 0;
    let of = |number: u64| FIELDS.iter().find(|field| field.number == number && number != 0);
    for (number, value) in numbers {
        let field = of(number)?;
        let bytes = match number {
            PROTO_CPUID => processor(value).to_vec(),
            _ => value.to_le_bytes().get(..field.bytes)?.to_vec(),
        };
        put(&mut report, field, &bytes);
    }
    for (number, bytes) in texts {
        let field = of(number).filter(|field| field.bytes == bytes.len() && field.bytes >= 16)?;
        put(&mut report, field, bytes);
        count += 1;
    }
    // Report data, measurement, chip id and signature at least.
    (count >= 4).then_some(report)
}

fn put(report: &mut [u8], field: &Field, bytes: &[u8]) {
    if let Some(place) = report.get_mut(field.at..field.at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// A number, bytes, a TCB, a version or a signature, as the field's bytes.
fn field_bytes(field: &Field, value: &RawValue) -> Option<Vec<u8>> {
    if let Some(number) = number_of(value).filter(|_| field.bytes <= 8) {
        let (bytes, beyond) = number.to_le_bytes().split_at_checked(field.bytes).map(owned)?;
        return beyond.iter().all(|byte| *byte == 0).then_some(bytes);
    }
    if let Some(bytes) = bytes_of(value) {
        return (bytes.len() == field.bytes).then_some(bytes);
    }
    let object = Object::of(value)?;
    let part = |name: &str| {
        let value = object.member(&[name])?;
        u8::try_from(number_of(value)?).ok()
    };
    match field.bytes {
        3 => Some(vec![part("build")?, part("minor")?, part("major")?]),
        8 => {
            let [bootloader, tee] = [part("bootloader")?, part("tee")?];
            let [snp, microcode] = [part("snp")?, part("microcode")?];
            Some(match part("fmc") {
                Some(fmc) => vec![fmc, bootloader, tee, snp, 0, 0, 0, microcode],
                None => vec![bootloader, tee, 0, 0, 0, 0, snp, microcode],
            })
        }
        512 => {
            let scalar = |name: &str| {
                bytes_of(object.member(&[name])?).filter(|r| r.len() == SCALAR_FIELD_BYTES)
            };
            let mut signature = [scalar("r")?, scalar("s")?].concat();
            signature.resize(field.bytes, 0);
            Some(signature)
        }
        _ => None,
    }
}

fn owned((first, second): (&[u8], &[u8])) -> (Vec<u8>, Vec<u8>) {
    (first.to_vec(), second.to_vec())
}

/// A number, or one written as text (protobuf's JSON writes 64-bit numbers so).
fn number_of(value: &RawValue) -> Option<u64> {
    match serde_json::from_str::<u64>(value.get()) {
        Ok(number) => Some(number),
        Err(_) => text_of(value)?.parse().ok(),
    }
}

/// Family, model and stepping out of CPUID function 1 EAX.
fn processor(eax: u64) -> [u8; 3] {
    let bits = |from: u32, count: u32| ((eax >> from) & ((1 << count) - 1)) as u8;
    let family = bits(8, 4).wrapping_add(bits(20, 8));
    [family, bits(16, 4) << 4 | bits(4, 4), bits(0, 4)]
}

const _: () = assert!(FIELDS[18].at == CPUID_AT);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: usize, json: &str) -> Option<Vec<u8>> {
        let value = RawValue::from_string(json.to_owned()).unwrap();
        field_bytes(&field(0, bytes, 0, &[]), &value)
    }

    /// Where the parts of a TCB stand (AMD 56860, TCB_VERSION), before Turin and since.
    #[test]
    fn a_tcb_is_a_number_or_its_parts() {
        let parts = r#"{"bootloader":1,"tee":2,"snp":3,"microcode":4}"#;
        assert_eq!(read(8, parts), Some(vec![1, 2, 0, 0, 0, 0, 3, 4]));
        let parts = r#"{"fmc":5,"bootloader":1,"tee":2,"snp":3,"microcode":4}"#;
        assert_eq!(read(8, parts), Some(vec![5, 1, 2, 3, 0, 0, 0, 4]));
        assert_eq!(read(8, "258"), Some(vec![2, 1, 0, 0, 0, 0, 0, 0]));
        assert_eq!(read(8, r#"{"bootloader":1,"tee":2,"snp":3}"#), None);
        assert_eq!(read(8, r#"{"bootloader":1,"tee":2,"snp":3,"microcode":256}"#), None);
        assert_eq!(read(16, parts), None);
    }

    #[test]
    fn a_message_gives_every_field_its_own_length() {
        let written = |more: (u64, &'static [u8])| {
            let texts = [(11, &[1; 64][..]), (12, &[2; 48]), (19, &[3; 64]), (28, &[4; 512])];
            from_proto(std::iter::empty(), texts.into_iter().chain([more])).is_some()
        };
        assert!(written((4, &[5; 16])));
        // Too short, too long, a number where its bytes stand, and a field nobody knows.
        for wrong in [(4, &[5; 15][..]), (4, &[5; 17]), (1, &[5; 4]), (99, &[5; 16])] {
            assert!(!written(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_fits_its_field() {
        assert_eq!(read(1, "255"), Some(vec![255]));
        assert_eq!(read(1, "256"), None);
        assert_eq!(read(3, r#"{"build":1,"minor":2,"major":3}"#), Some(vec![1, 2, 3]));
    }
}
