//! Causal attention of all query heads of all sequences; several query heads share a key-value
//! head, and those are computed together.

use bulla_kernels::attention::{GROUP, Query, attend};

use super::arena::Arena;
use super::linear::Machine;
use super::step::{Place, Space, Span, Step};

/// How the heads of a layer look at tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Look {
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// What scores are multiplied with.
    pub scale: f32,
    /// Later tokens are seen as well.
    pub both_ways: bool,
}

/// One layer's attention.
pub(crate) struct Job<'a> {
    pub machine: Machine<'a>,
    pub look: Look,
    pub layer: usize,
    pub step: &'a Step<'a>,
    pub arena: &'a Arena,
    /// Rows of queries, keys and values.
    pub qkv: &'a [f32],
}

/// Fills `mixed`, a row of all query heads for each row of the step.
pub(crate) fn attention(job: &Job<'_>, space: &mut Space, mixed: &mut [f32]) {
    let Look { kv_heads, heads, head_dim, .. } = job.look;
    let group = heads / kv_heads;
    let Space { plan, scratch, results } = space;
    plan.clear();
    job.step.places(group, |place| plan.push(place));
    let plan: &[Place] = plan;
    let width = GROUP * head_dim;
    let results = &mut results[..plan.len() * kv_heads * width];
    let looks = |span: &Span<'_>| span.tokens.len() * (span.start + span.tokens.len());
    let looks: usize = job.step.spans.iter().map(looks).sum();
    let multiplications = 2 * looks * heads * head_dim;
    job.machine.pool.run_pieces(
        multiplications,
        results,
        width,
        scratch,
        &|part, result, scratch| {
            one(job, plan[part / kv_heads], part % kv_heads, scratch, result);
        },
    );
    for (part, result) in results.chunks_exact(width).enumerate() {
        let (place, head) = (plan[part / kv_heads], part % kv_heads);
        for (at, result) in result.chunks_exact(head_dim).take(place.count).enumerate() {
            let (token, inner) = ((place.first + at) / group, (place.first + at) % group);
            let to = (place.row + token) * heads * head_dim + (head * group + inner) * head_dim;
            mixed[to..to + head_dim].copy_from_slice(result);
        }
    }
}

/// Up to [`GROUP`] queries of one key-value head.
fn one(job: &Job<'_>, place: Place, head: usize, scratch: &mut [f32], results: &mut [f32]) {
    let Look { kv_heads, heads, head_dim, scale, both_ways } = job.look;
    let (group, row_width) = (heads / kv_heads, (heads + 2 * kv_heads) * head_dim);
    let span = &job.step.spans[place.span];
    let mut queries = [Query { values: &[], visible: 0 }; GROUP];
    for (at, query) in queries.iter_mut().take(place.count).enumerate() {
        let (token, inner) = ((place.first + at) / group, (place.first + at) % group);
        let from = (place.row + token) * row_width + (head * group + inner) * head_dim;
        let seen = if both_ways { span.tokens.len() } else { token + 1 };
        let visible = span.start + seen;
        *query = Query { values: &job.qkv[from..from + head_dim], visible };
    }
    let pages = job.arena.pages_of(span.pages, job.layer, head);
    let queries = &queries[..place.count];
    attend(job.machine.path, queries, pages, scale, scratch, results);
}
