//! The tokenizer in the metadata of a GGUF file: tokens, merges or scores, control tokens, the chat
//! template.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer,
};

use super::metadata::Metadata;
use crate::model::error::LoadError;
use crate::model::merges;
use crate::model::pre;

const TOKENS: &str = "tokenizer.ggml.tokens";
/// Kinds of tokens, by the numbers of the specification.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

/// Control tokens that end an answer, in files that name only one of those they have.
const ENDS: [&str; 8] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<|user|>",
];

/// What the metadata says about text.
pub(super) struct Vocabulary {
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: Option<String>,
    /// Tokens the template may name.
    pub named: BTreeMap<&'static str, String>,
    /// Tokens that end an answer.
    pub stops: Vec<u64>,
}

/// Builds it.
pub(super) fn read(metadata: &Metadata) -> Result<Vocabulary, LoadError> {
    let tokens = Tokens::of(metadata)?;
    let model = metadata.text("tokenizer.ggml.model")?.unwrap_or_default();
    let mut tokenizer = match model {
        "gpt2" => byte_level(metadata, &tokens)?,
        "llama" => scored(metadata, &tokens)?,
        "bert" => word_pieces(&tokens)?,
        other => {
            let feature = format!("a tokenizer of the kind {other:?} (tokenizer.ggml.model)");
            return Err(LoadError::Unsupported { feature });
        }
    };
    let added = tokens.added(model);
    tokenizer.add_tokens(added).map_err(refused)?;
    let begin = tokens.named(metadata, "bos")?;
    let end = tokens.named(metadata, "eos")?;
    if let Some(processor) = frame(metadata, model, &tokens, [&begin, &end])? {
        tokenizer.with_post_processor(Some(part::<PostProcessorWrapper>(processor)?));
    }
    let mut named = BTreeMap::new();
    for (key, short, long) in [
        ("bos_token", "bos", ""),
        ("eos_token", "eos", ""),
        ("unk_token", "unk", "unknown"),
        ("pad_token", "pad", "padding"),
    ] {
        let token = match tokens.named(metadata, if long.is_empty() { short } else { long })? {
            Some(token) => Some(token),
            None => tokens.named(metadata, short)?,
        };
        named.extend(token.map(|(_, text)| (key, text.to_owned())));
    }
    let template = metadata.text("tokenizer.chat_template")?.map(str::to_owned);
    Ok(Vocabulary { tokenizer, template, named, stops: tokens.stops(metadata)? })
}

/// The tokens with their kinds.
struct Tokens<'a> {
    texts: &'a [String],
    kinds: &'a [i64],
}

