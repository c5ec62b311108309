//! The people of the made-up story that the rows measure: an enclave on a simulated machine, a
//! customer and a broker. Keys are made anew for each run; the messages are the real ones.

use std::path::Path;

use anyhow::Context;
use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::hash::{account_handle, sha256};
use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::policy::Policy;
use bulla_attestation::seal::{Aead, Kem, SealingKey};
use bulla_attestation::sign::{Signed, SigningKey};
use bulla_client::io::system::SystemRng;
use bulla_enclave::identity::{EpochKeys, Identity, IdentityFacts};
use bulla_enclave::io::attester::{Attester, SimulatedTee};
use bulla_wire::evidence::{AttestationReport, TEE_SEV_SNP};
use bulla_wire::grant::{Delegation, Grant};
use bulla_wire::ids::{Digest, HoldId, InstanceId, ReceiptId};
use bulla_wire::order::Order;
use bulla_wire::price::{Rates, TokenUsage};
use bulla_wire::receipt::{OrderMode, Outcome, RECEIPT_PROFILE, SecurityMode, UsageReceipt};
use bulla_wire::statement::Nonce;
use bulla_wire::units::{TokenCount, Unit, UnixSeconds};

/// Takes a simulated TEE whose root is named.
const DEVELOPMENT_POLICY: &str = include_str!("../../../../policies/appraisal/development.toml");
/// Life of keyset and delegation, in seconds.
const EPOCH_SECONDS: u64 = 24 * 3600;

/// Where and when it plays.
pub struct Scene {
    /// Signs the evidence.
    pub attester: Box<dyn Attester>,
    /// Name the attester's root.
    pub anchors: TrustAnchors,
    /// What evidence must look like.
    pub policy: Policy,
    /// The instant of everything.
    pub now: UnixSeconds,
}

impl Scene {
    /// On the simulated TEE kept in `folder`; made there, which takes seconds, if there is none.
    pub fn open(folder: &Path, now: UnixSeconds) -> anyhow::Result<Scene> {
        let tee = SimulatedTee::open(folder, now, &mut SystemRng::new())?;
        let root = tee.root_certificate().to_vec();
        Scene::on(Box::new(tee), &root, now)
    }

    /// On a given machine.
    pub fn on(attester: Box<dyn Attester>, root: &[u8], now: UnixSeconds) -> anyhow::Result<Scene> {
        let anchor = TrustAnchor::simulated("simulated TEE", root)?;
        let policy = Policy::from_toml(DEVELOPMENT_POLICY)?;
        Ok(Scene { attester, anchors: TrustAnchors::none().with(anchor), policy, now })
    }

    /// Boots an enclave and appraises it.
    pub fn boot(&self, kem: Kem) -> anyhow::Result<Epoch> {
        let mut rng = SystemRng::new();
        let keys = EpochKeys {
            receipt: SigningKey::generate(&mut rng),
            sealing: SealingKey::generate(1, kem, Aead::Aes128Gcm, &mut rng),
        };
        let identity = Identity::new(
            &keys,
            IdentityFacts {
                instance: instance()?,
                chip_id: self.attester.chip_id().to_owned(),
                tls_spki: sha256(b"no TLS here"),
                not_after: UnixSeconds(self.now.0 + EPOCH_SECONDS),
                security: SecurityMode::Simulated,
                tee_type: TEE_SEV_SNP,
            },
        );
        let report = self.report(&identity, Some([7; 32]))?;
        let freshness = Freshness::Nonce([7; 32]);
        let attested = appraise(&report, &self.anchors, &self.policy, freshness, self.now)
            .into_keys()
            .map_err(|refused| anyhow::anyhow!("the bench's own enclave: {refused}"))?;
        Ok(Epoch { keys, identity, attested })
    }

    /// The attestation report of an enclave.
    pub fn report(
        &self,
        identity: &Identity,
        nonce: Option<Nonce>,
    ) -> anyhow::Result<AttestationReport> {
        Ok(identity.report(nonce, self.attester.report(&identity.report_data(nonce))?))
    }
}

/// A booted enclave.
pub struct Epoch {
    /// Its private keys.
    pub keys: EpochKeys,
    /// Its public side.
    pub identity: Identity,
    /// The same, appraised.
    pub attested: AttestedKeys,
}

