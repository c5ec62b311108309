//! A client ready to work: configuration, keys, policy, and the way to the broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::CertificateError;
use bulla_attestation::policy::Policy;
use bulla_attestation::sign::{Signed, SigningKey};
use bulla_tlog::VerifierKey;
use bulla_wire::ids::{AccountHandle, InstanceId};
use bulla_wire::order::OrderKeyRegistration;
use rand_core::Rng;
use zeroize::Zeroizing;

use super::broker::{Broker, BrokerError};
use super::collateral::{BookError, Collateral};
use super::folder::{Folder, FolderError, read_limited};
use super::records::Records;
use super::rules::{self, RulesError};
use super::showings::Showings;
use super::system::{SystemRng, now};
use super::tls::ServerIdentity;
use super::transport::{Transport, TransportError};
use super::wallet::WalletFile;
use crate::catalogue::CatalogueError;
use crate::config::{AppraisalConfig, BrokerConfig, ClientConfig, ConfigError};
use crate::log::{LogRule, RuleError};
use crate::price::{self, PriceError};
use crate::request::{ChatRequest, RequestError};
pub use crate::request::{PATH_CHAT, PATH_EMBEDDINGS};
use crate::session::{Limits, Payer, Plan};

/// Largest certificate or authority file, in bytes.
const MAX_CERTIFICATES_BYTES: usize = 1 << 20;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is missing or wrong.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Witnesses that cannot be asked for.
    #[error(transparent)]
    Log(#[from] RuleError),
    /// The appraisal policy, or a file it names, does not hold.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A simulated root is no certificate.
    #[error("{}: {source}", .path.display())]
    Root {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: CertificateError,
    },
    /// The log's key is missing, or does not read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The broker's address cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Why a request cannot be ordered.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The request itself.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No price, or above the cap.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// No price book.
    #[error(transparent)]
    Book(BookError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Nobody serves the model.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl From<BookError> for PlanError {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Price(price) => PlanError::Price(price),
            other => PlanError::Book(other),
        }
    }
}

/// A relying party and payer.
pub struct Client {
    config: ClientConfig,
    folder: Folder,
    order_key: Arc<SigningKey>,
    payer: Payer,
    broker: Broker,
    log_key: Option<VerifierKey>,
    collateral: Collateral,
    records: Records,
    limits: Limits,
    wallet: WalletFile,
    is_anonymous: bool,
}

impl Client {
    /// The client of a data folder, configured by `config`, else by the folder's own file.
    pub fn open(folder: &Path, config: Option<&Path>) -> Result<Client, OpenError> {
        let (folder, config) = Client::parts(folder, config)?;
        Client::new(folder, config)
    }

    fn parts(folder: &Path, config: Option<&Path>) -> Result<(Folder, ClientConfig), OpenError> {
        let folder = Folder::open(folder)?;
        let path = config.map_or_else(|| folder.config_path(), Path::to_owned);
        let config = folder.config(&path)?;
        Ok((folder, config))
    }

    /// The same, that pays with blind tokens: it shows the broker no credential, signs each request
    /// with a key of its own, and names no prefix cache.
    pub fn open_anonymous(folder: &Path, config: Option<&Path>) -> Result<Client, OpenError> {
        let (folder, config) = Client::parts(folder, config)?;
        Client::of(folder, config, true)
    }

    /// A client from its parts. Makes the order key at first use.
    pub fn new(folder: Folder, config: ClientConfig) -> Result<Client, OpenError> {
        Client::of(folder, config, false)
    }

    fn of(folder: Folder, mut config: ClientConfig, anonymous: bool) -> Result<Client, OpenError> {
        let mut rng = SystemRng::new();
        config.privacy.prefix_cache &= !anonymous;
        let credential = match anonymous {
            true => None,
            false => Some(folder.credential()?),
        };
        let order_key = folder.order_key(&mut rng)?;
        let cache_secret = match config.privacy.prefix_cache {
            true => Some(folder.cache_secret(&mut rng)?),
            false => None,
        };
        let policy = policy(&config.appraisal.policy)?;
        let anchors = anchors(&config.appraisal)?;
        let log_key = config.broker.log()?;
        let log = LogRule::of(&config.log, log_key.clone(), &policy)?;
        let transport = transport(&config.broker, credential)?;
        let records = Records::at(folder.file("receipts.jsonl"));
        let mut collateral = Collateral::new(policy, anchors, config.broker.root_key).with_log(log);
        if config.appraisal.published_reference_values {
            let key = log_key.clone().ok_or(ConfigError::NoLogKey)?;
            collateral = collateral.with_published_manifests(key);
        }
        Ok(Client {
            payer: Payer::new(order_key.clone(), cache_secret),
            collateral,
            broker: Broker::new(transport),
            log_key,
            limits: Limits::default(),
            wallet: WalletFile::new(folder.clone()),
            is_anonymous: anonymous,
            config,
            folder,
            order_key,
            records,
        })
    }

    /// What it is told.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Its data folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The key of its log, where the configuration names one.
    pub fn log_key(&self) -> Option<&VerifierKey> {
        self.log_key.as_ref()
    }

