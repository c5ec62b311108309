//! Who asks: a session's cookie, an API token, or an account's credential (which may look, and
//! change nothing).

use axum::http::{HeaderMap, header};
use bulla_wire::ids::Digest;

use super::{Desk, Settings};
use crate::account::authenticate;
use crate::api::query::ApiError;
use crate::io::store::annex::people;
use crate::people::session::{Secret, TOKEN_PREFIX};
use crate::people::{Principal, Right, Role, cookie};

/// Somebody who proved who they are.
pub struct Visitor {
    /// Who it is.
    pub who: Principal,
    /// The session, for visitors with a browser.
    pub session: Option<Secret>,
}

impl Visitor {
    /// Refuses what this role may not do.
    pub fn must(&self, right: Right) -> Result<(), ApiError> {
        match self.who.role.has(right) {
            true => Ok(()),
            false => {
                Err(ApiError::Forbidden(format!("the role {} may not do this", self.who.role)))
            }
        }
    }
}

/// The name of the session's cookie.
pub fn cookie_name(settings: &Settings) -> &'static str {
    if settings.secure { "__Host-bulla_session" } else { "bulla_session" }
}

/// A header that is text and comes once.
pub fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return None;
    }
    first.to_str().ok()
}

/// A cookie's value.
pub fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    cookie::value(header_text(headers, header::COOKIE)?, name)
}

/// Who sent this request; `None` for strangers, an error for those whose proof does not hold.
pub async fn find(
    desk: &Desk,
    settings: &Settings,
    headers: &HeaderMap,
) -> Result<Option<Visitor>, ApiError> {
    if let Some(text) = header_text(headers, header::AUTHORIZATION) {
        let text = text.strip_prefix("Bearer ").map(str::trim).unwrap_or_default();
        return by_token(desk, text.to_owned()).await.map(Some);
    }
    let Some(secret) = cookie_value(headers, cookie_name(settings)).and_then(Secret::parse_session)
    else {
        return Ok(None);
    };
    let (digest, now) = (secret.session_digest(), desk.now());
    let found = desk
        .aside(move |annex| {
            let found = people::session(annex, &digest)?;
            let found =
                found.filter(|(session, user)| session.is_live(now) && user.disabled_at.is_none());
            if found.as_ref().is_some_and(|(session, _)| session.wants_touch(now)) {
                people::touch_session(annex, &digest, now)?;
            }
            Ok(found)
        })
        .await?;
    Ok(found.map(|(_, user)| Visitor {
        who: Principal { name: user.name, role: user.role, account: user.account },
        session: Some(secret),
    }))
}

async fn by_token(desk: &Desk, text: String) -> Result<Visitor, ApiError> {
    let now = desk.now();
    let refused = |message: &str| ApiError::Unauthorized(message.to_owned());
    if !text.starts_with(TOKEN_PREFIX) {
        let account = desk.read(move |view| Ok(authenticate(view, Some(&text), now))).await?;
        let account = account.map_err(|error| refused(&error.to_string()))?;
        let role = match account.operator {
            true => Role::OperatorViewer,
            false => Role::CustomerViewer,
        };
        let number = (!account.operator).then_some(account.number);
        let who = Principal { name: account.name, role, account: number };
        return Ok(Visitor { who, session: None });
    }
    let digest: Digest = Secret::parse_token(&text)
        .map(|secret| secret.token_digest())
        .ok_or_else(|| refused("malformed API token"))?;
    let token = desk.aside(move |annex| people::find_token(annex, &digest)).await?;
    let token = token.filter(|token| token.is_live(now));
    let token = token.ok_or_else(|| refused("unknown, expired or revoked API token"))?;
    let who = Principal { name: token.label, role: token.role, account: token.account };
    Ok(Visitor { who, session: None })
}
