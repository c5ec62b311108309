//! Is this the usage receipt of *this* request? One check, one error.

use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::sign::{self, Signed, VerifyError};
use bulla_wire::ids::{AccountHandle, Digest, EpochId, HoldId, InstanceId, PublicKey};
use bulla_wire::order::Order;
use bulla_wire::price::{ChargeError, Rates};
use bulla_wire::receipt::{OrderMode, RECEIPT_PROFILE, SecurityMode, UsageReceipt};
use bulla_wire::units::{MicroUnits, TokenCount, Unit};

/// A usage receipt that passed every check against the order and the attested keys. Only
/// [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt(Signed<UsageReceipt>);

impl VerifiedReceipt {
    /// The receipt as received, COSE_Sign1.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Digest of the receipt, as the log's leaf and the broker name it.
    pub fn digest(&self) -> Digest {
        self.0.digest()
    }
}

impl std::ops::Deref for VerifiedReceipt {
    type Target = UsageReceipt;

    fn deref(&self) -> &UsageReceipt {
        &self.0
    }
}

/// What came back for a sealed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A sealed answer, opened; the commitment to its body, if it had one.
    Opened {
        /// Recomputed over the bytes as opened.
        commit_response: Option<Digest>,
    },
    /// A problem in place of an answer.
    Problem,
}

