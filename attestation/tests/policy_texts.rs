//! Property: any text either is a policy or gives an error that names the key.

use bulla_attestation::policy::{Policy, PolicyError};

const SHIPPED: [&str; 4] = [
    include_str!("../../policies/appraisal/strict.toml"),
    include_str!("../../policies/appraisal/standard.toml"),
    include_str!("../../policies/appraisal/development.toml"),
    include_str!("../../policies/appraisal/authentic.toml"),
];

/// The lines that set a key to a value of one line: number, key.
fn settings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.lines().enumerate().filter_map(move |(number, line)| {
        let (key, value) = line.split_once(" = ")?;
        let is_whole = value.matches('[').count() == value.matches(']').count();
        let is_setting = !key.is_empty() && key.chars().all(is_key) && is_whole;
        is_setting.then_some((number, key))
    })
}

/// The text with one line replaced.
fn with_line(text: &str, number: usize, line: &str) -> String {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(index, old)| if index == number { line } else { old });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every value of every shipped policy in turn, replaced by each of these.
const VALUES: [&str; 12] = [
    "\"any\"",
    "\"required\"",
    "\"no such word\"",
    "[]",
    "[1]",
    "[\"x\"]",
    "-1",
    "0",
    "true",
    "{ a = 1 }",
    "18446744073709551616",
    "1.5",
];

#[test]
fn a_wrong_value_is_refused_with_its_key() {
    let (mut taken, mut refused) = (0, 0);
    for text in SHIPPED {
        for (number, key) in settings(text) {
            for value in VALUES {
                let changed = with_line(text, number, &format!("{key} = {value}"));
                match Policy::from_toml(&changed) {
                    Ok(_) => taken += 1,
                    Err(error) => {
                        refused += 1;
                        says_where(&error, key, value);
                    }
                }
            }
        }
    }
    println!("policy texts: {taken} taken, {refused} refused, each with its key");
    assert!(refused > taken);
}

fn says_where(error: &PolicyError, key: &str, value: &str) {
    let words = error.to_string();
    // A rule about two keys may name the other one.
    let names_a_rule = matches!(
        error,
        PolicyError::AnyMeasurement
            | PolicyError::MissingSection { .. }
            | PolicyError::Witnesses { .. }
            | PolicyError::AllowedAndBanned { .. }
    );
    assert!(words.contains(key) || names_a_rule, "{key} = {value}: {words}");
}

#[test]
fn a_misspelt_key_is_refused_by_name() {
    for text in SHIPPED {
        for (number, key) in settings(text) {
            let line = text.lines().nth(number).unwrap();
            let changed = with_line(text, number, &format!("x{line}"));
            let error = Policy::from_toml(&changed).unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}

/// Bytes turned over, cut and doubled from a seed: an answer every time.
#[test]
fn no_text_is_without_an_answer() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..2_000 {
        let mut bytes = SHIPPED[random(SHIPPED.len())].as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] ^= 1 << random(7),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"\"[]{}=.\n#0a"[random(11)]),
                _ => {
                    let end = (at + random(40)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        match Policy::from_toml(&String::from_utf8_lossy(&bytes)) {
            Ok(_) => taken += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    println!("policy texts changed from a seed: {taken} read, {refused} refused");
    assert!(taken > 0 && refused > 0);
}
