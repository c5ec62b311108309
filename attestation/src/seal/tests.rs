//! Both halves together, and against an implementation that is not ours.

mod limits;

use bulla_wire::http::MAX_CHUNK_BYTES;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::request::seal;
use super::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([5; 32])
}

fn key(kem: Kem, aead: Aead) -> SealingKey {
    SealingKey::generate(1, kem, aead, &mut rng())
}

fn request(body: usize) -> InnerRequest {
    InnerRequest {
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: vec![b'x'; body],
    }
}

const SUITES: [(Kem, Aead); 4] = [
    (Kem::XWing, Aead::Aes128Gcm),
    (Kem::XWing, Aead::ChaCha20Poly1305),
    (Kem::X25519, Aead::Aes128Gcm),
    (Kem::X25519, Aead::ChaCha20Poly1305),
];

/// The plain answer and its sealed pieces.
fn answer(mut sealer: AnswerSealer, receipt: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![sealer.seal(&AnswerWriter::head(200, &[("content-type", "text/plain")]))];
    pieces.push(sealer.seal(&AnswerWriter::body(b"hello ")));
    pieces.push(sealer.seal(&AnswerWriter::body(&[b'w'; MAX_CHUNK_BYTES + 1])));
    pieces.push(sealer.finish(&AnswerWriter::end(receipt, 256)));
    pieces
}

fn open_all(
    opener: &mut AnswerOpener,
    bytes: &[u8],
    step: usize,
) -> Result<Vec<AnswerEvent>, OpenError> {
    let mut events = Vec::new();
    for piece in bytes.chunks(step) {
        events.extend(opener.push(piece)?);
    }
    events.extend(opener.finish()?);
    Ok(events)
}

#[test]
fn request_and_answer_travel_in_every_suite() {
    for (kem, aead) in SUITES {
        let key = key(kem, aead);
        let (sealed, mut opener) =
            seal(key.configuration(), &request(40_000), Padding::default(), &mut rng()).unwrap();
        let opened = key.open(sealed.bytes(), &mut rng()).unwrap();
        assert!(opened.request == request(40_000));
        let bytes = answer(opened.answer, b"receipt").concat();
        for step in [1, 7, bytes.len()] {
            opener.restart();
            let events = open_all(&mut opener, &bytes, step).unwrap();
            assert!(matches!(&events[0], AnswerEvent::Head { status: 200, .. }));
            assert!(events.last() == Some(&AnswerEvent::Receipt(b"receipt".to_vec())));
        }
    }
}

#[test]
fn padded_requests_of_different_length_look_alike() {
    let key = key(Kem::XWing, Aead::Aes128Gcm);
    let sizes = [1usize, 500, 1500].map(|n| {
        let (sealed, _) =
            seal(key.configuration(), &request(n), Padding::default(), &mut rng()).unwrap();
        sealed.bytes().len()
    });
    assert_eq!(sizes[0], sizes[1]);
    assert_eq!(sizes[1], sizes[2]);
}

#[test]
fn refuses_any_cut_of_request_or_answer() {
    let key = key(Kem::X25519, Aead::ChaCha20Poly1305);
    let (sealed, mut opener) =
        seal(key.configuration(), &request(20_000), Padding::None, &mut rng()).unwrap();
    for cut in (0..sealed.bytes().len()).step_by(97) {
        assert!(key.open(&sealed.bytes()[..cut], &mut rng()).is_err(), "cut at {cut}");
    }
    let opened = key.open(sealed.bytes(), &mut rng()).unwrap();
    let bytes = answer(opened.answer, b"receipt").concat();
    for cut in (0..bytes.len()).step_by(101).chain([bytes.len() - 1]) {
        opener.restart();
        assert!(open_all(&mut opener, &bytes[..cut], 64).is_err(), "cut at {cut}");
    }
}

#[test]
fn an_answer_cut_at_a_chunk_boundary_is_truncated_not_short() {
    let key = key(Kem::X25519, Aead::Aes128Gcm);
    let (sealed, mut opener) =
        seal(key.configuration(), &request(10), Padding::None, &mut rng()).unwrap();
    let pieces = answer(key.open(sealed.bytes(), &mut rng()).unwrap().answer, b"receipt");
    let cut = pieces[..3].concat();
    assert!(matches!(open_all(&mut opener, &cut, 64), Err(OpenError::Truncated)));
}