impl<'a> Tokens<'a> {
    fn of(metadata: &'a Metadata) -> Result<Tokens<'a>, LoadError> {
        let texts = metadata.texts(TOKENS)?;
        let texts = texts.ok_or(LoadError::ConfigMissing { key: TOKENS })?;
        let kinds = metadata.integers("tokenizer.ggml.token_type")?.unwrap_or_default();
        Ok(Tokens { texts, kinds })
    }

    fn kind(&self, id: usize) -> i64 {
        self.kinds.get(id).copied().unwrap_or(NORMAL)
    }

    /// Ids by text, rows that only fill up left out; the first where a text is there twice.
    fn ids(&self) -> Vocab {
        let mut ids = Vocab::with_capacity(self.texts.len());
        for (id, text) in self.texts.iter().enumerate() {
            if self.kind(id) != UNUSED {
                ids.entry(text.clone()).or_insert(id as u32);
            }
        }
        ids
    }

    /// Tokens that are looked for in the text itself.
    fn added(&self, model: &str) -> Vec<AddedToken> {
        let kinds = self.texts.iter().enumerate().map(|(id, text)| (self.kind(id), text));
        let added = kinds.filter(|(kind, text)| {
            let looked_for =
                matches!(*kind, CONTROL | USER_DEFINED) || (*kind == UNKNOWN && model == "llama");
            looked_for && !text.is_empty()
        });
        added
            .map(|(kind, text)| {
                AddedToken::from(text.as_str(), kind != USER_DEFINED).normalized(false)
            })
            .collect()
    }

    /// The token the metadata gives a role.
    fn named(&self, metadata: &Metadata, role: &str) -> Result<Option<(u64, &'a str)>, LoadError> {
        let Some(id) = metadata.integer(&format!("tokenizer.ggml.{role}_token_id"))? else {
            return Ok(None);
        };
        // Some files name -1 as 32 bits where there is none.
        let text = usize::try_from(id).ok().and_then(|id| self.texts.get(id));
        Ok(text.map(|text| (id, text.as_str())))
    }

    fn stops(&self, metadata: &Metadata) -> Result<Vec<u64>, LoadError> {
        let mut stops = Vec::new();
        for role in ["eos", "eot", "eom"] {
            stops.extend(self.named(metadata, role)?.map(|(id, _)| id));
        }
        for (id, text) in self.texts.iter().enumerate() {
            if self.kind(id) == CONTROL && ENDS.contains(&text.as_str()) {
                stops.push(id as u64);
            }
        }
        Ok(stops)
    }
}

fn refused(error: impl std::fmt::Display) -> LoadError {
    LoadError::Tokenizer { reason: error.to_string() }
}

/// A part of a tokenizer, in the words of tokenizer.json.
fn part<T: DeserializeOwned>(json: Value) -> Result<T, LoadError> {
    serde_json::from_value(json).map_err(refused)
}

/// The kind GPT-2, Llama 3 and Qwen use: merges of bytes.
fn byte_level(metadata: &Metadata, tokens: &Tokens<'_>) -> Result<Tokenizer, LoadError> {
    let name = metadata.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
    let cut = pre::cut(name).ok_or_else(|| LoadError::Unsupported {
        feature: format!("the pre-tokenizer {name:?} (tokenizer.ggml.pre)"),
    })?;
    let lines = metadata.texts("tokenizer.ggml.merges")?.unwrap_or_default();
    let pair = |line: &String| {
        // The first character may be the space's stand-in, never the space itself.
        line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let merges = lines.iter().map(pair).collect::<Option<Vec<_>>>();
    let merges = merges.ok_or_else(|| refused("a merge that is no pair"))?;
    let longest_bytes = tokens.texts.iter().map(|text| text.len()).max().unwrap_or(0);
    let pairs = merges.iter().map(|(a, b)| (a.as_str(), b.as_str()));
    merges::check(longest_bytes, "", pairs).map_err(refused)?;
    let builder = BPE::builder().vocab_and_merges(tokens.ids(), merges);
    let model = builder.ignore_merges(cut.whole_words).build().map_err(refused)?;
    let mut tokenizer = Tokenizer::new(model);
    if cut.composed {
        let composed = part::<NormalizerWrapper>(json!({"type": "NFC"}))?;
        tokenizer.with_normalizer(Some(composed)).map_err(refused)?;
    }
    tokenizer.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(cut.pre_tokenizer())?));
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                       "use_regex": true});
    tokenizer.with_decoder(Some(part::<DecoderWrapper>(bytes)?));
    Ok(tokenizer)
}

