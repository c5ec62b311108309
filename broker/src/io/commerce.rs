//! What a customer may ask about its money: invoices, why it was charged, and that a charge be
//! looked at. Read through a connection of their own: they look through a whole account.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use bulla_wire::http::PATH_DISPUTES;
use bulla_wire::ids::HoldId;
use bulla_wire::problem::Problem;
use bulla_wire::units::MicroUnits;
use data_encoding::BASE64;
use rand_core::Rng;
use serde::Deserialize;
use serde_json::json;

use super::clock::Entropy;
use super::driver::Refusal;
use super::idempotency::once;
use super::server::{Answer, Service, json as as_json};
use crate::account::Account;
use crate::dispute::{self, Exhibit, MAX_OPENING_BYTES, OpeningError};
use crate::invoice::{self, InvoiceError};
use crate::ledger::{AccountNumber, Command, Correction, Queries, Rejection, StoredHold};
use crate::why::{self, WhyError};

/// Largest dispute, in bytes: a file with an opening in base64, and some words.
pub(super) const MAX_DISPUTE_BYTES: usize = MAX_OPENING_BYTES / 3 * 4 + (16 << 10);

fn no_invoice(error: InvoiceError) -> Refusal {
    match error {
        InvoiceError::Unknown { .. } => Refusal::new(Problem::NotFound, error),
        error => Refusal::new(Problem::Internal, error),
    }
}

/// `GET /v1/invoices`.
pub(super) async fn invoices(State(service): State<Service>, headers: HeaderMap) -> Answer {
    let account = service.account(&headers).await?.number;
    let issuer = service.root_public_key().await?;
    let read = move |view: &dyn Queries| invoice::documents(view, account, &issuer);
    let documents = service.read(read).await?.map_err(no_invoice)?;
    let view = |document: &invoice::Document| {
        let invoice::Document { kind, number, unit, from, until, period, zone, total, .. } =
            document;
        json!({
            "kind": kind,
            "number": number,
            "unit": unit,
            "from": from,
            "until": until,
            "period": period,
            "zone": zone,
            "total": total,
        })
    };
    Ok(as_json(&json!({ "invoices": documents.iter().map(view).collect::<Vec<_>>() })))
}

/// `GET /v1/invoices/{number}`: the document, and the signed bytes it stands in.
pub(super) async fn invoice(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(number): Path<u64>,
) -> Answer {
    let account = service.account(&headers).await?;
    let issuer = service.root_public_key().await?;
    let read = move |view: &dyn Queries| invoice::find(view, number, &issuer);
    let (document, bytes) = service.read(read).await?.map_err(no_invoice)?;
    // Another account's invoice is as good as none.
    if AccountNumber(document.account) != account.number && !account.operator {
        return Err(no_invoice(InvoiceError::Unknown { number }));
    }
    Ok(as_json(&json!({ "document": document, "cose": BASE64.encode(&bytes) })))
}

/// `GET /v1/why/{id}`: a hold, a receipt's digest or a transfer's number.
pub(super) async fn why(
    State(service): State<Service>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Answer {
    let account = service.account(&headers).await?;
    let own = (!account.operator).then_some(account.number);
    let told = service.read(move |view: &dyn Queries| why::why(view, own, &id)).await?;
    let told = told.map_err(|error| match error {
        WhyError::Store(error) => Refusal::new(Problem::Internal, error),
        error @ WhyError::NotAnId { .. } => Refusal::new(Problem::BadRequest, error),
        error @ WhyError::Unknown { .. } => Refusal::new(Problem::NotFound, error),
    })?;
    Ok(as_json(&json!(told)))
}

/// What `POST /v1/disputes` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDispute {
    hold: HoldId,
    /// Micro-units; all that is left of the charge when left out.
    amount: Option<u64>,
    memo: String,
    /// The file `bulla receipts prove --open` writes, in base64.
    opening: Option<String>,
}

/// `POST /v1/disputes`: freezes a charge until it is decided. What is opened is judged first; what
/// does not fit the receipt freezes nothing.
pub(super) async fn dispute(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let account = service.account(&headers).await?;
    let named = once(&headers, "POST", PATH_DISPUTES, &body)?;
    let refused = |error: &dyn std::fmt::Display| Refusal::new(Problem::BadRequest, error);
    let asked: NewDispute = serde_json::from_slice(&body).map_err(|error| refused(&error))?;
    let opening = asked.opening.as_ref().map(|text| BASE64.decode(text.as_bytes()));
    let opening = opening.transpose().map_err(|error| refused(&error))?;
    let hold = asked.hold;
    let look = move |view: &dyn Queries| look(view, &account, &hold, opening.as_deref());
    let (held, exhibit) = service.read(look).await??;
    let left = || held.left_of_charge().map_err(|error| refused(&error));
    let amount = asked.amount.map(MicroUnits).map_or_else(left, Ok)?;
    let mut key = [0; 16];
    match &named {
        Some(once) => key.copy_from_slice(&once.key.0[..16]),
        None => Entropy::new().fill_bytes(&mut key),
    }
    let dispute = Command::Dispute(Correction { key, hold, amount, memo: asked.memo });
    let mut commands = vec![match named {
        Some(once) => once.wrap(held.account, dispute),
        None => dispute,
    }];
    commands.extend(exhibit.clone().map(Command::Exhibit));
    for result in service.execute(commands).await? {
        result.map_err(|rejection| match &rejection {
            Rejection::KeyConflict => Refusal::new(Problem::IdempotencyConflict, &rejection),
            Rejection::Dispute { .. } => Refusal::new(Problem::HoldConflict, &rejection),
            _ => Refusal::new(Problem::BadRequest, &rejection),
        })?;
    }
    let unit = held.unit.to_string();
    Ok(as_json(&json!({ "hold": hold, "disputed": amount, "unit": unit, "opened": exhibit })))
}

/// The hold, if it is the account's own, and what is shown of it.
fn look(
    view: &dyn Queries,
    account: &Account,
    hold: &HoldId,
    opening: Option<&[u8]>,
) -> Result<(StoredHold, Option<Exhibit>), Refusal> {
    let internal = |error| Refusal::new(Problem::Internal, error);
    let held = view.hold(hold).map_err(internal)?;
    let own = held.filter(|held| account.operator || held.account == account.number);
    let own = own.ok_or_else(|| {
        Refusal::new(Problem::NotFound, format!("nothing of this account has the id {hold}"))
    })?;
    let judged = opening.map(|file| dispute::judge(view, hold, file)).transpose();
    let exhibit = judged.map_err(|error| match error {
        OpeningError::Store(error) => internal(error),
        error => Refusal::new(Problem::BadRequest, error),
    })?;
    Ok((own, exhibit))
}
