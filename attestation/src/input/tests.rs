use data_encoding::{BASE64, BASE64_MIME, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

use super::*;
use crate::tee::snp::report::REPORT_BYTES;

const ROOT: &[u8] = include_bytes!("../tee/snp/roots/ark-milan.der");

/// Bytes that parse as a report; signed by nobody.
fn report() -> Vec<u8> {
    let mut report: Vec<u8> = (0..REPORT_BYTES).map(|at| at as u8).collect();
    report[0..4].copy_from_slice(&3u32.to_le_bytes());
    report[0x34..0x38].copy_from_slice(&1u32.to_le_bytes());
    report[0x4c..0x50].fill(0);
    report[0x2a0 + 48..0x2e8].fill(0);
    report[0x2e8 + 48..].fill(0);
    for reserved in [0x18b..0x1a0, 0x1eb..0x1ec, 0x1ef..0x1f0, 0x208..0x2a0] {
        report[reserved].fill(0);
    }
    report
}

fn quote(version: u8, tee_type: u8) -> Vec<u8> {
    let mut quote = vec![0; 5000];
    quote[..8].copy_from_slice(&[version, 0, 2, 0, tee_type, 0, 0, 0]);
    quote[12..28].copy_from_slice(&HEXLOWER.decode(b"939a7233f79c4ca9940a0db3957f0607").unwrap());
    quote
}

fn device() -> Vec<u8> {
    let mut report = vec![0; 400];
    report[..2].copy_from_slice(&[0x11, 0xe0]);
    report[37..39].copy_from_slice(&[0x11, 0x60]);
    report
}

fn read(bytes: &[u8]) -> Recognised {
    read_as(bytes, Role::Anything, None)
}

fn read_as(bytes: &[u8], role: Role, wanted: Option<TeeKind>) -> Recognised {
    recognise(&[File { name: "file", bytes, role }], wanted)
}

/// The kinds and bytes of the evidence found.
fn evidence(bytes: &[u8]) -> Vec<(TeeKind, Vec<u8>)> {
    read(bytes).evidence.into_iter().map(|found| (found.kind, found.bytes)).collect()
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let body = BASE64_MIME.encode(bytes);
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

#[test]
fn evidence_is_the_same_in_every_encoding() {
    for (kind, raw) in [
        (TeeKind::Snp, report()),
        (TeeKind::Tdx, quote(4, 0x81)),
        (TeeKind::Tdx, quote(5, 0x81)),
        (TeeKind::Tdx, quote(3, 0)),
        (TeeKind::Nvidia, device()),
    ] {
        let lower = HEXLOWER.encode(&raw);
        let upper = HEXUPPER.encode(&raw);
        let lines: Vec<&str> =
            lower.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let numbers = serde_json::to_string(&raw).unwrap();
        let escaped = serde_json::to_string(&format!("{{\"quote\":\"{lower}\"}}")).unwrap();
        let wide: Vec<u8> = "\u{feff}"
            .chars()
            .chain(lower.chars())
            .collect::<String>()
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let texts = [
            lower.clone(),
            upper.clone(),
            format!("0x{lower}\n"),
            lines.join("\r\n"),
            BASE64.encode(&raw),
            BASE64_MIME.encode(&raw),
            BASE64URL_NOPAD.encode(&raw),
            BASE64.encode(lower.as_bytes()),
            pem("ATTESTATION REPORT", &raw),
            numbers.clone(),
            format!("\"{upper}\""),
            format!("{{\"a\":{{\"b\":[{{\"quote\":\"0x{lower}\"}}]}}}}"),
            format!("{{\"report\":{numbers},\"other\":1}}"),
            format!("{{\"evidence\":{escaped}}}"),
            format!("\u{feff} {{\"report_b64\":\"{}\"}}", BASE64URL_NOPAD.encode(&raw)),
        ];
        for text in texts {
            assert!(evidence(text.as_bytes()) == [(kind, raw.clone())], "{kind} {text:.60}");
        }
        assert!(evidence(&raw) == [(kind, raw.clone())]);
        assert!(evidence(&wide) == [(kind, raw.clone())]);
        let mut cbor = vec![0xa1, 0x01, 0x82, 0xd8, 0x20, 0x59];
        cbor.extend((raw.len() as u16).to_be_bytes());
        cbor.extend(&raw);
        cbor.push(0x04);
        assert!(evidence(&cbor) == [(kind, raw)], "{kind} in CBOR");
    }
}

#[test]
fn says_where_it_was_and_how_it_was_wrapped() {
    let text = format!("{{\"a\":{{\"quote\":\"{}\"}}}}", BASE64.encode(&quote(4, 0x81)));
    let found = read(text.as_bytes());
    assert_eq!(found.evidence[0].from, "file › a › quote › base64: TDX quote");
    assert!(found.left_aside.is_empty());
}

#[test]
fn a_report_is_told_by_its_structure() {
    let whole = report();
    let mut padded = whole.clone();
    padded.resize(4000, 0);
    assert_eq!(evidence(&padded), [(TeeKind::Snp, whole.clone())]);
    let mut response = vec![0; 32];
    response[4..8].copy_from_slice(&(REPORT_BYTES as u32).to_le_bytes());
    response.extend(&padded);
    assert_eq!(evidence(&response), [(TeeKind::Snp, whole.clone())]);
    // Something else behind it: no report.
    let mut followed = whole.clone();
    followed.extend([1, 2, 3]);
    let mut version = whole.clone();
    version[0] = 9;
    let mut unlike = whole.clone();
    unlike[0] = 0xff;
    for (bytes, word) in [
        (&whole[..793], "793 of 1184"),
        (&version, "2 to 5, got 9"),
        (&followed, "no structure"),
        (&unlike, "no structure"),
    ] {
        let found = read(bytes);
        assert!(found.evidence.is_empty());
        assert!(found.left_aside[0].reason.contains(word), "{:?}", found.left_aside);
    }
}

#[test]
fn the_hosts_certificates_come_along() {
    let mut table = vec![7; 16];
    table.extend(48u32.to_le_bytes());
    table.extend((ROOT.len() as u32).to_le_bytes());
    table.extend([0; 24]);
    table.extend(ROOT);
    let found = read(&[report(), table.clone()].concat());
    assert_eq!((found.evidence.len(), found.endorsements.len()), (1, 1));
    assert_eq!(found.endorsements[0].bytes, ROOT);
    // configfs-tsm's auxblob.
    assert_eq!(read(&table).endorsements[0].bytes, ROOT);
}

#[test]
fn endorsements_are_told_apart() {
    let rim = r#"<?xml version="1.0"?><SoftwareIdentity xmlns="x"></SoftwareIdentity>"#;
    let tcb = r#"{"tcbInfo":{"id":"TDX","fmspc":"00"},"signature":"00"}"#;
    let identity = r#"{"enclaveIdentity":{"id":"TD_QE","mrsigner":"00"},"signature":"00"}"#;
    let all = r#"{"tcb_info":"{\"id\":\"TDX\",\"fmspc\":\"00\"}","pck_crl":"00"}"#;
    let log = r#"[{"imr":0,"event_type":1,"digest":"00","event_payload":""}]"#;
    let mut ccel = vec![0; 64];
    ccel[32..48].copy_from_slice(b"Spec ID Event03\0");
    let ocsp = [0x30, 0x03, 0x0a, 0x01, 0x06];
    for (bytes, kind) in [
        (ROOT, EndorsementKind::Certificate),
        (rim.as_bytes(), EndorsementKind::Rim),
        (tcb.as_bytes(), EndorsementKind::IntelCollateral),
        (identity.as_bytes(), EndorsementKind::IntelCollateral),
        (all.as_bytes(), EndorsementKind::IntelCollateral),
        (log.as_bytes(), EndorsementKind::EventLog),
        (&ccel, EndorsementKind::EventLog),
        (&ocsp, EndorsementKind::Ocsp),
    ] {
        let found = read(bytes);
        assert_eq!(found.endorsements.len(), 1, "{kind:?} {:?}", found.left_aside);
        assert_eq!((found.endorsements[0].kind, &found.endorsements[0].bytes[..]), (kind, bytes));
        let inside = format!("{{\"x\":\"{}\"}}", BASE64.encode(bytes));
        if bytes.len() > 60 {
            assert_eq!(read(inside.as_bytes()).endorsements[0].bytes, bytes, "{kind:?}");
        }
    }
}

#[test]
fn collateral_keeps_its_exact_text() {
    let tcb = "{ \"tcbInfo\" :\t{\"fmspc\":\"00\",  \"b\":1.0}, \"signature\":\"00\" }";
    let text = format!("{{\"quote\":\"{}\",\"c\":{tcb}}}", HEXLOWER.encode(&quote(4, 0x81)));
    let found = read(text.as_bytes());
    assert_eq!(found.evidence.len(), 1);
    assert_eq!(found.endorsements[0].bytes, tcb.as_bytes());
}

#[test]
fn chains_come_apart() {
    let block = pem("CERTIFICATE", ROOT);
    let percent = block.replace(' ', "%20").replace('\n', "%0A").replace('+', "%2B");
    for text in [
        format!("subject=…\n{block}{block}"),
        percent.repeat(2),
        serde_json::to_string(&[&block, &block]).unwrap(),
        format!(
            "{{\"cert_chain\":[{{\"cert_type\":\"VCEK\",\"data\":{0}}},{{\"data\":{0}}}]}}",
            serde_json::to_string(ROOT).unwrap()
        ),
    ] {
        let found = read(text.as_bytes());
        let bytes: Vec<&[u8]> = found.endorsements.iter().map(|e| e.bytes.as_slice()).collect();
        assert_eq!(bytes, [ROOT, ROOT], "{text:.80}");
    }
    assert_eq!(read(&[ROOT, ROOT].concat()).endorsements.len(), 2);
}

#[test]
fn a_named_kind_forces_the_reading() {
    let text =
        format!("[\"{}\",\"{}\"]", HEXLOWER.encode(&report()), HEXLOWER.encode(&quote(4, 0x81)));
    let found = read_as(text.as_bytes(), Role::Anything, Some(TeeKind::Tdx));
    assert_eq!(found.evidence.len(), 1);
    assert_eq!(found.evidence[0].kind, TeeKind::Tdx);
    assert!(found.left_aside[0].reason.contains("tdx evidence was asked for"));
    let found = read_as(&report(), Role::Endorsement, None);
    assert!(found.evidence.is_empty() && found.left_aside[0].reason.contains("as an endorsement"));
}

/// A paravisor's report: 2 says SEV-SNP, 4 says TDX.
fn paravisor_report(hardware: u32) -> Vec<u8> {
    let mut hcl = b"HCLA".to_vec();
    hcl.resize(32, 0);
    hcl.extend(report());
    hcl.extend([0; 8]);
    hcl.extend(hardware.to_le_bytes());
    hcl.resize(2600, 0);
    hcl
}

fn azure_document() -> String {
    let quote = r#""tpm_quote":{"message":"00","signature":"00","pcrs":[]}"#;
    let vcek = serde_json::to_string(&pem("CERTIFICATE", ROOT)).unwrap();
    format!(
        "{{\"version\":1,{quote},\"hcl_report\":\"{}\",\"vcek\":{vcek}}}",
        BASE64URL_NOPAD.encode(&paravisor_report(2))
    )
}

#[test]
fn an_azure_document_is_evidence_as_a_whole_or_opened_on_demand() {
    let document = azure_document();
    let found = read(document.as_bytes());
    assert_eq!((found.evidence.len(), found.endorsements.len()), (1, 1), "{found:?}");
    assert_eq!(
        (found.evidence[0].kind, &found.evidence[0].bytes[..]),
        (TeeKind::AzureSnp, document.as_bytes())
    );
    let wrapped = format!("{{\"primary_evidence\":{document},\"additional_evidence\":\"\"}}");
    assert_eq!(read(wrapped.as_bytes()).evidence[0].bytes, document.as_bytes());
    let opened = read_as(document.as_bytes(), Role::Anything, Some(TeeKind::Snp));
    assert_eq!(opened.evidence.len(), 1);
    assert_eq!((opened.evidence[0].kind, &opened.evidence[0].bytes), (TeeKind::Snp, &report()));
}

#[test]
fn device_evidence_is_taken_as_a_whole() {
    let device = format!(
        "{{\"arch\":\"HOPPER\",\"certificate\":\"{}\",\"evidence\":\"{}\",\"nonce\":\"00\"}}",
        BASE64.encode(pem("CERTIFICATE", ROOT).as_bytes()),
        BASE64.encode(&device())
    );
    let list = format!("[{device},{device}]");
    let request = format!("{{\"nonce\":\"00\",\"arch\":\"HOPPER\",\"evidence_list\":{list}}}");
    for text in [&device, &list, &request] {
        let found = read(text.as_bytes());
        assert_eq!(found.evidence.len(), 1, "{text:.80}");
        assert_eq!(
            (found.evidence[0].kind, &found.evidence[0].bytes[..]),
            (TeeKind::Nvidia, text.as_bytes())
        );
    }
    let payload = serde_json::to_string(&request).unwrap();
    let answer = format!(
        "{{\"signing_address\":\"0x00\",\"nvidia_payload\":{payload},\"intel_quote\":\"{}\"}}",
        HEXLOWER.encode(&quote(4, 0x81))
    );
    let kinds: Vec<TeeKind> = read(answer.as_bytes()).evidence.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [TeeKind::Nvidia, TeeKind::Tdx]);
}

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

/// A field of wire type 2.
fn proto_bytes(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(u64::from(number) << 3 | 2);
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn json_is_followed_so_deep_and_to_what_can_hold_anything() {
    let hex = HEXLOWER.encode(&report());
    let inside = |times: usize, open: &str, close: &str| {
        format!("{}\"{hex}\"{}", open.repeat(times), close.repeat(times))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let found = |times: usize| read(inside(times, open, close).as_bytes());
        assert_eq!([1, 16, 17].map(|times| found(times).evidence.len()), [1, 1, 0]);
        assert!(found(17).left_aside[0].reason.contains("too deep"));
    }
    // Of 32 characters something can be said, of 31 not.
    let said = |chars: usize| {
        let start = "\"-----BEGIN CERTIFICATE-----";
        let text = format!("[{start}{}\"]", "A".repeat(chars - start.len() - 1));
        let left = read(text.as_bytes()).left_aside;
        assert_eq!(left.len(), 1, "{left:?}");
        left[0].reason.contains("broken block")
    };
    assert_eq!([31, 32].map(said), [false, true]);
    let quoted = format!("{:?}", inside(1, "[", "]"));
    assert_eq!(read(format!("[{quoted}]").as_bytes()).evidence.len(), 1, "JSON in a text");
}

#[test]
fn endorsements_have_names_for_people() {
    let found = read(&pem("CERTIFICATE", ROOT).into_bytes());
    assert!(found.endorsements[0].from.contains("certificate"), "{:?}", found.endorsements[0]);
    assert_eq!(EndorsementKind::Ocsp.words(), "OCSP answer");
}

#[test]
fn repeated_words_are_left_out_and_there_are_not_too_many() {
    let broken = |n: usize| File {
        name: "f",
        bytes: if n.is_multiple_of(2) { b"\x30\x01" } else { b"\xff\xfe\xfd" },
        role: Role::Anything,
    };
    let files: Vec<File<'_>> = (0..MAX_LEFT_ASIDE + 3).map(broken).collect();
    assert_eq!(recognise(&files, None).left_aside.len(), MAX_LEFT_ASIDE);
}

/// A message inside so many others.
fn nested_proto(inner: &[u8], times: usize) -> Vec<u8> {
    (0..times).fold(inner.to_vec(), |inner, _| proto_bytes(1, &inner))
}

#[test]
fn protobuf_is_followed_so_deep_and_to_what_can_hold_anything() {
    let found = |times: usize| read(&nested_proto(&report(), times)).evidence.len();
    assert_eq!([1, 13, 14].map(found), [1, 1, 0]);
    // Of these bytes something can be said, if anybody looks. (A field of this number is no text.)
    let broken = |length: usize| {
        let mut text = b"-----BEGIN CERTIFICATE-----\n".to_vec();
        text.resize(length, b'A');
        let left = read(&proto_bytes(20, &text)).left_aside;
        assert_eq!(left.len(), 1, "{left:?}");
        left[0].reason.contains("broken block")
    };
    assert_eq!([63, 64].map(broken), [false, true]);
    let text = pem("CERTIFICATE", ROOT);
    assert_eq!(read(&proto_bytes(20, text.as_bytes())).endorsements.len(), 1);
    let other = format!("{{\"certificate\":{text:?}}}");
    assert!(read(&proto_bytes(20, other.as_bytes())).endorsements.is_empty());
}

#[test]
fn protobuf_is_opened_without_its_schema() {
    let expected = report();
    let oak = proto_bytes(1, &[vec![8, 1], proto_bytes(2, &expected)].concat());
    let endorsements = proto_bytes(2, &proto_bytes(1, &proto_bytes(1, ROOT)));
    let found = read(&[oak, endorsements].concat());
    assert_eq!((found.evidence.len(), found.endorsements.len()), (1, 1), "{found:?}");
    assert_eq!((&found.evidence[0].bytes, &found.endorsements[0].bytes[..]), (&expected, ROOT));

    let mut fields = Vec::new();
    let numbers: [(u8, std::ops::Range<usize>); 18] = [
        (1, 0..4),
        (2, 4..8),
        (3, 8..16),
        (6, 0x30..0x34),
        (7, 0x34..0x38),
        (8, 0x38..0x40),
        (9, 0x40..0x48),
        (10, 0x48..0x4c),
        (18, 0x180..0x188),
        (20, 0x1e0..0x1e8),
        (21, 0x1e8..0x1e9),
        (22, 0x1e9..0x1ea),
        (23, 0x1ea..0x1eb),
        (24, 0x1ec..0x1ed),
        (25, 0x1ed..0x1ee),
        (26, 0x1ee..0x1ef),
        (27, 0x1f0..0x1f8),
        (30, 0x1f8..0x200),
    ];
    let number = |range: std::ops::Range<usize>| {
        expected[range].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    for (field, range) in numbers {
        fields.extend(varint(u64::from(field) << 3));
        fields.extend(varint(number(range)));
    }
    fields.extend([varint(31 << 3), varint(number(0x200..0x208))].concat());
    // Family 0x88, model 0x89, stepping 0xa as the processor states them.
    let mut wanted = expected.clone();
    wanted[0x188..0x18b].copy_from_slice(&[0x1a, 0x11, 0x02]);
    fields.extend([varint(29 << 3), varint(0x00b1_0f12)].concat());
    for (field, range) in [
        (4, 0x10..0x20),
        (5, 0x20..0x30),
        (11, 0x50..0x90),
        (12, 0x90..0xc0),
        (13, 0xc0..0xe0),
        (14, 0xe0..0x110),
        (15, 0x110..0x140),
        (16, 0x140..0x160),
        (17, 0x160..0x180),
        (19, 0x1a0..0x1e0),
        (28, 0x2a0..0x4a0),
    ] {
        fields.extend(proto_bytes(field, &expected[range]));
    }
    let chain = proto_bytes(2, &proto_bytes(1, ROOT));
    let attestation = [proto_bytes(1, &fields), chain].concat();
    let found = read(&attestation);
    assert_eq!(found.evidence.len(), 1, "{found:?}");
    assert_eq!((&found.evidence[0].bytes, found.endorsements.len()), (&wanted, 1));
}

#[test]
fn what_is_nothing_known_is_said() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"hello", "text of 5 bytes"),
        (&[0xff, 0xfe, 0xfd], "no structure"),
        (b"{\"a\":1}", "text"),
        (b"<html></html>", "XML"),
        (b"one.two.three", "text of 13 bytes"),
        (b"eyJ said nobody.", "text of 16 bytes"),
        (b"eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2lnbmF0dXJl", "web token"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no structure"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA", "broken block"),
        (&[0x11, 0xe0, 1], "SPDM measurement request"),
        (&[0x84, 0x44, 0xa1, 0x01, 0x38, 0x22], "COSE"),
        (&[0xd2, 0x84, 0xff], "COSE"),
        (&[0xff, b'T', b'C', b'G', 0x80], "TPM quote alone"),
        (&[4, 0, 2, 0, 0x81, 0, 0, 0], "beginning of a TDX quote"),
    ] {
        let found = read(bytes);
        assert!(found.evidence.is_empty() && found.endorsements.is_empty());
        assert_eq!(found.left_aside.len(), 1, "{:?}", found.left_aside);
        assert!(found.left_aside[0].reason.contains(word), "{} / {word}", found.left_aside[0]);
    }
    let mut long = vec![0xff; 16 * 1024 * 1024];
    assert!(!read(&long).left_aside[0].reason.contains("at most"));
    long.push(0xff);
    assert!(read(&long).left_aside[0].reason.contains("at most"));
}

