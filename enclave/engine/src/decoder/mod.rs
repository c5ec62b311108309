//! The decoder: one transformer described by a [`Shape`], the same code for every family.
//!
//! Arithmetic is f32. The products of a prompt go through candle's matrix multiplication,
//! those of a single token and everything between are plain loops in a fixed order. Each sequence is computed on its own and a prompt is
//! always cut at the same places, so no result depends on what runs beside it.

mod kernels;
mod kv;
mod layer;
mod rope;

use candle_core::{Device, Tensor};

pub(crate) use kv::KvCache;
use layer::{Layer, Linear};
use rope::Rope;
pub(crate) use rope::{Llama3Scaling, RopeSettings};

/// Sizes and switches of a decoder, checked when config.json is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    /// Width of the model.
    pub hidden: usize,
    /// Width inside the feed-forward layer.
    pub intermediate: usize,
    pub layers: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab: usize,
    pub norm_eps: f32,
    pub rope: RopeSettings,
    /// The output matrix is the embedding.
    pub tied: bool,
    /// Query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// The attention's output projection has a bias.
    pub output_bias: bool,
    /// The feed-forward projections have a bias.
    pub mlp_bias: bool,
}

/// Which positions of a pass need logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None: the prompt goes on.
    Nothing,
    /// The last position, to choose the next token.
    Last,
    /// All of them, to prove the numerics.
    All,
}

/// Hands out the weights by name, in f32, each checked against its shape.
pub(crate) trait Weights {
    type Error;
    /// The tensor `name` of exactly this shape.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Self::Error>;
    /// The values of a one-dimensional tensor.
    fn take_vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, Self::Error>;
}

/// A decoder's weights. Immutable; the state of a sequence is its [`KvCache`].
pub(crate) struct Decoder {
    shape: Shape,
    rope: Rope,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Linear,
}

impl Decoder {
    /// Takes every weight the shape calls for.
    pub fn build<W: Weights>(shape: Shape, weights: &mut W) -> Result<Decoder, W::Error> {
        let table = [shape.vocab, shape.hidden];
        let embedding = weights.take("model.embed_tokens.weight", &table)?;
        let layers = (0..shape.layers)
            .map(|index| Layer::build(index, &shape, weights))
            .collect::<Result<Vec<_>, _>>()?;
        let norm = weights.take_vector("model.norm.weight", shape.hidden)?;
        let head = match shape.tied {
            true => embedding.clone(),
            false => weights.take("lm_head.weight", &table)?,
        };
        let rope = Rope::new(&shape.rope, shape.head_dim);
        Ok(Decoder { rope, embedding, layers, norm, head: Linear::new(head, None), shape })
    }

    /// Rows of the vocabulary: the length of the logits.
    pub fn vocab(&self) -> usize {
        self.shape.vocab
    }

    /// An empty cache with room for `tokens`.
    pub fn cache(&self, tokens: usize) -> KvCache {
        KvCache::new(self.shape.layers * self.shape.kv_heads, self.shape.head_dim, tokens)
    }

    /// Bytes of a cache with room for `tokens`.
    pub fn cache_bytes(&self, tokens: u64) -> u64 {
        let per_token = 2 * self.shape.layers * self.shape.kv_heads * self.shape.head_dim;
        (per_token * size_of::<f32>()) as u64 * tokens
    }

    /// Runs `tokens`, which follow what `cache` holds, and adds their keys and values to it.
    /// Returns the logits wanted, `vocab` values per position.
    pub fn forward(
        &self,
        tokens: &[u32],
        cache: &mut KvCache,
        wanted: Wanted,
    ) -> candle_core::Result<Vec<f32>> {
        let Shape { hidden, norm_eps, .. } = self.shape;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let mut stream = self.embedding.index_select(&ids, 0)?.flatten_all()?.to_vec1::<f32>()?;
        let angles = self.rope.angles(cache.len(), tokens.len());
        for (index, layer) in self.layers.iter().enumerate() {
            layer.forward(&self.shape, &mut stream, &angles, index, cache)?;
        }
        cache.advance(tokens.len());
        let from = match wanted {
            Wanted::Nothing => return Ok(Vec::new()),
            Wanted::Last => stream.len() - hidden,
            Wanted::All => 0,
        };
        let normed = kernels::rms_norm(&stream[from..], &self.norm, norm_eps);
        self.head.forward(&normed)
    }
}
