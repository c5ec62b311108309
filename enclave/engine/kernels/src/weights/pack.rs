//! From rows to tiles.

use super::gguf::{
    BlockFormat, Q4_0_BYTES, Q4_K_BYTES, Q6_K_BYTES, Q8_0_BYTES, q4_0, q4_k, q6_k, q8_0,
};
use super::{Format, LANES, Matrix, SUPER, TILE, Tiles};
use crate::activation::BLOCK;
use crate::buffer::Buffer;
use crate::half::{f32_to_bf16, f32_to_f16};

/// Why a row cannot be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackError {
    /// The matrix has fewer rows.
    NoSuchRow {
        /// Rows there are.
        outputs: usize,
        /// Row asked for.
        got: usize,
    },
    /// The row is too short or too long.
    RowLength {
        /// Length that fits, in bytes or values.
        expected: usize,
        /// Length given.
        got: usize,
    },
    /// The width is no multiple of the format's blocks.
    Width {
        /// The format.
        format: Format,
        /// What the width must be a multiple of.
        multiple: usize,
        /// Inputs given.
        got: usize,
    },
    /// The matrix stores another format than the row comes in.
    OtherFormat {
        /// How the matrix stores values.
        matrix: Format,
        /// How the row comes.
        row: BlockFormat,
    },
    /// Values cannot be turned into this format here: it comes from files only.
    FromFilesOnly {
        /// The format.
        format: Format,
    },
}

impl std::fmt::Display for PackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PackError::NoSuchRow { outputs, got } => {
                write!(f, "row {got} of a matrix of {outputs} rows")
            }
            PackError::RowLength { expected, got } => {
                write!(f, "a row of length {got}, expected {expected}")
            }
            PackError::Width { format, multiple, got } => {
                write!(f, "{format:?} needs a multiple of {multiple} inputs, got {got}")
            }
            PackError::OtherFormat { matrix, row } => {
                write!(f, "a {row:?} row for a matrix stored as {matrix:?}")
            }
            PackError::FromFilesOnly { format } => {
                write!(f, "{format:?} is read from files, not made from values")
            }
        }
    }
}

impl std::error::Error for PackError {}

impl Matrix {
    /// A matrix of zeros, to be filled row by row.
    pub fn zeroed(format: Format, outputs: usize, inputs: usize) -> Result<Matrix, PackError> {
        let multiple = format.inputs_multiple();
        if !inputs.is_multiple_of(multiple) {
            return Err(PackError::Width { format, multiple, got: inputs });
        }
        let columns = outputs.div_ceil(LANES);
        let tiles = columns * (inputs / BLOCK);
        let supers = tiles / SUPER;
        let tiles = match format {
            Format::Q8_0 => Tiles::Q8 {
                quants: Buffer::zeroed(tiles * TILE),
                scales: Buffer::zeroed(tiles * LANES),
            },
            Format::Q4_0 => Tiles::Q4 {
                quants: Buffer::zeroed(tiles * TILE / 2),
                scales: Buffer::zeroed(tiles * LANES),
            },
            Format::Q4K => Tiles::Q4K {
                quants: Buffer::zeroed(tiles * TILE / 2),
                steps: Buffer::zeroed(tiles * LANES * 2),
                scales: Buffer::zeroed(supers * LANES * 2),
            },
            Format::Q6K => Tiles::Q6K {
                low: Buffer::zeroed(tiles * TILE / 2),
                high: Buffer::zeroed(tiles * TILE / 4),
                steps: Buffer::zeroed(tiles * LANES * 2),
                scales: Buffer::zeroed(supers * LANES),
            },
            Format::Bf16 => Tiles::Bf16 { values: Buffer::zeroed(columns * inputs * LANES) },
            Format::F32 => Tiles::F32 { values: Buffer::zeroed(columns * inputs * LANES) },
        };
        Ok(Matrix { outputs, inputs, tiles })
    }