/// What stands encoded in a file counts with it, far beyond what a file may have.
#[test]
fn a_large_file_is_looked_into() {
    let large = BASE64.encode(&vec![0xff; 9 * 1024 * 1024]);
    let reason = &read(large.as_bytes()).left_aside[0].reason;
    assert!(!reason.contains("too much"), "{reason}");
}

#[test]
fn limits_hold() {
    let mut nested = report();
    for _ in 0..MAX_NESTED_ENCODINGS + 2 {
        nested = BASE64.encode(&nested).into_bytes();
    }
    let found = read(&nested);
    assert!(found.evidence.is_empty() && found.left_aside[0].reason.contains("nested"));
    let deep = format!("{}{}{}", "[".repeat(5000), "1", "]".repeat(5000));
    assert!(read(deep.as_bytes()).evidence.is_empty());
    let wide =
        format!("[{}1]", "[\"0000000000000000000000000000000000000000\"],".repeat(MAX_NODES));
    assert!(read(wide.as_bytes()).left_aside.len() <= MAX_LEFT_ASIDE);
    let hex = HEXLOWER.encode(&report());
    let many = format!("[{}\"\"]", format!("\"{hex}\",").repeat(MAX_EVIDENCE + 5));
    let found = read(many.as_bytes());
    assert_eq!(found.evidence.len(), MAX_EVIDENCE);
    assert!(found.left_aside[0].reason.contains("more than"));
    let files = vec![File { name: "f", bytes: b"x", role: Role::Anything }; MAX_FILES + 1];
    assert!(recognise(&files, None).left_aside.iter().any(|left| left.file == MAX_FILES));
}

