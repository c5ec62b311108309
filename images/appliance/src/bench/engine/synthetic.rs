//! Files of noise in the shape of real models: what the engine and its peer are timed on.
//!
//! Weights are drawn as stored blocks, with scales that give them the spread of a fresh model. The
//! vocabulary is byte-level, its merged tokens are of letters, and a digit is one token.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::gguf::{self, ALIGNMENT, Metadata};
use super::shape::{Format, Kind, Shape, Tensor};

/// Text, the end of it, and the two marks of a turn; the numbers Qwen gives them.
const CONTROL: [(usize, &str); 3] =
    [(151_643, "<|endoftext|>"), (151_644, "<|im_start|>"), (151_645, "<|im_end|>")];
const CHAT_TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n\
{{ message['content'] }}<|im_end|>\n{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Writes a file, calling `progress` with the bytes written so far.
pub fn write(
    path: &Path,
    shape: &Shape,
    format: Format,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
    let tensors = shape.tensors(format);
    let head = header(shape, format, &tensors);
    out.write_all(&head)?;
    let mut done = head.len() as u64;
    for (index, tensor) in tensors.iter().enumerate() {
        let mut data = noise(tensor, index as u64);
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        out.write_all(&data)?;
        done += data.len() as u64;
        progress(done);
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(partial, path)
}

/// Everything before the tensors' data.
fn header(shape: &Shape, format: Format, tensors: &[Tensor]) -> Vec<u8> {
    let mut metadata = Metadata::default();
    let key = |name: &str| format!("{}.{name}", shape.architecture);
    metadata.text("general.architecture", shape.architecture);
    metadata.text("general.name", shape.name);
    metadata.number("general.file_type", format.file_type());
    metadata.number(&key("context_length"), shape.context as u32);
    metadata.number(&key("embedding_length"), shape.hidden as u32);
    metadata.number(&key("block_count"), shape.layers as u32);
    metadata.number(&key("feed_forward_length"), shape.intermediate as u32);
    metadata.number(&key("attention.head_count"), shape.heads as u32);
    metadata.number(&key("attention.head_count_kv"), shape.kv_heads as u32);
    metadata.number(&key("attention.key_length"), shape.head as u32);
    metadata.number(&key("attention.value_length"), shape.head as u32);
    metadata.float(&key("rope.freq_base"), 1e6);
    metadata.float(&key("attention.layer_norm_rms_epsilon"), 1e-6);
    metadata.number(&key("vocab_size"), shape.vocabulary as u32);
    tokenizer(shape.vocabulary, &mut metadata);
    gguf::header(&metadata, tensors)
}

/// A byte-level vocabulary of `size` tokens.
fn tokenizer(size: usize, metadata: &mut Metadata) {
    let first_control = CONTROL[0].0;
    let mut tokens: Vec<String> = (0..=255).map(|byte| byte_letter(byte).to_string()).collect();
    let mut merges = Vec::new();
    for (left, right) in merged_pairs().take(first_control - tokens.len()) {
        tokens.push(format!("{left}{right}"));
        merges.push(format!("{left} {right}"));
    }
    let mut types = vec![1i32; tokens.len()];
    for (_, name) in CONTROL {
        tokens.push(name.to_owned());
        types.push(3);
    }
    for unused in tokens.len()..size {
        tokens.push(format!("[PAD{unused}]"));
        types.push(5);
    }
    metadata.text("tokenizer.ggml.model", "gpt2");
    metadata.text("tokenizer.ggml.pre", "qwen2");
    metadata.texts("tokenizer.ggml.tokens", &tokens);
    metadata.integers("tokenizer.ggml.token_type", &types);
    metadata.texts("tokenizer.ggml.merges", &merges);
    metadata.number("tokenizer.ggml.eos_token_id", CONTROL[2].0 as u32);
    metadata.number("tokenizer.ggml.padding_token_id", CONTROL[0].0 as u32);
    metadata.number("tokenizer.ggml.bos_token_id", CONTROL[0].0 as u32);
    metadata.flag("tokenizer.ggml.add_bos_token", false);
    metadata.text("tokenizer.chat_template", CHAT_TEMPLATE);
}

/// Pairs of tokens that are merged, in the order of their ranks: two letters, then three, then
/// four.
fn merged_pairs() -> impl Iterator<Item = (String, String)> {
    let letters = || ('a'..='z').chain('A'..='Z');
    let twos = move || letters().flat_map(move |a| letters().map(move |b| format!("{a}{b}")));
    let two = letters().flat_map(move |a| letters().map(move |b| (a.to_string(), b.to_string())));
    let three = twos().flat_map(move |pair| letters().map(move |c| (pair.clone(), c.to_string())));
    let four = twos().flat_map(move |pair| twos().map(move |other| (pair.clone(), other)));
    two.chain(three).chain(four)
}

/// The character that stands for a byte in byte-level vocabularies: printable ones for themselves.
fn byte_letter(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match printable(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|other| !printable(*other)).count() as u32;
            char::from_u32(256 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    }
}

/// The data of a tensor: always the same for a place in a file.
fn noise(tensor: &Tensor, seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let bytes = tensor.bytes();
    let is_norm = tensor.name.ends_with("norm.weight");
    let mut data = Vec::with_capacity(bytes + ALIGNMENT);
    while data.len() < bytes {
        match tensor.kind {
            Kind::F32 if is_norm => data.extend(1f32.to_le_bytes()),
            Kind::F32 => data.extend((random.spread() * 0.02).to_le_bytes()),
            Kind::Bf16 => {
                let bits = (random.spread() * 0.035).to_bits();
                data.extend(((bits >> 16) as u16).to_le_bytes());
            }
            Kind::Q8_0 => {
                data.extend(half(0.000_28).to_le_bytes());
                random.fill(&mut data, 32);
            }
            Kind::Q4_0 => {
                data.extend(half(0.0043).to_le_bytes());
                random.fill(&mut data, 16);
            }
            // All sub-blocks with scale and minimum 32: 32 d q - 32 m, centred by m = 7.5 d.
            Kind::Q4K => {
                data.extend(half(0.000_14).to_le_bytes());
                data.extend(half(0.000_14 * 7.5).to_le_bytes());
                data.extend([0xa0; 8]);
                data.extend([0; 4]);
                random.fill(&mut data, 128);
            }
            Kind::Q6K => {
                random.fill(&mut data, 192);
                data.extend([16; 16]);
                data.extend(half(0.000_068).to_le_bytes());
            }
        }
    }
    data
}

/// A half float's bits, for values that are normal in half floats.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    (exponent.clamp(1, 30) as u16) << 10 | (bits >> 13 & 0x3ff) as u16
}

/// SplitMix64: quick noise, nothing depends on it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Between -1 and 1.
    fn spread(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn fill(&mut self, data: &mut Vec<u8>, bytes: usize) {
        for _ in 0..bytes / 8 {
            data.extend(self.next().to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_the_standard_says() {
        assert_eq!(half(1.0), 0x3c00);
        assert_eq!(half(0.5), 0x3800);
        assert_eq!(half(65504.0), 0x7bff);
    }

    #[test]
    fn bytes_and_letters_are_one_to_one() {
        let letters: std::collections::BTreeSet<char> = (0..=255).map(byte_letter).collect();
        assert_eq!(letters.len(), 256);
        assert_eq!(byte_letter(b' '), 'Ġ');
        assert_eq!(byte_letter(b'\n'), 'Ċ');
    }

    #[test]
    fn merged_tokens_differ() {
        let tokens: std::collections::BTreeSet<String> =
            merged_pairs().take(151_387).map(|(left, right)| left + &right).collect();
        assert_eq!(tokens.len(), 151_387);
    }

    #[test]
    fn data_have_the_size_of_their_tensor() {
        for kind in [Kind::F32, Kind::Bf16, Kind::Q4_0, Kind::Q8_0, Kind::Q4K, Kind::Q6K] {
            let tensor = Tensor { name: "t".into(), dimensions: vec![512, 3], kind };
            assert_eq!(noise(&tensor, 1).len(), tensor.bytes(), "{kind:?}");
        }
    }
}
