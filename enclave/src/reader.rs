//! Reads an answer as it grows: the model's reasoning, its text, its calls of tools.

use serde_json::Value;

const REASONING_OPENS: &str = "<think>";
const REASONING_CLOSES: &str = "</think>";
/// How Qwen and Hermes models write a call: an object with `name` and `arguments` in between.
const CALL_OPENS: &str = "<tool_call>";
const CALL_CLOSES: &str = "</tool_call>";
/// Longest text held back as a call, in bytes; more is text.
const MAX_CALL_BYTES: usize = 256 * 1024;

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// The model thinks aloud.
    Reasoning(String),
    /// The answer's text.
    Content(String),
    /// A whole call.
    Call(ToolCall),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Of which function.
    pub name: String,
    /// JSON, as text.
    pub arguments: String,
}

/// Where in the answer we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing but space so far.
    Start,
    Reasoning,
    /// The reasoning or a call is over; space follows.
    Answer,
    Text,
    /// After [`CALL_OPENS`].
    Call,
    /// From the answer's first `{`: may be a call as Llama models write it.
    Object,
}

/// Reads one answer.
pub struct Reader {
    place: Place,
    tools: bool,
    held: String,
}

impl Reader {
    /// `in_reasoning`: the prompt has opened it already. `tools`: calls may occur.
    pub fn new(in_reasoning: bool, tools: bool) -> Reader {
        let place = if in_reasoning { Place::Reasoning } else { Place::Start };
        Reader { place, tools, held: String::new() }
    }

    /// Reads on; `each` gets what has become certain.
    pub fn push(&mut self, text: &str, each: &mut dyn FnMut(Delta)) {
        self.held.push_str(text);
        while self.advance(each) {}
    }

    /// The answer is over: what was held back is text, or a last call.
    pub fn finish(&mut self, each: &mut dyn FnMut(Delta)) {
        let rest = std::mem::take(&mut self.held);
        match self.place {
            Place::Reasoning => emit(rest, Delta::Reasoning, each),
            Place::Object => match objects(&rest) {
                Some(calls) => calls.into_iter().for_each(|call| each(Delta::Call(call))),
                None => emit(rest, Delta::Content, each),
            },
            // A call whose closing words were cut off, perhaps by a stop token.
            Place::Call => match call(&rest) {
                Some(call) => each(Delta::Call(call)),
                None => emit(format!("{CALL_OPENS}{rest}"), Delta::Content, each),
            },
            Place::Start | Place::Answer | Place::Text => emit(rest, Delta::Content, each),
        }
    }

    /// One step; false when more text is needed.
    fn advance(&mut self, each: &mut dyn FnMut(Delta)) -> bool {
        match self.place {
            Place::Start => self.begin(),
            Place::Reasoning => self.until(REASONING_CLOSES, Place::Answer, Delta::Reasoning, each),
            Place::Answer => self.begin_answer(),
            Place::Text if self.tools => self.until(CALL_OPENS, Place::Call, Delta::Content, each),
            Place::Text => {
                emit(std::mem::take(&mut self.held), Delta::Content, each);
                false
            }
            Place::Call => self.read_call(each),
            Place::Object => {
                if self.held.len() > MAX_CALL_BYTES {
                    self.place = Place::Text;
                }
                self.place == Place::Text
            }
        }
    }

    fn begin(&mut self) -> bool {
        let text = self.held.trim_start();
        if let Some(rest) = text.strip_prefix(REASONING_OPENS) {
            self.held = rest.to_owned();
            self.place = Place::Reasoning;
            return true;
        }
        if REASONING_OPENS.starts_with(text) {
            return false;
        }
        self.place = if self.tools { Place::Answer } else { Place::Text };
        true
    }

    /// The first words after the reasoning; the space before them is left out.
    fn begin_answer(&mut self) -> bool {
        let text = self.held.trim_start();
        if text.is_empty() {
            return false;
        }
        self.place = if self.tools && text.starts_with('{') { Place::Object } else { Place::Text };
        self.held = text.to_owned();
        true
    }

    /// Gives out the text before `end`, all of it but what may become `end`.
    fn until(
        &mut self,
        end: &str,
        next: Place,
        kind: fn(String) -> Delta,
        each: &mut dyn FnMut(Delta),
    ) -> bool {
        if let Some(at) = self.held.find(end) {
            let rest = self.held.split_off(at)[end.len()..].to_owned();
            emit(std::mem::replace(&mut self.held, rest), kind, each);
            self.place = next;
            return true;
        }
        let starts =
            |at: &usize| self.held.is_char_boundary(*at) && end.starts_with(&self.held[*at..]);
        let from = self.held.len().saturating_sub(end.len() - 1);
        let keep = (from..self.held.len()).find(starts).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        emit(std::mem::replace(&mut self.held, rest), kind, each);
        false
    }

