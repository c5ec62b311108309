//! `y = x Wᵀ + b`, for one matrix or several that share their input.

use bulla_kernels::activation::Activations;
use bulla_kernels::matmul::{Into, Out, Rows, matmul};
use bulla_kernels::path::Path;
use bulla_kernels::pool::Pool;
use bulla_kernels::rows::add_bias;
use bulla_kernels::weights::Matrix;

use super::{Source, Weights};

/// Where products are computed.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub pool: &'a Pool,
    pub path: Path,
}

/// Rows that go into products, in the forms that matrices ask for.
pub(crate) struct Inputs {
    width: usize,
    quantised: Option<Activations>,
}

impl Inputs {
    /// Room for `rows` rows of `width`, quantised where `linears` ask for it.
    pub fn new<'a>(
        rows: usize,
        width: usize,
        linears: impl IntoIterator<Item = &'a Linear>,
    ) -> Inputs {
        let quantised = linears.into_iter().any(Linear::is_quantised);
        Inputs { width, quantised: quantised.then(|| Activations::new(rows, width)) }
    }

    /// Values per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Prepares `rows` for any number of products.
    pub fn prepare<'a>(&'a mut self, machine: Machine<'_>, rows: &'a [f32]) -> Prepared<'a> {
        let quantised = self.quantised.as_mut().map(|quantised| {
            quantised.fill(machine.pool, machine.path, rows);
            &*quantised
        });
        Prepared { count: rows.len() / self.width, rows, quantised }
    }
}

/// Rows ready for products.
#[derive(Clone, Copy)]
pub(crate) struct Prepared<'a> {
    count: usize,
    rows: &'a [f32],
    quantised: Option<&'a Activations>,
}

impl<'a> Prepared<'a> {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One row.
    pub fn row(&self, at: usize) -> &'a [f32] {
        let width = self.rows.len() / self.count;
        &self.rows[at * width..][..width]
    }

    /// For matrices of floats alone.
    pub fn floats(&self) -> Prepared<'a> {
        Prepared { quantised: None, ..*self }
    }
}

/// Matrices that share their input; their outputs follow each other in a row.
pub(crate) struct Linear {
    /// Neighbours of one format are packed as one matrix.
    parts: Vec<Matrix>,
    outputs: usize,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Takes `sources`, each the prefix of a weight's name with its number of outputs.
    pub fn take<W: Weights>(
        weights: &mut W,
        sources: &[(String, usize)],
        inputs: usize,
        has_bias: bool,
    ) -> Result<Linear, W::Error> {
        let named: Vec<Source> = sources
            .iter()
            .map(|(name, outputs)| Source { name: format!("{name}.weight"), outputs: *outputs })
            .collect();
        let parts = weights.take_matrices(&named, inputs)?;
        let bias = match has_bias {
            false => None,
            true => {
                let mut all = Vec::new();
                for (name, outputs) in sources {
                    all.extend(weights.take_vector(&format!("{name}.bias"), *outputs)?);
                }
                Some(all)
            }
        };
        Ok(Linear { outputs: named.iter().map(|source| source.outputs).sum(), parts, bias })
    }

    /// One matrix that stays as exact as it is stored.
    pub fn take_exact<W: Weights>(
        weights: &mut W,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, W::Error> {
        let source = Source { name: format!("{name}.weight"), outputs };
        Ok(Linear::of(weights.take_exact(&source, inputs)?))
    }

    /// One matrix, taken already.
    pub fn of(matrix: Matrix) -> Linear {
        Linear { outputs: matrix.outputs(), parts: vec![matrix], bias: None }
    }

    fn is_quantised(&self) -> bool {
        self.parts.iter().any(|part| part.format().is_quantised())
    }

    /// The only matrix.
    pub fn matrix(&self) -> &Matrix {
        &self.parts[0]
    }

    /// One row of outputs for each row of inputs, into `out` or added to it.
    pub fn forward(&self, machine: Machine<'_>, inputs: Prepared<'_>, into: Into, out: &mut [f32]) {
        assert_eq!(out.len(), inputs.count * self.outputs, "a row of outputs for each of inputs");
        let mut from = 0;
        for part in &self.parts {
            let rows = match inputs.quantised {
                Some(rows) if part.format().is_quantised() => Rows::Quantised(rows),
                _ => Rows::Floats(inputs.rows),
            };
            let out = Out { values: out, stride: self.outputs, from, into };
            matmul(machine.pool, machine.path, part, rows, out);
            from += part.outputs();
        }
        if let Some(bias) = &self.bias {
            add_bias(machine.path, out, bias);
        }
    }
}