#[test]
fn a_files_own_endorsements_come_first_and_each_once() {
    let hex = HEXLOWER.encode(ROOT);
    let own = format!("{{\"report\":\"{}\",\"c\":\"{hex}\"}}", HEXLOWER.encode(&report()));
    let mut other = ROOT.to_vec();
    *other.last_mut().unwrap() ^= 1;
    let file = |bytes| File { name: "f", bytes, role: Role::Anything };
    let found = recognise(&[file(&other), file(ROOT), file(own.as_bytes())], None);
    assert_eq!(found.endorsements.len(), 3);
    assert_eq!(found.endorsements_for(&found.evidence[0]), [ROOT, &other[..]]);
}

#[test]
fn truncated_and_altered_files_never_panic() {
    let document = azure_document();
    let files: [Vec<u8>; 5] = [
        report(),
        quote(4, 0x81),
        document.into_bytes(),
        proto_bytes(1, &proto_bytes(2, &report())),
        pem("CERTIFICATE", ROOT).into_bytes(),
    ];
    for file in files {
        let step = file.len() / 60 + 1;
        for cut in (0..file.len()).step_by(step) {
            let _ = read(&file[..cut]);
            let mut altered = file.clone();
            altered[cut] ^= 0x11;
            let _ = read(&altered);
        }
    }
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

/// Nothing is taken from these bytes, and what is said about them has this word in it.
fn assert_unknown(bytes: &[u8], word: &str) {
    let found = read(bytes);
    assert!(found.evidence.is_empty() && found.endorsements.is_empty(), "{found:?}");
    assert_eq!(found.left_aside.len(), 1, "{:?}", found.left_aside);
    assert!(found.left_aside[0].reason.contains(word), "{} / {word}", found.left_aside[0]);
}

#[test]
fn a_response_of_the_firmware_has_its_header() {
    let response = |header: &[u8]| {
        let mut header = header.to_vec();
        header.resize(32, 0);
        [header, report()].concat()
    };
    assert_eq!(evidence(&response(&[0, 0, 0, 0, 0xa0, 4])), [(TeeKind::Snp, report())]);
    // A status, another size, and something in what is reserved.
    assert_unknown(&response(&[1, 0, 0, 0, 0xa0, 4]), "no structure");
    assert_unknown(&response(&[0, 0, 0, 0, 0x9f, 4]), "no structure");
    assert_unknown(&response(&[0, 0, 0, 0, 0xa0, 4, 0, 0, 1]), "no structure");
}

#[test]
fn a_quote_is_told_by_version_type_and_vendor() {
    for (quote, what) in [
        (quote(4, 0x81), "file: TDX quote"),
        (quote(5, 0x81), "file: TDX quote"),
        (quote(3, 0), "file: SGX quote"),
        (quote(5, 0), "file: SGX quote"),
        (quote(3, 0x81), "file: quote of an unknown TEE"),
        (quote(4, 7), "file: quote of an unknown TEE"),
    ] {
        let found = read(&quote);
        assert_eq!(found.evidence.len(), 1, "{what}: {found:?}");
        assert_eq!((found.evidence[0].kind, &found.evidence[0].from[..]), (TeeKind::Tdx, what));
    }
    let of_another_vendor = |version, tee_type| {
        let mut quote = quote(version, tee_type);
        quote[12] ^= 1;
        quote
    };
    assert_eq!(evidence(&of_another_vendor(4, 0x81)).len(), 1);
    for (version, tee_type) in [(3, 0), (5, 0), (3, 0x81), (4, 7)] {
        assert_unknown(&of_another_vendor(version, tee_type), "no structure");
    }
}

#[test]
fn a_quote_has_its_whole_header() {
    assert_unknown(&quote(4, 0x81)[..47], "the beginning of a TDX quote");
    assert_eq!(evidence(&quote(4, 0x81)[..48]), [(TeeKind::Tdx, quote(4, 0x81)[..48].to_vec())]);
}

#[test]
fn a_request_with_another_response_is_no_device_report() {
    let mut other = device();
    other[38] = 0x61;
    assert_unknown(&other, "no structure");
    assert_unknown(&device()[..38], "the beginning of an SPDM measurement request");
    assert_eq!(evidence(&device()[..39]).len(), 1);
}

#[test]
fn a_paravisors_report_is_of_the_hardware_it_names() {
    for (hardware, kind) in [(2, TeeKind::AzureSnp), (4, TeeKind::AzureTdx)] {
        let raw = paravisor_report(hardware);
        assert_eq!(evidence(&raw), [(kind, raw)]);
    }
    assert_unknown(&paravisor_report(3), "of no known hardware");
    // It is opened for the report inside only where that is asked for.
    let opened = read_as(&paravisor_report(2), Role::Anything, Some(TeeKind::Snp)).evidence;
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].kind, &opened[0].bytes), (TeeKind::Snp, &report()));
}

