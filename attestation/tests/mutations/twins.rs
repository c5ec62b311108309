//! ECDSA's own malleability: where (r, s) is valid, so is (r, n - s).

use std::ops::Range;

use bulla_attestation::tee::TeeKind;

/// Orders of the groups, big-endian hex.
const ORDER_P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ORDER_P384: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                          c7634d81f4372ddf581a0db248b0a77aecec196accc52973";

/// Where the values s of this evidence stand: report or quote signature, then the quoting enclave's
/// report.
pub fn places(kind: TeeKind, evidence: &[u8]) -> Vec<Range<usize>> {
    let from = |starts: &[usize], bytes| starts.iter().map(|at| *at..at + bytes).collect();
    match kind {
        TeeKind::Snp => from(&[0x2e8], 48),
        TeeKind::Tdx => {
            // Header 48; a body of 584 in v4, told with type and size (6) in v5; length 4; r 32.
            // After s: key 64, type 2, size 4, report 384, r 32.
            let told = |at: usize| usize::from(evidence[at]) + 256 * usize::from(evidence[at + 1]);
            let body = if evidence[0] == 5 { 6 + told(50) } else { 584 };
            let s = 48 + body + 4 + 32;
            from(&[s, s + 518], 32)
        }
        // A report as the devices of the evidence folder make it: s ends it.
        TeeKind::Nvidia => from(&[evidence.len() - 48], 48),
        _ => Vec::new(),
    }
}

/// `evidence` with the value at `place` taken from the order of its group.
pub fn twin(kind: TeeKind, evidence: &[u8], place: Range<usize>) -> Vec<u8> {
    let order = if place.len() == 32 { ORDER_P256 } else { ORDER_P384 };
    let order = data_encoding::HEXLOWER.decode(order.as_bytes()).unwrap();
    let mut changed = evidence.to_vec();
    let s = &mut changed[place];
    if kind == TeeKind::Snp {
        s.reverse();
    }
    let mut borrow = 0;
    for at in (0..s.len()).rev() {
        let digit = i16::from(order[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        s[at] = digit.rem_euclid(256) as u8;
    }
    if kind == TeeKind::Snp {
        s.reverse();
    }
    changed
}
