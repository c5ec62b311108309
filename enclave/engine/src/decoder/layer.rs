//! One decoder layer: attention and a gated feed-forward network, each behind a normalisation
//! and added to the residual stream.

use candle_core::{Device, Storage, Tensor};
use rayon::prelude::*;

use super::kernels::{add, attend, dot_rows, rms_norm, silu_times};
use super::kv::KvCache;
use super::rope::Angles;
use super::{Shape, Weights};

/// Multiplications that are worth waking another core for.
const PARALLEL_WORK: usize = 1 << 18;
/// Rows of a matrix that one core takes at a time when there is one token.
const BAND_ROWS: usize = 256;

/// `y = x Wᵀ + b`. The joint for packed weights and products of our own.
pub(super) struct Linear {
    /// `[out, in]`, as stored.
    weight: Tensor,
    bias: Option<Vec<f32>>,
}

impl Linear {
    pub fn new(weight: Tensor, bias: Option<Vec<f32>>) -> Linear {
        Linear { weight, bias }
    }

    fn take<W: Weights>(
        weights: &mut W,
        name: &str,
        [out, inputs]: [usize; 2],
        bias: bool,
    ) -> Result<Linear, W::Error> {
        let weight = weights.take(&format!("{name}.weight"), &[out, inputs])?;
        let vector = bias.then(|| weights.take_vector(&format!("{name}.bias"), out));
        Ok(Linear::new(weight, vector.transpose()?))
    }

    /// For each row of `rows`, one row of outputs.
    pub fn forward(&self, rows: &[f32]) -> candle_core::Result<Vec<f32>> {
        let (out, inputs) = self.weight.dims2()?;
        let mut y = match rows.len() / inputs {
            1 => self.one_row(rows, out)?,
            count => {
                let x = Tensor::from_slice(rows, (count, inputs), &Device::Cpu)?;
                // The transpose is a view; nothing of the weight is copied.
                x.matmul(&self.weight.t()?)?.flatten_all()?.to_vec1::<f32>()?
            }
        };
        if let Some(bias) = &self.bias {
            y.chunks_exact_mut(out).for_each(|row| add(row, bias));
        }
        Ok(y)
    }

    /// A single row, as every generated token needs. candle asks the operating system for the
    /// number of cores at every product and then uses one, which costs more than a small product.
    fn one_row(&self, row: &[f32], out: usize) -> candle_core::Result<Vec<f32>> {
        let (storage, layout) = self.weight.storage_and_layout();
        let (Storage::Cpu(values), Some((from, to))) = (&*storage, layout.contiguous_offsets())
        else {
            candle_core::bail!("a weight is not contiguous in memory");
        };
        let weight = &values.as_slice::<f32>()?[from..to];
        let mut y = vec![0.0; out];
        if weight.len() > PARALLEL_WORK {
            let bands = weight.par_chunks(BAND_ROWS * row.len());
            y.par_chunks_mut(BAND_ROWS).zip(bands).for_each(|(y, band)| dot_rows(band, row, y));
        } else {
            dot_rows(weight, row, &mut y);
        }
        Ok(y)
    }
}

