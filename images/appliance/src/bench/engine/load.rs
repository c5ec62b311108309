//! A closed loop of clients: each asks, hears the whole answer, and asks again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bulla_client::io::ask::{Progress, ask};
use bulla_client::io::client::Client;
use bulla_client::request::ChatRequest;
use bulla_client::session::Piece;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::super::stopwatch::quantile;
use crate::up::story::SseText;

/// Who is asked.
#[derive(Clone)]
pub enum Service {
    /// llama.cpp's server: prompts as token numbers.
    Peer(SocketAddr),
    /// Our engine behind plain HTTP.
    Plain(SocketAddr),
    /// Client library, broker, enclave, receipt; the model's name.
    Sealed(Arc<Client>, String),
}

/// A prompt in the forms that the services take.
#[derive(Clone)]
pub struct Question {
    /// What a person says.
    pub text: String,
    /// What the engine makes of it, with the chat template.
    pub tokens: Vec<u32>,
}

/// What one client heard.
struct Heard {
    first: Duration,
    first_text: Duration,
    gaps: Vec<Duration>,
    tokens: u64,
}

/// What all clients heard.
#[derive(Clone)]
pub struct Load {
    /// Tokens of all answers.
    pub tokens: u64,
    /// From the first question to the last answer, in seconds.
    pub seconds: f64,
    /// Times to the first token, in seconds.
    pub first: Vec<f64>,
    /// Times to the first text, in seconds: a token may end in the middle of a character, and the
    /// sealed path sends nothing before there is something to say.
    pub first_text: Vec<f64>,
    /// Times between tokens, in seconds.
    pub gaps: Vec<f64>,
}

impl Load {
    /// Tokens of all answers per second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    /// The same work done once more.
    pub fn add(&mut self, again: Load) {
        self.tokens += again.tokens;
        self.seconds += again.seconds;
        self.first.extend(again.first);
        self.first_text.extend(again.first_text);
        self.gaps.extend(again.gaps);
    }

    /// Median time to the first token, in milliseconds.
    pub fn median_first_ms(&self) -> f64 {
        1e3 * quantile(&mut self.first.clone(), 0.5).unwrap_or_default()
    }

    /// Median time to the first text, in milliseconds.
    pub fn median_first_text_ms(&self) -> f64 {
        1e3 * quantile(&mut self.first_text.clone(), 0.5).unwrap_or_default()
    }

    /// The longest time between tokens over the median one.
    pub fn worst_gap_ratio(&self) -> f64 {
        let mut gaps = self.gaps.clone();
        let median = quantile(&mut gaps, 0.5).unwrap_or_default();
        gaps.last().copied().unwrap_or_default() / median
    }
}

