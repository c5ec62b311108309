//! The audit bundle as a stream: a connection of its own, one snapshot, pieces of bounded size.

use std::sync::Arc;

use bulla_tlog::SignedCheckpoint;
use bulla_wire::cbor;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::clock;
use super::relay::Piece;
use super::store::Place;
use crate::audit::{ExportError, Scope, Seal, export_under};
use crate::keys::LogSigner;
use crate::ledger::{AccountNumber, Queries, StoreError};

/// Size of the pieces a bundle is sent in, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for a slow reader.
const MAX_WAITING_PIECES: usize = 4;

/// Makes audit bundles.
#[derive(Clone)]
pub struct Exporter {
    ledger: Place,
    signer: Arc<LogSigner>,
}

impl Exporter {
    /// Of the ledger there, signed with the log's key.
    pub fn new(ledger: Place, signer: Arc<LogSigner>) -> Exporter {
        Exporter { ledger, signer }
    }

    /// Asks the ledger something through a connection of its own, in one snapshot.
    pub fn ask<T>(&self, question: impl FnOnce(&dyn Queries) -> T) -> Result<T, StoreError> {
        let store = self.ledger.open_reader()?;
        let (mut question, mut answer) = (Some(question), None);
        store.snapshot(&mut |view| {
            answer = question.take().map(|question| question(view));
            Ok(())
        })?;
        answer.ok_or(StoreError::Stopped)
    }

    /// Starts a bundle; under `head`, where witnesses cosign what is published.
    pub fn start(
        &self,
        head: Option<SignedCheckpoint>,
        full: bool,
        account: AccountNumber,
        permit: OwnedSemaphorePermit,
    ) -> mpsc::Receiver<Piece> {
        let (pieces, answer) = mpsc::channel(MAX_WAITING_PIECES);
        let (exporter, scope) = (
            self.clone(),
            match full {
                true => Scope::Full,
                false => Scope::Account(account),
            },
        );
        tokio::task::spawn_blocking(move || {
            if let Err(error) = exporter.write(head.as_ref(), scope, &pieces)
                && error != ExportError::ReaderGone
            {
                tracing::error!(%error, "audit bundle");
                let _ = pieces.blocking_send(Err(error.into()));
            }
            drop(permit);
        });
        answer
    }

    fn write(
        &self,
        head: Option<&SignedCheckpoint>,
        scope: Scope,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<(), ExportError> {
        let seal = head.map_or(Seal::Sign(&self.signer), Seal::Published);
        let store = self.ledger.open_reader()?;
        let mut buffer = Vec::with_capacity(PIECE_BYTES * 2);
        let send = |bytes: Vec<u8>| {
            pieces.blocking_send(Ok(Bytes::from(bytes))).map_err(|_| ExportError::ReaderGone)
        };
        let now = clock::now().seconds();
        let mut exported = Ok(());
        store.snapshot(&mut |view| {
            exported = export_under(view, seal, scope, now, &mut |item| {
                buffer.extend(cbor::to_vec(item));
                match buffer.len() < PIECE_BYTES {
                    true => Ok(()),
                    false => send(std::mem::take(&mut buffer)),
                }
            });
            Ok(())
        })?;
        exported?;
        send(buffer)
    }
}
