//! Tensors from safetensors files, single or sharded, checked by name, shape and value.

use std::collections::{BTreeMap, BTreeSet};

use bulla_kernels::weights::{Format, Matrix};
use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::Quantisation;
use super::error::LoadError;
use super::files::{Folder, json};
use crate::decoder::{Source, Weights};
use crate::manifest::FileRole;

/// Files of one model. The largest published ones have about 200.
const MAX_SHARDS: usize = 1024;
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// All tensors of a model, as stored.
pub(super) struct Tensors {
    by_name: BTreeMap<String, Tensor>,
    quantisation: Quantisation,
    /// Types of the stored tensors, for the manifest.
    stored: BTreeSet<&'static str>,
}

impl Tensors {
    /// Reads every weights file of the folder.
    pub fn read(folder: &mut Folder<'_>, quantisation: Quantisation) -> Result<Tensors, LoadError> {
        let files = list(folder)?;
        folder.expect_weights(&files);
        let (by_name, stored) = (BTreeMap::new(), BTreeSet::new());
        let mut tensors = Tensors { by_name, quantisation, stored };
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

impl Tensors {
    /// The tensor `name` of exactly this shape.
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
        Ok(tensor)
    }

    /// How a tensor is kept in memory: bfloat16 as it is, the rest in 32 bits, unless it is to be
    /// quantised and its rows are whole blocks.
    fn format(&self, tensor: &Tensor, inputs: usize) -> Format {
        let blocks = inputs.is_multiple_of(Format::Q8_0.inputs_multiple());
        match (self.quantisation, tensor.dtype()) {
            (Quantisation::Q8_0, _) if blocks => Format::Q8_0,
            (_, DType::BF16) => Format::Bf16,
            _ => Format::F32,
        }
    }
}

impl Weights for Tensors {
    type Error = LoadError;

    fn take_matrices(
        &mut self,
        sources: &[Source],
        inputs: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let mut taken = Vec::new();
        for Source { name, outputs } in sources {
            let tensor = self.take(name, &[*outputs, inputs])?;
            taken.push((self.format(&tensor, inputs), name, tensor));
        }
        let mut matrices = Vec::new();
        for neighbours in taken.chunk_by(|(a, ..), (b, ..)| a == b) {
            matrices.push(pack(neighbours, inputs)?);
        }
        Ok(matrices)
    }

    fn take_vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, &[len])?;
        values(name, &tensor)
    }
}

/// Tensors of one format below each other in one matrix.
fn pack(tensors: &[(Format, &String, Tensor)], inputs: usize) -> Result<Matrix, LoadError> {
    let Some((format, name, _)) = tensors.first() else {
        return Err(LoadError::MissingTensor { name: String::new() });
    };
    let unfit = |error: bulla_kernels::weights::PackError| LoadError::Unsupported {
        feature: format!("tensor {name}: {error}"),
    };
    let rows = tensors.iter().map(|(.., tensor)| tensor.elem_count() / inputs).sum();
    let mut matrix = Matrix::zeroed(*format, rows, inputs).map_err(unfit)?;
    let mut row = 0;
    for (_, name, tensor) in tensors {
        for values in values(name, tensor)?.chunks_exact(inputs) {
            matrix.set_values(row, values).map_err(unfit)?;
            row += 1;
        }
    }
    Ok(matrix)
}

/// The values of a tensor in 32 bits, all of them finite.
fn values(name: &str, tensor: &Tensor) -> Result<Vec<f32>, LoadError> {
    let not_finite = || LoadError::NotFinite { name: name.into() };
    let wide = tensor.to_dtype(DType::F32).and_then(|wide| wide.flatten_all());
    let values: Vec<f32> = wide.and_then(|wide| wide.to_vec1()).map_err(|_| not_finite())?;
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(not_finite()),
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
