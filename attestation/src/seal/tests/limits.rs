//! The exact edges: what is still taken, and what is one byte too long.

use bulla_wire::http::{MAX_CHUNK_BYTES, MAX_SEALED_REQUEST_BYTES};
use bulla_wire::receipt::MAX_RECEIPT_BYTES;

use super::super::answer::AnswerError;
use super::super::config::{ConfigError, MAX_CONFIG_BYTES};
use super::super::frame::{ChunkReader, FrameError, MAX_SEALED_CHUNK_BYTES, write_varint};
use super::super::suite::TAG_BYTES;
use super::*;

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(value, &mut out);
    out
}

/// A parser that has read the head of an answer.
fn after_head() -> AnswerParser {
    let mut parser = AnswerParser::default();
    let head = AnswerEvent::Head { status: 200, headers: Vec::new() };
    assert!(parser.push(&AnswerWriter::head(200, &[])) == Ok(vec![head]));
    parser
}

fn error<T>(result: Result<T, AnswerError>) -> Option<AnswerError> {
    result.err()
}

fn too_long(what: &'static str) -> Option<AnswerError> {
    Some(AnswerError::TooLong { what })
}

#[test]
fn a_body_comes_out_as_it_went_in() {
    let body = after_head().push(&AnswerWriter::body(b"three"));
    assert!(body == Ok(vec![AnswerEvent::Body(b"three".to_vec())]));
    assert!(AnswerWriter::body(b"").is_empty());
}