/// A customer's and a broker's keys, and what they sign.
pub struct Desk {
    /// Signs orders.
    pub order_key: SigningKey,
    /// Signs delegations and price books.
    pub root: SigningKey,
    /// Signs grants.
    pub grant_key: SigningKey,
    /// When everything is signed.
    pub now: UnixSeconds,
    /// The price book that orders name.
    pub price_book: Digest,
}

impl Desk {
    /// Fresh keys.
    pub fn new(now: UnixSeconds) -> Desk {
        let mut rng = SystemRng::new();
        Desk {
            order_key: SigningKey::generate(&mut rng),
            root: SigningKey::generate(&mut rng),
            grant_key: SigningKey::generate(&mut rng),
            now,
            price_book: sha256(b"price book"),
        }
    }

    /// The broker's root lets the grant key speak.
    pub fn delegation(&self) -> Signed<Delegation> {
        self.root.sign(Delegation {
            not_after: UnixSeconds(self.now.0 + EPOCH_SECONDS),
            issued_at: self.now,
            grant_key: self.grant_key.public(),
        })
    }

    /// Order number `n`, over a sealed request.
    pub fn order(&self, n: u64, keyset: Digest, sealed: Digest) -> anyhow::Result<Signed<Order>> {
        let (input, output) = (TokenCount(1000), TokenCount(256));
        Ok(self.order_key.sign(Order {
            not_after: UnixSeconds(self.now.0 + 60),
            issued_at: self.now,
            hold: HoldId(numbered(n)),
            order_key: self.order_key.public(),
            sealed_request: sealed,
            keyset,
            model: model(),
            ceiling_input_tokens: input,
            ceiling_output_tokens: output,
            unit: Unit::tokens(),
            rates: RATES,
            price_book: self.price_book,
            max_charge: RATES.most(input, output).context("rates of the bench")?,
        }))
    }

    /// The grant over an order.
    pub fn grant(&self, order: &Signed<Order>) -> Signed<Grant> {
        self.grant_key.sign(Grant {
            issued_at: self.now,
            keyset: order.keyset,
            order: order.digest(),
            admit_by: UnixSeconds(self.now.0 + 30),
            run_until: UnixSeconds(self.now.0 + 300),
            settle_by: UnixSeconds(self.now.0 + 600),
        })
    }

    /// What the enclave will sign about an order: place `seq` of its epoch, after `prev`.
    pub fn receipt(
        &self,
        order: &Signed<Order>,
        epoch: &Epoch,
        seq: u64,
        prev: Digest,
    ) -> anyhow::Result<UsageReceipt> {
        let usage = TokenUsage {
            input: TokenCount(180),
            cached_input: TokenCount(0),
            output: TokenCount(90),
            reasoning: TokenCount(0),
        };
        Ok(UsageReceipt {
            issuer: instance()?,
            issued_at: self.now,
            id: ReceiptId(numbered(seq)),
            nonce: sha256(&seq.to_be_bytes()),
            profile: RECEIPT_PROFILE.to_owned(),
            hold: order.hold,
            keyset: order.keyset,
            model: order.model,
            unit: order.unit.clone(),
            rates: order.rates,
            price_book: order.price_book,
            order: order.digest(),
            epoch: epoch.identity.epoch,
            seq,
            prev,
            account: account_handle(&order.order_key),
            accelerator: "cpu:x86_64".to_owned(),
            device_time_ms: 12,
            charge: order.rates.charge(&usage).context("rates of the bench")?,
            usage,
            outcome: Outcome::Complete,
            generated_tokens: usage.output,
            sent_tokens: usage.output,
            commit_request: Some(sha256(b"request")),
            commit_response: Some(sha256(b"response")),
            configuration: configuration(),
            security: SecurityMode::Simulated,
            mode: OrderMode::Ordered,
            interim: None,
            kernel_path: None,
        })
    }
}

/// One micro-unit per token and a little more for output.
pub const RATES: Rates = Rates {
    input: 1_000_000,
    cached_input: 500_000,
    output: 2_000_000,
    reasoning: 2_000_000,
    per_request: 0,
};

/// The enclave's name.
pub fn instance() -> anyhow::Result<InstanceId> {
    "bench-1".parse().context("name of the bench's enclave")
}

/// The model that is said to run.
pub fn model() -> Digest {
    sha256(b"model manifest")
}

/// The configuration that is said to be measured.
pub fn configuration() -> Digest {
    sha256(b"configuration")
}

fn numbered(n: u64) -> [u8; 16] {
    let mut id = [0xbe; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    id
}
