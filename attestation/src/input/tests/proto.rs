//! Messages of protocol buffers, read without their schema.

use super::*;

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
