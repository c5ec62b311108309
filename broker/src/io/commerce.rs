//! What a customer may ask about its money: invoices, and why it was charged. Read through a
//! connection of their own: they look through a whole account.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use bulla_wire::problem::Problem;
use data_encoding::BASE64;
use serde_json::json;

use super::driver::Refusal;
use super::server::{Answer, Service, json as as_json};
use crate::invoice::{self, InvoiceError};
use crate::ledger::{AccountNumber, Queries};
use crate::why::{self, WhyError};

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
