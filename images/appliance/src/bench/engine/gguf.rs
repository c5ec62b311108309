//! The head of a GGUF file, as it is written.
//! Source: GGUF version 3 (ggml, `docs/gguf.md`).

use super::shape::Tensor;

/// Where tensor data begins and how tensors are aligned, in bytes.
pub const ALIGNMENT: usize = 32;

/// Everything before the tensors' data, padded to where they begin.
pub fn header(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend(metadata.count.to_le_bytes());
    bytes.extend(&metadata.bytes);
    let mut offset = 0;
    for tensor in tensors {
        put_text(&mut bytes, &tensor.name);
        bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
        for dimension in &tensor.dimensions {
            bytes.extend((*dimension as u64).to_le_bytes());
        }
        bytes.extend((tensor.kind as u32).to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

/// Metadata of a file, as it is written.
#[derive(Default)]
pub struct Metadata {
    count: u64,
    bytes: Vec<u8>,
}

impl Metadata {
    fn entry(&mut self, key: &str, kind: u32) {
        self.count += 1;
        put_text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
    }

    /// A whole number.
    pub fn number(&mut self, key: &str, value: u32) {
        self.entry(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    /// A 32-bit float.
    pub fn float(&mut self, key: &str, value: f32) {
        self.entry(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.entry(key, 7);
        self.bytes.push(u8::from(value));
    }

    /// A text.
    pub fn text(&mut self, key: &str, value: &str) {
        self.entry(key, 8);
        put_text(&mut self.bytes, value);
    }

    fn list(&mut self, key: &str, kind: u32, count: usize) {
        self.entry(key, 9);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((count as u64).to_le_bytes());
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &str, values: &[String]) {
        self.list(key, 8, values.len());
        values.iter().for_each(|value| put_text(&mut self.bytes, value));
    }

    /// A list of whole numbers.
    pub fn integers(&mut self, key: &str, values: &[i32]) {
        self.list(key, 5, values.len());
        values.iter().for_each(|value| self.bytes.extend(value.to_le_bytes()));
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