/// The kind Llama 2 and Mistral use, SentencePiece's: the pair whose joint piece has the best score
/// merges first; unknown characters become bytes.
fn scored(metadata: &Metadata, tokens: &Tokens<'_>) -> Result<Tokenizer, LoadError> {
    let scores = metadata.floats("tokenizer.ggml.scores")?.unwrap_or_default();
    let ids = tokens.ids();
    let mut merges = Vec::new();
    for (id, text) in tokens.texts.iter().enumerate() {
        let score = scores.get(id).copied().unwrap_or(0.0);
        if !matches!(tokens.kind(id), NORMAL | USER_DEFINED) {
            continue;
        }
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(a), Some(b)) = (ids.get(left), ids.get(right)) {
                merges.push((score, *a, *b));
            }
        }
    }
    // Stable: equal scores merge in the order of their ids.
    merges.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    let text = |id: u32| tokens.texts[id as usize].clone();
    let merges = merges.into_iter().map(|(_, a, b)| (text(a), text(b))).collect();
    let mut builder =
        BPE::builder().vocab_and_merges(ids, merges).byte_fallback(true).fuse_unk(true);
    let unknown = tokens.named(metadata, "unknown")?.map(|(_, text)| text);
    let first = (0..tokens.texts.len()).find(|id| tokens.kind(*id) == UNKNOWN);
    if let Some(text) = unknown.or(first.map(|id| tokens.texts[id].as_str())) {
        builder = builder.unk_token(text.to_owned());
    }
    let mut tokenizer = Tokenizer::new(builder.build().map_err(refused)?);
    let mut steps = Vec::new();
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true) {
        steps.push(json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    steps.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}));
    let normalizer = part::<NormalizerWrapper>(json!({"type": "Sequence", "normalizers": steps}))?;
    tokenizer.with_normalizer(Some(normalizer)).map_err(refused)?;
    let decoder = json!({"type": "Sequence", "decoders": decoders});
    tokenizer.with_decoder(Some(part::<DecoderWrapper>(decoder)?));
    Ok(tokenizer)
}

/// The kind BERT uses. The file marks beginnings of words, tokenizer.json what goes on.
fn word_pieces(tokens: &Tokens<'_>) -> Result<Tokenizer, LoadError> {
    let mut vocab = Vocab::new();
    for (id, text) in tokens.texts.iter().enumerate() {
        let is_bracketed = text.starts_with('[') && text.ends_with(']');
        let piece = match text.strip_prefix('▁') {
            Some(word) => word.to_owned(),
            None if tokens.kind(id) == CONTROL || is_bracketed => text.clone(),
            None => format!("##{text}"),
        };
        vocab.entry(piece).or_insert(id as u32);
    }
    let builder = WordPiece::builder().vocab(vocab).unk_token("[UNK]".into());
    let mut tokenizer = Tokenizer::new(builder.build().map_err(refused)?);
    let normalizer = json!({"type": "BertNormalizer", "clean_text": true, "lowercase": true,
                            "handle_chinese_chars": true, "strip_accents": null});
    let normalizer = part::<NormalizerWrapper>(normalizer)?;
    tokenizer.with_normalizer(Some(normalizer)).map_err(refused)?;
    let words = part::<PreTokenizerWrapper>(json!({"type": "BertPreTokenizer"}))?;
    tokenizer.with_pre_tokenizer(Some(words));
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    tokenizer.with_decoder(Some(part::<DecoderWrapper>(decoder)?));
    Ok(tokenizer)
}

/// Tokens put around plain text, where the file asks for them.
fn frame(
    metadata: &Metadata,
    model: &str,
    tokens: &Tokens<'_>,
    [begin, end]: [&Option<(u64, &str)>; 2],
) -> Result<Option<Value>, LoadError> {
    let (begin, end) = match model {
        "bert" => {
            let separator = match tokens.named(metadata, "separator")? {
                Some(token) => Some(token),
                None => tokens.named(metadata, "seperator")?,
            };
            (tokens.named(metadata, "cls")?.or(*begin), separator.or(*end))
        }
        _ => {
            let name = metadata.text("tokenizer.ggml.pre")?.unwrap_or_default();
            let begins = model == "llama" || pre::cut(name).is_some_and(|cut| cut.begins);
            let begins = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins);
            let ends = metadata.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
            (begin.filter(|_| begins), end.filter(|_| ends))
        }
    };
    let (mut single, mut named) = (Vec::new(), serde_json::Map::new());
    let mut token = |single: &mut Vec<Value>, token: Option<(u64, &str)>| {
        if let Some((id, text)) = token {
            single.push(json!({"SpecialToken": {"id": text, "type_id": 0}}));
            named.insert(text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}));
        }
    };
    token(&mut single, begin);
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    token(&mut single, end);
    if single.len() == 1 {
        return Ok(None);
    }
    let mut pair = single.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    Ok(Some(json!({"type": "TemplateProcessing", "single": single, "pair": pair,
                   "special_tokens": named})))
}

#[cfg(test)]
mod tests;
