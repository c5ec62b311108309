//! What is to be asked: everything a session needs to know before its first step.

use std::sync::Arc;

use bulla_attestation::hash::account_handle;
use bulla_attestation::seal::Padding;
use bulla_attestation::sign::SigningKey;
use bulla_wire::ids::{AccountHandle, Digest, InstanceId};
use bulla_wire::terms::CACHE_SECRET_BYTES;
use zeroize::Zeroizing;

use crate::price::{Ceilings, Offer};

/// Who pays. Holds the order key: no `Debug`.
#[derive(Clone)]
pub struct Payer {
    order_key: Arc<SigningKey>,
    cache_secret: Option<Zeroizing<[u8; CACHE_SECRET_BYTES]>>,
}

impl Payer {
    /// Pays with `order_key`; `cache_secret` names the payer's own prefix cache, none for no
    /// sharing between requests at all.
    pub fn new(
        order_key: Arc<SigningKey>,
        cache_secret: Option<Zeroizing<[u8; CACHE_SECRET_BYTES]>>,
    ) -> Payer {
        Payer { order_key, cache_secret }
    }

    /// The account handle that stands in orders and receipts.
    pub fn account(&self) -> AccountHandle {
        account_handle(&self.order_key.public())
    }

    pub(super) fn order_key(&self) -> &SigningKey {
        &self.order_key
    }

    pub(super) fn cache_secret(&self) -> Option<&[u8]> {
        self.cache_secret.as_ref().map(|secret| secret.as_slice())
    }
}

/// How long a session waits and how often it tries. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For an attestation report.
    pub attestation_ms: u64,
    /// For the first byte of an answer, queueing included.
    pub first_byte_ms: u64,
    /// Between two pieces of an answer.
    pub idle_ms: u64,
    /// From signing an order to its end of validity.
    pub order_life_ms: u64,
    /// Keys that end sooner than this are not sealed to.
    pub keys_margin_ms: u64,
    /// How often one lost answer is fetched again.
    pub refetches: u32,
    /// How many orders one request may lead to: failover and re-appraisal each make a new one.
    pub orders: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            attestation_ms: 20_000,
            first_byte_ms: 120_000,
            idle_ms: 60_000,
            order_life_ms: 120_000,
            keys_margin_ms: 300_000,
            refetches: 3,
            orders: 4,
        }
    }
}

/// One request, ready to be asked. Holds content: no `Debug`.
#[derive(Clone)]
pub struct Plan {
    /// Path of the inner request.
    pub path: String,
    /// Body of the inner request, JSON.
    pub body: Vec<u8>,
    /// Model, rates and price book.
    pub offer: Offer,
    /// The most it may use and cost.
    pub ceilings: Ceilings,
    /// Enclaves that serve the model, in the order they are tried.
    pub instances: Vec<InstanceId>,
    /// Who pays.
    pub payer: Payer,
    /// How sizes are hidden.
    pub padding: Padding,
    /// Patience.
    pub limits: Limits,
}

impl Plan {
    /// Digest of the model manifest that shall run.
    pub fn model(&self) -> Digest {
        self.offer.model()
    }
}
