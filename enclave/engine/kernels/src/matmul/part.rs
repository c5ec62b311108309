//! Rows of activations as the products by instructions read them.

use crate::activation::{Activations, BLOCK, Offsets};

/// Rows of activations from some row on.
///
/// # Safety
/// Of all methods: `m` counts rows from that one on and stays below the rows filled, `block` below
/// the blocks of a row, `group` below the eight groups of four quants of a block.
#[derive(Clone, Copy)]
pub(super) struct Part {
    quants: *const i8,
    scales: *const f32,
    offsets: *const Offsets,
    totals: *const f32,
    width: usize,
    blocks: usize,
}

impl Part {
    /// From `row` on, which is below the rows filled.
    #[inline(always)]
    pub unsafe fn of(rows: &Activations, row: usize) -> Part {
        let (width, blocks) = (rows.width(), rows.blocks());
        // SAFETY: `row` is below the rows filled.
        unsafe {
            Part {
                quants: rows.quants.as_ptr().add(row * width),
                scales: rows.scales.as_ptr().add(row * blocks),
                offsets: rows.offsets.as_ptr().add(row * blocks),
                totals: rows.totals.as_ptr().add(row * blocks),
                width,
                blocks,
            }
        }
    }

    /// Four quants, one in each byte.
    #[inline(always)]
    pub unsafe fn four(&self, m: usize, block: usize, group: usize) -> i32 {
        // SAFETY: inside row m.
        unsafe {
            let at = self.quants.add(m * self.width + block * BLOCK + group * 4);
            at.cast::<i32>().read_unaligned()
        }
    }

    #[inline(always)]
    pub unsafe fn scale(&self, m: usize, block: usize) -> f32 {
        // SAFETY: inside row m.
        unsafe { *self.scales.add(m * self.blocks + block) }
    }

    #[inline(always)]
    pub unsafe fn total(&self, m: usize, block: usize) -> f32 {
        // SAFETY: inside row m.
        unsafe { *self.totals.add(m * self.blocks + block) }
    }

    #[inline(always)]
    pub unsafe fn offsets(&self, m: usize, block: usize) -> Offsets {
        // SAFETY: inside row m.
        unsafe { *self.offsets.add(m * self.blocks + block) }
    }
}