#[test]
fn a_der_structure_is_an_ocsp_answer_only_with_a_status() {
    // An INTEGER, a status that does not exist, and a status with something else behind it.
    for other in [&[0x30, 3, 2, 1, 5][..], &[0x30, 3, 0x0a, 1, 7], &[0x30, 5, 0x0a, 1, 0, 5, 0]] {
        assert_unknown(other, "a DER structure that is unusable");
    }
}

#[test]
fn der_structures_end_where_their_lengths_say() {
    let answer = |header: &[u8], length: usize| {
        let mut content = vec![0x0a, 1, 0, 0xa0];
        content.resize(length, 0xaa);
        [header, &content].concat()
    };
    let answers = [
        answer(&[0x30, 0x7f], 0x7f),
        answer(&[0x30, 0x81, 0xc8], 0xc8),
        answer(&[0x30, 0x82, 0x01, 0x23], 0x123),
    ];
    let found = read(&answers.concat());
    assert!(found.left_aside.is_empty(), "{:?}", found.left_aside);
    let found: Vec<_> = found.endorsements.iter().map(|e| (e.kind, &e.bytes)).collect();
    assert_eq!(found, answers.each_ref().map(|bytes| (EndorsementKind::Ocsp, bytes)));
}

/// A CBOR string with a length of two bytes; 0x59 begins bytes, 0x79 begins text.
fn cbor_string(first: u8, content: &[u8]) -> Vec<u8> {
    [&[first][..], &(content.len() as u16).to_be_bytes(), content].concat()
}

