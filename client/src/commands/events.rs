//! The text inside an OpenAI event stream.

use serde_json::Value;

/// Longest line of a stream, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads `choices[0].delta.content` out of server-sent events as they come.
#[derive(Default)]
pub struct EventText {
    pending: Vec<u8>,
}

/// What a stream of events holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// More text.
    Text(String),
    /// An error the enclave reports inside the stream.
    Error(String),
}

impl EventText {
    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.pending.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            said.extend(said_by(&line));
        }
        if self.pending.len() > MAX_LINE_BYTES {
            self.pending.clear();
        }
        said
    }
}

fn said_by(line: &[u8]) -> Option<Said> {
    let data = line.strip_prefix(b"data:")?;
    let event: Value = serde_json::from_slice(data).ok()?;
    if let Some(message) = event["error"]["message"].as_str() {
        return Some(Said::Error(message.to_owned()));
    }
    let text = event["choices"][0]["delta"]["content"].as_str()?;
    (!text.is_empty()).then(|| Said::Text(text.to_owned()))
}

/// The text of a whole answer, or the message of an error.
pub fn whole(body: &[u8]) -> Option<Said> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    if let Some(message) = answer["error"]["message"].as_str() {
        return Some(Said::Error(message.to_owned()));
    }
    let text = answer["choices"][0]["message"]["content"].as_str()?;
    Some(Said::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_and_errors_however_they_are_cut() {
        let stream = concat!(
            "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
            ": padding\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"hé\"}}]}\n\n",
            "data: {\"error\":{\"message\":\"no\"}}\n\n",
            "data: [DONE]\n\n",
        );
        for step in [1, 7, stream.len()] {
            let mut events = EventText::default();
            let said: Vec<Said> =
                stream.as_bytes().chunks(step).flat_map(|piece| events.push(piece)).collect();
            assert_eq!(said, [Said::Text("hé".to_owned()), Said::Error("no".to_owned())]);
        }
    }

    #[test]
    fn reads_a_whole_answer() {
        let body = br#"{"choices":[{"message":{"content":"hi"}}]}"#;
        assert_eq!(whole(body), Some(Said::Text("hi".to_owned())));
        let body = br#"{"error":{"message":"no"}}"#;
        assert_eq!(whole(body), Some(Said::Error("no".to_owned())));
        assert_eq!(whole(b"{}"), None);
    }
}
