//! From tiles back to values: embeddings, and the portable product.

use super::{LANES, Matrix, SUPER, TILE, Tiles};
use crate::activation::BLOCK;
use crate::half::{bf16_to_f32, f16_to_f32};

impl Matrix {
    /// Writes row `output` as values.
    ///
    /// # Panics
    /// When there is no such row, or `row` is not as long as the matrix is wide.
    pub fn read_row(&self, output: usize, row: &mut [f32]) {
        assert!(output < self.outputs && row.len() == self.inputs, "a row of this matrix");
        let (column, lane) = (output / LANES, output % LANES);
        match &self.tiles {
            Tiles::F32 { values } => {
                let places = values[column * self.inputs * LANES..].iter().skip(lane);
                row.iter_mut().zip(places.step_by(LANES)).for_each(|(to, from)| *to = *from);
            }
            Tiles::Bf16 { values } => {
                let places = values[column * self.inputs * LANES..].iter().skip(lane);
                let pairs = row.iter_mut().zip(places.step_by(LANES));
                pairs.for_each(|(to, from)| *to = bf16_to_f32(*from));
            }
            _ => {
                let first = column * self.blocks();
                for (at, values) in row.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                    let block = self.block(first + at, lane);
                    for (i, value) in values.iter_mut().enumerate() {
                        let scale = block.scales[i / (BLOCK / 2)];
                        *value = block.quants[i] as f32 * scale - block.minimum;
                    }
                }
            }
        }
    }

    /// One output's part of a tile of quantised weights, its offset taken off.
    pub(crate) fn block(&self, tile: usize, lane: usize) -> Block {
        let half = |scales: &[u16], at: usize| f16_to_f32(scales[at]);
        match &self.tiles {
            Tiles::Q8 { quants, scales } => {
                let bytes = take_bytes(&quants[tile * TILE..][..TILE], lane);
                let scale = half(scales, tile * LANES + lane);
                Block::new(bytes.map(|byte| i32::from(byte) - 128), [scale; 2], 0.0)
            }
            Tiles::Q4 { quants, scales } => {
                let nibbles = take_nibbles(&quants[tile * TILE / 2..][..TILE / 2], lane);
                let scale = half(scales, tile * LANES + lane);
                Block::new(nibbles.map(|nibble| i32::from(nibble) - 8), [scale; 2], 0.0)
            }
            Tiles::Q4K { quants, steps, scales } => {
                let nibbles = take_nibbles(&quants[tile * TILE / 2..][..TILE / 2], lane);
                let place = tile / SUPER * 2 * LANES + lane;
                let step = |which: usize| f32::from(steps[(tile * 2 + which) * LANES + lane]);
                let scale = half(scales, place) * step(0);
                let minimum = half(scales, place + LANES) * step(1);
                Block::new(nibbles.map(i32::from), [scale; 2], minimum)
            }
            Tiles::Q6K { low, high, steps, scales } => {
                let nibbles = take_nibbles(&low[tile * TILE / 2..][..TILE / 2], lane);
                let pairs = take_pairs(&high[tile * TILE / 4..][..TILE / 4], lane);
                let quants = std::array::from_fn(|i| i32::from(nibbles[i] | pairs[i] << 4) - 32);
                let scale = half(scales, tile / SUPER * LANES + lane);
                let step = |which: usize| f32::from(steps[(tile * 2 + which) * LANES + lane]);
                Block::new(quants, [scale * step(0), scale * step(1)], 0.0)
            }
            Tiles::Bf16 { .. } | Tiles::F32 { .. } => Block::new([0; BLOCK], [0.0; 2], 0.0),
        }
    }
}

/// 32 weights of one output: value = quant × scale of its half − minimum.
pub(crate) struct Block {
    pub quants: [i32; BLOCK],
    pub scales: [f32; 2],
    pub minimum: f32,
}

impl Block {
    fn new(quants: [i32; BLOCK], scales: [f32; 2], minimum: f32) -> Block {
        Block { quants, scales, minimum }
    }
}

fn take_bytes(tile: &[u8], lane: usize) -> [u8; BLOCK] {
    std::array::from_fn(|i| tile[(i / 4 * LANES + lane) * 4 + i % 4])
}

fn take_nibbles(tile: &[u8], lane: usize) -> [u8; BLOCK] {
    std::array::from_fn(|i| {
        let byte = tile[(i / 8 * LANES + lane) * 4 + i % 4];
        if i % 8 < 4 { byte & 15 } else { byte >> 4 }
    })
}

fn take_pairs(tile: &[u8], lane: usize) -> [u8; BLOCK] {
    std::array::from_fn(|i| {
        let byte = tile[(i / 16 * LANES + lane) * 4 + i % 4];
        byte >> (2 * (i % 16 / 4)) & 3
    })
}