#[test]
fn the_end_of_an_answer_is_padded_to_its_bucket() {
    let plain = AnswerWriter::end(b"receipt", 0);
    let padded = AnswerWriter::end(b"receipt", 256);
    assert_eq!(padded.len(), 256);
    assert!(padded.starts_with(&plain) && padded[plain.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_head_or_trailer_ends_within_its_limit() {
    const LIMIT: usize = 16 * 1024;
    assert_eq!(LIMIT, MAX_ANSWER_HEAD_BYTES);
    // A field that is announced as long as may be and never ends.
    let field = [&[1, b'a'][..], &varint(LIMIT as u64)].concat();
    let head = [varint(3), varint(200), field.clone()].concat();
    let filled = |start: &[u8], length: usize| {
        let mut bytes = start.to_vec();
        bytes.resize(length, b'a');
        bytes
    };
    let mut parser = AnswerParser::default();
    assert!(parser.push(&filled(&head, LIMIT)) == Ok(Vec::new()));
    assert_eq!(error(parser.push(b"a")), too_long("head"));
    let mut parser = after_head();
    assert!(parser.push(&[&[0], &filled(&field, LIMIT)[..]].concat()) == Ok(Vec::new()));
    assert_eq!(error(parser.push(b"a")), too_long("trailer"));
    let longer = [&[0, 1, b'a'][..], &varint(LIMIT as u64 + 1)].concat();
    assert_eq!(error(after_head().push(&longer)), too_long("field"));
}

#[test]
fn a_piece_and_a_receipt_have_their_limits() {
    assert!(after_head().push(&varint(1 << 20)) == Ok(Vec::new()));
    assert_eq!(error(after_head().push(&varint((1 << 20) + 1))), too_long("content chunk"));
    let end = |bytes: usize| after_head().push(&AnswerWriter::end(&vec![7; bytes], 0));
    assert!(end(MAX_RECEIPT_BYTES) == Ok(Vec::new()));
    assert_eq!(error(end(MAX_RECEIPT_BYTES + 1)), too_long("receipt"));
}

#[test]
fn a_key_configuration_is_as_long_as_it_says_and_no_longer_than_may_be() {
    let whole = key(Kem::X25519, Aead::Aes128Gcm).configuration().to_vec();
    let start = whole.len() - 10;
    let with = |suites_bytes: u16, bytes: usize| {
        let mut config = [&whole[..start], &suites_bytes.to_be_bytes()].concat();
        config.extend_from_slice(&whole[start + 2..]);
        config.resize(bytes, 0);
        KeyConfiguration::parse(&config).err()
    };
    let malformed = |what| Some(ConfigError::Malformed { what });
    assert_eq!(with(8, whole.len()), None);
    for (said, there) in [(4, 8), (12, 8), (0, 0), (6, 6)] {
        assert_eq!(with(said, start + 2 + there), malformed("suites length"), "{said} {there}");
    }
    // No configuration has just that length: the suites come in fours.
    assert_eq!(with(8, MAX_CONFIG_BYTES), malformed("suites length"));
    let fours = (MAX_CONFIG_BYTES + 1 - start - 2) as u16;
    assert_eq!(fours % 4, 0);
    assert_eq!(with(fours, MAX_CONFIG_BYTES + 1), malformed("too long"));
    assert_eq!(with(fours - 4, MAX_CONFIG_BYTES - 3), None);
}

#[test]
fn a_chunk_comes_out_as_soon_as_it_is_whole() {
    let mut reader = ChunkReader::default();
    reader.push(&[3, 1, 2]).unwrap();
    assert_eq!(reader.next_chunk(), Ok(None));
    reader.push(&[3]).unwrap();
    assert_eq!(reader.next_chunk(), Ok(Some(vec![1, 2, 3])));
}

#[test]
fn a_chunk_has_its_limit() {
    let mut reader = ChunkReader::default();
    reader.push(&varint(MAX_SEALED_CHUNK_BYTES as u64)).unwrap();
    assert_eq!(reader.next_chunk(), Ok(None));
    let got_bytes = MAX_SEALED_CHUNK_BYTES as u64 + 1;
    let mut reader = ChunkReader::default();
    reader.push(&varint(got_bytes)).unwrap();
    assert_eq!(reader.next_chunk(), Err(FrameError::TooLong { got_bytes }));
    // The final one says no length.
    let mut reader = ChunkReader::default();
    reader.push(&[0]).unwrap();
    assert_eq!(reader.next_chunk(), Ok(None));
    assert_eq!(reader.push(&vec![7; MAX_SEALED_CHUNK_BYTES]), Ok(()));
    assert_eq!(reader.push(&[7]), Err(FrameError::TooLong { got_bytes }));
}

/// Every full chunk adds its tag and a length of four bytes, the final one its tag and a zero.
#[test]
fn a_sealed_request_has_its_limit() {
    let key = key(Kem::X25519, Aead::Aes128Gcm);
    let frame = request(1 << 22).to_bhttp().len() - (1 << 22);
    let full_chunks = 255;
    let fixed = 7 + 32 + 1 + TAG_BYTES;
    let most = MAX_SEALED_REQUEST_BYTES - fixed - full_chunks * (TAG_BYTES + 4);
    assert_eq!((most - 1) / MAX_CHUNK_BYTES, full_chunks);
    let sealed = |body: usize| {
        let sealed = seal(key.configuration(), &request(body), Padding::None, &mut rng());
        sealed.map(|(sealed, _)| sealed.bytes().len())
    };
    assert_eq!(sealed(most - frame), Ok(MAX_SEALED_REQUEST_BYTES));
    let got_bytes = MAX_SEALED_REQUEST_BYTES + 1;
    assert_eq!(sealed(most - frame + 1), Err(SealError::TooLong { got_bytes }));
    let open = |bytes: usize| key.open(&vec![0; bytes], &mut rng()).err();
    assert_eq!(open(MAX_SEALED_REQUEST_BYTES), Some(UnsealError::OtherKey));
    assert_eq!(open(got_bytes), Some(UnsealError::TooLong { got_bytes }));
}

#[test]
fn an_inner_request_has_so_many_headers() {
    let with = |count: usize| {
        let mut inner = request(1);
        inner.headers = (0..count).map(|n| (format!("x-{n}"), format!("{n}"))).collect();
        InnerRequest::from_bhttp(&inner.to_bhttp())
    };
    let most = with(MAX_INNER_HEADERS).ok().unwrap();
    assert_eq!((most.header("x-7"), most.header("x-99")), (Some("7"), None));
    let got = MAX_INNER_HEADERS + 1;
    assert_eq!(with(got).err(), Some(InnerError::TooManyHeaders { got }));
}

/// The last piece is one chunk where it fits; a full chunk is followed by an empty final one.
#[test]
fn the_last_of_an_answer_is_cut_into_full_chunks_and_the_rest() {
    let key = key(Kem::X25519, Aead::Aes128Gcm);
    let (sealed, _) = seal(key.configuration(), &request(10), Padding::None, &mut rng()).unwrap();
    let finished = |bytes: usize| {
        let mut answer = key.open(sealed.bytes(), &mut rng()).unwrap().answer;
        answer.seal(b"");
        answer.finish(&vec![b'x'; bytes]).len()
    };
    let full = 4 + MAX_CHUNK_BYTES + TAG_BYTES;
    assert_eq!(finished(0), 1 + TAG_BYTES);
    assert_eq!(finished(300), 1 + 300 + TAG_BYTES);
    assert_eq!(finished(MAX_CHUNK_BYTES), full + 1 + TAG_BYTES);
    assert_eq!(finished(2 * MAX_CHUNK_BYTES + 5), 2 * full + 1 + 5 + TAG_BYTES);
}
