//! The commands against a simulated world.

use bulla_wire::units::MicroUnits;
use clap::{CommandFactory, Parser};

use super::*;
use crate::io::ask::AskError;
use crate::io::records::Records;
use crate::session::{ReceiptError, SessionError};
use crate::testing::world::{HONEST, Manner, World};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClientCommand,
}

fn line(world: &World, words: &[&str]) -> Line {
    let data = world.home.path().to_str().unwrap();
    Line::parse_from(["bulla", "--data", data, "--json"].iter().chain(words))
}

async fn execute(world: &World, words: &[&str]) -> anyhow::Result<ExitCode> {
    let Line { global, command } = line(world, words);
    run(command, global).await
}

fn code(result: anyhow::Result<ExitCode>) -> String {
    format!("{:?}", result.unwrap())
}

fn expected(code: u8) -> String {
    format!("{:?}", ExitCode::from(code))
}

#[test]
fn the_command_line_is_consistent() {
    Line::command().debug_assert();
}

#[tokio::test]
async fn chat_asks_and_keeps_the_receipt() {
    let world = World::start(HONEST).await;
    for words in [&["chat", "hi"][..], &["chat", "hi", "--no-stream", "--max-tokens", "9"]] {
        assert_eq!(code(execute(&world, words).await), expected(EXIT_OK));
    }
    let kept = world.records();
    assert_eq!(kept.len(), 2);
    let id = kept[0].hold().unwrap().to_string();
    for words in [&["receipts"][..], &["receipts", "show", &id], &["receipts", "export"]] {
        assert_eq!(code(execute(&world, words).await), expected(EXIT_OK));
    }
    assert!(execute(&world, &["receipts", "show", "zz"]).await.is_err());
}

#[tokio::test]
async fn chat_refuses_a_false_receipt_by_name() {
    let tamper = |receipt: &mut bulla_wire::receipt::UsageReceipt| receipt.charge = MicroUnits(1);
    let world = World::start(Manner { tamper, ..HONEST }).await;
    let error = execute(&world, &["chat", "hi"]).await.unwrap_err();
    let error = error.downcast_ref::<AskError>().unwrap();
    let charge =
        matches!(error, AskError::Session(SessionError::Receipt(ReceiptError::Charge { .. })));
    assert!(charge, "{error}");
}

#[tokio::test]
async fn account_registers_the_order_key_once() {
    let world = World::start(HONEST).await;
    assert!(world.client.ensure_registered().await.unwrap());
    assert!(!world.client.ensure_registered().await.unwrap());
    for words in [&["account"][..], &["account", "register-key"], &["account", "new-key"]] {
        assert_eq!(code(execute(&world, words).await), expected(EXIT_OK));
    }
    assert_eq!(world.client.broker().account().await.unwrap().order_keys.len(), 2);
}

#[tokio::test]
async fn verify_judges_under_the_configured_or_the_named_policy() {
    let world = World::start(HONEST).await;
    let broker = world.client.config().broker.url.clone();
    let verify = ["verify", &broker, "--instance", "one"];
    assert_eq!(code(execute(&world, &verify).await), expected(EXIT_OK));
    let strict = [&verify[..], &["--policy", "strict"]].concat();
    assert_eq!(code(execute(&world, &strict).await), expected(EXIT_REFUSED));
    let missing = ["verify", "no-such-file"];
    assert!(execute(&world, &missing).await.is_err());
}

#[tokio::test]
async fn verify_judges_a_saved_report() {
    let world = World::start(HONEST).await;
    world.chat("m", false).await.unwrap();
    let folder = world.client.folder().file("evidence");
    let saved = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    // A saved report answers a nonce of the past: bound, but not as a passport.
    let words = ["verify", saved.to_str().unwrap()];
    assert_eq!(code(execute(&world, &words).await), expected(EXIT_OK));
}

#[tokio::test]
async fn models_are_listed() {
    let world = World::start(HONEST).await;
    assert_eq!(code(execute(&world, &["models"]).await), expected(EXIT_OK));
}

#[tokio::test]
async fn without_a_configuration_the_error_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().to_str().unwrap();
    let Line { global, command } = Line::parse_from(["bulla", "--data", data, "chat", "hi"]);
    let error = run(command, global).await.unwrap_err().to_string();
    assert!(error.contains("bulla up") && error.contains("config.toml"), "{error}");
    assert!(Records::at(home.path().join("client/receipts.jsonl")).read().unwrap().is_empty());
}
