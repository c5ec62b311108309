//! The product in plain Rust: what the other paths must reproduce.

use super::{Rows, Task};
use crate::activation::{Activations, BLOCK};
use crate::half::bf16_to_f32;
use crate::weights::{LANES, Matrix, Tiles};

pub(super) fn run(task: &Task<'_>) {
    for column in task.columns[0]..task.columns[1] {
        for row in task.range[0]..task.range[1] {
            let sums = match task.rows {
                Rows::Quantised(rows) => quantised(task.matrix, rows, column, row),
                Rows::Floats(rows) => floats(task.matrix, rows, column, row),
            };
            task.target.put(row, column, &sums, task.into);
        }
    }
}

fn quantised(matrix: &Matrix, rows: &Activations, column: usize, row: usize) -> [f32; LANES] {
    let blocks = matrix.blocks();
    let is_six_bits = matches!(matrix.tiles, Tiles::Q6K { .. });
    let has_minimum = matches!(matrix.tiles, Tiles::Q4K { .. });
    std::array::from_fn(|lane| {
        let mut sum = 0.0f32;
        for at in 0..blocks {
            let block = matrix.block(column * blocks + at, lane);
            let place = row * blocks + at;
            let quants = &rows.quants[place * BLOCK..][..BLOCK];
            let products = block.quants.iter().zip(quants).map(|(w, a)| w * i32::from(*a));
            let scale = rows.scales[place];
            if is_six_bits {
                let products: Vec<i32> = products.collect();
                let (first, second) = products.split_at(BLOCK / 2);
                for (half, products) in [first, second].into_iter().enumerate() {
                    let dot: i32 = products.iter().sum();
                    sum = (dot as f32).mul_add(block.scales[half] * scale, sum);
                }
            } else {
                let dot: i32 = products.sum();
                sum = (dot as f32).mul_add(block.scales[0] * scale, sum);
            }
            if has_minimum {
                sum = (-block.minimum).mul_add(rows.totals[place], sum);
            }
        }
        sum
    })
}

fn floats(matrix: &Matrix, rows: &[f32], column: usize, row: usize) -> [f32; LANES] {
    let inputs = matrix.inputs;
    let row = &rows[row * inputs..][..inputs];
    let tile = column * inputs * LANES..(column + 1) * inputs * LANES;
    let mut sums = [0.0f32; LANES];
    match &matrix.tiles {
        Tiles::F32 { values } => {
            for (values, input) in values[tile].as_chunks::<LANES>().0.iter().zip(row) {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = value.mul_add(*input, *sum);
                }
            }
        }
        Tiles::Bf16 { values } => {
            for (values, input) in values[tile].as_chunks::<LANES>().0.iter().zip(row) {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = bf16_to_f32(*value).mul_add(*input, *sum);
                }
            }
        }
        _ => {}
    }
    sums
}