/// One client per list of questions; all begin at once.
pub async fn run(
    service: &Service,
    clients: Vec<Vec<Question>>,
    max_tokens: u32,
) -> anyhow::Result<Load> {
    let started = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|questions| {
            let service = service.clone();
            tokio::spawn(async move {
                let mut heard = Vec::new();
                for question in questions {
                    heard.push(one(&service, question, max_tokens).await?);
                }
                anyhow::Ok(heard)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let tokens: u64 = all.iter().map(|heard| heard.tokens).sum();
    Ok(Load {
        tokens,
        seconds,
        first: all.iter().map(|heard| heard.first.as_secs_f64()).collect(),
        first_text: all.iter().map(|heard| heard.first_text.as_secs_f64()).collect(),
        gaps: all.iter().flat_map(|heard| heard.gaps.iter().map(Duration::as_secs_f64)).collect(),
    })
}

async fn one(service: &Service, question: Question, max_tokens: u32) -> anyhow::Result<Heard> {
    match service {
        Service::Peer(address) => {
            let body = json!({
                "prompt": question.tokens, "n_predict": max_tokens, "stream": true,
                "temperature": 0, "ignore_eos": true, "cache_prompt": false,
                "return_tokens": true,
            });
            over_http(*address, "/completion", body, peer_event).await
        }
        Service::Plain(address) => {
            let body = json!({ "prompt": question.text, "max_tokens": max_tokens });
            over_http(*address, "/", body, plain_event).await
        }
        Service::Sealed(client, model) => sealed(client, model, &question.text, max_tokens).await,
    }
}

/// What an event brought.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    tokens: u64,
    has_text: bool,
}

/// An event of `llama-server`; its last one repeats no token.
fn peer_event(event: &Value) -> Said {
    let tokens = match event["stop"].as_bool() {
        Some(true) => 0,
        _ => event["tokens"].as_array().map_or(1, |tokens| tokens.len().max(1) as u64),
    };
    Said { tokens, has_text: event["content"].as_str().is_some_and(|text| !text.is_empty()) }
}

/// An event of our plain server.
fn plain_event(event: &Value) -> Said {
    Said {
        tokens: event["tokens"].as_u64().unwrap_or(0),
        has_text: event["text"].as_str().is_some_and(|text| !text.is_empty()),
    }
}

/// Times of the tokens of one answer.
struct Clock {
    asked: Instant,
    times: Vec<Duration>,
    first_text: Option<Duration>,
    tokens: u64,
}

impl Clock {
    fn start() -> Clock {
        Clock { asked: Instant::now(), times: Vec::new(), first_text: None, tokens: 0 }
    }

    fn hear(&mut self, said: Said) {
        let now = self.asked.elapsed();
        if said.tokens > 0 {
            self.times.push(now);
            self.tokens += said.tokens;
        }
        if said.has_text {
            self.first_text.get_or_insert(now);
        }
    }

    fn heard(self) -> anyhow::Result<Heard> {
        let first = *self.times.first().context("an answer without a token")?;
        let gaps = self.times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // An answer of characters cut in half has no text at all.
        let first_text = self.first_text.unwrap_or(first);
        Ok(Heard { first, first_text, gaps, tokens: self.tokens })
    }
}

/// Posts JSON and reads a whole answer of JSON.
pub async fn post(address: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
    let (answer, driver) = send(address, path, body).await?;
    let bytes = answer.into_body().collect().await?.to_bytes();
    driver.abort();
    serde_json::from_slice(&bytes).with_context(|| format!("the answer of {address}"))
}

async fn send(
    address: SocketAddr,
    path: &str,
    body: &Value,
) -> anyhow::Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let answer = sender.send_request(request).await?;
    ensure!(answer.status().is_success(), "{address} answered {}", answer.status());
    Ok((answer, driver))
}

async fn over_http(
    address: SocketAddr,
    path: &str,
    body: Value,
    said: impl Fn(&Value) -> Said,
) -> anyhow::Result<Heard> {
    let mut clock = Clock::start();
    let (answer, driver) = send(address, path, &body).await?;
    let (mut body, mut line) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        for byte in data {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if let Some(event) = line.strip_prefix(b"data: ")
                && let Ok(event) = serde_json::from_slice(event)
            {
                clock.hear(said(&event));
            }
            line.clear();
        }
    }
    driver.abort();
    clock.heard()
}

async fn sealed(
    client: &Arc<Client>,
    model: &str,
    text: &str,
    max_tokens: u32,
) -> anyhow::Result<Heard> {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0, "max_tokens": max_tokens, "stream": true,
    });
    let request = ChatRequest::read(body.to_string().as_bytes())?;
    let (mut clock, mut events) = (Clock::start(), SseText::default());
    let mut progress = ask(Arc::clone(client), request);
    while let Some(step) = progress.recv().await {
        match step? {
            Progress::Answer(Piece::Head { status, .. }) => {
                ensure!(status == 200, "the enclave answered {status}");
            }
            Progress::Answer(Piece::Body(bytes)) => {
                let bytes = events.push(&bytes).len();
                clock.hear(Said { tokens: bytes as u64, has_text: bytes > 0 });
            }
            Progress::Done(settled) => {
                // A text may hold several tokens: the receipt counts.
                clock.tokens = settled.receipt.usage.output.0;
                return clock.heard();
            }
            _ => {}
        }
    }
    anyhow::bail!("the answer ended without a receipt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_gap_is_held_against_the_median() {
        let load = Load {
            tokens: 3,
            seconds: 1.0,
            first: vec![0.2, 0.1, 0.3],
            first_text: vec![0.3, 0.2, 0.4],
            gaps: vec![0.1, 0.2, 0.1],
        };
        assert_eq!(load.median_first_ms(), 200.0);
        assert_eq!(load.median_first_text_ms(), 300.0);
        assert!((load.worst_gap_ratio() - 2.0).abs() < 1e-9);
        let again = Load { tokens: 6, seconds: 2.0, first: vec![0.4], ..load.clone() };
        let mut both = load;
        both.add(again);
        assert_eq!((both.tokens_per_second(), both.first.len(), both.gaps.len()), (3.0, 4, 6));
    }

    #[test]
    fn a_peers_last_event_counts_nothing() {
        let said = |tokens, has_text| Said { tokens, has_text };
        assert_eq!(
            peer_event(&json!({"tokens": [1, 2], "content": "", "stop": false})),
            said(2, false)
        );
        assert_eq!(peer_event(&json!({"tokens": [], "content": "a", "stop": true})), said(0, true));
    }
}
