//! Text to tokens and back, with control tokens kept out of reach of what people write.
//!
//! A chat template writes control tokens (`<|im_start|>`) as text, and the tokenizer finds them
//! in its output. If a message spells one, it must stay text, or a message could open a turn of
//! its own. So every spelling inside a message is marked before the template runs, with a code
//! point that no text contains, and the stretch of text around a mark is tokenised with control
//! tokens switched off. Text without such spellings takes the ordinary way, so its ids are those
//! of Hugging Face.

use std::sync::OnceLock;

use tokenizers::Tokenizer;

use super::byte_level::ByteLevel;
use super::error::LoadError;
use super::merges;
use super::post_processor;
use super::whole_json::WholeJson;
use crate::chat::{ChatRequest, PromptError};
use crate::text::Detokenize;

/// Unicode noncharacters, never part of text; the first that no message contains is the mark.
const MARKS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A tokenizer, and the control tokens in it.
pub(super) struct TextCodec {
    tokenizer: Tokenizer,
    /// The same, but control tokens are ordinary text. Made when first needed.
    plain: OnceLock<Tokenizer>,
    /// Longest first, so that the first match at a place is the longest.
    controls: Vec<Control>,
    longest_token_bytes: usize,
    /// For vocabularies whose tokens are bytes.
    bytes: Option<ByteLevel>,
}

struct Control {
    text: String,
    id: u32,
    /// Looked for after normalisation, which may make it out of other text.
    normalized: bool,
}

/// What is looked at of tokenizer.json before it is read.
#[derive(serde::Deserialize)]
struct File {
    #[serde(default)]
    model: serde_json::Value,
}

impl TextCodec {
    /// Reads tokenizer.json.
    pub fn parse(bytes: &[u8], vocab: usize) -> Result<TextCodec, LoadError> {
        let refused = |error: tokenizers::Error| LoadError::Tokenizer { reason: error.to_string() };
        // The tokenizer's own reader panics at places on what is no JSON, texts included.
        serde_json::from_slice::<WholeJson>(bytes).map_err(|e| refused(e.into()))?;
        let file = serde_json::from_slice::<File>(bytes).map_err(|e| refused(e.into()))?;
        merges::check_model(&file.model).map_err(|reason| LoadError::Tokenizer { reason })?;
        TextCodec::new(Tokenizer::from_bytes(bytes).map_err(refused)?, vocab)
    }

    /// Refuses a tokenizer with ids beyond `vocab`.
    pub fn new(mut tokenizer: Tokenizer, vocab: usize) -> Result<TextCodec, LoadError> {
        let refused = |error: tokenizers::Error| LoadError::Tokenizer { reason: error.to_string() };
        // Training settings that some files carry; a prompt is never cut or filled silently.
        tokenizer.with_truncation(None).map_err(refused)?;
        tokenizer.with_padding(None);
        let tokens = tokenizer.get_vocab(true);
        let longest_token_bytes = tokens.keys().map(String::len).max().unwrap_or(0);
        let highest_id = tokens.into_values().max().unwrap_or(0);
        if highest_id as usize >= vocab {
            return Err(LoadError::Vocabulary { highest_id, vocab });
        }
        let processor = tokenizer.get_post_processor();
        if let Some(reason) = processor.and_then(|it| post_processor::fault(it, vocab)) {
            return Err(LoadError::Tokenizer { reason });
        }
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let special = added.filter(|(_, token)| token.special && !token.content.is_empty());
        let control = |(id, token): (u32, tokenizers::AddedToken)| Control {
            text: token.content,
            id,
            normalized: token.normalized,
        };
        let mut controls: Vec<Control> = special.map(control).collect();
        controls.sort_by(|a, b| (b.text.len(), &a.text).cmp(&(a.text.len(), &b.text)));
        let bytes = ByteLevel::of(&tokenizer, highest_id);
        Ok(TextCodec { tokenizer, plain: OnceLock::new(), controls, longest_token_bytes, bytes })
    }

