//! Problems one role tells another. Closed list; anything wrong with a sealed body is one coarse
//! problem, so that an attacker learns nothing by trying.

use serde::{Deserialize, Serialize};

use crate::ids::TokenInput;

/// A problem, with the HTTP status that goes with it. Sent as the OpenAI-shaped error object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// No credential, an unknown, expired or revoked one.
    Unauthorized,
    /// The account may not do this.
    Forbidden,
    /// No such model, instance, hold or receipt.
    NotFound,
    /// The order is malformed, expired, its signature fails, or it contradicts the account.
    InvalidOrder,
    /// The grant or its delegation is malformed, expired, or not for this enclave.
    InvalidGrant,
    /// The order names a price book or rates that are not in force.
    StalePrices,
    /// The order names a keyset that is not served any more: appraise again.
    StaleKeyset,
    /// No package covers the maximum charge.
    InsufficientBalance,
    /// The hold id was used before with other parameters.
    HoldConflict,
    /// The order was admitted before.
    Replayed,
    /// Larger than the limit.
    TooLarge,
    /// The sealed request cannot be served. One answer for every cause.
    SealedRequestRefused,
    /// The enclave's queue, outbox or replay set is full, or its epoch is not open: try later or
    /// elsewhere.
    Busy,
    /// A limit of the account, its project or its credential is reached: try again later.
    RateLimited,
    /// The idempotency key was used before with another request.
    IdempotencyConflict,
    /// No enclave serves this now.
    Unavailable,
    /// A malformed request outside the envelope.
    BadRequest,
    /// A fault on the server's side.
    Internal,
}

impl Problem {
    /// HTTP status code.
    pub fn status(self) -> u16 {
        match self {
            Problem::BadRequest | Problem::InvalidOrder | Problem::InvalidGrant => 400,
            Problem::Unauthorized => 401,
            Problem::InsufficientBalance => 402,
            Problem::Forbidden => 403,
            Problem::NotFound => 404,
            Problem::HoldConflict | Problem::Replayed => 409,
            Problem::StaleKeyset | Problem::StalePrices => 412,
            Problem::TooLarge => 413,
            Problem::SealedRequestRefused | Problem::IdempotencyConflict => 422,
            Problem::RateLimited => 429,
            Problem::Internal => 500,
            Problem::Busy | Problem::Unavailable => 503,
        }
    }

    /// Stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Problem::Unauthorized => "unauthorized",
            Problem::Forbidden => "forbidden",
            Problem::NotFound => "not_found",
            Problem::InvalidOrder => "invalid_order",
            Problem::InvalidGrant => "invalid_grant",
            Problem::StalePrices => "stale_prices",
            Problem::StaleKeyset => "stale_keyset",
            Problem::InsufficientBalance => "insufficient_balance",
            Problem::HoldConflict => "hold_conflict",
            Problem::Replayed => "replayed",
            Problem::TooLarge => "too_large",
            Problem::SealedRequestRefused => "sealed_request_refused",
            Problem::Busy => "busy",
            Problem::RateLimited => "rate_limited",
            Problem::IdempotencyConflict => "idempotency_conflict",
            Problem::Unavailable => "unavailable",
            Problem::BadRequest => "bad_request",
            Problem::Internal => "internal",
        }
    }

    /// OpenAI's `type` for this problem.
    pub fn openai_type(self) -> &'static str {
        match self {
            Problem::Unauthorized => "authentication_error",
            Problem::Forbidden => "permission_error",
            Problem::InsufficientBalance => "insufficient_quota",
            Problem::RateLimited => "rate_limit_error",
            Problem::Busy | Problem::Unavailable | Problem::Internal => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The error object every endpoint answers with.
    pub fn body(self, message: &str) -> ErrorBody {
        ErrorBody {
            error: ErrorObject {
                message: message.to_owned(),
                kind: self.openai_type().to_owned(),
                code: Some(self.code().to_owned()),
                param: None,
            },
        }
    }
}

/// `{"error": {...}}` as OpenAI's API writes it (and aci/1 §10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

/// The inner object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// For people.
    pub message: String,
    /// OpenAI's class of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// For programs: [`Problem::code`], or OpenAI's own.
    pub code: Option<String>,
    /// The parameter at fault, where there is one. For blind tokens that were spent before, their
    /// inputs as [`spent_tokens`](Self::spent_tokens) reads them.
    pub param: Option<String>,
}

impl ErrorObject {
    /// The problem this error states, if it is one of ours.
    pub fn problem(&self) -> Option<Problem> {
        let code = self.code.as_deref()?;
        serde_json::from_value(serde_json::Value::String(code.to_owned())).ok()
    }

    /// The error about blind tokens that were spent before: names them, separated by commas.
    pub fn about_spent(self, tokens: &[TokenInput]) -> ErrorObject {
        let named: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        ErrorObject { param: (!named.is_empty()).then(|| named.join(",")), ..self }
    }

    /// The blind tokens this error says were spent before; none where it is about anything else.
    pub fn spent_tokens(&self) -> Vec<TokenInput> {
        let named = self.param.as_deref().filter(|_| self.problem() == Some(Problem::Replayed));
        named.map_or_else(Vec::new, |named| {
            named.split(',').filter_map(|token| token.parse().ok()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_its_error_object() {
        for problem in [Problem::Busy, Problem::InsufficientBalance, Problem::SealedRequestRefused]
        {
            let body = problem.body("why");
            let json = serde_json::to_string(&body).unwrap();
            let back: ErrorBody = serde_json::from_str(&json).unwrap();
            assert_eq!(back.error.problem(), Some(problem));
        }
    }

    #[test]
    fn an_error_names_the_tokens_that_were_spent() {
        let tokens = [TokenInput([1; 32]), TokenInput([2; 32])];
        for named in [&tokens[..0], &tokens[..1], &tokens] {
            let error = Problem::Replayed.body("why").error.about_spent(named);
            let json = serde_json::to_string(&error).unwrap();
            let back: ErrorObject = serde_json::from_str(&json).unwrap();
            assert_eq!(back.spent_tokens(), named);
        }
        let of_another_kind = Problem::HoldConflict.body("why").error.about_spent(&tokens);
        assert_eq!(of_another_kind.spent_tokens(), []);
        let garbled = Some(format!("{},none", tokens[0]));
        let garbled = ErrorObject { param: garbled, ..Problem::Replayed.body("why").error };
        assert_eq!(garbled.spent_tokens(), tokens[..1]);
    }
}
