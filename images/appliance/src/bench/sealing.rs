//! Rows of the envelope: requests, and chunks of an answer.

use std::rc::Rc;

use anyhow::{anyhow, ensure};
use bulla_attestation::seal::{
    AnswerEvent, AnswerOpener, AnswerSealer, AnswerWriter, InnerRequest, Kem, Padding,
};
use bulla_client::io::system::SystemRng;

use super::bare;
use super::row::{Row, Side};
use super::scene::{Epoch, Scene};

/// A request of everyday size; padded to 2 KiB like every short one.
const BODY: &str = r#"{"model":"bulla-demo","messages":[{"role":"user","content":"Invoice 2026-0417 from Alder & Sons: 12 x toner cartridge at EUR 45.50, due 2026-12-01"}],"temperature":0,"stream":true}"#;
/// One event of a streamed answer.
const EVENT: &str = r#"data: {"id":"chatcmpl-0c9b1f6e58a44c7e","object":"chat.completion.chunk","created":1780000000,"model":"bulla-demo","choices":[{"index":0,"delta":{"content":" toner"},"finish_reason":null}]}

"#;

/// Seal and open, X-Wing against X25519; an answer chunk against its cipher.
pub fn rows(scene: &Scene) -> anyhow::Result<Vec<Row>> {
    let post_quantum = Rc::new(scene.boot(Kem::XWing)?);
    let classical = Rc::new(scene.boot(Kem::X25519)?);
    Ok(vec![
        Row {
            subject: seal(&post_quantum, "seal a request (X-Wing, 2 KiB)"),
            anchor: seal(&classical, "the same with X25519"),
        },
        Row {
            subject: open(&post_quantum, "open a request (X-Wing, 2 KiB)")?,
            anchor: open(&classical, "the same with X25519")?,
        },
        Row { subject: chunk(&post_quantum)?, anchor: bare::aes_gcm(EVENT.as_bytes().to_vec())? },
    ])
}

/// The request inside the envelope.
pub fn request() -> InnerRequest {
    InnerRequest {
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: BODY.as_bytes().to_vec(),
    }
}

fn seal(epoch: &Rc<Epoch>, work: &str) -> Side {
    let (epoch, request, mut rng) = (Rc::clone(epoch), request(), SystemRng::new());
    Side::timed(work, move || {
        epoch.attested.seal(&request, Padding::default(), &mut rng)?;
        Ok(())
    })
}

fn open(epoch: &Rc<Epoch>, work: &str) -> anyhow::Result<Side> {
    let (epoch, mut rng) = (Rc::clone(epoch), SystemRng::new());
    let (sealed, _) = epoch.attested.seal(&request(), Padding::default(), &mut rng)?;
    Ok(Side::timed(work, move || {
        let opened = epoch.keys.sealing.open(sealed.bytes(), &mut rng)?;
        ensure!(opened.request.body == BODY.as_bytes(), "another request came out");
        Ok(())
    }))
}

fn chunk(epoch: &Epoch) -> anyhow::Result<Side> {
    let (mut sealer, mut opener) = answer(epoch)?;
    let work = format!("seal and open an answer chunk ({} bytes)", EVENT.len());
    Ok(Side::timed(work, move || {
        let sealed = sealer.seal(&AnswerWriter::body(EVENT.as_bytes()));
        let events = opener.push(&sealed)?;
        let is_whole = matches!(events.as_slice(), [AnswerEvent::Body(b)] if b == EVENT.as_bytes());
        is_whole.then_some(()).ok_or_else(|| anyhow!("another chunk came out"))
    }))
}

/// An answer under way: both ends, past its head.
fn answer(epoch: &Epoch) -> anyhow::Result<(AnswerSealer, AnswerOpener)> {
    let mut rng = SystemRng::new();
    let (sealed, mut opener) = epoch.attested.seal(&request(), Padding::default(), &mut rng)?;
    let mut sealer = epoch.keys.sealing.open(sealed.bytes(), &mut rng)?.answer;
    let head = AnswerWriter::head(200, &[("content-type", "text/event-stream")]);
    opener.push(&sealer.seal(&head))?;
    Ok((sealer, opener))
}
