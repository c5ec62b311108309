//! The metadata of a GGUF file: typed values by key.

use super::Named;
use crate::model::error::LoadError;
use crate::model::files::Bytes;

/// Bytes of a key; the specification's limit is 65,535.
const MAX_KEY_BYTES: u64 = 65_535;
/// Bytes of a text that stands for itself. Chat templates have up to about 30,000.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a text in a list: a token or a merge of two. The longest in use have a few hundred.
const MAX_ITEM_BYTES: u64 = 4096;
/// Items of a list: tokens or merges. The largest vocabularies have about 300,000 and 500,000.
const MAX_ITEMS: u64 = 1 << 22;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    /// Whole numbers, as 32 bits where they fit.
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Metadata(Named<Value>);

impl Metadata {
    /// Reads `entries` of them.
    pub fn read(bytes: &mut impl Bytes, entries: u64) -> Result<Metadata, LoadError> {
        let mut values = Named::new();
        for _ in 0..entries {
            let key = text(bytes, MAX_KEY_BYTES)?;
            let kind = u32::from_le_bytes(bytes.next()?);
            let value = value(bytes, &key, kind)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(malformed(format!("key {key:?} is there twice")));
            }
        }
        Ok(Metadata(values))
    }

    /// A value.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A text; an error where something else stands.
    pub fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(unexpected(key, "a text", other)),
        }
    }

    /// A whole number that is not negative.
    pub fn integer(&self, key: &str) -> Result<Option<u64>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Unsigned(number)) => Ok(Some(*number)),
            Some(Value::Signed(number)) if *number >= 0 => Ok(Some(number.unsigned_abs())),
            Some(other) => Err(unexpected(key, "a whole number", other)),
        }
    }

    /// A number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(*number)),
            Some(Value::Unsigned(number)) => Ok(Some(*number as f64)),
            Some(Value::Signed(number)) => Ok(Some(*number as f64)),
            Some(other) => Err(unexpected(key, "a number", other)),
        }
    }

    /// Yes or no.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(unexpected(key, "true or false", other)),
        }
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Texts(texts)) => Ok(Some(texts)),
            Some(other) => Err(unexpected(key, "a list of texts", other)),
        }
    }

    /// A list of whole numbers.
    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Integers(numbers)) => Ok(Some(numbers)),
            Some(other) => Err(unexpected(key, "a list of whole numbers", other)),
        }
    }

    /// A list of floats.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, LoadError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Floats(numbers)) => Ok(Some(numbers)),
            Some(other) => Err(unexpected(key, "a list of floats", other)),
        }
    }
}

fn malformed(reason: String) -> LoadError {
    LoadError::Gguf { reason }
}

fn unexpected(key: &str, expected: &str, got: &Value) -> LoadError {
    let got = match got {
        Value::Unsigned(_) | Value::Signed(_) => "a whole number",
        Value::Float(_) => "a float",
        Value::Bool(_) => "true or false",
        Value::Text(_) => "a text",
        Value::Texts(_) => "a list of texts",
        Value::Integers(_) => "a list of whole numbers",
        Value::Floats(_) => "a list of floats",
    };
    malformed(format!("{key:?} is {got}, expected {expected}"))
}

/// Length and bytes. What is no UTF-8 is replaced: some vocabularies hold pieces of characters.
pub(super) fn text(bytes: &mut impl Bytes, limit: u64) -> Result<String, LoadError> {
    let len = u64::from_le_bytes(bytes.next()?);
    if len > limit {
        return Err(malformed(format!("a text of {len} bytes, at most {limit} are accepted")));
    }
    let text = String::from_utf8(bytes.take(len)?);
    Ok(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn value(bytes: &mut impl Bytes, key: &str, kind: u32) -> Result<Value, LoadError> {
    Ok(match kind {
        8 => Value::Text(text(bytes, MAX_TEXT_BYTES)?),
        9 => list(bytes, key)?,
        _ => scalar(bytes, key, kind)?,
    })
}

/// By the numbers of the specification.
fn scalar(bytes: &mut impl Bytes, key: &str, kind: u32) -> Result<Value, LoadError> {
    Ok(match kind {
        0 => Value::Unsigned(u8::from_le_bytes(bytes.next()?).into()),
        1 => Value::Signed(i8::from_le_bytes(bytes.next()?).into()),
        2 => Value::Unsigned(u16::from_le_bytes(bytes.next()?).into()),
        3 => Value::Signed(i16::from_le_bytes(bytes.next()?).into()),
        4 => Value::Unsigned(u32::from_le_bytes(bytes.next()?).into()),
        5 => Value::Signed(i32::from_le_bytes(bytes.next()?).into()),
        6 => Value::Float(f32::from_le_bytes(bytes.next()?).into()),
        7 => match bytes.next::<1>()? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [other] => {
                return Err(malformed(format!("{key:?} is neither true nor false: {other}")));
            }
        },
        10 => Value::Unsigned(u64::from_le_bytes(bytes.next()?)),
        11 => Value::Signed(i64::from_le_bytes(bytes.next()?)),
        12 => Value::Float(f64::from_le_bytes(bytes.next()?)),
        other => return Err(malformed(format!("{key:?} has the unknown type {other}"))),
    })
}

/// A list grows as its items are read, so a count alone allocates nothing.
fn list(bytes: &mut impl Bytes, key: &str) -> Result<Value, LoadError> {
    let kind = u32::from_le_bytes(bytes.next()?);
    let count = u64::from_le_bytes(bytes.next()?);
    if count > MAX_ITEMS {
        return Err(malformed(format!("{key:?} has {count} items, accepted are {MAX_ITEMS}")));
    }
    match kind {
        8 => (0..count)
            .map(|_| text(bytes, MAX_ITEM_BYTES))
            .collect::<Result<_, _>>()
            .map(Value::Texts),
        6 | 12 => {
            let mut floats = Vec::new();
            for _ in 0..count {
                if let Value::Float(number) = scalar(bytes, key, kind)? {
                    floats.push(number as f32);
                }
            }
            Ok(Value::Floats(floats))
        }
        9 => Err(malformed(format!("{key:?} is a list of lists, which no model needs"))),
        _ => {
            let mut integers = Vec::new();
            for _ in 0..count {
                integers.push(match scalar(bytes, key, kind)? {
                    Value::Signed(number) => number,
                    Value::Bool(flag) => flag.into(),
                    Value::Unsigned(number) => number as i64,
                    _ => 0,
                });
            }
            Ok(Value::Integers(integers))
        }
    }
}
