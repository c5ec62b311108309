//! Orders: judged, held, granted; and the keys that sign them.

use bulla_attestation::hash::account_handle;
use bulla_attestation::sign::{Signed, verify_order, verify_self_named};
use bulla_wire::decision::{Decision, MAX_LOGGED_REFUSALS_PER_MINUTE};
use bulla_wire::ids::{Digest, HoldId, InstanceId};
use bulla_wire::leaf::Leaf;
use bulla_wire::order::{Order, OrderKeyRegistration};
use bulla_wire::problem::Problem;
use bulla_wire::units::{UnixMillis, UnixSeconds};

use super::event::{Placed, Purpose};
use super::{Broker, BrokerError, Effect, RequestId};
use crate::hold::{HoldRefusal, MAX_CLOCK_SKEW_SECONDS, Terms, plan};
use crate::ledger::anonymous::ANONYMOUS;
use crate::ledger::{
    AccountNumber, Command, Hold, HoldState, Outcome, Queries, Rejection, StoredHold,
};
use crate::limit::Bucket;
use crate::project::Spender;
use crate::register::Once;

/// What is to be held, and for which request; or what is told at once.
pub(super) type Judged = Result<(Hold, Placed), Box<Effect>>;

/// Whose order key it is, as the one who pays must own it. An anonymous order is signed with a key
/// of its own, which is nobody's: one that belongs to an account would say whose it is.
fn owner(payer: AccountNumber, registered: Option<AccountNumber>) -> Option<AccountNumber> {
    match payer {
        ANONYMOUS if registered.is_none() => Some(ANONYMOUS),
        _ => registered,
    }
}

impl Broker {
    pub(super) fn order(
        &mut self,
        request: RequestId,
        (account, spender): (AccountNumber, Spender),
        instance: &InstanceId,
        bytes: &[u8],
        view: &dyn Queries,
        now: UnixMillis,
    ) -> Result<Effect, BrokerError> {
        let judged = self.judge_order(request, account, instance, bytes, view, now)?;
        Ok(match judged {
            Ok((hold, placed)) => {
                let order = hold.order_digest;
                let hold = Hold { spender, ..hold };
                self.commit_decided(Command::Hold(Box::new(hold)), order, placed, now)
            }
            Err(told) => *told,
        })
    }

    /// What is to be held for an order of `account`, or what is told at once.
    pub(super) fn judge_order(
        &mut self,
        request: RequestId,
        account: AccountNumber,
        instance: &InstanceId,
        bytes: &[u8],
        view: &dyn Queries,
        now: UnixMillis,
    ) -> Result<Judged, BrokerError> {
        let told = |effect: Effect| Ok(Err(Box::new(effect)));
        let order = match verify_order(bytes) {
            Ok(order) => order,
            Err(error) => return told(Effect::refuse_hold(request, &HoldRefusal::Order(error))),
        };
        let handle = account_handle(&order.order_key);
        let owner = owner(account, view.order_key_owner(&handle)?);
        // A stranger's order is nobody's: only customers' orders are logged.
        let payer = owner.filter(|owner| *owner == account);
        if let Some(known) = view.hold(&order.hold)? {
            if known.account == account && known.order_digest == order.digest() {
                return told(held_before(request, known));
            }
            let no = Rejection::HoldConflict { hold: order.hold };
            let no = No::new(no.decision(), Problem::HoldConflict, no);
            return told(self.refuse(request, payer, &order, no, now));
        }
        let Some(delegation) = self.delegation.clone() else {
            let message = "the broker is starting: try again in a moment";
            let no = No::new(Decision::Starting, Problem::Busy, message);
            return told(self.refuse(request, payer, &order, no, now));
        };
        let terms = Terms {
            account,
            owner,
            handle,
            serving: self.catalogue.ready(instance, now.seconds()),
            instance,
            book: self.books.in_force(now.seconds()),
            times: self.settings.orders,
            now: now.seconds(),
        };
        let plan = match plan(&order, &terms) {
            Ok(plan) => plan,
            Err(refusal) => {
                let Some(decision) = refusal.decision() else {
                    return told(Effect::refuse_hold(request, &refusal));
                };
                let no = No::new(decision, refusal.problem(), refusal);
                return told(self.refuse(request, payer, &order, no, now));
            }
        };
        let split = self.split(&plan.model, &order.unit);
        let settle_by = plan.grant.settle_by;
        let grant = self.keys.grant().sign(plan.grant);
        let hold = Hold {
            hold: order.hold,
            account,
            model: plan.model,
            unit: order.unit.clone(),
            amount: plan.amount,
            settle_by,
            order_digest: order.digest(),
            order: bytes.to_vec(),
            grant: grant.bytes().to_vec(),
            delegation: delegation.bytes().to_vec(),
            instance: instance.clone(),
            spender: Spender::default(),
            split,
        };
        let placed = Placed {
            request,
            account,
            instance: instance.clone(),
            hold: order.hold,
            order: bytes.to_vec(),
        };
        Ok(Ok((hold, placed)))
    }

    /// Places a hold, and has the log say in the same commit what became of its order.
    pub(super) fn commit_decided(
        &mut self,
        hold: Command,
        order: Digest,
        placed: Placed,
        now: UnixMillis,
    ) -> Effect {
        let refused = self.refusals_left(placed.account, now).remaining(now) > 0;
        let commands = vec![hold, Command::LogDecision { order, refused }];
        self.commit(commands, vec![Purpose::Hold(placed), Purpose::Housekeeping])
    }

