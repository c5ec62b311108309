//! What a request may cost: rates out of the verified price book, under the customer's own cap,
//! and ceilings out of the request's size.
//!
//! Nothing here trusts the broker's word: the price book is signed by the root key the customer
//! pinned, and the digest of the book goes into the order, so the rates can be shown later.

use bulla_attestation::hash::labelled;
use bulla_attestation::sign::{self, Signed, VerifyError};
use bulla_wire::ids::{AccountHandle, Digest, PublicKey};
use bulla_wire::labels;
use bulla_wire::price::{PriceBook, PriceBookError, PriceRow, Rates};
use bulla_wire::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

use crate::request::ChatRequest;

/// Tokens a chat template may add to a request once: a default system prompt, the opening of the
/// answer. Measured on the templates of the Llama and Qwen2 families, with room to spare.
pub const TEMPLATE_OVERHEAD_TOKENS: u64 = 256;
/// Tokens a chat template may add to each message: role markers, written out byte by byte at worst.
pub const MESSAGE_OVERHEAD_TOKENS: u64 = 48;

/// Tokens a tokenizer puts around a text that is to be embedded: two, with room to spare.
pub const TEXT_OVERHEAD_TOKENS: u64 = 8;

/// What the customer allows, whatever the price book says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpendingCap {
    /// No rate may be above these.
    pub rates: Option<Rates>,
    /// No single request may cost more, in micro-units.
    pub max_charge: Option<MicroUnits>,
}

/// The price of one model in one unit of account. Only [`choose`] makes one, from a verified book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    name: String,
    model: Digest,
    unit: Unit,
    rates: Rates,
    price_book: Digest,
}

impl Offer {
    /// The name people use for the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Digest of the model manifest.
    pub fn model(&self) -> Digest {
        self.model
    }

    /// Unit of account.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Rates.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Digest of the signed price book the rates stand in.
    pub fn price_book(&self) -> Digest {
        self.price_book
    }
}

/// The most a request may use and cost; signed in the order, enforced by the enclave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Most input tokens.
    pub input: TokenCount,
    /// Most output tokens.
    pub output: TokenCount,
    /// Most the request can cost at the offered rates.
    pub max_charge: MicroUnits,
}

/// Why no order is signed at these prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// The price book is not signed by the pinned root key.
    #[error("price book is not signed by the pinned broker root key: {0}")]
    Signature(#[from] VerifyError),
    /// The price book breaks a limit.
    #[error(transparent)]
    Limits(#[from] PriceBookError),
    /// The price book does not hold yet.
    #[error("price book holds from {effective_from}, now is {now}: check this machine's clock")]
    NotYet {
        /// First second it holds.
        effective_from: UnixSeconds,
        /// Now.
        now: UnixSeconds,
    },
    /// An older book than one seen before: somebody offers yesterday's prices.
    #[error("price book has version {got}, version {seen} was seen before")]
    Older {
        /// Highest version seen.
        seen: u64,
        /// The version offered.
        got: u64,
    },
    /// No row carries this name.
    #[error("model {name:?} is not in the price book; it lists: {}", .known.join(", "))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The model has no price in the customer's unit of account.
    #[error("model {name:?} has no price in {unit}: set another unit under [spending]")]
    NoPriceInUnit {
        /// The model.
        name: String,
        /// The unit asked for.
        unit: Unit,
    },
    /// One name stands for several models and none is pinned.
    #[error(
        "model {name:?} stands for {count} manifests in the price book: pin one under [models]"
    )]
    Ambiguous {
        /// The model.
        name: String,
        /// How many manifests carry the name.
        count: usize,
    },
    /// The name does not stand for the manifest the customer pinned.
    #[error("model {name:?} is pinned to manifest {pinned}, which the price book does not list")]
    OtherManifest {
        /// The model.
        name: String,
        /// The pinned manifest.
        pinned: Digest,
    },
    /// A rate above the customer's cap.
    #[error("rates of model {name:?} exceed the cap under [spending]: {rates:?}")]
    RatesAboveCap {
        /// The model.
        name: String,
        /// The rates offered.
        rates: Rates,
    },
    /// The request could cost more than the customer's cap for one request.
    #[error(
        "this request could cost {}, the cap under [spending] is {}: lower max_tokens, or raise the cap",
        max_charge.of(unit),
        cap.of(unit)
    )]
    ChargeAboveCap {
        /// The most it can cost.
        max_charge: MicroUnits,
        /// The cap.
        cap: MicroUnits,
        /// Unit of account.
        unit: Unit,
    },
    /// The most it can cost does not fit 64 bits.
    #[error("the most this request can cost does not fit 64 bits")]
    Overflow,
}

/// Verifies a price book under the pinned root key. `seen` is the highest version ever accepted.
pub fn read_book(
    bytes: &[u8],
    root: &PublicKey,
    seen: u64,
    now: UnixSeconds,
) -> Result<Signed<PriceBook>, PriceError> {
    let book: Signed<PriceBook> = sign::verify(bytes, root)?;
    book.check_limits()?;
    if book.effective_from > now {
        return Err(PriceError::NotYet { effective_from: book.effective_from, now });
    }
    if book.version < seen {
        return Err(PriceError::Older { seen, got: book.version });
    }
    Ok(book)
}

