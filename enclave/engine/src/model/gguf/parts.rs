//! GGUF files in several parts, as llama.cpp's splitter names them: `NAME-00001-of-00003.gguf`. The
//! first has the metadata; each has the values of its own tensors.

use super::metadata::Metadata;
use crate::model::error::LoadError;

/// Parts of one model. The largest published ones have a few dozen.
const MAX_PARTS: u64 = 1024;

/// How many parts the model has, by the metadata of the first.
pub(super) fn count(metadata: &Metadata) -> Result<u64, LoadError> {
    match metadata.integer("split.count")?.unwrap_or(1) {
        count @ 0..=MAX_PARTS => Ok(count.max(1)),
        count => Err(malformed(format!("{count} parts, accepted are {MAX_PARTS}"))),
    }
}

/// The model's name, and the file names of all parts, by that of the first.
pub(super) fn names(first: &str, count: u64) -> Result<(String, Vec<String>), LoadError> {
    let ending = format!("-00001-of-{count:05}.gguf");
    let Some(name) = first.strip_suffix(&ending) else {
        let reason = format!(
            "{first} is one of {count} parts; name the first of them, which ends in {ending}"
        );
        return Err(malformed(reason));
    };
    let part = |at: u64| format!("{name}-{at:05}-of-{count:05}.gguf");
    Ok((name.to_owned(), (1..=count).map(part).collect()))
}

/// Refuses a part that says it is another one, or of another number of them.
pub(super) fn check(metadata: &Metadata, at: u64, count: u64) -> Result<(), LoadError> {
    for (key, expected) in [("split.no", at), ("split.count", count)] {
        let got = metadata.integer(key)?;
        if got != Some(expected) {
            let got = got.map_or_else(|| "nothing".to_owned(), |got| got.to_string());
            return Err(malformed(format!("part {at} says {key} = {got}, expected {expected}")));
        }
    }
    Ok(())
}

/// Refuses when parts together have not as many tensors as the first says.
pub(super) fn check_tensors(metadata: &Metadata, got: usize) -> Result<(), LoadError> {
    match metadata.integer("split.tensors.count")? {
        Some(expected) if expected != got as u64 => {
            Err(malformed(format!("{got} tensors in all parts, the first says {expected}")))
        }
        _ => Ok(()),
    }
}

fn malformed(reason: String) -> LoadError {
    LoadError::Gguf { reason }
}