    /// As tokenizer.json has it; null where that cannot be written.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.tokenizer).unwrap_or_default()
    }

    /// The id of a token by its text.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// No token stands for more text than this.
    pub fn longest_token_bytes(&self) -> usize {
        self.longest_token_bytes
    }

    /// Ids of plain text, with the beginning token where the tokenizer adds one.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        encode(&self.tokenizer, text, true)
    }

    /// Marks every control token spelled out in `chat`. The mark is `None` when there is none.
    pub fn mark(&self, chat: &ChatRequest) -> Result<(ChatRequest, Option<char>), PromptError> {
        let mut spelled = false;
        chat.each_text(&mut |text| spelled |= self.find(text).is_some());
        if !spelled {
            return Ok((chat.clone(), None));
        }
        let mut unused: Vec<char> = MARKS.clone().collect();
        chat.each_text(&mut |text| unused.retain(|mark| !text.contains(*mark)));
        let mark = *unused.first().ok_or_else(|| PromptError::ControlToken {
            token: self.controls.first().map(|control| control.text.clone()).unwrap_or_default(),
        })?;
        Ok((chat.with_texts(&|text| self.mark_text(text, mark))?, Some(mark)))
    }

    /// Puts the mark after the first character of every spelled control token, so that none is
    /// left whole; overlapping ones too.
    fn mark_text(&self, text: &str, mark: char) -> Result<String, PromptError> {
        let mut marked = String::with_capacity(text.len() + 16);
        for (at, character) in text.char_indices() {
            marked.push(character);
            let Some(control) = self.control_at(&text[at..]) else { continue };
            if control.text.chars().nth(1).is_none() {
                return Err(PromptError::ControlToken { token: control.text.clone() });
            }
            marked.push(mark);
        }
        Ok(marked)
    }

    /// Ids of a rendered chat whose messages were marked with `mark`.
    pub fn encode_chat(&self, text: &str, mark: Option<char>) -> Result<Vec<u32>, PromptError> {
        let Some(mark) = mark else {
            return self.encode_trusted(text);
        };
        let mut ids = Vec::new();
        // What is left over: `trusted` of it has no mark and is not yet encoded.
        let (mut rest, mut trusted) = (text, 0);
        while trusted < rest.len() {
            let stretch = self.find(&rest[trusted..]).map_or(rest.len(), |(at, _)| trusted + at);
            if rest[trusted..stretch].contains(mark) {
                ids.extend(self.encode_trusted(&rest[..trusted])?);
                ids.extend(self.encode_plain(&rest[trusted..stretch], mark)?);
                (rest, trusted) = (&rest[stretch..], 0);
            } else {
                trusted = stretch;
            }
            if let Some((0, control)) = self.find(&rest[trusted..]) {
                trusted += control.text.len();
            }
        }
        ids.extend(self.encode_trusted(rest)?);
        Ok(ids)
    }

    /// Text in which every control token was written by the template.
    fn encode_trusted(&self, text: &str) -> Result<Vec<u32>, PromptError> {
        let ids = encode(&self.tokenizer, text, false)?;
        for control in self.controls.iter().filter(|control| control.normalized) {
            let found = ids.iter().filter(|id| **id == control.id).count();
            if found > text.matches(&control.text).count() {
                return Err(PromptError::ControlToken { token: control.text.clone() });
            }
        }
        Ok(ids)
    }

    /// A stretch of text in which nothing is a control token.
    fn encode_plain(&self, text: &str, mark: char) -> Result<Vec<u32>, PromptError> {
        let plain = self.plain.get_or_init(|| {
            let mut plain = self.tokenizer.clone();
            plain.set_encode_special_tokens(true);
            plain
        });
        let ids = encode(plain, &text.replace(mark, ""), false)?;
        // A vocabulary may reach a control token by ordinary merges as well.
        match self.controls.iter().find(|control| ids.contains(&control.id)) {
            Some(control) => Err(PromptError::ControlToken { token: control.text.clone() }),
            None => Ok(ids),
        }
    }

    /// The first control token spelled in `text`.
    fn find(&self, text: &str) -> Option<(usize, &Control)> {
        let mut places = text.char_indices();
        places.find_map(|(at, _)| Some((at, self.control_at(&text[at..])?)))
    }

    fn control_at(&self, text: &str) -> Option<&Control> {
        self.controls.iter().find(|control| text.starts_with(&control.text))
    }
}

fn encode(tokenizer: &Tokenizer, text: &str, whole: bool) -> Result<Vec<u32>, PromptError> {
    match tokenizer.encode_fast(text, whole) {
        Ok(encoding) => Ok(encoding.get_ids().into()),
        Err(error) => Err(PromptError::Tokenizer(error.to_string())),
    }
}

impl Detokenize for TextCodec {
    fn append(&self, tokens: &[u32], bytes: &mut Vec<u8>) -> Result<(), String> {
        match &self.bytes {
            Some(table) => table.append(tokens, bytes),
            None => {
                let text = self.tokenizer.decode(tokens, true);
                bytes.extend_from_slice(text.map_err(|error| error.to_string())?.as_bytes());
            }
        }
        Ok(())
    }
}