#[test]
fn what_stands_side_by_side_is_found_and_nothing_else_said() {
    let hex = HEXLOWER.encode(&report());
    let string = cbor_string(0x59, &report());
    let unknown = cbor_string(0x59, &[0xff; 64]);
    for (bytes, count) in [
        (format!("[\"{hex}\",\"{hex}\"]").into_bytes(), 2),
        (format!("{{\"a\":\"{hex}\",\"b\":\"{hex}\"}}").into_bytes(), 2),
        ([&[0x83, 1][..], &string, &string].concat(), 2),
        ([&[0x83, 1][..], &string, &unknown].concat(), 1),
        ([&[0x83, 1][..], &unknown, &string].concat(), 1),
    ] {
        let found = read(&bytes);
        assert_eq!(found.evidence.len(), count, "{:?}", found.left_aside);
        assert!(found.left_aside.is_empty(), "{:?}", found.left_aside);
    }
    let found = read(&[ROOT, ROOT].concat());
    assert_eq!(found.endorsements.len(), 2);
    assert!(found.left_aside.is_empty(), "{:?}", found.left_aside);
}

#[test]
fn cbor_has_text_and_lengths_that_are_left_open() {
    let hex = HEXLOWER.encode(&report());
    let bytes = cbor_string(0x59, &report());
    let text = cbor_string(0x79, hex.as_bytes());
    for (name, cbor) in [
        ("text", [&[0x83, 1, 2][..], &text].concat()),
        ("array", [&[0x9f][..], &bytes, &[0xff]].concat()),
        ("chunked bytes", [&[0x5f][..], &bytes, &[0xff]].concat()),
        ("chunked text", [&[0x7f][..], &text, &[0xff]].concat()),
        ("behind a break", [&[0x9f, 1, 0xff][..], &bytes].concat()),
    ] {
        assert_eq!(evidence(&cbor), [(TeeKind::Snp, report())], "{name}");
    }
}