/// Weights of one layer.
pub(super) struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    mlp_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    pub fn build<W: Weights>(
        index: usize,
        shape: &Shape,
        weights: &mut W,
    ) -> Result<Layer, W::Error> {
        let Shape { hidden, intermediate, .. } = *shape;
        let (queries, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let mut linear = |part: &str, size, bias| Linear::take(weights, &name(part), size, bias);
        let query = linear("self_attn.q_proj", [queries, hidden], shape.qkv_bias)?;
        let key = linear("self_attn.k_proj", [keys, hidden], shape.qkv_bias)?;
        let value = linear("self_attn.v_proj", [keys, hidden], shape.qkv_bias)?;
        let output = linear("self_attn.o_proj", [hidden, queries], shape.output_bias)?;
        let gate = linear("mlp.gate_proj", [intermediate, hidden], shape.mlp_bias)?;
        let up = linear("mlp.up_proj", [intermediate, hidden], shape.mlp_bias)?;
        let down = linear("mlp.down_proj", [hidden, intermediate], shape.mlp_bias)?;
        let mut norm = |part: &str| weights.take_vector(&name(part), hidden);
        let attention_norm = norm("input_layernorm.weight")?;
        let mlp_norm = norm("post_attention_layernorm.weight")?;
        Ok(Layer { attention_norm, query, key, value, output, mlp_norm, gate, up, down })
    }

    /// Adds this layer's part to `stream`, `hidden` values per token.
    pub fn forward(
        &self,
        shape: &Shape,
        stream: &mut [f32],
        angles: &Angles,
        index: usize,
        cache: &mut KvCache,
    ) -> candle_core::Result<()> {
        let normed = rms_norm(stream, &self.attention_norm, shape.norm_eps);
        let mut queries = self.query.forward(&normed)?;
        let mut keys = self.key.forward(&normed)?;
        angles.rotate(&mut queries, shape.heads);
        angles.rotate(&mut keys, shape.kv_heads);
        cache.append(index, shape.kv_heads, &keys, &self.value.forward(&normed)?);
        let mixed = attention(shape, &queries, index, cache);
        add(stream, &self.output.forward(&mixed)?);

        let normed = rms_norm(stream, &self.mlp_norm, shape.norm_eps);
        let mut gated = self.gate.forward(&normed)?;
        silu_times(&mut gated, &self.up.forward(&normed)?);
        add(stream, &self.down.forward(&gated)?);
        Ok(())
    }
}

/// Causal attention of all query heads; several query heads share a key-value head.
fn attention(shape: &Shape, queries: &[f32], layer: usize, cache: &KvCache) -> Vec<f32> {
    let Shape { heads, kv_heads, head_dim, .. } = *shape;
    let mut mixed = vec![0.0; queries.len()];
    // Heads of all tokens, one after the other: each is computed by itself, on any core.
    let one = |scores: &mut Vec<f32>, (at, mixed): (usize, &mut [f32])| {
        let (token, head) = (at / heads, at % heads);
        let visible = (cache.len() + token + 1) * head_dim;
        let query = &queries[at * head_dim..][..head_dim];
        let (keys, values) = cache.head(layer, kv_heads, head * kv_heads / heads);
        attend(query, &keys[..visible], &values[..visible], scores, mixed);
    };
    let tokens = queries.len() / (heads * head_dim);
    if queries.len() * (cache.len() + tokens) > PARALLEL_WORK {
        mixed.par_chunks_exact_mut(head_dim).enumerate().for_each_init(Vec::new, one);
    } else {
        let mut scores = Vec::new();
        mixed.chunks_exact_mut(head_dim).enumerate().for_each(|head| one(&mut scores, head));
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Large enough for several threads; who computes what must not show.
    #[test]
    fn products_are_the_same_bits_every_time() {
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
        let weight = Tensor::from_vec(values(700 * 384), (700, 384), &Device::Cpu).unwrap();
        let linear = Linear::new(weight, Some(values(700)));
        for rows in [1, 3, 64] {
            let input = values(rows * 384);
            let first = linear.forward(&input).unwrap();
            assert_eq!(first.len(), rows * 700);
            for _ in 0..5 {
                assert_eq!(linear.forward(&input).unwrap(), first);
            }
        }
    }

    #[test]
    fn a_product_is_rows_times_transposed_weight_plus_bias() {
        let weight = vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let weight = Tensor::from_vec(weight, (3, 2), &Device::Cpu).unwrap();
        let linear = Linear::new(weight, Some(vec![0.5, 0.0, -1.0]));
        let expected = [1.5, 3.0, 4.0, 2.5, 4.0, 5.0];
        assert_eq!(linear.forward(&[1.0, 0.0, 0.0, 1.0]).unwrap(), expected);
    }
}
