//! Tensors from safetensors files, single or sharded, checked by name, shape and value.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device, Storage, Tensor};
use serde::Deserialize;

use super::error::LoadError;
use super::files::{Folder, json};
use crate::decoder::Weights;
use crate::manifest::FileRole;

/// Files of one model. The largest published ones have about 200.
const MAX_SHARDS: usize = 1024;
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// All tensors of a model, in f32.
pub(super) struct Tensors {
    by_name: BTreeMap<String, Tensor>,
    /// Types of the stored tensors, for the manifest.
    stored: BTreeSet<&'static str>,
}

impl Tensors {
    /// Reads every weights file of the folder.
    pub fn read(folder: &mut Folder<'_>) -> Result<Tensors, LoadError> {
        let files = list(folder)?;
        folder.expect_weights(&files);
        let mut tensors = Tensors { by_name: BTreeMap::new(), stored: BTreeSet::new() };
        for file in files {
            let bytes = match folder.optional(&file, FileRole::Weights)? {
                Some(bytes) => bytes,
                None => return Err(LoadError::MissingShard { file }),
            };
            tensors.add(&file, &bytes)?;
        }
        Ok(tensors)
    }

    fn add(&mut self, file: &str, bytes: &[u8]) -> Result<(), LoadError> {
        let broken = |error: candle_core::Error| LoadError::Safetensors {
            file: file.into(),
            reason: error.to_string().lines().next().unwrap_or_default().into(),
        };
        let open = SliceSafetensors::new(bytes).map_err(broken)?;
        for (name, _) in open.tensors() {
            // A buffer some exporters leave behind; computed here from config.json.
            if name.ends_with("rotary_emb.inv_freq") {
                continue;
            }
            let tensor = open.load(&name, &Device::Cpu).map_err(broken)?;
            let stored = match tensor.dtype() {
                DType::BF16 => "bf16",
                DType::F16 => "f16",
                DType::F32 => "f32",
                other => return Err(LoadError::TensorType { name, got: other.as_str().into() }),
            };
            self.stored.insert(stored);
            let tensor = tensor.to_dtype(DType::F32).map_err(broken)?;
            if self.by_name.insert(name.clone(), tensor).is_some() {
                let reason = format!("another file has tensor {name} too");
                return Err(LoadError::Safetensors { file: file.into(), reason });
            }
        }
        Ok(())
    }

    /// The stored types, joined by `+`.
    pub fn stored(&self) -> String {
        let kinds: Vec<&str> = self.stored.iter().copied().collect();
        kinds.join("+")
    }

    /// Refuses what the decoder did not take. A tied model may still carry its output matrix.
    pub fn refuse_rest(self, tied: bool) -> Result<(), LoadError> {
        let mut rest = self.by_name.into_keys();
        match rest.find(|name| !(tied && name == "lm_head.weight")) {
            Some(name) => Err(LoadError::UnknownTensor { name }),
            None => Ok(()),
        }
    }
}

impl Weights for Tensors {
    type Error = LoadError;

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let tensor = self
            .by_name
            .remove(name)
            .ok_or_else(|| LoadError::MissingTensor { name: name.into() })?;
        if tensor.dims() != shape {
            return Err(LoadError::TensorShape {
                name: name.into(),
                expected: shape.into(),
                got: tensor.dims().into(),
            });
        }
        if !is_finite(&tensor) {
            return Err(LoadError::NotFinite { name: name.into() });
        }
        Ok(tensor)
    }

    fn take_vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, &[len])?;
        // One dimension and f32 by now.
        tensor.to_vec1().map_err(|_| LoadError::NotFinite { name: name.into() })
    }
}

/// Looks at the values in place; a tensor that was just read is contiguous and on the CPU.
fn is_finite(tensor: &Tensor) -> bool {
    let (storage, _) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => {
            storage.as_slice::<f32>().is_ok_and(|values| values.iter().all(|v| v.is_finite()))
        }
        _ => false,
    }
}

/// The weights files: the single one, else those of the index, as transformers chooses.
fn list(folder: &mut Folder<'_>) -> Result<Vec<String>, LoadError> {
    if folder.has(SINGLE) {
        return Ok(vec![SINGLE.into()]);
    }
    let Some(bytes) = folder.optional(INDEX, FileRole::Index)? else {
        return Err(LoadError::MissingFile { file: SINGLE.into() });
    };
    let index: Index = json(INDEX, &bytes)?;
    let files: BTreeSet<String> = index.weight_map.into_values().collect();
    if files.is_empty() || files.len() > MAX_SHARDS {
        let reason = format!("names {} files, accepted are 1 to {MAX_SHARDS}", files.len());
        return Err(LoadError::Index { reason });
    }
    if let Some(path) = files.iter().find(|file| !is_plain_name(file)) {
        return Err(LoadError::Index {
            reason: format!("{path:?} is no file name of this folder"),
        });
    }
    Ok(files.into_iter().collect())
}

/// A shard lies in the folder itself; anything else could read other files of the machine.
fn is_plain_name(file: &str) -> bool {
    file.ends_with(".safetensors") && !file.contains(['/', '\\', '\0'])
}