#[test]
fn a_list_of_events_names_registers_and_digests() {
    let quoted = HEXLOWER.encode(&quote(4, 0x81));
    let event = format!("[{{\"index\":0,\"digests\":[],\"note\":\"{quoted}\"}}]");
    let found = read(event.as_bytes());
    assert_eq!((found.evidence.len(), found.endorsements.len()), (0, 1), "{found:?}");
    for member in ["index", "digest"] {
        let list = format!("[{{\"{member}\":0,\"quote\":\"{quoted}\"}}]");
        let found = read(list.as_bytes());
        assert_eq!((found.evidence.len(), found.endorsements.len()), (1, 0), "{member}");
    }
}

#[test]
fn a_tds_quote_without_a_tpms_is_no_azure_document() {
    let quoted = HEXLOWER.encode(&quote(4, 0x81));
    for tpm in ["", ",\"tpm_quote\":{\"message\":\"00\"}"] {
        let text = format!("{{\"td_quote\":\"{quoted}\"{tpm}}}");
        assert_eq!(evidence(text.as_bytes()), [(TeeKind::Tdx, quote(4, 0x81))], "{tpm}");
    }
    let tpm = "\"tpm_quote\":{\"message\":\"00\",\"pcrs\":[]}";
    let text = format!("{{\"td_quote\":\"{quoted}\",{tpm}}}");
    assert_eq!(evidence(text.as_bytes()), [(TeeKind::AzureTdx, text.into_bytes())]);
}

