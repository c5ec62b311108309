//! The feed-forward part of a layer: one gated network for all rows, or many of which each row
//! chooses a few.
//!
//! A row's result is the sum over its experts in the order of their numbers, whatever other rows
//! chose: the same bits in any company.

use bulla_kernels::matmul::Into;
use bulla_kernels::rows::gate_rows;

use super::linear::{Inputs, Linear, Machine, Prepared};
use super::{Experts, Shape, Weights};

/// A gated network: `down(silu(gate) × up)`.
pub(super) struct Mlp {
    /// Gate, up.
    gate_up: Linear,
    down: Linear,
    width: usize,
}

impl Mlp {
    /// Takes the weights under `prefix`.
    fn take<W: Weights>(
        weights: &mut W,
        prefix: &str,
        [hidden, width]: [usize; 2],
        has_bias: bool,
        fused: bool,
    ) -> Result<Mlp, W::Error> {
        let source = |part: &str, outputs: usize| (format!("{prefix}.{part}"), outputs);
        let gate_up = match fused {
            true => vec![source("gate_up_proj", 2 * width)],
            false => vec![source("gate_proj", width), source("up_proj", width)],
        };
        let gate_up = Linear::take(weights, &gate_up, hidden, has_bias)?;
        let down = Linear::take(weights, &[source("down_proj", hidden)], width, has_bias)?;
        Ok(Mlp { gate_up, down, width })
    }

    /// One row of results for each row prepared, into `out` or added to it.
    fn forward(
        &self,
        machine: Machine<'_>,
        rows: Prepared<'_>,
        space: &mut Space,
        (into, out): (Into, &mut [f32]),
    ) {
        let count = rows.count();
        let gate_up = &mut space.gate_up[..count * 2 * self.width];
        self.gate_up.forward(machine, rows, Into::Replace, gate_up);
        let gated = &mut space.gated[..count * self.width];
        gate_rows(machine.pool, machine.path, gate_up, self.width, gated);
        let inputs = space.of_gated.iter_mut().find(|inputs| inputs.width() == self.width);
        let Some(inputs) = inputs else { unreachable!("made for every width there is") };
        self.down.forward(machine, inputs.prepare(machine, gated), into, out);
    }
}

/// Networks of which each row chooses a few.
pub(super) struct Mixture {
    router: Linear,
    experts: Vec<Mlp>,
    /// How many a row chooses.
    used: usize,
    /// The weights of the chosen add up to one.
    normalised: bool,
    /// One for all rows, behind a gate of its own.
    shared: Option<(Mlp, Linear)>,
}

/// The feed-forward part of a layer.
pub(super) enum Feed {
    Dense(Mlp),
    Sparse(Mixture),
}

impl Feed {
    /// That of layer `index`.
    pub fn take<W: Weights>(
        index: usize,
        shape: &Shape,
        weights: &mut W,
    ) -> Result<Feed, W::Error> {
        let prefix = format!("model.layers.{index}.mlp");
        match &shape.experts {
            Some(experts) if !experts.dense_layers.contains(&index) => {
                Mixture::take(weights, &prefix, shape.hidden, experts).map(Feed::Sparse)
            }
            _ => {
                let widths = [shape.hidden, shape.intermediate];
                Mlp::take(weights, &prefix, widths, shape.mlp_bias, shape.fused_gate_up)
                    .map(Feed::Dense)
            }
        }
    }

    /// The linear maps whose input is as wide as the model.
    pub fn of_hidden(&self) -> Vec<&Linear> {
        match self {
            Feed::Dense(mlp) => vec![&mlp.gate_up],
            Feed::Sparse(mixture) => {
                let experts = mixture.experts.iter().map(|expert| &expert.gate_up);
                experts.chain(mixture.shared.iter().map(|(mlp, _)| &mlp.gate_up)).collect()
            }
        }
    }

    /// The networks in it.
    fn networks(&self) -> Vec<&Mlp> {
        match self {
            Feed::Dense(mlp) => vec![mlp],
            Feed::Sparse(mixture) => {
                mixture.experts.iter().chain(mixture.shared.iter().map(|(mlp, _)| mlp)).collect()
            }
        }
    }

    /// Adds the results for `rows` to `stream`.
    pub fn forward(
        &self,
        machine: Machine<'_>,
        rows: Prepared<'_>,
        space: &mut Space,
        stream: &mut [f32],
    ) {
        match self {
            Feed::Dense(mlp) => mlp.forward(machine, rows, space, (Into::Add, stream)),
            Feed::Sparse(mixture) => mixture.forward(machine, rows, space, stream),
        }
    }
}

impl Mixture {
    fn take<W: Weights>(
        weights: &mut W,
        prefix: &str,
        hidden: usize,
        experts: &Experts,
    ) -> Result<Mixture, W::Error> {
        let exact = |weights: &mut W, name: String, outputs: usize| {
            Linear::take_exact(weights, &name, outputs, hidden)
        };
        let router = exact(weights, format!("{prefix}.gate"), experts.count)?;
        let widths = [hidden, experts.intermediate];
        let each = |at: usize| format!("{prefix}.experts.{at}");
        let networks =
            (0..experts.count).map(|at| Mlp::take(weights, &each(at), widths, false, false));
        let networks = networks.collect::<Result<_, _>>()?;
        let shared = match experts.shared {
            None => None,
            Some(width) => {
                let name = format!("{prefix}.shared_expert");
                let mlp = Mlp::take(weights, &name, [hidden, width], false, false)?;
                Some((mlp, exact(weights, format!("{name}_gate"), 1)?))
            }
        };
        let Experts { used, normalised, .. } = *experts;
        Ok(Mixture { router, experts: networks, used, normalised, shared })
    }