/// The offer for the model people call `name`, in `unit`, within `cap`; `pinned` names the only
/// manifest the customer takes for it.
pub fn choose(
    book: &Signed<PriceBook>,
    name: &str,
    pinned: Option<Digest>,
    unit: &Unit,
    cap: &SpendingCap,
) -> Result<Offer, PriceError> {
    let row = row_of(book, name, pinned, unit)?;
    let (model, unit, rates) = (row.model, row.unit.clone(), row.rates);
    let offer = Offer { name: name.to_owned(), model, unit, rates, price_book: book.digest() };
    match book.variants {
        // Judged once class and customer are known: [`Offer::on`].
        Some(_) => Ok(offer),
        None => offer.within(cap),
    }
}

impl Offer {
    /// The same on a class of accelerators and for a customer, within `cap`.
    pub fn on(
        self,
        book: &PriceBook,
        class: &str,
        payer: &AccountHandle,
        cap: &SpendingCap,
    ) -> Result<Offer, PriceError> {
        let tenant = labelled(labels::TENANT, &payer.0);
        let rates = book.rates(&self.model, &self.unit, class, &tenant).unwrap_or(self.rates);
        Offer { rates, ..self }.within(cap)
    }

    fn within(self, cap: &SpendingCap) -> Result<Offer, PriceError> {
        match cap.rates.as_ref().is_none_or(|cap| self.rates.within(cap)) {
            true => Ok(self),
            false => Err(PriceError::RatesAboveCap { name: self.name, rates: self.rates }),
        }
    }
}

fn row_of<'b>(
    book: &'b PriceBook,
    name: &str,
    pinned: Option<Digest>,
    unit: &Unit,
) -> Result<&'b PriceRow, PriceError> {
    let named: Vec<&PriceRow> = book.rows.iter().filter(|row| row.name == name).collect();
    if named.is_empty() {
        let mut known: Vec<String> = book.rows.iter().map(|row| row.name.clone()).collect();
        known.sort();
        known.dedup();
        return Err(PriceError::UnknownModel { name: name.to_owned(), known });
    }
    let wanted: Vec<&PriceRow> =
        named.into_iter().filter(|row| pinned.is_none_or(|pin| row.model == pin)).collect();
    if let (Some(pinned), true) = (pinned, wanted.is_empty()) {
        return Err(PriceError::OtherManifest { name: name.to_owned(), pinned });
    }
    let mut priced = wanted.into_iter().filter(|row| row.unit == *unit);
    let no_price = || PriceError::NoPriceInUnit { name: name.to_owned(), unit: unit.clone() };
    let row = priced.next().ok_or_else(no_price)?;
    match priced.filter(|other| other.model != row.model).count() {
        0 => Ok(row),
        others => Err(PriceError::Ambiguous { name: name.to_owned(), count: others + 1 }),
    }
}

