//! Evidence bundles (docs/spec/evidence-bundle.md): evidence and endorsements side by side. What
//! each is, is found by its structure like everywhere; the kind beside it is a word for people.

use bulla_wire::evidence_bundle::EvidenceBundle;

use super::reader::Reader;

/// Whether `bytes` begin like a bundle.
pub(super) fn is_likely(bytes: &[u8]) -> bool {
    EvidenceBundle::is_likely(bytes)
}

/// Looks at what is in a bundle. A bundle that does not read as a whole is not looked into: it has
/// one encoding, and what departs from it was changed by somebody.
pub(super) fn look(reader: &mut Reader<'_>, bytes: &[u8]) -> bool {
    let bundle = match EvidenceBundle::from_slice(bytes) {
        Ok(bundle) => bundle,
        Err(error) => return reader.leave_aside(format!("like an evidence bundle, but {error}")),
    };
    for piece in &bundle.evidence {
        let place = format!("bundled {}", piece.kind);
        reader.inside(&place, |reader| {
            reader.look(&piece.bytes.0) || reader.leave_aside("no evidence known here")
        });
    }
    for endorsement in &bundle.endorsements {
        reader.inside("bundled endorsement", |reader| {
            reader.look(&endorsement.0) || reader.leave_aside("no endorsement known here")
        });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{File, Recognised, Role, recognise};
    use crate::tee::TeeKind;
    use crate::tee::snp::report::REPORT_BYTES;
    use bulla_wire::cbor::Bytes;
    use bulla_wire::evidence_bundle::Piece;
    use bulla_wire::units::UnixSeconds;

    const ARK: &[u8] = include_bytes!("../tee/snp/roots/ark-milan.der");

    fn report() -> Vec<u8> {
        let mut report = vec![0; REPORT_BYTES];
        report[0] = 3;
        report[0x34] = 1;
        report
    }

    fn bundle(kind: &str, evidence: &[u8]) -> Vec<u8> {
        let bytes = Bytes(evidence.to_vec());
        let piece = Piece { kind: kind.to_owned(), bytes };
        EvidenceBundle::new(UnixSeconds(1), vec![piece], [ARK.to_vec()]).to_vec().unwrap()
    }

    fn found(bytes: &[u8], role: Role) -> Recognised {
        recognise(&[File { name: "saved.bundle", bytes, role }], None)
    }

    #[test]
    fn evidence_and_endorsements_come_out_of_a_bundle() {
        let bytes = bundle("snp", &report());
        for bytes in [bytes.clone(), data_encoding::BASE64.encode(&bytes).into_bytes()] {
            let found = found(&bytes, Role::Anything);
            assert_eq!(found.evidence[0].kind, TeeKind::Snp);
            assert_eq!(found.evidence[0].bytes, report());
            assert_eq!(found.endorsements[0].bytes, ARK);
            assert!(found.left_aside.is_empty(), "{:?}", found.left_aside);
        }
        let only = found(&bytes, Role::Endorsement);
        assert_eq!((only.evidence.len(), only.endorsements.len()), (0, 1));
    }

    #[test]
    fn a_report_of_a_service_is_looked_into() {
        let quoted = data_encoding::HEXLOWER.encode(&report());
        let document = format!("{{\"attestation\":{{\"evidence\":{{\"report\":\"{quoted}\"}}}}}}");
        let found = found(&bundle("aci/1", document.as_bytes()), Role::Anything);
        assert_eq!(found.evidence[0].bytes, report());
    }

    #[test]
    fn a_changed_bundle_is_not_looked_into() {
        let mut bytes = bundle("snp", &report());
        bytes.push(0);
        let found = found(&bytes, Role::Anything);
        assert!(found.evidence.is_empty() && found.endorsements.is_empty());
        assert!(found.left_aside[0].reason.contains("bundle"), "{:?}", found.left_aside);
    }

    #[test]
    fn what_is_unknown_inside_is_said() {
        let found = found(
            &bundle("tpm", b"no evidence of anything, in a length that is looked at"),
            Role::Anything,
        );
        assert!(found.evidence.is_empty());
        assert_eq!(found.left_aside.len(), 1, "{:?}", found.left_aside);
    }
}
