//! Keys and values of one sequence. The joint for paged and shared caches: everything else asks
//! only for a head's rows.

/// Grows by appending; room for the whole sequence is reserved once, so rows never move.
pub(crate) struct KvCache {
    head_dim: usize,
    len: usize,
    /// One per layer and key-value head: rows of `head_dim` keys, then of values.
    heads: Vec<HeadCache>,
}

struct HeadCache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvCache {
    pub fn new(heads: usize, head_dim: usize, tokens: usize) -> Self {
        let room = || Vec::with_capacity(tokens * head_dim);
        let head = || HeadCache { keys: room(), values: room() };
        KvCache { head_dim, len: 0, heads: std::iter::repeat_with(head).take(heads).collect() }
    }

    /// Tokens whose keys and values every layer has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All layers have appended `tokens` rows.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Appends one layer's rows: `keys` and `values` hold `kv_heads` heads per token.
    pub fn append(&mut self, layer: usize, kv_heads: usize, keys: &[f32], values: &[f32]) {
        let heads = &mut self.heads[layer * kv_heads..][..kv_heads];
        let row_len = kv_heads * self.head_dim;
        for (keys, values) in keys.chunks_exact(row_len).zip(values.chunks_exact(row_len)) {
            let rows = keys.chunks_exact(self.head_dim).zip(values.chunks_exact(self.head_dim));
            for (head, (key, value)) in heads.iter_mut().zip(rows) {
                head.keys.extend_from_slice(key);
                head.values.extend_from_slice(value);
            }
        }
    }

    /// Keys and values of one head, `head_dim` values per token, oldest first.
    pub fn head(&self, layer: usize, kv_heads: usize, head: usize) -> (&[f32], &[f32]) {
        let head = &self.heads[layer * kv_heads + head];
        (&head.keys, &head.values)
    }
}
