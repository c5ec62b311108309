//! The table of tensors: names, shapes, types and places, checked against the file's length.

use super::metadata::{Metadata, text};
use crate::model::error::LoadError;
use crate::model::files::Bytes;
use crate::model::stored::Stored;

/// Bytes of a tensor's name. The specification says 64; some converters write longer ones.
const MAX_NAME_BYTES: u64 = 256;
/// Dimensions of a tensor; ggml's own limit.
const MAX_DIMENSIONS: u32 = 4;
/// Alignment of the tensors, in bytes, where the metadata names none.
const ALIGNMENT: u64 = 32;
/// Largest alignment accepted, in bytes. Nobody writes more than a page.
const MAX_ALIGNMENT: u64 = 65_536;

/// A tensor.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: String,
    pub stored: Stored,
    /// Outermost first: the reverse of the file's order.
    pub dims: Vec<usize>,
    /// Where its values begin in the file.
    pub from: u64,
    pub to: u64,
}

/// Reads `count` of them, and sorts them as their values lie in the file.
pub(super) fn read_table(
    bytes: &mut impl Bytes,
    count: u64,
    metadata: &Metadata,
) -> Result<Vec<Entry>, LoadError> {
    let malformed = |reason: String| Err(LoadError::Gguf { reason });
    let alignment = metadata.integer("general.alignment")?.unwrap_or(ALIGNMENT);
    if !(alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT) {
        return malformed(format!("an alignment of {alignment}"));
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(entry(bytes)?);
    }
    let start = bytes.position().next_multiple_of(alignment);
    let end = bytes.position() + bytes.left();
    entries.sort_by_key(|entry| entry.from);
    let mut free = 0;
    for entry in &mut entries {
        let whole = entry.from.is_multiple_of(alignment);
        if !whole || entry.from < free || entry.from - free > alignment {
            let Entry { name, from, .. } = entry;
            return malformed(format!(
                "tensor {name} lies at {from}, the one before ends at {free}"
            ));
        }
        free = entry.to;
        let places = (start.checked_add(entry.from), start.checked_add(entry.to));
        let (Some(from), Some(to)) = places else {
            return malformed(format!("tensor {} lies beyond any file", entry.name));
        };
        if to > end {
            let file = "the GGUF file".into();
            return Err(LoadError::Truncated { file, needed: to, left: end });
        }
        (entry.from, entry.to) = (from, to);
    }
    Ok(entries)
}

/// One line of the table, its places counted from the first tensor.
fn entry(bytes: &mut impl Bytes) -> Result<Entry, LoadError> {
    let malformed = |reason: String| LoadError::Gguf { reason };
    let name = text(bytes, MAX_NAME_BYTES)?;
    let dimensions = u32::from_le_bytes(bytes.next()?);
    if dimensions > MAX_DIMENSIONS {
        return Err(malformed(format!("tensor {name} has {dimensions} dimensions")));
    }
    let mut dims = Vec::new();
    for _ in 0..dimensions {
        dims.push(u64::from_le_bytes(bytes.next()?));
    }
    let number = u32::from_le_bytes(bytes.next()?);
    let from = u64::from_le_bytes(bytes.next()?);
    let Some(stored) = Stored::of_gguf(number) else {
        return Err(LoadError::TensorType { name, got: format!("ggml type {number}") });
    };
    let inputs = dims.first().copied().unwrap_or(1);
    let values = dims.iter().try_fold(1u64, |values, dim| values.checked_mul(*dim));
    let whole = inputs.is_multiple_of(stored.block_values());
    let size = values.filter(|values| whole && *values > 0).and_then(|values| stored.bytes(values));
    let (Some(size), true) = (size, dims.iter().all(|dim| *dim <= u64::from(u32::MAX))) else {
        let kind = stored.name();
        return Err(malformed(format!("tensor {name} of shape {dims:?} cannot be {kind}")));
    };
    let Some(to) = from.checked_add(size) else {
        return Err(malformed(format!("tensor {name} lies beyond any file")));
    };
    let dims = dims.into_iter().rev().map(|dim| dim as usize).collect();
    Ok(Entry { name, stored, dims, from, to })
}
