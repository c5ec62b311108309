//! Settlement: a usage receipt judged against the order and the hold it names. One variant per
//! check; a receipt that fails one is logged and flagged, and charges nothing.

use bulla_attestation::hash::account_handle;
use bulla_attestation::sign::Signed;
use bulla_wire::ids::{AccountHandle, Digest, HoldId};
use bulla_wire::order::Order;
use bulla_wire::price::{ChargeError, Rates, TokenUsage};
use bulla_wire::receipt::{OrderMode, Outcome, UsageReceipt};
use bulla_wire::units::{MicroUnits, TokenCount, Unit};

/// Why a receipt does not charge its hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// No order stands behind it.
    #[error("receipt names hold {got}, which was never placed")]
    NoHold {
        /// The hold named.
        got: HoldId,
    },
    /// Another hold.
    #[error("hold must be {expected}, got {got}")]
    Hold {
        /// The order's.
        expected: HoldId,
        /// The receipt's.
        got: HoldId,
    },
    /// Another order.
    #[error("order must be {expected}, got {got}")]
    Order {
        /// Digest of the order granted.
        expected: Digest,
        /// The receipt's.
        got: Digest,
    },
    /// Another keyset than the order was for.
    #[error("keyset must be {expected}, got {got}")]
    Keyset {
        /// The order's.
        expected: Digest,
        /// The receipt's.
        got: Digest,
    },
    /// Another payer.
    #[error("account must be {expected}, got {got}")]
    Account {
        /// Handle of the order key.
        expected: AccountHandle,
        /// The receipt's.
        got: AccountHandle,
    },
    /// Another model.
    #[error("model must be {expected}, got {got}")]
    Model {
        /// The order's.
        expected: Digest,
        /// The receipt's.
        got: Digest,
    },
    /// Another unit of account.
    #[error("unit must be {expected}, got {got}")]
    Unit {
        /// The order's.
        expected: Unit,
        /// The receipt's.
        got: Unit,
    },
    /// Another price book.
    #[error("price book must be {expected}, got {got}")]
    PriceBook {
        /// The order's.
        expected: Digest,
        /// The receipt's.
        got: Digest,
    },
    /// Other rates.
    #[error("rates must be {expected:?}, got {got:?}")]
    Rates {
        /// The order's.
        expected: Rates,
        /// The receipt's.
        got: Rates,
    },
    /// Nobody ordered it.
    #[error("a receipt for an order must say it was ordered, got {got:?}")]
    Mode {
        /// The receipt's.
        got: OrderMode,
    },
    /// More input than ordered.
    #[error("input must be at most {expected} tokens, got {got}")]
    InputCeiling {
        /// The order's ceiling.
        expected: TokenCount,
        /// Used.
        got: TokenCount,
    },
    /// More output than ordered.
    #[error("output must be at most {expected} tokens, got {got}")]
    OutputCeiling {
        /// The order's ceiling.
        expected: TokenCount,
        /// Used.
        got: TokenCount,
    },
    /// Usage no charge can be computed of.
    #[error(transparent)]
    Usage(#[from] ChargeError),
    /// Not what usage and rates make.
    #[error("charge must be {expected} by usage and rates, got {got}")]
    Charge {
        /// Recomputed.
        expected: MicroUnits,
        /// The receipt's.
        got: MicroUnits,
    },
    /// More than was set aside.
    #[error("charge must be at most the hold of {expected}, got {got}")]
    AboveHold {
        /// Held.
        expected: MicroUnits,
        /// The receipt's.
        got: MicroUnits,
    },
}

/// The charge of `receipt` for `order`, of which `held` was set aside.
pub fn judge(
    receipt: &UsageReceipt,
    order: &Signed<Order>,
    held: MicroUnits,
) -> Result<MicroUnits, SettlementError> {
    check_names(receipt, order)?;
    check_prices(receipt, order)?;
    check_usage(&receipt.usage, order)?;
    let expected = expected_charge(receipt, order)?;
    let got = receipt.charge;
    if got != expected {
        return Err(SettlementError::Charge { expected, got });
    }
    if got > held {
        return Err(SettlementError::AboveHold { expected: held, got });
    }
    Ok(got)
}

macro_rules! same {
    ($variant:ident: $expected:expr, $got:expr) => {
        if $expected != $got {
            return Err(SettlementError::$variant {
                expected: $expected.clone(),
                got: $got.clone(),
            });
        }
    };
}

fn check_names(receipt: &UsageReceipt, order: &Signed<Order>) -> Result<(), SettlementError> {
    same!(Hold: order.hold, receipt.hold);
    same!(Order: order.digest(), receipt.order);
    same!(Keyset: order.keyset, receipt.keyset);
    same!(Account: account_handle(&order.order_key), receipt.account);
    same!(Model: order.model, receipt.model);
    match receipt.mode {
        OrderMode::Ordered => Ok(()),
        got => Err(SettlementError::Mode { got }),
    }
}

fn check_prices(receipt: &UsageReceipt, order: &Order) -> Result<(), SettlementError> {
    same!(Unit: order.unit, receipt.unit);
    same!(PriceBook: order.price_book, receipt.price_book);
    same!(Rates: order.rates, receipt.rates);
    Ok(())
}

fn check_usage(usage: &TokenUsage, order: &Order) -> Result<(), SettlementError> {
    if usage.input > order.ceiling_input_tokens {
        let (expected, got) = (order.ceiling_input_tokens, usage.input);
        return Err(SettlementError::InputCeiling { expected, got });
    }
    if usage.output > order.ceiling_output_tokens {
        let (expected, got) = (order.ceiling_output_tokens, usage.output);
        return Err(SettlementError::OutputCeiling { expected, got });
    }
    Ok(())
}

/// What usage and rates make, never above the order's maximum; nothing for outcomes that are not
/// charged. A customer's error may be waived by the enclave.
fn expected_charge(receipt: &UsageReceipt, order: &Order) -> Result<MicroUnits, SettlementError> {
    let full = receipt.rates.charge(&receipt.usage)?.min(order.max_charge);
    let waived = receipt.outcome == Outcome::CustomerError && receipt.charge == MicroUnits(0);
    match receipt.outcome.is_charged() && !waived {
        true => Ok(full),
        false => Ok(MicroUnits(0)),
    }
}
