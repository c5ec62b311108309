//! What a hold needs: an order judged against account, prices and enclave, before anything is set
//! aside.

use bulla_attestation::hash::labelled;
use bulla_attestation::sign::{Signed, VerifyError};
use bulla_wire::decision::Decision;
use bulla_wire::grant::Grant;
use bulla_wire::ids::{AccountHandle, Digest, InstanceId};
use bulla_wire::labels;
use bulla_wire::order::Order;
use bulla_wire::price::{ChargeError, PriceBook, Rates};
use bulla_wire::problem::Problem;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};

use crate::account::date;
use crate::catalogue::Serving;
use crate::ledger::AccountNumber;
use crate::ledger::anonymous::ANONYMOUS;

/// How far a customer's clock may run ahead of ours, in seconds.
pub const MAX_CLOCK_SKEW_SECONDS: u64 = 300;

/// How long each step of an order may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderTimes {
    /// From the grant until the enclave must have admitted.
    pub admit_seconds: u64,
    /// From the grant until generation stops.
    pub run_seconds: u64,
    /// From the end of generation until the receipt must be here.
    pub settle_seconds: u64,
}

impl Default for OrderTimes {
    fn default() -> OrderTimes {
        OrderTimes { admit_seconds: 60, run_seconds: 900, settle_seconds: 600 }
    }
}

/// Why nothing is set aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefusal {
    /// Not an order, or its signature fails.
    #[error("order: {0}")]
    Order(#[from] VerifyError),
    /// The order key is nobody's.
    #[error(
        "order key {handle} is not registered with this account: run `bulla account register-key`"
    )]
    UnknownOrderKey {
        /// Its handle.
        handle: AccountHandle,
    },
    /// The order key of an anonymous order is somebody's.
    #[error("order key {handle} belongs to an account: sign an anonymous order with a new key")]
    KnownOrderKey {
        /// Its handle.
        handle: AccountHandle,
    },
    /// Past its date.
    #[error("the order expired on {}: sign a new one", date(*.not_after))]
    Expired {
        /// End of the order.
        not_after: UnixSeconds,
    },
    /// From the future.
    #[error("the order is dated {}, more than {MAX_CLOCK_SKEW_SECONDS} s ahead: set the clock", date(*.issued_at))]
    FromTheFuture {
        /// Date of the order.
        issued_at: UnixSeconds,
    },
    /// No such enclave here.
    #[error("no enclave named {instance} serves here: list them again")]
    NoInstance {
        /// The name given.
        instance: InstanceId,
    },
    /// Sealed to keys that are not served.
    #[error("keyset must be {expected}, got {got}: appraise {instance} again and seal anew")]
    StaleKeyset {
        /// The enclave.
        instance: InstanceId,
        /// Keyset served.
        expected: Digest,
        /// The order's.
        got: Digest,
    },
    /// The keyset ends before the longest answer would.
    #[error("the keys of {instance} end on {}, too soon for an answer: wait for its next epoch", date(*.not_after))]
    KeysetEnding {
        /// The enclave.
        instance: InstanceId,
        /// End of the keyset.
        not_after: UnixSeconds,
    },
    /// The enclave does not serve the model.
    #[error("{instance} does not serve model {model}: list the models again")]
    NoModel {
        /// The enclave.
        instance: InstanceId,
        /// The order's model.
        model: Digest,
    },
    /// No price book has taken effect.
    #[error("no price book is in force: ask the operator to sign one")]
    NoPriceBook,
    /// Another price book than the one in force.
    #[error("price book {expected} is in force, the order names {got}: fetch it and order again")]
    StaleBook {
        /// In force.
        expected: Digest,
        /// The order's.
        got: Digest,
    },
    /// The book has no price for model and unit.
    #[error("the price book has no {unit} price for model {model}")]
    NoPrice {
        /// The order's model.
        model: Digest,
        /// The order's unit.
        unit: Unit,
    },
    /// Other rates than the book's.
    #[error("rates must be {expected:?} by the price book, got {got:?}")]
    Rates {
        /// The book's.
        expected: Rates,
        /// The order's.
        got: Rates,
    },
    /// Ceilings and rates that make no amount.
    #[error("ceilings and rates: {0}")]
    Amount(#[from] ChargeError),
    /// A maximum charge below what the ceilings can cost: the enclave would refuse it.
    #[error(
        "the ceilings can cost {}, the order allows {}: lower the ceilings or allow more",
        most.whole(),
        max_charge.whole()
    )]
    MaxCharge {
        /// What ceilings and rates can make.
        most: MicroUnits,
        /// The order's maximum.
        max_charge: MicroUnits,
    },
    /// Input above what the model reads.
    #[error("input ceiling of {got} tokens exceeds the model's context of {context_tokens}")]
    Context {
        /// What the model reads.
        context_tokens: u64,
        /// The order's ceiling.
        got: u64,
    },
}