/// What the customer knows and the receipt must repeat.
pub struct Expected<'a> {
    /// The keys the request was sealed to.
    pub keys: &'a AttestedKeys,
    /// The order that was signed.
    pub order: &'a Signed<Order>,
    /// Who pays.
    pub account: AccountHandle,
    /// Commitment to the body of the request as sealed.
    pub commit_request: Digest,
    /// What came back.
    pub answer: Answer,
}

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// No attested receipt key signed it.
    #[error("receipt is not signed by the attested receipt key: {0}")]
    Signature(#[from] VerifyError),
    /// Another version of receipt.
    #[error("receipt profile: expected {RECEIPT_PROFILE}, got {got}")]
    Profile {
        /// The profile in the receipt, cut to 80 characters.
        got: String,
    },
    /// An interim receipt where the final one belongs.
    #[error("receipt is interim number {index}, expected the final one")]
    Interim {
        /// Its index.
        index: u64,
    },
    /// Another instance signed.
    #[error("receipt is from instance {got}, expected {expected}")]
    Instance {
        /// The attested instance.
        expected: InstanceId,
        /// The instance in the receipt.
        got: InstanceId,
    },
    /// Another keyset, or an epoch that is not the keyset's.
    #[error("receipt names keyset {got}, expected {expected}")]
    Keyset {
        /// The attested keyset.
        expected: Digest,
        /// The keyset in the receipt.
        got: Digest,
    },
    /// An epoch that is not the keyset's.
    #[error("receipt names epoch {got}, expected {expected}")]
    Epoch {
        /// The keyset's epoch.
        expected: EpochId,
        /// The epoch in the receipt.
        got: EpochId,
    },
    /// Another hold.
    #[error("receipt settles hold {got}, expected {expected}")]
    Hold {
        /// The order's hold.
        expected: HoldId,
        /// The hold in the receipt.
        got: HoldId,
    },
    /// Another order.
    #[error("receipt is for order {got}, expected {expected}")]
    Order {
        /// Digest of the order that was signed.
        expected: Digest,
        /// The order in the receipt.
        got: Digest,
    },
    /// Another payer.
    #[error("receipt charges account {got}, expected {expected}")]
    Account {
        /// The payer's handle.
        expected: AccountHandle,
        /// The handle in the receipt.
        got: AccountHandle,
    },
    /// Another model ran.
    #[error("receipt names model {got}, ordered was {expected}")]
    Model {
        /// The manifest ordered.
        expected: Digest,
        /// The manifest in the receipt.
        got: Digest,
    },
    /// Another unit of account.
    #[error("receipt charges in {got}, ordered was {expected}")]
    Unit {
        /// The unit ordered.
        expected: Unit,
        /// The unit in the receipt.
        got: Unit,
    },
    /// Other rates.
    #[error("receipt applies rates {got:?}, ordered were {expected:?}")]
    Rates {
        /// The rates ordered.
        expected: Rates,
        /// The rates in the receipt.
        got: Rates,
    },
    /// Another price book.
    #[error("receipt names price book {got}, ordered was {expected}")]
    PriceBook {
        /// The book ordered from.
        expected: Digest,
        /// The book in the receipt.
        got: Digest,
    },
    /// More input tokens than ordered.
    #[error("receipt counts {got} input tokens, the ceiling is {ceiling}")]
    InputAboveCeiling {
        /// The ceiling ordered.
        ceiling: TokenCount,
        /// The count in the receipt.
        got: TokenCount,
    },
    /// More output tokens than ordered.
    #[error("receipt counts {got} output tokens, the ceiling is {ceiling}")]
    OutputAboveCeiling {
        /// The ceiling ordered.
        ceiling: TokenCount,
        /// The count in the receipt.
        got: TokenCount,
    },
    /// No charge can be computed from its usage.
    #[error("receipt usage: {0}")]
    Usage(#[from] ChargeError),
    /// The charge is not what usage and rates give.
    #[error("receipt charges {got} micro-units, usage and rates give {expected}")]
    Charge {
        /// The charge recomputed.
        expected: MicroUnits,
        /// The charge in the receipt.
        got: MicroUnits,
    },
    /// The charge exceeds the order's maximum.
    #[error("receipt charges {got} micro-units, at most {max} were ordered")]
    ChargeAboveMaximum {
        /// The order's maximum.
        max: MicroUnits,
        /// The charge in the receipt.
        got: MicroUnits,
    },
    /// The enclave opened another request than the one sealed.
    #[error("receipt commits to another request than the one sent")]
    RequestCommitment,
    /// The enclave sent another answer than the one received.
    #[error("receipt commits to another answer than the one received")]
    ResponseCommitment,
    /// The receipt claims another security mode than the evidence shows.
    #[error("receipt says security {got}, the appraised evidence is {expected}")]
    Security {
        /// What the appraisal found.
        expected: SecurityMode,
        /// What the receipt says.
        got: SecurityMode,
    },
    /// Not marked as ordered by the customer.
    #[error("receipt is marked {got:?}, expected an ordered one")]
    Mode {
        /// The mode in the receipt.
        got: OrderMode,
    },
}

/// The security mode the attested keys stand for.
pub fn security_of(keys: &AttestedKeys) -> SecurityMode {
    match keys.is_simulated() {
        true => SecurityMode::Simulated,
        false => SecurityMode::Hardware,
    }
}

/// Verifies a receipt against what was ordered, sent and received.
pub fn verify(bytes: &[u8], expected: &Expected<'_>) -> Result<VerifiedReceipt, ReceiptError> {
    let keys: Vec<PublicKey> =
        expected.keys.receipt_keys().iter().map(|key| key.public_key).collect();
    let receipt: Signed<UsageReceipt> = sign::verify_any(bytes, &keys)?;
    check_origin(&receipt, expected)?;
    check_terms(&receipt, expected)?;
    check_amounts(&receipt, expected.order)?;
    check_commitments(&receipt, expected)?;
    Ok(VerifiedReceipt(receipt))
}

fn check_origin(receipt: &UsageReceipt, expected: &Expected<'_>) -> Result<(), ReceiptError> {
    if receipt.profile != RECEIPT_PROFILE {
        return Err(ReceiptError::Profile { got: receipt.profile.chars().take(80).collect() });
    }
    if let Some(index) = receipt.interim {
        return Err(ReceiptError::Interim { index });
    }
    if let Some(subject) = expected.keys.subject()
        && subject.instance != receipt.issuer
    {
        let (expected, got) = (subject.instance.clone(), receipt.issuer.clone());
        return Err(ReceiptError::Instance { expected, got });
    }
    let keyset = expected.keys.keyset_digest();
    if receipt.keyset != keyset {
        return Err(ReceiptError::Keyset { expected: keyset, got: receipt.keyset });
    }
    let epoch = EpochId::of_keyset(&keyset);
    if receipt.epoch != epoch {
        return Err(ReceiptError::Epoch { expected: epoch, got: receipt.epoch });
    }
    let security = security_of(expected.keys);
    if receipt.security != security {
        return Err(ReceiptError::Security { expected: security, got: receipt.security });
    }
    if receipt.mode != OrderMode::Ordered {
        return Err(ReceiptError::Mode { got: receipt.mode });
    }
    Ok(())
}

macro_rules! same {
    ($variant:ident, $expected:expr, $got:expr) => {
        if $expected != $got {
            return Err(ReceiptError::$variant { expected: $expected.clone(), got: $got.clone() });
        }
    };
}

fn check_terms(receipt: &UsageReceipt, expected: &Expected<'_>) -> Result<(), ReceiptError> {
    let order = expected.order;
    same!(Hold, order.hold, receipt.hold);
    same!(Order, order.digest(), receipt.order);
    same!(Account, expected.account, receipt.account);
    same!(Model, order.model, receipt.model);
    same!(Unit, order.unit, receipt.unit);
    same!(Rates, order.rates, receipt.rates);
    same!(PriceBook, order.price_book, receipt.price_book);
    Ok(())
}

fn check_amounts(receipt: &UsageReceipt, order: &Order) -> Result<(), ReceiptError> {
    let (ceiling, got) = (order.ceiling_input_tokens, receipt.usage.input);
    if got > ceiling {
        return Err(ReceiptError::InputAboveCeiling { ceiling, got });
    }
    let (ceiling, got) = (order.ceiling_output_tokens, receipt.usage.output);
    if got > ceiling {
        return Err(ReceiptError::OutputAboveCeiling { ceiling, got });
    }
    let used = receipt.rates.charge(&receipt.usage)?;
    let charge = if receipt.outcome.is_charged() { used } else { MicroUnits(0) };
    same!(Charge, charge, receipt.charge);
    if receipt.charge > order.max_charge {
        return Err(ReceiptError::ChargeAboveMaximum {
            max: order.max_charge,
            got: receipt.charge,
        });
    }
    Ok(())
}

/// With an answer the request's commitment must stand. Where a problem came instead, the enclave may
/// have opened the request or not, but it sent no sealed answer.
fn check_commitments(receipt: &UsageReceipt, expected: &Expected<'_>) -> Result<(), ReceiptError> {
    let (must_commit, commit_response) = match expected.answer {
        Answer::Opened { commit_response } => (true, commit_response),
        Answer::Problem => (false, None),
    };
    let request = match receipt.commit_request {
        Some(got) => got == expected.commit_request,
        None => !must_commit,
    };
    if !request {
        return Err(ReceiptError::RequestCommitment);
    }
    if receipt.commit_response != commit_response {
        return Err(ReceiptError::ResponseCommitment);
    }
    Ok(())
}