    /// Sets row `output` from the blocks of a GGUF file.
    pub fn set_blocks(
        &mut self,
        output: usize,
        format: BlockFormat,
        bytes: &[u8],
    ) -> Result<(), PackError> {
        let expected = format.row_bytes(self.inputs);
        self.check_row(output, expected, bytes.len())?;
        let blocks = self.blocks();
        let (first, lane) = (output / LANES * blocks, output % LANES);
        match (&mut self.tiles, format) {
            (Tiles::Q8 { quants, scales }, BlockFormat::Q8_0) => {
                for (at, block) in bytes.as_chunks::<Q8_0_BYTES>().0.iter().enumerate() {
                    let (scale, values) = q8_0(block);
                    scales[(first + at) * LANES + lane] = scale;
                    put_bytes(&mut quants[(first + at) * TILE..][..TILE], lane, &values);
                }
            }
            (Tiles::Q4 { quants, scales }, BlockFormat::Q4_0) => {
                for (at, block) in bytes.as_chunks::<Q4_0_BYTES>().0.iter().enumerate() {
                    let (scale, values) = q4_0(block);
                    scales[(first + at) * LANES + lane] = scale;
                    put_nibbles(&mut quants[(first + at) * TILE / 2..][..TILE / 2], lane, &values);
                }
            }
            (Tiles::Q4K { quants, steps, scales }, BlockFormat::Q4K) => {
                for (at, block) in bytes.as_chunks::<Q4_K_BYTES>().0.iter().enumerate() {
                    let (both, blocks) = q4_k(block);
                    let place = (first / SUPER + at) * 2 * LANES + lane;
                    (scales[place], scales[place + LANES]) = (both[0], both[1]);
                    for (inner, (step, values)) in blocks.iter().enumerate() {
                        let tile = first + at * SUPER + inner;
                        steps[tile * 2 * LANES + lane] = step[0];
                        steps[tile * 2 * LANES + LANES + lane] = step[1];
                        put_nibbles(&mut quants[tile * TILE / 2..][..TILE / 2], lane, values);
                    }
                }
            }
            (Tiles::Q6K { low, high, steps, scales }, BlockFormat::Q6K) => {
                for (at, block) in bytes.as_chunks::<Q6_K_BYTES>().0.iter().enumerate() {
                    let (scale, blocks) = q6_k(block);
                    scales[(first / SUPER + at) * LANES + lane] = scale;
                    for (inner, (step, values)) in blocks.iter().enumerate() {
                        let tile = first + at * SUPER + inner;
                        steps[tile * 2 * LANES + lane] = step[0];
                        steps[tile * 2 * LANES + LANES + lane] = step[1];
                        let nibbles = values.map(|value| value & 15);
                        put_nibbles(&mut low[tile * TILE / 2..][..TILE / 2], lane, &nibbles);
                        put_pairs(&mut high[tile * TILE / 4..][..TILE / 4], lane, values);
                    }
                }
            }
            _ => return Err(PackError::OtherFormat { matrix: self.format(), row: format }),
        }
        Ok(())
    }

    /// Sets row `output` from values; quantises where the matrix stores Q8_0.
    pub fn set_values(&mut self, output: usize, row: &[f32]) -> Result<(), PackError> {
        self.check_row(output, self.inputs, row.len())?;
        let format = self.format();
        let (column, lane, inputs) = (output / LANES, output % LANES, self.inputs);
        let first = column * self.blocks();
        match &mut self.tiles {
            Tiles::F32 { values } => {
                let places = values[column * inputs * LANES..].iter_mut().skip(lane);
                places.step_by(LANES).zip(row).for_each(|(place, value)| *place = *value);
            }
            Tiles::Bf16 { values } => {
                let places = values[column * inputs * LANES..].iter_mut().skip(lane);
                places.step_by(LANES).zip(row).for_each(|(place, v)| *place = f32_to_bf16(*v));
            }
            Tiles::Q8 { quants, scales } => {
                for (at, block) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
                    let (scale, values) = quantise_q8_0(block);
                    scales[(first + at) * LANES + lane] = scale;
                    put_bytes(&mut quants[(first + at) * TILE..][..TILE], lane, &values);
                }
            }
            Tiles::Q4 { .. } | Tiles::Q4K { .. } | Tiles::Q6K { .. } => {
                return Err(PackError::FromFilesOnly { format });
            }
        }
        Ok(())
    }

    fn check_row(&self, output: usize, expected: usize, got: usize) -> Result<(), PackError> {
        if output >= self.outputs {
            return Err(PackError::NoSuchRow { outputs: self.outputs, got: output });
        }
        if expected != got {
            return Err(PackError::RowLength { expected, got });
        }
        Ok(())
    }
}

/// As Q8_0 is defined: scale = largest magnitude ÷ 127 as a 16-bit float, quants rounded to the
/// nearest; with 128 added.
fn quantise_q8_0(block: &[f32; BLOCK]) -> (u16, [u8; BLOCK]) {
    let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let quants = block.map(|value| ((value * inverse).round() as i8 as u8) ^ 0x80);
    (f32_to_f16(largest / 127.0), quants)
}

/// Group `g` of four inputs, output `lane`: bytes `(g × 16 + lane) × 4 ..`.
fn put_bytes(tile: &mut [u8], lane: usize, values: &[u8; BLOCK]) {
    for (group, four) in values.as_chunks::<4>().0.iter().enumerate() {
        tile[(group * LANES + lane) * 4..][..4].copy_from_slice(four);
    }
}

/// Groups 2p and 2p + 1 share bytes: the even one has the low nibbles.
fn put_nibbles(tile: &mut [u8], lane: usize, values: &[u8; BLOCK]) {
    for (pair, eight) in values.as_chunks::<8>().0.iter().enumerate() {
        for at in 0..4 {
            tile[(pair * LANES + lane) * 4 + at] = eight[at] | eight[at + 4] << 4;
        }
    }
}

/// The high two bits of groups 4h to 4h + 3 share bytes, the first group lowest.
fn put_pairs(tile: &mut [u8], lane: usize, values: &[u8; BLOCK]) {
    for (half, sixteen) in values.as_chunks::<16>().0.iter().enumerate() {
        for at in 0..4 {
            let bits = |group: usize| (sixteen[group * 4 + at] >> 4) << (2 * group);
            tile[(half * LANES + lane) * 4 + at] = bits(0) | bits(1) | bits(2) | bits(3);
        }
    }
}