    fn forward(
        &self,
        machine: Machine<'_>,
        rows: Prepared<'_>,
        space: &mut Space,
        stream: &mut [f32],
    ) {
        let count = rows.count();
        let hidden = stream.len() / count.max(1);
        self.route(machine, rows, space);
        for (at, expert) in self.experts.iter().enumerate() {
            let mut gathered = std::mem::take(&mut space.gathered);
            gathered.clear();
            let chosen = |choice: &&Choice| choice.expert == at;
            for choice in space.choices.iter().filter(chosen) {
                gathered.extend_from_slice(rows.row(choice.row));
            }
            if !gathered.is_empty() {
                let mut inputs = space.of_experts.take();
                let mut results = std::mem::take(&mut space.results);
                results.resize(gathered.len(), 0.0);
                if let Some(inputs) = &mut inputs {
                    let prepared = inputs.prepare(machine, &gathered);
                    expert.forward(machine, prepared, space, (Into::Replace, &mut results));
                }
                let choices = space.choices.iter().filter(chosen);
                for (choice, result) in choices.zip(results.chunks_exact(hidden)) {
                    add(&mut stream[choice.row * hidden..][..hidden], choice.weight, result);
                }
                (space.of_experts, space.results) = (inputs, results);
            }
            space.gathered = gathered;
        }
        if let Some((mlp, gate)) = &self.shared {
            let mut results = std::mem::take(&mut space.results);
            results.resize(count * hidden, 0.0);
            mlp.forward(machine, rows, space, (Into::Replace, &mut results));
            let gates = &mut space.scores;
            gates.clear();
            gates.resize(count, 0.0);
            gate.forward(machine, rows.floats(), Into::Replace, gates);
            let whole = stream.chunks_exact_mut(hidden).zip(results.chunks_exact(hidden));
            for ((row, result), gate) in whole.zip(gates.iter()) {
                add(row, 1.0 / (1.0 + (-*gate).exp()), result);
            }
            space.results = results;
        }
    }

    /// Which rows go to which experts, with what weight: the most probable ones of each row, the
    /// first of equals.
    fn route(&self, machine: Machine<'_>, rows: Prepared<'_>, space: &mut Space) {
        let Space { scores, choices, order, .. } = space;
        scores.clear();
        scores.resize(rows.count() * self.experts.len(), 0.0);
        self.router.forward(machine, rows.floats(), Into::Replace, scores);
        choices.clear();
        for (row, scores) in scores.chunks_exact_mut(self.experts.len()).enumerate() {
            let largest = scores.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let mut sum: f32 = scores.iter().sum();
            order.clear();
            order.extend(0..self.experts.len());
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
            order.truncate(self.used);
            if self.normalised {
                sum = order.iter().map(|expert| scores[*expert]).sum();
            }
            let choice =
                |expert: &usize| Choice { row, expert: *expert, weight: scores[*expert] / sum };
            choices.extend(order.iter().map(choice));
        }
    }
}

fn add(row: &mut [f32], weight: f32, result: &[f32]) {
    row.iter_mut().zip(result).for_each(|(value, result)| *value += weight * result);
}

/// A row's choice of an expert.
struct Choice {
    row: usize,
    expert: usize,
    weight: f32,
}

/// The memory of the feed-forward part.
pub(super) struct Space {
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    /// One for each width of a network.
    of_gated: Vec<Inputs>,
    /// Rows that chose one expert; only where there are experts.
    of_experts: Option<Inputs>,
    gathered: Vec<f32>,
    results: Vec<f32>,
    scores: Vec<f32>,
    choices: Vec<Choice>,
    order: Vec<usize>,
}

impl Space {
    /// Room for `rows` rows of a model `hidden` wide.
    pub fn new<'a>(
        rows: usize,
        hidden: usize,
        feeds: impl Iterator<Item = &'a Feed> + Clone,
    ) -> Space {
        let networks: Vec<&Mlp> = feeds.clone().flat_map(Feed::networks).collect();
        let mut widths: Vec<usize> = networks.iter().map(|mlp| mlp.width).collect();
        widths.sort_unstable();
        widths.dedup();
        let widest = widths.last().copied().unwrap_or(0);
        let of_gated = |width: &usize| {
            let those = networks.iter().filter(|mlp| mlp.width == *width);
            Inputs::new(rows, *width, those.map(|mlp| &mlp.down))
        };
        let mut sparse = feeds.filter(|feed| matches!(feed, Feed::Sparse(_))).peekable();
        let is_sparse = sparse.peek().is_some();
        let wide = if is_sparse { rows * hidden } else { 0 };
        Space {
            gate_up: vec![0.0; rows * 2 * widest],
            gated: vec![0.0; rows * widest],
            of_gated: widths.iter().map(of_gated).collect(),
            of_experts: is_sparse
                .then(|| Inputs::new(rows, hidden, sparse.flat_map(Feed::of_hidden))),
            gathered: Vec::with_capacity(wide),
            results: Vec::with_capacity(wide),
            scores: Vec::new(),
            choices: Vec::new(),
            order: Vec::new(),
        }
    }
}
