//! Logs as JSON: a list of `{"imr": 0, "digest": "…"}`, bare, or as the field `event_log` of a
//! larger document, there as a list or as text (the form of dstack's guest agents).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Event, MAX_EVENTS, REGISTER_BYTES, REGISTERS};

/// Why text is not such a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonLogError {
    /// Another document, or an event without register and digest.
    #[error("not a list of events with imr and digest")]
    Syntax,
    /// A register a TD does not have.
    #[error("event {event} is about register {got}, a TD has 0 to 3")]
    Register {
        /// Which, from 0.
        event: usize,
        /// The register.
        got: usize,
    },
    /// A digest that is not hex of 48 bytes.
    #[error("event {event} has no SHA-384 digest")]
    Digest {
        /// Which.
        event: usize,
    },
    /// Too many, or none.
    #[error("{got} events, a log has 1 to {MAX_EVENTS}")]
    Count {
        /// How many.
        got: usize,
    },
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, alias = "eventlog", alias = "eventLog")]
    event_log: &'a RawValue,
}

#[derive(Deserialize)]
struct JsonEvent {
    #[serde(alias = "rtmr")]
    imr: usize,
    digest: String,
}

/// The events, in order.
pub fn events(bytes: &[u8]) -> Result<Vec<Event>, JsonLogError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonLogError::Syntax)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let list = match text.as_bytes().first() {
        Some(b'[') => text.to_owned(),
        Some(b'{') => field(text)?,
        _ => return Err(JsonLogError::Syntax),
    };
    let events: Vec<JsonEvent> = serde_json::from_str(&list).map_err(|_| JsonLogError::Syntax)?;
    if events.is_empty() || events.len() > MAX_EVENTS {
        return Err(JsonLogError::Count { got: events.len() });
    }
    events.iter().enumerate().map(|(number, event)| read(number, event)).collect()
}

fn field(text: &str) -> Result<String, JsonLogError> {
    let document: Document<'_> = serde_json::from_str(text).map_err(|_| JsonLogError::Syntax)?;
    let raw = document.event_log.get();
    match raw.starts_with('"') {
        true => serde_json::from_str(raw).map_err(|_| JsonLogError::Syntax),
        false => Ok(raw.to_owned()),
    }
}

fn read(number: usize, event: &JsonEvent) -> Result<Event, JsonLogError> {
    if event.imr >= REGISTERS {
        return Err(JsonLogError::Register { event: number, got: event.imr });
    }
    let digest = data_encoding::HEXLOWER_PERMISSIVE.decode(event.digest.as_bytes()).ok();
    let digest: Option<[u8; REGISTER_BYTES]> = digest.and_then(|bytes| bytes.try_into().ok());
    match digest {
        Some(digest) => Ok(Event { register: event.imr, digest }),
        None => Err(JsonLogError::Digest { event: number }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_same_log_in_every_form() {
        let digest = "Ab".repeat(48);
        let list = format!(r#"[{{"imr":2,"event_type":1,"digest":"{digest}","event":""}}]"#);
        let quoted = serde_json::to_string(&list).unwrap();
        let expected = vec![Event { register: 2, digest: [0xab; 48] }];
        for form in [
            list.clone(),
            format!(r#"{{"quote":"00","event_log":{quoted}}}"#),
            format!(r#"{{"event_log":{list}}}"#),
        ] {
            assert_eq!(events(form.as_bytes()), Ok(expected.clone()), "{form}");
        }
    }

    #[test]
    fn a_log_has_at_most_8192_events() {
        let many = |count: usize| {
            let event = format!(r#"{{"imr":0,"digest":"{}"}}"#, "ab".repeat(48));
            let all = vec![event; count].join(",");
            events(format!("[{all}]").as_bytes()).map(|events| events.len())
        };
        assert_eq!((many(8192), many(8193)), (Ok(8192), Err(JsonLogError::Count { got: 8193 })));
    }

    #[test]
    fn what_is_not_such_a_log_is_named() {
        let digest = "ab".repeat(48);
        for (text, error) in [
            ("[]".to_owned(), JsonLogError::Count { got: 0 }),
            ("[{}]".to_owned(), JsonLogError::Syntax),
            ("7".to_owned(), JsonLogError::Syntax),
            (
                format!(r#"[{{"imr":4,"digest":"{digest}"}}]"#),
                JsonLogError::Register { event: 0, got: 4 },
            ),
            (r#"[{"imr":0,"digest":"ab"}]"#.to_owned(), JsonLogError::Digest { event: 0 }),
        ] {
            assert_eq!(events(text.as_bytes()), Err(error), "{text}");
        }
    }
}
