//! The door: who may come in at this moment. The rules are [`crate::limit`] and
//! [`crate::reservation`]; here they are shared between requests, and given back when one ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulla_wire::problem::Problem;
use bulla_wire::units::UnixMillis;

use super::driver::Refusal;
use crate::ledger::AccountNumber;
use crate::limit::{Holder, LimitError, Limiter, Limits, Standings};
use crate::reservation::{Capacity, Seat};

/// What a request asks to come in with.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose it is.
    pub account: AccountNumber,
    /// Requests at once the account has booked.
    pub slots: u32,
    /// The limits that apply.
    pub limits: Vec<(Holder, Limits)>,
    /// Tokens by the ceilings of its order.
    pub tokens: u64,
}

struct State {
    limiter: Limiter,
    capacity: Capacity,
}

/// The door.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<State>>);

impl Gate {
    /// Room for so many requests at once.
    pub fn new(concurrent_requests: usize) -> Gate {
        let (limiter, capacity) = (Limiter::default(), Capacity::new(concurrent_requests));
        Gate(Arc::new(Mutex::new(State { limiter, capacity })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counting cannot be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a request, or says why not.
    pub fn admit(&self, request: Request, now: UnixMillis) -> Result<Ticket, Refusal> {
        let Request { account, slots, limits, tokens } = request;
        let mut state = self.lock();
        let full = || Refusal::new(Problem::Busy, "too many requests at once: try again later");
        let seat = state.capacity.admit(account, slots).ok_or_else(full)?;
        let standings = match state.limiter.admit(&limits, tokens, now) {
            Ok(standings) => standings,
            Err(error) => {
                state.capacity.leave(seat);
                return Err(limited(&error));
            }
        };
        drop(state);
        let used = AtomicU64::new(tokens);
        Ok(Ticket { gate: self.clone(), seat, limits, tokens, used, standings })
    }

    /// Requests inside.
    pub fn running(&self) -> usize {
        self.lock().capacity.running()
    }
}

fn limited(error: &LimitError) -> Refusal {
    let mut refusal = Refusal::new(Problem::RateLimited, error);
    refusal.retry_seconds = error.retry_seconds();
    refusal.standings = Box::new(error.standings());
    refusal
}

/// An admitted request. What it holds is given back when it is dropped.
pub struct Ticket {
    gate: Gate,
    seat: Seat,
    limits: Vec<(Holder, Limits)>,
    tokens: u64,
    used: AtomicU64,
    standings: Standings,
}

impl Ticket {
    /// What its answer says of limits.
    pub fn standings(&self) -> Standings {
        self.standings
    }

    /// So many tokens were used, by its receipt; the rest of its ceilings is given back.
    pub fn used(&self, tokens: u64) {
        self.used.store(tokens.min(self.tokens), Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let unused = self.tokens.saturating_sub(self.used.load(Ordering::Relaxed));
        let mut state = self.gate.lock();
        state.limiter.end(&self.limits, unused);
        state.capacity.leave(self.seat);
    }
}

/// The headers that tell of limits: `x-ratelimit-…` as OpenAI's API sends them, and the IETF draft's
/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
pub fn headers(standings: &Standings) -> Vec<(&'static str, String)> {
    let kinds = [
        (
            "requests",
            standings.requests,
            [
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ],
        ),
        (
            "tokens",
            standings.tokens,
            [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ],
        ),
    ];
    let (mut headers, mut left, mut policy) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, standing, [limit, remaining, reset]) in kinds {
        let Some(standing) = standing else { continue };
        headers.push((limit, standing.limit.to_string()));
        headers.push((remaining, standing.remaining.to_string()));
        headers.push((reset, format!("{}ms", standing.reset_ms)));
        let seconds = crate::limit::seconds(standing.reset_ms);
        left.push(format!("\"{kind}\";r={};t={seconds}", standing.remaining));
        policy.push(format!("\"{kind}\";q={};w=60", standing.limit));
    }
    if !left.is_empty() {
        headers.push(("ratelimit", left.join(", ")));
        headers.push(("ratelimit-policy", policy.join(", ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::holder;
    use crate::project::Scope;

    const ACCOUNT: AccountNumber = AccountNumber(1);

    fn request(slots: u32, limits: Limits) -> Request {
        let limits = vec![(holder(ACCOUNT, Scope::default()), limits)];
        Request { account: ACCOUNT, slots, limits, tokens: 100 }
    }

    #[test]
    fn what_a_ticket_holds_comes_back_with_it() {
        let gate = Gate::new(1);
        let limits = Limits { tokens_per_minute: Some(100), ..Limits::default() };
        let ticket = gate.admit(request(0, limits), UnixMillis(0)).ok().unwrap();
        assert_eq!(gate.running(), 1);
        let full = gate.admit(request(0, limits), UnixMillis(0)).err().unwrap();
        assert_eq!(full.problem, Problem::Busy);
        let booked = Request { account: AccountNumber(2), slots: 1, limits: Vec::new(), tokens: 0 };
        assert!(gate.admit(booked, UnixMillis(0)).is_ok(), "it has booked");
        ticket.used(40);
        drop(ticket);
        assert_eq!(gate.running(), 0);
        let short = gate.admit(request(0, limits), UnixMillis(0)).err().unwrap();
        assert_eq!((short.problem, short.retry_seconds), (Problem::RateLimited, Some(24)));
        assert_eq!(gate.running(), 0, "a refused one holds nothing");
        assert!(gate.admit(request(0, limits), UnixMillis(24_000)).is_ok());
    }

    #[test]
    fn the_headers_are_the_usual_ones() {
        let gate = Gate::new(9);
        let limits = Limits { requests_per_minute: Some(60), ..Limits::default() };
        let ticket = gate.admit(request(0, limits), UnixMillis(0)).ok().unwrap();
        let told = headers(&ticket.standings());
        let expected = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1000ms"),
            ("ratelimit", "\"requests\";r=59;t=1"),
            ("ratelimit-policy", "\"requests\";q=60;w=60"),
        ];
        let told: Vec<(&str, &str)> =
            told.iter().map(|(name, value)| (*name, &value[..])).collect();
        assert_eq!(told, expected);
        assert!(headers(&Standings::default()).is_empty());
    }
}
