//! The meter: what the engine counted becomes usage, and usage becomes a charge.

use bulla_engine::Usage;
use bulla_wire::order::Order;
use bulla_wire::price::TokenUsage;
use bulla_wire::receipt::Outcome;
use bulla_wire::units::{MicroUnits, TokenCount};

/// Usage for a receipt. Input counts what was computed or taken from the cache, not what was
/// merely sent: a request that ends before its prefill pays no input.
pub fn usage(counted: &Usage) -> TokenUsage {
    let count = |tokens: u32| TokenCount(u64::from(tokens));
    TokenUsage {
        input: count(counted.prefilled_tokens.saturating_add(counted.cached_input_tokens)),
        cached_input: count(counted.cached_input_tokens),
        output: count(counted.output_tokens),
        reasoning: count(counted.reasoning_tokens),
    }
}

/// The charge: nothing for an uncharged outcome, else the order's rates over the usage.
///
/// Never above the order's maximum: admission proved that the ceilings cost no more. Should the
/// arithmetic still fail, nothing is charged: a fault of ours is not the customer's cost.
pub fn charge(order: &Order, usage: &TokenUsage, outcome: Outcome) -> MicroUnits {
    if !outcome.is_charged() {
        return MicroUnits(0);
    }
    match order.rates.charge(usage) {
        Ok(charge) if charge <= order.max_charge => charge,
        _ => MicroUnits(0),
    }
}

/// How many tokens may be generated for each choice: what was asked, within its share of the order's
/// ceiling and the context.
pub fn output_budget(
    order: &Order,
    asked: Option<u32>,
    choices: u32,
    prompt_tokens: u32,
    context_tokens: u32,
) -> u32 {
    let share = order.ceiling_output_tokens.0 / u64::from(choices.max(1));
    let ceiling = u32::try_from(share).unwrap_or(u32::MAX);
    let room = context_tokens.saturating_sub(prompt_tokens);
    asked.unwrap_or(ceiling).min(ceiling).min(room)
}
