use super::*;

/// A quote of the given shape, every field zero but those that shape it.
fn quote(version: u16, body: &[u8], descriptor: &[u8], inner_kind: u16, padding: usize) -> Vec<u8> {
    quote_with(&[8, 9], version, body, descriptor, inner_kind, padding)
}

/// The same with these authentication data of the quoting enclave.
fn quote_with(
    auth_data: &[u8],
    version: u16,
    body: &[u8],
    descriptor: &[u8],
    inner_kind: u16,
    padding: usize,
) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..2].copy_from_slice(&version.to_le_bytes());
    bytes[2] = 2;
    bytes[4] = 0x81;
    bytes.extend(descriptor);
    bytes.extend(body);
    let chain = b"chain";
    let mut inner = vec![7; ENCLAVE_REPORT_BYTES + 64];
    inner.extend((auth_data.len() as u16).to_le_bytes());
    inner.extend(auth_data);
    inner.extend(inner_kind.to_le_bytes());
    inner.extend((chain.len() as u32).to_le_bytes());
    inner.extend(chain);
    let mut data = vec![5; 128];
    data.extend(6_u16.to_le_bytes());
    data.extend((inner.len() as u32).to_le_bytes());
    data.extend(inner);
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.extend(vec![0; padding]);
    bytes
}

fn version_4() -> Vec<u8> {
    quote(4, &[1; 584], &[], 5, 3)
}

fn descriptor(kind: u16, bytes: u32) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &bytes.to_le_bytes()].concat()
}

#[test]
fn takes_all_three_shapes_apart() {
    let older = quote(5, &[1; 584], &descriptor(2, 584), 5, 0);
    let newer = quote(5, &[1; 648], &descriptor(3, 648), 5, 100);
    for (bytes, kind, signed) in [
        (version_4(), BodyKind::Td10, 48 + 584),
        (older, BodyKind::Td10, 48 + 6 + 584),
        (newer, BodyKind::Td15, 48 + 6 + 648),
    ] {
        let quote = Quote::parse(&bytes).unwrap();
        assert_eq!((quote.body.kind, quote.signed.len()), (kind, signed));
        assert_eq!((quote.qe_auth_data, quote.certification.kind), (&[8, 9][..], 5));
        assert_eq!(quote.certification.certificates(), Some(&b"chain"[..]));
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = version_4();
    let whole = bytes.len() - 3;
    for length in 0..whole {
        assert!(Quote::parse(&bytes[..length]).is_err(), "{length}");
    }
    assert!(Quote::parse(&bytes[..whole]).is_ok());
}

#[test]
fn sgx_quotes_are_called_so() {
    let mut third = version_4();
    third[0] = 3;
    let mut fourth = version_4();
    fourth[4] = 0;
    let fifth = quote(5, &[1; 384], &descriptor(1, 384), 5, 0);
    for (bytes, version) in [(third, 3), (fourth, 4), (fifth, 5)] {
        assert_eq!(Quote::parse(&bytes), Err(QuoteError::Sgx { version }));
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let mut sixth = version_4();
    sixth[0] = 6;
    assert_eq!(Quote::parse(&sixth), Err(QuoteError::Version { got: 6 }));
    let mut other = version_4();
    other[4] = 0x82;
    assert_eq!(Quote::parse(&other), Err(QuoteError::TeeType { got: 0x82 }));
    for (kind, bytes) in [(4, 829), (3, 584), (2, 648), (0, 584)] {
        let body = quote(5, &[1; 900], &descriptor(kind, bytes), 5, 0);
        assert_eq!(Quote::parse(&body), Err(QuoteError::Body { kind, bytes }));
    }
    let mut unnested = version_4();
    unnested[48 + 584 + 4 + 128] = 5;
    assert_eq!(Quote::parse(&unnested), Err(QuoteError::Certification { got: 5 }));
    let ppid = quote(4, &[1; 584], &[], 3, 0);
    assert_eq!(Quote::parse(&ppid).unwrap().certification.certificates(), None);
}

#[test]
fn lengths_that_lie_are_refused() {
    let bytes = version_4();
    let signature_data = 48 + 584;
    let outer = signature_data + 4 + 128 + 2;
    let auth = outer + 4 + ENCLAVE_REPORT_BYTES + 64;
    for at in [signature_data, outer, auth, auth + 2 + 2 + 2] {
        for change in [1, 0xff] {
            let mut lying = bytes.clone();
            lying[at] = lying[at].wrapping_add(change);
            assert!(Quote::parse(&lying).is_err(), "length at {at} changed by {change}");
            let mut huge = bytes.clone();
            huge[at + 1] = 0xff;
            assert!(Quote::parse(&huge).is_err(), "length at {at} made huge");
        }
    }
}

#[test]
fn authentication_data_have_their_limit() {
    let with = |bytes: usize| {
        let quote = quote_with(&vec![7; bytes], 4, &[1; 584], &[], 5, 0);
        Quote::parse(&quote).map(|quote| quote.qe_auth_data.len())
    };
    let part = "QE authentication data";
    assert_eq!(with(1024), Ok(1024));
    assert_eq!(with(1025), Err(QuoteError::PartTooLarge { part, got: 1025, maximum: 1024 }));
}

#[test]
fn only_zeros_may_follow() {
    let mut bytes = version_4();
    let last = bytes.len() - 1;
    bytes[last] = 1;
    assert_eq!(Quote::parse(&bytes), Err(QuoteError::Padding { offset: last }));
    let mut long = version_4();
    long.resize(128 * 1024, 0);
    assert!(Quote::parse(&long).is_ok());
    long.push(0);
    assert_eq!(Quote::parse(&long), Err(QuoteError::TooLarge { got: long.len() }));
}
