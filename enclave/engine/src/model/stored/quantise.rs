//! Values into blocks that the kernels take from files only.

use bulla_kernels::half::f32_to_f16;

/// Values of a block.
const BLOCK: usize = 32;

/// Q4_0 blocks of a row: the value of largest magnitude becomes -8 times the scale, the others the
/// nearest of sixteen steps.
pub(in crate::model) fn q4_0(row: &[f32]) -> Vec<u8> {
    row.as_chunks::<BLOCK>().0.iter().flat_map(block).collect()
}

fn block(values: &[f32; BLOCK]) -> [u8; 18] {
    let largest = values.iter().fold(0.0f32, |a, b| if b.abs() > a.abs() { *b } else { a });
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    // The half added rounds to the nearest, the eight makes it positive.
    let quant = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    let scale = f32_to_f16(scale).to_le_bytes();
    std::array::from_fn(|at| match at {
        0 | 1 => scale[at],
        _ => quant(values[at - 2]) | quant(values[at - 2 + BLOCK / 2]) << 4,
    })
}