    /// Refuses an order; that of a customer once the log says so.
    fn refuse(
        &mut self,
        request: RequestId,
        payer: Option<AccountNumber>,
        order: &Signed<Order>,
        no: No,
        now: UnixMillis,
    ) -> Effect {
        let No { decision, problem, message } = no;
        let Some(logged) = payer.and_then(|payer| self.log_refusal(payer, order, decision, now))
        else {
            return Effect::refuse(request, problem, message);
        };
        self.commit_one(logged, Purpose::Refused { request, problem, message })
    }

    /// The leaf that says why a customer's order was refused; `None` where the account has had more
    /// refusals than are logged.
    fn log_refusal(
        &mut self,
        payer: AccountNumber,
        order: &Signed<Order>,
        decision: Decision,
        now: UnixMillis,
    ) -> Option<Command> {
        if !self.refusals_left(payer, now).draw(1, now) {
            return None;
        }
        let leaf = Leaf::Decision { order: order.digest(), at: now.seconds(), decision };
        Some(Command::LogLeaf { leaf: leaf.to_vec() })
    }

    fn refusals_left(&mut self, payer: AccountNumber, now: UnixMillis) -> &mut Bucket {
        let full = || Bucket::full(MAX_LOGGED_REFUSALS_PER_MINUTE, now);
        self.refusals.entry(payer).or_insert_with(full)
    }

    /// An order that was refused at the door, before anybody judged it: the log says so too.
    pub(super) fn turned_away(
        &mut self,
        request: RequestId,
        account: AccountNumber,
        bytes: &[u8],
        decision: Decision,
        view: &dyn Queries,
        now: UnixMillis,
    ) -> Result<Effect, BrokerError> {
        let done = Effect::Done { request };
        let Ok(order) = verify_order(bytes) else { return Ok(done) };
        let owner = view.order_key_owner(&account_handle(&order.order_key))?;
        let payer = owner.filter(|owner| *owner == account);
        let logged = payer.and_then(|payer| self.log_refusal(payer, &order, decision, now));
        Ok(logged.map_or(done, |leaf| self.commit_one(leaf, Purpose::TurnedAway { request })))
    }

    pub(super) fn held(
        &mut self,
        placed: Placed,
        result: Result<Outcome, Rejection>,
        now: UnixMillis,
    ) -> Effect {
        let Placed { request, account, instance, hold, order } = placed;
        match result {
            Ok(Outcome::Held { state, again, grant, delegation }) => {
                let again = again.then_some(state);
                Effect::Forward { request, instance, hold, order, grant, delegation, again }
            }
            Ok(_) => Effect::refuse(request, Problem::Internal, "the ledger answered amiss"),
            Err(no) => {
                // Logged with the hold that was not placed.
                self.refusals_left(account, now).draw(1, now);
                let problem = match &no {
                    Rejection::InsufficientBalance { .. } | Rejection::OverBudget { .. } => {
                        Problem::InsufficientBalance
                    }
                    Rejection::HoldConflict { .. } => Problem::HoldConflict,
                    Rejection::TokensSpent { .. } => Problem::Replayed,
                    _ => Problem::InvalidOrder,
                };
                let message = no.to_string();
                let spent = match no {
                    Rejection::TokensSpent { tokens } => tokens,
                    _ => Vec::new(),
                };
                Effect::Refuse { request, problem, message, spent }
            }
        }
    }

    pub(super) fn release(&mut self, hold: HoldId) -> Effect {
        self.commit_one(Command::Release { hold }, Purpose::Housekeeping)
    }

    pub(super) fn order_key(
        &mut self,
        request: RequestId,
        account: AccountNumber,
        registration: &[u8],
        once: Option<Once>,
        now: UnixMillis,
    ) -> Effect {
        let signed: Signed<OrderKeyRegistration> =
            match verify_self_named(registration, |r: &OrderKeyRegistration| r.order_key) {
                Ok(signed) => signed,
                Err(error) => return Effect::refuse(request, Problem::BadRequest, error),
            };
        let skew = UnixSeconds(MAX_CLOCK_SKEW_SECONDS);
        let apart = signed.issued_at.0.abs_diff(now.seconds().0);
        if apart > skew.0 {
            let message = format!(
                "registration is {apart} s away from the broker's clock, at most {skew} s are \
                 allowed: set the clock and sign again"
            );
            return Effect::refuse(request, Problem::BadRequest, message);
        }
        let (order_key, handle) = (signed.order_key, account_handle(&signed.order_key));
        let command = Command::RegisterOrderKey { account, order_key, handle };
        let command = match once {
            Some(once) => once.wrap(account, command),
            None => command,
        };
        self.commit_one(command, Purpose::OrderKey { request })
    }
}

/// A no to a customer's order: what the log says, and what the customer is told.
struct No {
    decision: Decision,
    problem: Problem,
    message: String,
}

impl No {
    fn new(decision: Decision, problem: Problem, message: impl ToString) -> No {
        No { decision, problem, message: message.to_string() }
    }
}

/// The same order again gets the same answer.
fn held_before(request: RequestId, known: StoredHold) -> Effect {
    match known.state {
        HoldState::Active | HoldState::Settled => Effect::Forward {
            request,
            instance: known.instance,
            hold: known.hold,
            order: known.order,
            grant: known.grant,
            delegation: known.delegation,
            again: Some(known.state),
        },
        state @ (HoldState::Released | HoldState::Expired) => {
            let message = format!(
                "hold {} was {state} and charged nothing: order again under a new hold id",
                known.hold
            );
            Effect::refuse(request, Problem::HoldConflict, message)
        }
    }
}
