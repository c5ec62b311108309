//! Evidence written field by field, put together again as it was signed.

use super::*;

#[test]
fn a_report_written_field_by_field_is_put_together_again() {
    let expected = report();
    let bytes = |range: std::ops::Range<usize>| serde_json::to_string(&expected[range]).unwrap();
    let number = |range: std::ops::Range<usize>| {
        expected[range].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let text = format!(
        "{{\"attestation_report\":{{\"version\":3,\"guest_svn\":{},\"policy\":{},\"family_id\":{},\"image_id\":{},\"vmpl\":{},\
         \"sig_algo\":1,\"current_tcb\":{},\"plat_info\":{},\"key_info\":{},\"report_data\":{},\"measurement\":{},\
         \"host_data\":{},\"id_key_digest\":{},\"author_key_digest\":{},\"report_id\":{},\"report_id_ma\":{},\
         \"reported_tcb\":{},\"cpuid_fam_id\":{},\"cpuid_mod_id\":{},\"cpuid_step\":{},\"chip_id\":{},\
         \"committed_tcb\":{},\"current\":{{\"major\":{},\"minor\":{},\"build\":{}}},\"committed\":{{\"major\":{},\"minor\":{},\"build\":{}}},\
         \"launch_tcb\":{},\"launch_mit_vector\":{},\"current_mit_vector\":{},\"signature\":{{\"r\":{},\"s\":{}}}}}}}",
        number(4..8),
        number(8..16),
        bytes(0x10..0x20),
        bytes(0x20..0x30),
        number(0x30..0x34),
        number(0x38..0x40),
        number(0x40..0x48),
        number(0x48..0x4c),
        bytes(0x50..0x90),
        bytes(0x90..0xc0),
        bytes(0xc0..0xe0),
        bytes(0xe0..0x110),
        bytes(0x110..0x140),
        bytes(0x140..0x160),
        bytes(0x160..0x180),
        number(0x180..0x188),
        expected[0x188],
        expected[0x189],
        expected[0x18a],
        bytes(0x1a0..0x1e0),
        number(0x1e0..0x1e8),
        expected[0x1ea],
        expected[0x1e9],
        expected[0x1e8],
        expected[0x1ee],
        expected[0x1ed],
        expected[0x1ec],
        number(0x1f0..0x1f8),
        number(0x1f8..0x200),
        number(0x200..0x208),
        bytes(0x2a0..0x2e8),
        bytes(0x2e8..0x330),
    );
    assert_eq!(evidence(text.as_bytes()), [(TeeKind::Snp, expected.clone())]);
    let shorter = text.replace("\"host_data\":[", "\"host_data\":[1,");
    assert!(evidence(shorter.as_bytes()).is_empty());
}

/// A quote and its message, written side by side: numbers and bytes in the order of the quote.
#[derive(Default)]
struct Spelled {
    raw: Vec<u8>,
    message: Vec<u8>,
}

impl Spelled {
    fn number(mut self, number: u8, value: u64, length: usize) -> Spelled {
        self.raw.extend(&value.to_le_bytes()[..length]);
        self.message.extend([varint(u64::from(number) << 3), varint(value)].concat());
        self
    }

    fn bytes(mut self, number: u8, length: usize) -> Spelled {
        let bytes: Vec<u8> = (0..length).map(|at| (at as u8) ^ number.wrapping_mul(37)).collect();
        self.raw.extend(&bytes);
        self.message.extend(proto_bytes(number, &bytes));
        self
    }

    fn message(mut self, number: u8, inner: Spelled) -> Spelled {
        self.raw.extend(inner.raw);
        self.message.extend(proto_bytes(number, &inner.message));
        self
    }
}

fn spelled_header(version: u64) -> Spelled {
    let mut header = Spelled::default()
        .number(1, version, 2)
        .number(2, 2, 2)
        .number(3, 0x81, 4)
        .bytes(5, 2)
        .bytes(4, 2);
    let vendor = quote(4, 0x81)[12..28].to_vec();
    header.raw.extend(&vendor);
    header.message.extend(proto_bytes(6, &vendor));
    header.bytes(7, 20)
}

fn spelled_body() -> Spelled {
    let lengths = [16, 48, 48, 8, 8, 8, 48, 48, 48, 48];
    let body = (1..)
        .zip(lengths)
        .fold(Spelled::default(), |body, (number, length)| body.bytes(number, length));
    (0..4).fold(body, |body, _| body.bytes(11, 48)).bytes(12, 64)
}

fn spelled_signature() -> Spelled {
    let report = Spelled::default().bytes(1, 16).number(2, 7, 4).bytes(3, 28).bytes(4, 16);
    let report = [(5, 32), (6, 32), (7, 32), (8, 96)]
        .into_iter()
        .fold(report, |report, (number, length)| report.bytes(number, length));
    let report = report.number(9, 1, 2).number(10, 9, 2).bytes(11, 60).bytes(12, 64);
    let qe = Spelled::default()
        .message(1, report)
        .bytes(2, 64)
        .message(3, Spelled::default().number(1, 32, 2).bytes(2, 32))
        .message(4, Spelled::default().number(1, 5, 2).number(2, 700, 4).bytes(3, 700));
    let certification = Spelled::default().number(1, 6, 2).number(2, 1188, 4).message(3, qe);
    Spelled::default().bytes(1, 64).bytes(2, 64).message(3, certification)
}

#[test]
fn a_quote_written_field_by_field_is_put_together_again() {
    let v4 = Spelled::default().message(1, spelled_header(4)).message(2, spelled_body());
    let td_1_5 = spelled_body().bytes(13, 16).bytes(14, 48);
    let descriptor = |kind, length, body| {
        Spelled::default().number(1, kind, 2).number(2, length, 4).message(3, body)
    };
    let v5 = |descriptor| Spelled::default().message(1, spelled_header(5)).message(2, descriptor);
    for quote in [v4, v5(descriptor(3, 648, td_1_5)), v5(descriptor(2, 584, spelled_body()))] {
        let whole = quote.number(3, 1322, 4).message(4, spelled_signature()).bytes(5, 70);
        assert!(evidence(&whole.message) == [(TeeKind::Tdx, whole.raw)]);
    }
}

/// As go-sev-guest's message is written in JSON: bytes in base64, long numbers as text, and the
/// processor as it states itself.
#[test]
fn a_report_in_a_messages_json_is_put_together_again() {
    let signed = report();
    let mut expected = vec![0; REPORT_BYTES];
    for range in [0..4, 8..16, 0x34..0x38, 0x50..0x90, 0x90..0xc0, 0x1a0..0x1e0, 0x2a0..0x4a0] {
        expected[range.clone()].copy_from_slice(&signed[range]);
    }
    // Family 0x1a, model 0x11, stepping 2.
    expected[0x188..0x18b].copy_from_slice(&[0x1a, 0x11, 0x02]);
    let text = format!(
        "{{\"version\":3,\"policy\":\"{}\",\"signatureAlgo\":1,\"reportData\":\"{}\",\"measurement\":\"{}\",\
         \"chipId\":\"{}\",\"signature\":\"{}\",\"cpuid1eaxFms\":{}}}",
        u64::from_le_bytes(signed[8..16].try_into().unwrap()),
        BASE64.encode(&signed[0x50..0x90]),
        BASE64.encode(&signed[0x90..0xc0]),
        BASE64.encode(&signed[0x1a0..0x1e0]),
        BASE64.encode(&signed[0x2a0..0x4a0]),
        0x00b1_0f12,
    );
    assert_eq!(evidence(text.as_bytes()), [(TeeKind::Snp, expected)]);
}