impl HoldRefusal {
    /// What the customer's program is told.
    pub fn problem(&self) -> Problem {
        match self {
            HoldRefusal::Order(_)
            | HoldRefusal::Expired { .. }
            | HoldRefusal::FromTheFuture { .. }
            | HoldRefusal::MaxCharge { .. }
            | HoldRefusal::Amount(_) => Problem::InvalidOrder,
            HoldRefusal::UnknownOrderKey { .. } | HoldRefusal::KnownOrderKey { .. } => {
                Problem::Forbidden
            }
            HoldRefusal::NoInstance { .. } | HoldRefusal::NoModel { .. } => Problem::NotFound,
            HoldRefusal::StaleKeyset { .. } | HoldRefusal::KeysetEnding { .. } => {
                Problem::StaleKeyset
            }
            HoldRefusal::NoPriceBook => Problem::Unavailable,
            HoldRefusal::StaleBook { .. }
            | HoldRefusal::NoPrice { .. }
            | HoldRefusal::Rates { .. } => Problem::StalePrices,
            HoldRefusal::Context { .. } => Problem::TooLarge,
        }
    }

    /// How the log calls it; `None` for what is no customer's order, and nobody's business.
    pub fn decision(&self) -> Option<Decision> {
        Some(match self {
            HoldRefusal::Order(_)
            | HoldRefusal::UnknownOrderKey { .. }
            | HoldRefusal::KnownOrderKey { .. } => return None,
            HoldRefusal::Expired { .. } => Decision::Expired,
            HoldRefusal::FromTheFuture { .. } => Decision::FromTheFuture,
            HoldRefusal::NoInstance { .. } => Decision::NoInstance,
            HoldRefusal::StaleKeyset { .. } => Decision::StaleKeyset,
            HoldRefusal::KeysetEnding { .. } => Decision::KeysetEnding,
            HoldRefusal::NoModel { .. } => Decision::NoModel,
            HoldRefusal::NoPriceBook => Decision::NoPriceBook,
            HoldRefusal::StaleBook { .. } => Decision::StaleBook,
            HoldRefusal::NoPrice { .. } => Decision::NoPrice,
            HoldRefusal::Rates { .. } => Decision::Rates,
            HoldRefusal::Amount(_) => Decision::Amount,
            HoldRefusal::MaxCharge { .. } => Decision::MaxCharge,
            HoldRefusal::Context { .. } => Decision::Context,
        })
    }
}

/// What an order is judged against.
pub struct Terms<'a> {
    /// Who sends it.
    pub account: AccountNumber,
    /// The account its order key belongs to.
    pub owner: Option<AccountNumber>,
    /// Handle of its order key.
    pub handle: AccountHandle,
    /// The enclave it names, if it serves.
    pub serving: Option<&'a Serving>,
    /// The enclave's name as given.
    pub instance: &'a InstanceId,
    /// Prices in force.
    pub book: Option<&'a Signed<PriceBook>>,
    /// How long each step may take.
    pub times: OrderTimes,
    /// Now.
    pub now: UnixSeconds,
}

/// What is set aside, and the grant that will say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldPlan {
    /// The most the order may cost.
    pub amount: MicroUnits,
    /// Name of the model, by the price book.
    pub model: String,
    /// The grant, not yet signed.
    pub grant: Grant,
}

