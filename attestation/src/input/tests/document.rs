//! JSON that is evidence as a whole, and what is taken out of it.

use super::*;

#[test]
fn collateral_keeps_its_exact_text() {
    let tcb = "{ \"tcbInfo\" :\t{\"fmspc\":\"00\",  \"b\":1.0}, \"signature\":\"00\" }";
    let text = format!("{{\"quote\":\"{}\",\"c\":{tcb}}}", HEXLOWER.encode(&quote(4, 0x81)));
    let found = read(text.as_bytes());
    assert_eq!(found.evidence.len(), 1);
    assert_eq!(found.endorsements[0].bytes, tcb.as_bytes());
}

pub fn azure_document() -> String {
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
