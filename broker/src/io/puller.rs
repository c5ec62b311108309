//! The puller: what the broker asks of enclaves by itself. Each errand ends in one event.

use std::sync::Arc;

use bulla_wire::ids::InstanceId;

use super::enclave::{EnclaveError, Enclaves};
use crate::broker::Event;

/// Runs errands to enclaves.
#[derive(Clone)]
pub struct Puller {
    enclaves: Arc<Enclaves>,
}

impl Puller {
    /// Over these links.
    pub fn new(enclaves: Arc<Enclaves>) -> Puller {
        Puller { enclaves }
    }

    /// Fetches and appraises evidence.
    pub async fn appraise(self, instance: InstanceId) -> Event {
        match self.enclaves.appraise(&instance).await {
            Ok(appraised) => Event::EnclaveAppraised(Box::new(appraised)),
            Err(error) => failed(instance, "appraise", &error),
        }
    }

    /// Asks for the epoch-open record.
    pub async fn open_epoch(
        self,
        instance: InstanceId,
        offer: Vec<u8>,
        delegation: Vec<u8>,
    ) -> Event {
        match self.enclaves.open_epoch(&instance, offer, &delegation).await {
            Ok(record) => Event::EpochOpened { instance, record: record.to_vec() },
            Err(error) => failed(instance, "open epoch", &error),
        }
    }

    /// Fetches the outbox.
    pub async fn pull(self, instance: InstanceId, pull: Vec<u8>, delegation: Vec<u8>) -> Event {
        match self.enclaves.pull(&instance, pull, &delegation).await {
            Ok(pulled) => Event::Pulled { instance, records: pulled.records },
            Err(error) => failed(instance, "pull", &error),
        }
    }
}

fn failed(instance: InstanceId, errand: &'static str, error: &EnclaveError) -> Event {
    let refused = error.is_refusal();
    tracing::warn!(%instance, errand, %error, refused, "enclave");
    Event::EnclaveFailed { instance, refused }
}