#[test]
fn a_csv_document_has_a_report_and_hygons_chain_or_serial_number() {
    let quoted = HEXLOWER.encode(&quote(4, 0x81));
    let report = format!("\"attestation_report\":{{\"data\":\"{quoted}\"}}");
    let serial_number = "\"serial_number\":\"00\"";
    let chain = "\"cert_chain\":{\"pek\":{}}";
    for beside in [serial_number, chain] {
        let text = format!("{{{report},{beside}}}");
        assert_eq!(evidence(text.as_bytes()), [(TeeKind::Csv, text.into_bytes())], "{beside}");
    }
    // Either half alone is looked into.
    let other = format!("\"quote\":\"{quoted}\"");
    for half in [
        format!("{{{report}}}"),
        format!("{{{report},\"cert_chain\":{{}}}}"),
        format!("{{{other},{serial_number}}}"),
        format!("{{{other},{chain}}}"),
    ] {
        assert_eq!(evidence(half.as_bytes()), [(TeeKind::Tdx, quote(4, 0x81))], "{half:.40}");
    }
}

/// JSON written out in a text is a wrapping like others: named in the path, and counted.
#[test]
fn json_in_a_text_is_an_encoding() {
    let inner = format!("{{\"quote\":\"{}\"}}", HEXLOWER.encode(&quote(4, 0x81)));
    let text = format!("{{\"evidence\":{}}}", serde_json::to_string(&inner).unwrap());
    let from = &read(text.as_bytes()).evidence[0].from;
    assert_eq!(from, "file › evidence › text › quote › hex: TDX quote");
    // Quoted eight times, it is in seven texts and in hex; the file's own quotes are none.
    let quoted = |times: usize| {
        let hex = HEXLOWER.encode(&report());
        let text = (0..times).fold(hex, |text, _| serde_json::to_string(&text).unwrap());
        read(text.as_bytes())
    };
    assert_eq!([8, 9].map(|times| quoted(times).evidence.len()), [1, 0]);
    assert!(quoted(9).left_aside[0].reason.contains("nested"));
}

#[test]
fn so_many_members_of_a_file_are_looked_at() {
    // The list, these elements, and the report.
    let found = |fillers: usize| {
        let filler = format!("\"{}\",", "!".repeat(30)).repeat(fillers);
        read(format!("[{filler}\"{}\"]", HEXLOWER.encode(&report())).as_bytes())
    };
    assert_eq!(found(99_998).evidence.len(), 1);
    let one_more = found(99_999);
    assert!(one_more.evidence.is_empty());
    assert!(one_more.left_aside[0].reason.contains("too wide"), "{:?}", one_more.left_aside);
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
