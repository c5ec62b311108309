//! Rates, usage and the one formula that makes a charge of them, the same in enclave, broker and
//! audit. Integers only.

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};

use crate::cbor::{CborError, cbor_map};
use crate::ids::Digest;
use crate::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

/// Rates are per this many tokens.
pub const RATE_TOKENS: u64 = 1_000_000;
/// Highest rate: a thousand million units per million tokens. Keeps every product inside 128 bits
/// and every plausible charge inside 64.
pub const MAX_RATE: u64 = 1_000_000_000_000_000;
/// Most rows in a price book.
pub const MAX_PRICE_ROWS: usize = 10_000;
/// Longest model name, in bytes.
pub const MAX_MODEL_NAME_BYTES: usize = 128;
/// Largest signed price book, in bytes.
pub const MAX_PRICE_BOOK_BYTES: usize = 1 << 20;

/// What an engine counted for one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// All input tokens, cached ones included.
    pub input: TokenCount,
    /// Input tokens served from the prefix cache; at most `input`.
    pub cached_input: TokenCount,
    /// All generated tokens, reasoning included.
    pub output: TokenCount,
    /// Generated tokens of a reasoning section; at most `output`.
    pub reasoning: TokenCount,
}

/// Micro-units per million tokens of each class, and micro-units per request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Input tokens that had to be computed.
    pub input: u64,
    /// Input tokens served from the cache.
    pub cached_input: u64,
    /// Output tokens.
    pub output: u64,
    /// Reasoning tokens.
    pub reasoning: u64,
    /// Flat part of every charged request.
    pub per_request: u64,
}

/// Why no charge can be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChargeError {
    /// More cached than input tokens, or more reasoning than output tokens.
    #[error("inconsistent usage: a part exceeds its whole")]
    InconsistentUsage,
    /// The charge does not fit 64 bits.
    #[error("charge exceeds {} micro-units", u64::MAX)]
    Overflow,
}

impl Rates {
    /// The charge for `usage`: each class times its rate, summed, divided by [`RATE_TOKENS`] and
    /// rounded up once, plus the flat part.
    pub fn charge(&self, usage: &TokenUsage) -> Result<MicroUnits, ChargeError> {
        let part = |whole: TokenCount, part: TokenCount| {
            whole.checked_sub(part).ok_or(ChargeError::InconsistentUsage)
        };
        let computed = part(usage.input, usage.cached_input)?;
        let answered = part(usage.output, usage.reasoning)?;
        let classes = [
            (computed, self.input),
            (usage.cached_input, self.cached_input),
            (answered, self.output),
            (usage.reasoning, self.reasoning),
        ];
        self.total(&classes)
    }

    /// The most a request within these ceilings can cost.
    pub fn most(&self, input: TokenCount, output: TokenCount) -> Result<MicroUnits, ChargeError> {
        let dearest_input = self.input.max(self.cached_input);
        let dearest_output = self.output.max(self.reasoning);
        self.total(&[(input, dearest_input), (output, dearest_output)])
    }

    fn total(&self, classes: &[(TokenCount, u64)]) -> Result<MicroUnits, ChargeError> {
        let mut sum: u128 = 0;
        for (tokens, rate) in classes {
            let product = u128::from(tokens.0) * u128::from(*rate);
            sum = sum.checked_add(product).ok_or(ChargeError::Overflow)?;
        }
        let rounded_up = sum.div_ceil(u128::from(RATE_TOKENS));
        let whole = rounded_up + u128::from(self.per_request);
        u64::try_from(whole).map(MicroUnits).map_err(|_| ChargeError::Overflow)
    }

    /// True when no rate exceeds the one in `cap`.
    pub fn within(&self, cap: &Rates) -> bool {
        self.input <= cap.input
            && self.cached_input <= cap.cached_input
            && self.output <= cap.output
            && self.reasoning <= cap.reasoning
            && self.per_request <= cap.per_request
    }
}

macro_rules! as_array {
    ($name:ident, $n:literal, [$($field:ident),*], $read:expr, $write:expr) => {
        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.array($n)?;
                $( e.u64($write(self.$field))?; )*
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                if d.array()? != Some($n) {
                    return Err(minicbor::decode::Error::message(concat!(
                        stringify!($name), " must be an array of ", stringify!($n)
                    )));
                }
                Ok($name { $( $field: $read(d.u64()?)? ),* })
            }
        }
    };
}

type Read<T> = Result<T, minicbor::decode::Error>;

fn read_count(value: u64) -> Read<TokenCount> {
    Ok(TokenCount(value))
}

fn read_rate(value: u64) -> Read<u64> {
    if value > MAX_RATE {
        return Err(minicbor::decode::Error::message("rate above the limit"));
    }
    Ok(value)
}

as_array!(
    TokenUsage,
    4,
    [input, cached_input, output, reasoning],
    read_count,
    |count: TokenCount| count.0
);
as_array!(
    Rates,
    5,
    [input, cached_input, output, reasoning, per_request],
    read_rate,
    |rate: u64| rate
);

cbor_map! {
    /// A price book: signed by the broker's root key (`typ` [`crate::labels::TYP_PRICE_BOOK`]).
    pub struct PriceBook {
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// Rises by one with every book of this broker.
        -70101 => version: u64,
        /// From when it holds.
        -70102 => effective_from: UnixSeconds,
        /// One row per model and unit of account.
        -70103 => rows: Vec<PriceRow>,
        /// Other rates on some accelerators, or for some customers; absent where there are none.
        -70105 => variants: Option<Vec<PriceVariant>>,
    }
}