    /// Appraisals, prices and the enclave list.
    pub fn collateral(&self) -> &Collateral {
        &self.collateral
    }

    /// Orders and receipts kept.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Its blind tokens.
    pub fn wallet(&self) -> &WalletFile {
        &self.wallet
    }

    /// Whether it pays with them.
    pub fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    /// Who pays for the next request: an anonymous one has a key of its own.
    fn next_payer(&self) -> Payer {
        match self.is_anonymous {
            true => Payer::new(Arc::new(SigningKey::generate(&mut SystemRng::new())), None),
            false => self.payer.clone(),
        }
    }

    /// The handle it pays under.
    pub fn account(&self) -> AccountHandle {
        self.payer.account()
    }

    /// A fresh claim on the order key.
    pub fn registration(&self) -> Signed<OrderKeyRegistration> {
        let (issued_at, order_key) = (now().seconds(), self.order_key.public());
        self.order_key.sign(OrderKeyRegistration { issued_at, order_key })
    }

    /// Registers the order key with the account, unless it is. True when it was new.
    pub async fn ensure_registered(&self) -> Result<bool, BrokerError> {
        if self.broker.account().await?.order_keys.contains(&self.account()) {
            return Ok(false);
        }
        self.broker.register(&self.registration()).await?;
        Ok(true)
    }

    /// Whether orders that stay without an answer have a witness to be brought to. One that is paid
    /// with blind tokens is signed with a key that is nobody's, and has no decision to wait for.
    pub fn shows_orders(&self) -> bool {
        !self.is_anonymous && !self.config.disputes.witnesses.is_empty()
    }

    /// Brings an order that stayed without an answer to every witness the configuration names.
    pub async fn show(&self, order: &[u8]) {
        let Some(log) = &self.log_key else { return };
        let witnesses = &self.config.disputes.witnesses;
        for (url, said) in Showings::of(&self.folder).show(witnesses, log, order).await {
            if let Err(error) = said {
                tracing::warn!(witness = url, %error, "an order could not be shown");
            }
        }
    }

    /// What asking `request` takes: price, ceilings, enclaves. Nothing is sealed or sent yet.
    pub async fn plan(&self, request: &ChatRequest) -> Result<Plan, PlanError> {
        let (config, cap) = (&self.config, self.config.cap());
        let book = self.collateral.price_book(&self.broker, &self.folder).await?;
        let name = request.model();
        let offer = price::choose(&book, name, config.pinned(name), &config.spending.unit, &cap)?;
        let catalogue = self.collateral.catalogue(&self.broker).await?;
        let (mut instances, context) = catalogue.serving(name, &offer.model())?;
        // Each request begins at another enclave, so that nobody's order of them becomes a queue.
        let start = SystemRng::new().next_u32() as usize % instances.len().max(1);
        instances.rotate_left(start);
        // One order has one price: the enclaves it may go to are of one class.
        let class = |instance: &InstanceId| catalogue.class(instance, &offer.model()).to_owned();
        let chosen = instances.first().map(class).unwrap_or_default();
        if book.variants.is_some() {
            instances.retain(|instance| class(instance) == chosen);
        }
        let payer = self.next_payer();
        let offer = offer.on(&book, &chosen, &payer.account(), &cap)?;
        let ceilings = price::ceilings(request, context, config.default_output(), &offer, &cap)?;
        Ok(Plan {
            path: request.path().to_owned(),
            body: request.body().to_vec(),
            offer,
            ceilings,
            instances,
            payer,
            padding: config.padding(),
            limits: self.limits.clone(),
        })
    }
}

/// Reads an appraisal policy.
pub fn policy(path: &Path) -> Result<Policy, OpenError> {
    Ok(rules::read(path)?)
}

/// The roots a configuration names.
pub fn anchors(config: &AppraisalConfig) -> Result<TrustAnchors, OpenError> {
    let mut anchors = match config.vendor_roots {
        true => TrustAnchors::vendors(),
        false => TrustAnchors::none(),
    };
    for path in &config.simulated_roots {
        let der = read_limited(path, MAX_CERTIFICATES_BYTES)?;
        let label = path.display().to_string();
        let anchor = TrustAnchor::simulated(&label, &der)
            .map_err(|source| OpenError::Root { path: path.clone(), source })?;
        anchors = anchors.with(anchor);
    }
    Ok(anchors)
}

/// How a configured broker is known.
pub fn identity(config: &BrokerConfig) -> Result<Option<ServerIdentity>, OpenError> {
    Ok(match (&config.spki_sha256, &config.ca_file) {
        (Some(key), _) => Some(ServerIdentity::Key(*key)),
        (None, Some(path)) => {
            Some(ServerIdentity::Authorities(read_limited(path, MAX_CERTIFICATES_BYTES)?))
        }
        (None, None) => None,
    })
}

/// The way to a configured broker.
pub fn transport(
    config: &BrokerConfig,
    credential: Option<Zeroizing<String>>,
) -> Result<Transport, OpenError> {
    Ok(Transport::new(&config.url, identity(config)?.as_ref(), credential)?)
}
