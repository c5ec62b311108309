//! What has no text around it: reports, quotes, device measurements, DER.

use super::*;

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
