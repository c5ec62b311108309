//! The same bytes however they are wrapped: hex, base64, PEM, JSON, CBOR.

use super::*;

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