/// The ceilings of `request` on a model with a context of `context` tokens.
///
/// Input: the tokenizers we know never make more tokens than bytes (byte-level fallback is the
/// worst case), and JSON never writes a text in fewer bytes than UTF-8. So the request's bytes
/// bound its text's tokens, and the template adds at most [`TEMPLATE_OVERHEAD_TOKENS`] and
/// [`MESSAGE_OVERHEAD_TOKENS`] a message. No request can use more than the context. A normaliser
/// that lengthens text can break the bound: the enclave then refuses before any work, uncharged.
///
/// Texts to embed are read one by one: each at most the context, and they generate nothing.
///
/// Output: what the request asks for, else `default_output`, and never more than the context.
pub fn ceilings(
    request: &ChatRequest,
    context: TokenCount,
    default_output: TokenCount,
    offer: &Offer,
    cap: &SpendingCap,
) -> Result<Ceilings, PriceError> {
    let bytes = request.body().len() as u64;
    let input = match request.text_count() {
        None => {
            let messages = (request.message_count() as u64).saturating_mul(MESSAGE_OVERHEAD_TOKENS);
            let bound = bytes.saturating_add(messages).saturating_add(TEMPLATE_OVERHEAD_TOKENS);
            TokenCount(bound).min(context)
        }
        Some(texts) => {
            let bound = bytes.saturating_add((texts as u64).saturating_mul(TEXT_OVERHEAD_TOKENS));
            TokenCount(bound).min(TokenCount(context.0.saturating_mul(texts as u64)))
        }
    };
    let output = request.max_output().unwrap_or(default_output).min(context);
    let max_charge = offer.rates.most(input, output).map_err(|_| PriceError::Overflow)?;
    match cap.max_charge {
        Some(cap) if max_charge > cap => {
            Err(PriceError::ChargeAboveCap { max_charge, cap, unit: offer.unit.clone() })
        }
        _ => Ok(Ceilings { input, output, max_charge }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulla_attestation::sign::SigningKey;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn root() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn rates() -> Rates {
        Rates { input: 2_000_000, output: 8_000_000, ..Rates::default() }
    }

    fn row(name: &str, model: u8, unit: Unit) -> PriceRow {
        PriceRow { model: Digest([model; 32]), unit, rates: rates(), name: name.to_owned() }
    }

    fn book(rows: Vec<PriceRow>) -> Signed<PriceBook> {
        let effective_from = NOW;
        root().sign(PriceBook { issued_at: NOW, version: 3, effective_from, rows, variants: None })
    }

    fn small() -> Signed<PriceBook> {
        book(vec![row("small", 5, Unit::tokens()), row("small", 5, "HKD".parse().unwrap())])
    }

    fn offer(cap: &SpendingCap) -> Result<Offer, PriceError> {
        choose(&small(), "small", None, &Unit::tokens(), cap)
    }

    #[test]
    fn accepts_a_book_of_the_pinned_root_and_refuses_any_other() {
        let bytes = small().bytes().to_vec();
        assert!(read_book(&bytes, &root().public(), 3, NOW).is_ok());
        let other = SigningKey::from_seed([2; 32]).public();
        let got = read_book(&bytes, &other, 0, NOW).unwrap_err();
        assert!(matches!(got, PriceError::Signature(_)), "{got}");
    }

    #[test]
    fn refuses_a_future_or_an_older_book() {
        let bytes = small().bytes().to_vec();
        let early = UnixSeconds(NOW.0 - 1);
        let got = read_book(&bytes, &root().public(), 0, early).unwrap_err();
        assert_eq!(got, PriceError::NotYet { effective_from: NOW, now: early });
        let got = read_book(&bytes, &root().public(), 4, NOW).unwrap_err();
        assert_eq!(got, PriceError::Older { seen: 4, got: 3 });
    }

    #[test]
    fn refuses_unknown_unpriced_ambiguous_and_other_models() {
        let hkd: Unit = "HKD".parse().unwrap();
        let two = book(vec![row("m", 1, hkd.clone()), row("m", 2, hkd.clone())]);
        let cap = SpendingCap::default();
        let pick = |name: &str, pin, unit: &Unit| choose(&two, name, pin, unit, &cap).unwrap_err();
        assert!(matches!(pick("x", None, &hkd), PriceError::UnknownModel { .. }));
        assert!(matches!(pick("m", None, &Unit::tokens()), PriceError::NoPriceInUnit { .. }));
        assert!(matches!(pick("m", None, &hkd), PriceError::Ambiguous { count: 2, .. }));
        let pin = Some(Digest([9; 32]));
        assert!(matches!(pick("m", pin, &hkd), PriceError::OtherManifest { .. }));
        let pinned = choose(&two, "m", Some(Digest([2; 32])), &hkd, &cap).unwrap();
        assert_eq!(pinned.model(), Digest([2; 32]));
    }

    #[test]
    fn refuses_rates_above_the_cap() {
        let below = Rates { input: 1, ..rates() };
        let got = offer(&SpendingCap { rates: Some(below), max_charge: None }).unwrap_err();
        assert!(matches!(got, PriceError::RatesAboveCap { .. }));
    }

    #[test]
    fn ceilings_follow_bytes_and_stop_at_the_context() {
        let request = ChatRequest::read(
            br#"{"model":"small","messages":[{"role":"user","content":"hi"}],"max_tokens":7}"#,
        )
        .unwrap();
        let cap = SpendingCap::default();
        let offer = offer(&cap).unwrap();
        let wide = ceilings(&request, TokenCount(100_000), TokenCount(50), &offer, &cap).unwrap();
        let bytes = request.body().len() as u64;
        assert_eq!(wide.input.0, bytes + MESSAGE_OVERHEAD_TOKENS + TEMPLATE_OVERHEAD_TOKENS);
        assert_eq!(wide.output, TokenCount(7));
        assert_eq!(wide.max_charge, offer.rates().most(wide.input, wide.output).unwrap());
        let texts =
            ChatRequest::read_embeddings(br#"{"model":"small","input":["a","b"]}"#).unwrap();
        let few = ceilings(&texts, TokenCount(512), TokenCount(50), &offer, &cap).unwrap();
        assert_eq!((few.input.0, few.output.0), (texts.body().len() as u64 + 16, 0));
        let most = ceilings(&texts, TokenCount(5), TokenCount(50), &offer, &cap).unwrap();
        assert_eq!(most.input, TokenCount(10), "twice the context");
        let narrow = ceilings(&request, TokenCount(5), TokenCount(50), &offer, &cap).unwrap();
        assert_eq!((narrow.input, narrow.output), (TokenCount(5), TokenCount(5)));
    }

    #[test]
    fn refuses_a_request_that_could_cost_more_than_the_cap() {
        let request = ChatRequest::read(br#"{"model":"small","messages":[]}"#).unwrap();
        let cap = SpendingCap { rates: None, max_charge: Some(MicroUnits(10)) };
        let offer = offer(&cap).unwrap();
        let got = ceilings(&request, TokenCount(4096), TokenCount(4096), &offer, &cap);
        assert!(matches!(got, Err(PriceError::ChargeAboveCap { .. })));
    }
}
