//! Keys and values of all sequences, in pages that are lent and returned.

use bulla_kernels::attention::{PAGE_TOKENS, Pages, page_floats, put};
use bulla_kernels::buffer::Buffer;

use super::Shape;

/// The pages. What is returned is overwritten with zeros before anybody else gets it.
pub(crate) struct Arena {
    floats: Buffer<f32>,
    /// Pages nobody has, the next one last.
    free: Vec<u32>,
    pages: usize,
    kv_heads: usize,
    head_dim: usize,
    page_stride: usize,
}

impl Arena {
    /// As many whole pages as `bytes` hold.
    pub fn new(shape: &Shape, bytes: u64) -> Arena {
        let page_stride = page_stride(shape);
        let pages = bytes / (page_stride * size_of::<f32>()) as u64;
        let pages = u32::try_from(pages).unwrap_or(u32::MAX) as usize;
        Arena {
            floats: Buffer::zeroed(pages * page_stride),
            free: (0..pages as u32).rev().collect(),
            pages,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            page_stride,
        }
    }

    /// Pages in all.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Lends `count` pages; `None` when there are not so many.
    pub fn lend(&mut self, count: usize) -> Option<Vec<u32>> {
        let rest = self.free.len().checked_sub(count)?;
        Some(self.free.split_off(rest))
    }

    /// Takes pages back and wipes them.
    pub fn give_back(&mut self, pages: Vec<u32>) {
        for page in &pages {
            let from = *page as usize * self.page_stride;
            self.floats[from..from + self.page_stride].fill(0.0);
        }
        self.free.extend(pages);
    }

    /// Writes one token's keys and values of one layer, all heads one after the other.
    pub fn write(&mut self, table: &[u32], layer: usize, at: usize, keys: &[f32], values: &[f32]) {
        let page = table[at / PAGE_TOKENS] as usize * self.page_stride;
        let floats = page_floats(self.head_dim);
        let heads = keys.chunks_exact(self.head_dim).zip(values.chunks_exact(self.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let from = page + (layer * self.kv_heads + head) * floats;
            put(&mut self.floats[from..from + floats], at % PAGE_TOKENS, key, value);
        }
    }

    /// One head's pages of the sequence that has `table`.
    pub fn pages_of<'a>(&'a self, table: &'a [u32], layer: usize, head: usize) -> Pages<'a> {
        Pages {
            arena: &self.floats,
            table,
            page_stride: self.page_stride,
            offset: (layer * self.kv_heads + head) * page_floats(self.head_dim),
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // Sequences that were cut off leave theirs behind.
        if self.free.len() < self.pages {
            self.floats.fill(0.0);
            std::hint::black_box(&self.floats);
        }
    }
}

/// Pages that `tokens` need.
pub(crate) fn pages_for(tokens: usize) -> usize {
    tokens.div_ceil(PAGE_TOKENS)
}

/// Bytes of a page: keys and values of all heads of all layers for [`PAGE_TOKENS`] tokens.
pub(crate) fn page_bytes(shape: &Shape) -> usize {
    page_stride(shape) * size_of::<f32>()
}

fn page_stride(shape: &Shape) -> usize {
    shape.layers * shape.kv_heads * page_floats(shape.head_dim)
}

#[cfg(test)]
mod tests {
    use super::super::tests::shape;
    use super::*;

    #[test]
    fn a_returned_page_is_empty_and_lent_again() {
        let shape = shape();
        let mut arena = Arena::new(&shape, 3 * page_bytes(&shape) as u64 + 17);
        assert_eq!((arena.pages(), arena.free.len()), (3, 3));
        let table = arena.lend(2).unwrap();
        assert!(arena.lend(2).is_none());
        let row = vec![1.5; shape.kv_heads * shape.head_dim];
        arena.write(&table, 0, 17, &row, &row);
        assert!(arena.floats.contains(&1.5));
        arena.give_back(table);
        assert!(arena.free.len() == 3 && !arena.floats.contains(&1.5));
    }
}