#[test]
fn refuses_reordered_repeated_and_altered_chunks() {
    let key = key(Kem::X25519, Aead::Aes128Gcm);
    let (sealed, mut opener) =
        seal(key.configuration(), &request(10), Padding::None, &mut rng()).unwrap();
    let pieces = answer(key.open(sealed.bytes(), &mut rng()).unwrap().answer, b"receipt");
    let orders: [&[usize]; 3] = [&[0, 2, 1, 3], &[0, 1, 1, 2, 3], &[0, 1, 3]];
    for order in orders {
        let bytes: Vec<u8> = order.iter().flat_map(|i| pieces[*i].clone()).collect();
        opener.restart();
        assert!(open_all(&mut opener, &bytes, 64).is_err(), "{order:?}");
    }
    let whole = pieces.concat();
    for at in (0..whole.len()).step_by(53) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        opener.restart();
        assert!(open_all(&mut opener, &bytes, 4096).is_err(), "byte {at}");
    }
}

#[test]
fn refuses_a_request_sealed_to_another_key() {
    let ours = key(Kem::XWing, Aead::Aes128Gcm);
    let theirs =
        SealingKey::generate(1, Kem::XWing, Aead::Aes128Gcm, &mut ChaCha20Rng::from_seed([6; 32]));
    let (sealed, _) =
        seal(theirs.configuration(), &request(10), Padding::None, &mut rng()).unwrap();
    assert!(matches!(ours.open(sealed.bytes(), &mut rng()), Err(UnsealError::Decrypt)));
}

#[test]
fn refuses_non_zero_padding() {
    let mut bytes = request(3).to_bhttp();
    bytes.extend_from_slice(&[0, 0]);
    assert!(InnerRequest::from_bhttp(&bytes).is_ok());
    bytes.push(1);
    assert_eq!(InnerRequest::from_bhttp(&bytes).err(), Some(InnerError::Padding));
}

#[test]
fn an_answer_without_receipt_is_refused() {
    let mut parser = AnswerParser::default();
    assert!(parser.push(&AnswerWriter::head(200, &[])).is_ok());
    assert_eq!(parser.push(&[0, 0]).err(), Some(answer::AnswerError::NoReceipt));
}

/// RFC 9458's own implementation family opens what we seal, and we open its answer.
#[test]
fn the_ohttp_crate_understands_us() {
    use ohttp::{SymmetricSuite, hpke};
    ohttp::init();
    let suites = vec![SymmetricSuite::new(hpke::Kdf::HkdfSha256, hpke::Aead::Aes128Gcm)];
    let config = ohttp::KeyConfig::new(1, hpke::Kem::XWing, suites).unwrap();
    let server = ohttp::Server::new(config).unwrap();
    let ours = KeyConfiguration::parse(&server.config().encode().unwrap()).unwrap();
    let (sealed, mut opener) = seal(&ours, &request(100), Padding::None, &mut rng()).unwrap();
    let bytes = other_side::answer(server, sealed.bytes(), &request(100).to_bhttp());
    let events = open_all(&mut opener, &bytes, 33).unwrap();
    assert!(events.last() == Some(&AnswerEvent::Receipt(b"receipt".to_vec())));
}

/// The `ohttp` crate as gateway.
mod other_side {
    use super::*;
    use futures_util::io::{AsyncReadExt, AsyncWriteExt};

    pub fn answer(server: ohttp::Server, sealed: &[u8], expected: &[u8]) -> Vec<u8> {
        futures_executor::block_on(async {
            let mut request = server.decapsulate_stream(sealed);
            let mut plain = Vec::new();
            request.read_to_end(&mut plain).await.unwrap();
            assert_eq!(plain, expected);
            let mut out = Vec::new();
            {
                let mut response = request.response(&mut out).unwrap();
                response.write_all(&AnswerWriter::head(200, &[])).await.unwrap();
                response.write_all(&AnswerWriter::end(b"receipt", 0)).await.unwrap();
                response.close().await.unwrap();
            }
            out
        })
    }
}