    fn read_call(&mut self, each: &mut dyn FnMut(Delta)) -> bool {
        let Some(at) = self.held.find(CALL_CLOSES) else {
            if self.held.len() > MAX_CALL_BYTES {
                let text = std::mem::take(&mut self.held);
                emit(format!("{CALL_OPENS}{text}"), Delta::Content, each);
                self.place = Place::Text;
            }
            return false;
        };
        let rest = self.held.split_off(at)[CALL_CLOSES.len()..].to_owned();
        let inside = std::mem::replace(&mut self.held, rest);
        match call(&inside) {
            Some(call) => each(Delta::Call(call)),
            None => emit(format!("{CALL_OPENS}{inside}{CALL_CLOSES}"), Delta::Content, each),
        }
        self.place = Place::Answer;
        true
    }
}

fn emit(text: String, kind: fn(String) -> Delta, each: &mut dyn FnMut(Delta)) {
    if !text.is_empty() {
        each(kind(text));
    }
}

/// An object with a name and arguments (`parameters`, as Llama models say).
fn call(text: &str) -> Option<ToolCall> {
    as_call(&serde_json::from_str(text.trim()).ok()?)
}

fn as_call(value: &Value) -> Option<ToolCall> {
    let name = value.get("name")?.as_str()?.to_owned();
    let arguments = match value.get("arguments").or_else(|| value.get("parameters")) {
        Some(Value::String(text)) => text.clone(),
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        None | Some(Value::Null) => "{}".to_owned(),
        Some(_) => return None,
    };
    Some(ToolCall { name, arguments })
}

/// One or more objects, with nothing but space and semicolons between them, that are all calls.
fn objects(text: &str) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        calls.push(as_call(&values.next()?.ok()?)?);
        rest = rest[values.byte_offset()..].trim_start_matches([';', ' ', '\n']);
    }
    Some(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of an answer that comes in pieces of so many characters, neighbours joined.
    fn read(text: &str, piece: usize, in_reasoning: bool, tools: bool) -> Vec<Delta> {
        let mut parts: Vec<Delta> = Vec::new();
        let mut each = |delta| match (parts.last_mut(), delta) {
            (Some(Delta::Content(all)), Delta::Content(more))
            | (Some(Delta::Reasoning(all)), Delta::Reasoning(more)) => all.push_str(&more),
            (_, delta) => parts.push(delta),
        };
        let mut reader = Reader::new(in_reasoning, tools);
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(piece) {
            reader.push(&piece.iter().collect::<String>(), &mut each);
        }
        reader.finish(&mut each);
        parts
    }

    fn all_ways(text: &str, in_reasoning: bool, tools: bool) -> Vec<Delta> {
        let whole = read(text, text.len().max(1), in_reasoning, tools);
        for piece in 1..9 {
            assert_eq!(read(text, piece, in_reasoning, tools), whole, "pieces of {piece}");
        }
        whole
    }

    fn content(text: &str) -> Delta {
        Delta::Content(text.into())
    }

    fn calls(name: &str, arguments: &str) -> Delta {
        Delta::Call(ToolCall { name: name.into(), arguments: arguments.into() })
    }

    #[test]
    fn reasoning_is_split_off() {
        let reasoning = Delta::Reasoning("ab < c".into());
        let expected = [reasoning.clone(), content("\n\nd <think>")];
        assert_eq!(all_ways("<think>ab < c</think>\n\nd <think>", false, false)[0], reasoning);
        assert_eq!(all_ways("ab < c</think>", true, false), expected[..1]);
        assert_eq!(all_ways("<thin air", false, false), [content("<thin air")]);
        assert_eq!(all_ways("no end", true, true), [Delta::Reasoning("no end".into())]);
        assert_eq!(all_ways("é✓", false, true), [content("é✓")]);
    }

    #[test]
    fn calls_between_tags() {
        let text = "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
                    <tool_call>{\"name\": \"g\"}</tool_call>";
        let expected = [content("Let me see.\n"), calls("f", r#"{"a":1}"#), calls("g", "{}")];
        assert_eq!(all_ways(text, false, true), expected);
        assert_eq!(all_ways(text, false, false), [content(text)], "no tools, no calls");
        let cut = "<tool_call>{\"name\": \"f\", \"arguments\": {}}";
        assert_eq!(all_ways(cut, false, true), [calls("f", "{}")]);
        let broken = "<tool_call>{\"name\": 7}</tool_call> x";
        let told = all_ways(broken, false, true);
        assert_eq!(told, [content("<tool_call>{\"name\": 7}</tool_call>x")]);
    }

    #[test]
    fn calls_as_bare_objects() {
        let text = " {\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}; {\"name\": \"g\"}";
        let expected = [calls("f", r#"{"a":"b"}"#), calls("g", "{}")];
        assert_eq!(all_ways(text, false, true), expected);
        let json = r#"{"total": 3}"#;
        assert_eq!(all_ways(json, false, true), [content(json)]);
        let both = "<think>x</think>\n{\"name\": \"f\"}";
        assert_eq!(all_ways(both, false, true), [Delta::Reasoning("x".into()), calls("f", "{}")]);
    }
}
