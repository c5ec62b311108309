//! The HTTP API: finds the operation in the table, checks the right, has it done.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};

use super::deeds::{Order, perform};
use super::reply::problem;
use super::visitor::{self, header_text};
use super::{Desk, Settings};
use crate::api::body::MAX_BODY_BYTES;
use crate::api::query::{ApiError, Parameters, bad};
use crate::api::route::{Method, ROUTES, Route};
use crate::ledger::AccountNumber;

/// Whether a path is the API's.
pub fn is_api(path: &str) -> bool {
    path.starts_with("/admin/v1/") || path.starts_with("/account/v1/") || path == "/metrics"
}

/// Answers an API request.
pub async fn answer(desk: &Arc<Desk>, settings: &Settings, request: Request<Body>) -> Response {
    match try_answer(desk, settings, request).await {
        Ok(response) => response,
        Err(error) => problem(&error),
    }
}

fn method(method: &axum::http::Method) -> Option<Method> {
    match *method {
        axum::http::Method::GET | axum::http::Method::HEAD => Some(Method::Get),
        axum::http::Method::POST => Some(Method::Post),
        axum::http::Method::DELETE => Some(Method::Delete),
        _ => None,
    }
}

async fn try_answer(
    desk: &Arc<Desk>,
    settings: &Settings,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let wanted = method(request.method());
    let mut routes = ROUTES.iter().filter(|route| Some(route.method) == wanted);
    let found = routes.find_map(|route| Some((route, route.takes(&path)?)));
    let Some((route, in_path)) = found else {
        return Err(ApiError::NotFound(format!("no such operation: see {}", "/openapi.json")));
    };
    let visitor = visitor::find(desk, settings, request.headers()).await?;
    let stranger =
        || ApiError::Unauthorized("send an API token: Authorization: Bearer bulla_api_…".into());
    let visitor = visitor.ok_or_else(stranger)?;
    visitor.must(route.needs)?;
    if route.method != Method::Get && visitor.session.is_some() {
        // A browser's session changes things by the pages' forms, which carry a token of their own.
        let message = "changes over the API need an API token: a session is for the pages";
        return Err(ApiError::Forbidden(message.to_owned()));
    }
    let parameters = parameters(route, &in_path, request.uri().query())?;
    let scope = match parameters.parsed::<u64>("account")? {
        Some(number) => Some(AccountNumber(number)),
        None => visitor.who.account,
    };
    let content_type = header_text(request.headers(), header::CONTENT_TYPE).map(str::to_owned);
    let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await;
    let body = body.map_err(|_| bad(format!("the body has more than {MAX_BODY_BYTES} bytes")))?;
    let is_json =
        content_type.is_some_and(|kind| kind.split(';').next() == Some("application/json"));
    if route.body.is_some() && !is_json {
        return Err(bad("the body must be application/json"));
    }
    let order = Order { deed: route.deed, scope, zone: settings.zone.clone() };
    Ok(perform(desk, &visitor.who, &order, &parameters, &body).await?.into_response())
}

/// Path and query together; what the table does not name is refused, so that a misspelt filter is
/// not taken for none.
fn parameters(
    route: &Route,
    in_path: &[(&'static str, &str)],
    query: Option<&str>,
) -> Result<Parameters, ApiError> {
    let mut parameters = Parameters::parse(query.unwrap_or_default())?;
    for name in parameters.names() {
        if !route.query.iter().any(|known| known.name == name) {
            let name: String = name.chars().take(40).collect();
            return Err(bad(format!("unknown parameter {name:?}")));
        }
    }
    for (name, value) in in_path {
        let value = crate::api::query::decode(value)?;
        parameters.set((*name).to_owned(), value)?;
    }
    Ok(parameters)
}
