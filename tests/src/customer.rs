//! A customer and a broker's signing desk, as far as an enclave sees them.

use bulla_attestation::hash::account_handle;
use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::seal::{AnswerOpener, InnerRequest, Padding};
use bulla_attestation::sign::{Signed, SigningKey};
use bulla_wire::cbor::{self, Bytes};
use bulla_wire::grant::{Delegation, Grant};
use bulla_wire::http::HEADER_TERMS;
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::order::Order;
use bulla_wire::price::Rates;
use bulla_wire::terms::SealedTerms;
use bulla_wire::units::{TokenCount, Unit, UnixSeconds};
use data_encoding::BASE64URL_NOPAD;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// HK$2.12 in, HK$8.44 out per million tokens.
pub const RATES: Rates = Rates {
    input: 2_120_000,
    cached_input: 530_000,
    output: 8_440_000,
    reasoning: 8_440_000,
    per_request: 0,
};

/// Signs orders, and grants and delegations too: both sides of the desk, for tests of the enclave.
pub struct Customer {
    /// The order key.
    pub order_key: SigningKey,
    /// The broker's root key.
    pub root: SigningKey,
    /// The broker's grant key.
    pub grant_key: SigningKey,
    rng: ChaCha20Rng,
}

/// A request ready to be sent, with the one object that opens its answer.
pub struct Sent {
    /// The order, before it was signed: change a field and sign again.
    pub order: Order,
    /// The grant likewise.
    pub grant: Grant,
    /// The delegation likewise.
    pub delegation: Delegation,
    /// The sealed request.
    pub sealed: Vec<u8>,
    /// Opens the answer.
    pub opener: AnswerOpener,
    /// Key of the commitments.
    pub salt: Digest,
}

/// The sealed terms and the body, before sealing.
pub struct Inner {
    /// The terms.
    pub terms: SealedTerms,
    /// The request.
    pub request: InnerRequest,
}

impl Customer {
    /// A customer whose every key and number follows from `seed`.
    pub fn new(seed: u64) -> Customer {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Customer {
            order_key: SigningKey::generate(&mut rng),
            root: SigningKey::generate(&mut rng),
            grant_key: SigningKey::generate(&mut rng),
            rng,
        }
    }

    /// The broker's root lets its grant key speak for a minute.
    pub fn delegation(&self, now: UnixSeconds) -> Signed<Delegation> {
        self.root.sign(Delegation {
            not_after: UnixSeconds(now.0 + 60),
            issued_at: now,
            grant_key: self.grant_key.public(),
        })
    }

    /// A chat request body.
    pub fn chat(model: &str, text: &str, stream: bool) -> Vec<u8> {
        serde_json::json!({
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "stream": stream,
            "temperature": 0,
        })
        .to_string()
        .into_bytes()
    }

    /// Terms and request around a body.
    pub fn inner(&mut self, model: Digest, body: Vec<u8>) -> Inner {
        let mut hold = [0u8; 16];
        self.rng.fill_bytes(&mut hold);
        let mut nonce = vec![0u8; 16];
        self.rng.fill_bytes(&mut nonce);
        let mut salt = [0u8; 32];
        self.rng.fill_bytes(&mut salt);
        Inner {
            terms: SealedTerms {
                hold: HoldId(hold),
                model,
                account: account_handle(&self.order_key.public()),
                nonce: Bytes(nonce),
                salt: Digest(salt),
                cache_secret: None,
            },
            request: InnerRequest {
                method: "POST".into(),
                path: "/v1/chat/completions".into(),
                headers: vec![("content-type".into(), "application/json".into())],
                body,
            },
        }
    }

    /// Seals and orders.
    pub fn send(&mut self, keys: &AttestedKeys, inner: Inner, now: UnixSeconds) -> Sent {
        let Inner { terms, mut request } = inner;
        let header = BASE64URL_NOPAD.encode(&cbor::to_vec(&terms));
        request.headers.push((HEADER_TERMS.to_owned(), header));
        let (sealed, opener) =
            keys.seal(&request, Padding::default(), &mut self.rng).expect("attested keys seal");
        let (input, output) = (TokenCount(1000), TokenCount(200));
        let order = Order {
            not_after: UnixSeconds(now.0 + 60),
            issued_at: now,
            hold: terms.hold,
            order_key: self.order_key.public(),
            sealed_request: sealed.digest(),
            keyset: keys.keyset_digest(),
            model: terms.model,
            ceiling_input_tokens: input,
            ceiling_output_tokens: output,
            unit: "HKD".parse::<Unit>().expect("a unit"),
            rates: RATES,
            price_book: Digest([7; 32]),
            max_charge: RATES.most(input, output).expect("small numbers"),
        };
        let signed = self.order_key.sign(order.clone());
        let grant = Grant {
            issued_at: now,
            keyset: keys.keyset_digest(),
            order: signed.digest(),
            admit_by: UnixSeconds(now.0 + 30),
            run_until: UnixSeconds(now.0 + 300),
            settle_by: UnixSeconds(now.0 + 600),
        };
        let delegation = Delegation {
            not_after: UnixSeconds(now.0 + 3600),
            issued_at: now,
            grant_key: self.grant_key.public(),
        };
        let sealed = sealed.bytes().to_vec();
        Sent { order, grant, delegation, sealed, opener, salt: terms.salt }
    }

    /// The order, signed.
    pub fn signed_order(&self, sent: &Sent) -> Signed<Order> {
        self.order_key.sign(sent.order.clone())
    }
}