/// Judges an order. Nothing is set aside yet.
pub fn plan(order: &Signed<Order>, terms: &Terms<'_>) -> Result<HoldPlan, HoldRefusal> {
    if terms.account == ANONYMOUS && terms.owner.is_some_and(|owner| owner != ANONYMOUS) {
        return Err(HoldRefusal::KnownOrderKey { handle: terms.handle });
    }
    if terms.owner != Some(terms.account) {
        return Err(HoldRefusal::UnknownOrderKey { handle: terms.handle });
    }
    check_dates(order, terms.now)?;
    check_enclave(order, terms)?;
    let (amount, model) = check_prices(order, terms)?;
    let now = terms.now;
    let after = |seconds: u64| now.saturating_add(UnixSeconds(seconds));
    let OrderTimes { admit_seconds, run_seconds, settle_seconds } = terms.times;
    let grant = Grant {
        issued_at: now,
        keyset: order.keyset,
        order: order.digest(),
        admit_by: after(admit_seconds),
        run_until: after(run_seconds),
        settle_by: after(run_seconds.saturating_add(settle_seconds)),
    };
    Ok(HoldPlan { amount, model, grant })
}

fn check_dates(order: &Order, now: UnixSeconds) -> Result<(), HoldRefusal> {
    if now >= order.not_after {
        return Err(HoldRefusal::Expired { not_after: order.not_after });
    }
    if order.issued_at > now.saturating_add(UnixSeconds(MAX_CLOCK_SKEW_SECONDS)) {
        return Err(HoldRefusal::FromTheFuture { issued_at: order.issued_at });
    }
    Ok(())
}

fn check_enclave(order: &Order, terms: &Terms<'_>) -> Result<(), HoldRefusal> {
    let instance = || terms.instance.clone();
    let serving = terms.serving.ok_or_else(|| HoldRefusal::NoInstance { instance: instance() })?;
    if order.keyset != serving.keyset {
        let (expected, got) = (serving.keyset, order.keyset);
        return Err(HoldRefusal::StaleKeyset { instance: instance(), expected, got });
    }
    let longest = terms.now.saturating_add(UnixSeconds(terms.times.run_seconds));
    if serving.not_after < longest {
        let not_after = serving.not_after;
        return Err(HoldRefusal::KeysetEnding { instance: instance(), not_after });
    }
    let model = serving
        .models
        .iter()
        .find(|served| served.manifest == order.model)
        .ok_or_else(|| HoldRefusal::NoModel { instance: instance(), model: order.model })?;
    if order.ceiling_input_tokens.0 > model.context_tokens {
        let (context_tokens, got) = (model.context_tokens, order.ceiling_input_tokens.0);
        return Err(HoldRefusal::Context { context_tokens, got });
    }
    Ok(())
}

fn check_prices(order: &Order, terms: &Terms<'_>) -> Result<(MicroUnits, String), HoldRefusal> {
    let book = terms.book.ok_or(HoldRefusal::NoPriceBook)?;
    if order.price_book != book.digest() {
        let (expected, got) = (book.digest(), order.price_book);
        return Err(HoldRefusal::StaleBook { expected, got });
    }
    let (model, unit) = (order.model, order.unit.clone());
    let no_price = || HoldRefusal::NoPrice { model, unit: unit.clone() };
    let row = book.row(&model, &unit).ok_or_else(no_price)?;
    let served = terms.serving.and_then(|s| s.models.iter().find(|m| m.manifest == model));
    let class = served.map_or("", |served| &served.accelerator);
    let tenant = labelled(labels::TENANT, &terms.handle.0);
    let expected = book.rates(&model, &unit, class, &tenant).ok_or_else(no_price)?;
    if order.rates != expected {
        return Err(HoldRefusal::Rates { expected, got: order.rates });
    }
    let most = order.rates.most(order.ceiling_input_tokens, order.ceiling_output_tokens)?;
    if order.max_charge < most {
        return Err(HoldRefusal::MaxCharge { most, max_charge: order.max_charge });
    }
    Ok((most, row.name.clone()))
}