cbor_map! {
    /// Rates that stand for a row's where they fit: on a class of accelerators, for a customer, or
    /// for both. The narrower one counts: a customer's before a class's, both before either.
    pub struct PriceVariant {
        /// Digest of the model manifest.
        -70005 => model: Digest,
        /// Unit of account.
        -70008 => unit: Unit,
        /// Rates.
        -70009 => rates: Rates,
        /// Accelerator class, as receipts name it; every class where it is absent.
        -70106 => class: Option<String>,
        /// Digest of the customer's account handle ([`crate::labels::TENANT`]), so that nobody else
        /// reads whose prices these are; every customer where it is absent.
        -70107 => tenant: Option<Digest>,
    }
}

cbor_map! {
    /// The rates of one model in one unit of account.
    pub struct PriceRow {
        /// Digest of the model manifest: weights, tokenizer, template, configuration.
        -70005 => model: Digest,
        /// Unit of account.
        -70008 => unit: Unit,
        /// Rates.
        -70009 => rates: Rates,
        /// The name people use for the model.
        -70104 => name: String,
    }
}

/// Why a price book cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceBookError {
    /// Not deterministic CBOR of the right shape.
    #[error("malformed price book: {0}")]
    Cbor(#[from] CborError),
    /// More than [`MAX_PRICE_ROWS`] rows or a name above [`MAX_MODEL_NAME_BYTES`].
    #[error("price book exceeds a limit: {what}")]
    Limit {
        /// Which.
        what: &'static str,
    },
}

impl PriceBook {
    /// Checks the limits a decoder cannot.
    pub fn check_limits(&self) -> Result<(), PriceBookError> {
        if self.rows.len() > MAX_PRICE_ROWS {
            return Err(PriceBookError::Limit { what: "rows" });
        }
        if self.variants.as_ref().is_some_and(|variants| variants.len() > MAX_PRICE_ROWS) {
            return Err(PriceBookError::Limit { what: "variants" });
        }
        if self.rows.iter().any(|r| r.name.is_empty() || r.name.len() > MAX_MODEL_NAME_BYTES) {
            return Err(PriceBookError::Limit { what: "model name length" });
        }
        Ok(())
    }

    /// The rates for a model in a unit of account on a class of accelerators for a customer.
    pub fn rates(
        &self,
        model: &Digest,
        unit: &Unit,
        class: &str,
        tenant: &Digest,
    ) -> Option<Rates> {
        let fits = |variant: &&PriceVariant| {
            variant.model == *model
                && variant.unit == *unit
                && variant.class.as_deref().is_none_or(|of| of == class)
                && variant.tenant.is_none_or(|of| of == *tenant)
        };
        let narrow = |variant: &&PriceVariant| (variant.tenant.is_some(), variant.class.is_some());
        let variants = self.variants.iter().flatten().filter(fits);
        let variant = variants.max_by_key(narrow).map(|variant| variant.rates);
        variant.or_else(|| self.row(model, unit).map(|row| row.rates))
    }

    /// The row for a model in a unit of account.
    pub fn row(&self, model: &Digest, unit: &Unit) -> Option<&PriceRow> {
        self.rows.iter().find(|r| r.model == *model && r.unit == *unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The market's published example: HK$2.12 in, HK$8.44 out per million tokens.
    fn hkd() -> Rates {
        Rates {
            input: 2_120_000,
            cached_input: 530_000,
            output: 8_440_000,
            reasoning: 8_440_000,
            per_request: 0,
        }
    }

    fn usage(input: u64, cached: u64, output: u64, reasoning: u64) -> TokenUsage {
        TokenUsage {
            input: TokenCount(input),
            cached_input: TokenCount(cached),
            output: TokenCount(output),
            reasoning: TokenCount(reasoning),
        }
    }

    #[test]
    fn a_million_tokens_cost_the_published_price() {
        assert_eq!(hkd().charge(&usage(1_000_000, 0, 0, 0)), Ok(MicroUnits(2_120_000)));
        assert_eq!(hkd().charge(&usage(0, 0, 1_000_000, 0)), Ok(MicroUnits(8_440_000)));
    }

    #[test]
    fn rounds_up_once_over_the_sum() {
        // 1 x 2.12 + 1 x 8.44 = 10.56 micro-units: 11, not 3 + 9.
        assert_eq!(hkd().charge(&usage(1, 0, 1, 0)), Ok(MicroUnits(11)));
    }

    #[test]
    fn cached_tokens_are_not_charged_twice() {
        assert_eq!(hkd().charge(&usage(1_000_000, 1_000_000, 0, 0)), Ok(MicroUnits(530_000)));
    }

    #[test]
    fn refuses_parts_larger_than_their_whole() {
        assert_eq!(hkd().charge(&usage(1, 2, 0, 0)), Err(ChargeError::InconsistentUsage));
        assert_eq!(hkd().charge(&usage(0, 0, 1, 2)), Err(ChargeError::InconsistentUsage));
    }

    #[test]
    fn refuses_a_charge_beyond_64_bits() {
        let dear = Rates { input: MAX_RATE, ..Rates::default() };
        assert_eq!(dear.charge(&usage(u64::MAX, 0, 0, 0)), Err(ChargeError::Overflow));
    }

    #[test]
    fn the_most_is_never_less_than_the_charge() {
        let most = hkd().most(TokenCount(100), TokenCount(50)).unwrap();
        for (cached, reasoning) in [(0, 0), (100, 50), (40, 7)] {
            assert!(hkd().charge(&usage(100, cached, 50, reasoning)).unwrap() <= most);
        }
    }
}
