//! One decoder layer: attention and a feed-forward part, each behind a normalisation and added to the
//! residual stream.

use bulla_kernels::matmul::Into;
use bulla_kernels::rows::{norm_rows, rms_norm, rotate};

use super::arena::Arena;
use super::attention::{Job, attention};
use super::linear::{Inputs, Linear, Machine};
use super::mlp::Feed;
use super::rope::Angles;
use super::step::{Rows, Step};
use super::{Shape, Weights};

/// Weights of one layer.
pub(super) struct Layer {
    attention_norm: Vec<f32>,
    /// Query, key, value.
    qkv: Linear,
    /// Normalisation of each query head and each key head, where the family has it.
    head_norms: Option<[Vec<f32>; 2]>,
    output: Linear,
    /// Of what attention adds, where the family has it.
    added_norm: Option<Vec<f32>>,
    mlp_norm: Vec<f32>,
    feed: Feed,
    /// Of what the feed-forward part adds, where the family has it.
    fed_norm: Option<Vec<f32>>,
}

impl Layer {
    pub fn build<W: Weights>(
        index: usize,
        shape: &Shape,
        weights: &mut W,
    ) -> Result<Layer, W::Error> {
        let hidden = shape.hidden;
        let (queries, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let source = |part: &str, outputs: usize| (name(part), outputs);
        let qkv = match shape.fused_qkv {
            true => vec![source("self_attn.qkv_proj", queries + 2 * keys)],
            false => vec![
                source("self_attn.q_proj", queries),
                source("self_attn.k_proj", keys),
                source("self_attn.v_proj", keys),
            ],
        };
        let qkv = Linear::take(weights, &qkv, hidden, shape.qkv_bias)?;
        let output = [source("self_attn.o_proj", hidden)];
        let output = Linear::take(weights, &output, queries, shape.output_bias)?;
        let feed = Feed::take(index, shape, weights)?;
        let mut norm = |part: &str, len| weights.take_vector(&name(part), len);
        let attention_norm = norm("input_layernorm.weight", hidden)?;
        let mut named = |name: &str| norm(&format!("{name}.weight"), hidden);
        let added_norm = shape.norms.after_attention.map(&mut named).transpose()?;
        let mlp_norm = named(shape.norms.before_feed)?;
        let fed_norm = shape.norms.after_feed.map(&mut named).transpose()?;
        let head_norms = match shape.head_norms {
            false => None,
            true => Some([
                norm("self_attn.q_norm.weight", shape.head_dim)?,
                norm("self_attn.k_norm.weight", shape.head_dim)?,
            ]),
        };
        Ok(Layer { attention_norm, qkv, head_norms, output, added_norm, mlp_norm, feed, fed_norm })
    }

    /// The linear maps whose input is as wide as the model.
    pub fn of_hidden(&self) -> Vec<&Linear> {
        let mut all = self.feed.of_hidden();
        all.push(&self.qkv);
        all
    }

    /// The one behind the attention.
    pub fn of_heads(&self) -> &Linear {
        &self.output
    }

    /// The feed-forward part.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Adds this layer's part to the stream in `rows`.
    #[allow(clippy::too_many_arguments, reason = "a pass, its memory and where it stands")]
    pub fn forward(
        &self,
        machine: Machine<'_>,
        shape: &Shape,
        index: usize,
        step: &Step<'_>,
        angles: &Angles,
        arena: &mut Arena,
        rows: &mut Rows,
    ) {
        let Rows { stream, normed, qkv, mixed, added, inputs, attention: space, feed } = rows;
        let Machine { pool, path } = machine;
        norm_rows(pool, path, stream, &self.attention_norm, shape.norm_eps, normed);
        let [from_hidden, from_heads]: &mut [Inputs; 2] = inputs;
        let prepared = from_hidden.prepare(machine, normed);
        self.qkv.forward(machine, prepared, Into::Replace, qkv);
        self.turn_and_keep(machine, shape, index, step, angles, arena, [qkv, mixed]);
        let job = Job { machine, look: shape.look(), layer: index, step, arena, qkv };
        attention(&job, space, mixed);
        let prepared = from_heads.prepare(machine, mixed);
        match &self.added_norm {
            None => self.output.forward(machine, prepared, Into::Add, stream),
            Some(weight) => {
                self.output.forward(machine, prepared, Into::Replace, normed);
                add_normed(machine, normed, weight, shape.norm_eps, [added, stream]);
            }
        }

        norm_rows(pool, path, stream, &self.mlp_norm, shape.norm_eps, normed);
        let prepared = from_hidden.prepare(machine, normed);
        match &self.fed_norm {
            None => self.feed.forward(machine, prepared, feed, stream),
            Some(weight) => {
                added.clear();
                added.resize(stream.len(), 0.0);
                self.feed.forward(machine, prepared, feed, added);
                add_normed(machine, added, weight, shape.norm_eps, [normed, stream]);
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "as above")]
    /// Normalises and rotates queries and keys, and puts keys and values where later tokens find
    /// them.
    fn turn_and_keep(
        &self,
        machine: Machine<'_>,
        shape: &Shape,
        index: usize,
        step: &Step<'_>,
        angles: &Angles,
        arena: &mut Arena,
        [qkv, spare]: [&mut [f32]; 2],
    ) {
        let (queries, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let mut rows = qkv.chunks_exact_mut(queries + 2 * keys).zip(angles.rows());
        for span in step.spans {
            for (at, (row, (sines, cosines))) in rows.by_ref().take(span.tokens.len()).enumerate() {
                let (turned, values) = row.split_at_mut(queries + keys);
                if let Some([query_norm, key_norm]) = &self.head_norms {
                    let (queries, keys) = turned.split_at_mut(queries);
                    for (heads, weight) in [(queries, query_norm), (keys, key_norm)] {
                        let before = &mut spare[..heads.len()];
                        before.copy_from_slice(heads);
                        rms_norm(machine.path, before, weight, shape.norm_eps, heads);
                    }
                }
                match shape.rotary == shape.head_dim {
                    true => rotate(machine.path, turned, sines, cosines),
                    false => turned.chunks_exact_mut(shape.head_dim).for_each(|head| {
                        rotate(machine.path, &mut head[..shape.rotary], sines, cosines);
                    }),
                }
                let keys = &turned[queries..];
                arena.write(span.pages, index, span.start + at, keys, values);
            }
        }
    }
}

/// Adds normalised `rows` to a stream; `spare` is overwritten.
fn add_normed(
    Machine { pool, path }: Machine<'_>,
    rows: &[f32],
    weight: &[f32],
    epsilon: f32,
    [spare, stream]: [&mut Vec<f32>; 2],
) {
    spare.resize(stream.len(), 0.0);
    norm_rows(pool, path, rows, weight, epsilon, spare);
    stream.iter_mut().zip(spare).for_each(|(value, more)| *value += *more);
}
