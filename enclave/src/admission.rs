//! Admission, first half: is this order signed, granted, for us, within its dates and ceilings?
//! Everything here is checked before the expensive and dangerous step of opening the envelope.

use bulla_attestation::hash::{account_handle, labelled};
use bulla_attestation::sign::{Signed, VerifyError, verify, verify_order};
use bulla_wire::grant::{Delegation, Grant};
use bulla_wire::http::MAX_SEALED_REQUEST_BYTES;
use bulla_wire::ids::{AccountHandle, Digest, PublicKey};
use bulla_wire::labels;
use bulla_wire::order::Order;
use bulla_wire::price::ChargeError;
use bulla_wire::problem::Problem;
use bulla_wire::units::{MicroUnits, UnixSeconds};

/// Clocks of honest parties may differ by this much, in seconds.
pub const CLOCK_TOLERANCE_S: u64 = 60;

/// The messages of one request as they came over the wire.
pub struct Arrived<'b> {
    /// Order (COSE_Sign1).
    pub order: &'b [u8],
    /// Grant (COSE_Sign1).
    pub grant: &'b [u8],
    /// Delegation (COSE_Sign1).
    pub delegation: &'b [u8],
    /// Sealed request.
    pub sealed: &'b [u8],
}

/// Against what an arrival is checked.
pub struct Gate {
    /// The broker's root key, from the measured configuration.
    pub broker_root: PublicKey,
    /// Our keyset.
    pub keyset: Digest,
    /// Manifest digests of the models we serve.
    pub models: Vec<Digest>,
}

/// An order that passed the gate. Only [`Gate::admit`] makes one.
pub struct AdmittedOrder {
    order: Signed<Order>,
    grant: Signed<Grant>,
    account: AccountHandle,
}

impl AdmittedOrder {
    /// The order.
    pub fn order(&self) -> &Signed<Order> {
        &self.order
    }

    /// The grant.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Who ordered.
    pub fn account(&self) -> AccountHandle {
        self.account
    }
}

/// Why an arrival is turned away. Nothing was opened, nothing is charged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// Sealed request above its limit.
    #[error("sealed request has {got_bytes} bytes, at most {MAX_SEALED_REQUEST_BYTES} are allowed")]
    TooLarge {
        /// Its length.
        got_bytes: usize,
    },
    /// The delegation is not the broker root's.
    #[error("delegation: {0}")]
    Delegation(VerifyError),
    /// The delegation does not hold now.
    #[error("delegation holds from {from} to {to}, now is {now}")]
    DelegationDates {
        /// Start.
        from: UnixSeconds,
        /// End.
        to: UnixSeconds,
        /// Our time.
        now: UnixSeconds,
    },
    /// The grant is not the grant key's.
    #[error("grant: {0}")]
    Grant(VerifyError),
    /// The grant is for another keyset.
    #[error("grant is for keyset {got}, ours is {expected}")]
    GrantAudience {
        /// Ours.
        expected: Digest,
        /// The grant's.
        got: Digest,
    },
    /// The grant came too late, or its dates contradict each other.
    #[error(
        "grant: admit by {admit_by}, run until {run_until}, settle by {settle_by}, now is {now}"
    )]
    GrantDates {
        /// Last moment of admission.
        admit_by: UnixSeconds,
        /// Last moment of generation.
        run_until: UnixSeconds,
        /// Last moment of settlement.
        settle_by: UnixSeconds,
        /// Our time.
        now: UnixSeconds,
    },
    /// The order is not its order key's.
    #[error("order: {0}")]
    Order(VerifyError),
    /// The grant is over another order.
    #[error("grant is over order {granted}, this is {got}")]
    GrantOrder {
        /// The order the grant names.
        granted: Digest,
        /// The order that came.
        got: Digest,
    },
    /// The order is for another keyset.
    #[error("order is for keyset {got}, ours is {expected}: appraise again")]
    OrderKeyset {
        /// Ours.
        expected: Digest,
        /// The order's.
        got: Digest,
    },
    /// The order is for another model.
    #[error("order is for model {got}, which is not served here")]
    Model {
        /// The order's.
        got: Digest,
    },
    /// The order has expired.
    #[error("order was good until {not_after}, now is {now}")]
    OrderExpired {
        /// Its end.
        not_after: UnixSeconds,
        /// Our time.
        now: UnixSeconds,
    },
    /// The sealed request is another than the one ordered.
    #[error("order names sealed request {ordered}, got {got}")]
    SealedDigest {
        /// The order's.
        ordered: Digest,
        /// What came.
        got: Digest,
    },
    /// The order's ceilings can cost more than its maximum charge.
    #[error("ceilings can cost {most}, maximum charge is {max_charge}")]
    MaxCharge {
        /// What the ceilings can cost.
        most: MicroUnits,
        /// What the customer allows.
        max_charge: MicroUnits,
    },
    /// The charge of the ceilings cannot be computed.
    #[error("order's rates: {0}")]
    Rates(ChargeError),
}

impl AdmissionError {
    /// What the peer is told.
    pub fn problem(&self) -> Problem {
        match self {
            AdmissionError::TooLarge { .. } => Problem::TooLarge,
            AdmissionError::Delegation(_)
            | AdmissionError::DelegationDates { .. }
            | AdmissionError::Grant(_)
            | AdmissionError::GrantAudience { .. }
            | AdmissionError::GrantDates { .. }
            | AdmissionError::GrantOrder { .. } => Problem::InvalidGrant,
            AdmissionError::OrderKeyset { .. } => Problem::StaleKeyset,
            AdmissionError::Model { .. } => Problem::NotFound,
            AdmissionError::Order(_)
            | AdmissionError::OrderExpired { .. }
            | AdmissionError::SealedDigest { .. }
            | AdmissionError::MaxCharge { .. }
            | AdmissionError::Rates(_) => Problem::InvalidOrder,
        }
    }
}

impl Gate {
    /// Checks sizes, signatures, dates, audiences and digests, cheapest and outermost first.
    pub fn admit(
        &self,
        arrived: &Arrived<'_>,
        now: UnixSeconds,
    ) -> Result<AdmittedOrder, AdmissionError> {
        let got_bytes = arrived.sealed.len();
        if got_bytes > MAX_SEALED_REQUEST_BYTES {
            return Err(AdmissionError::TooLarge { got_bytes });
        }
        let grant = self.grant(arrived, now)?;
        let order = verify_order(arrived.order).map_err(AdmissionError::Order)?;
        if grant.order != order.digest() {
            return Err(AdmissionError::GrantOrder { granted: grant.order, got: order.digest() });
        }
        self.check_order(&order, now)?;
        let got = labelled(labels::SEALED_REQUEST, arrived.sealed);
        if order.sealed_request != got {
            return Err(AdmissionError::SealedDigest { ordered: order.sealed_request, got });
        }
        let account = account_handle(&order.order_key);
        Ok(AdmittedOrder { order, grant, account })
    }

    fn grant(
        &self,
        arrived: &Arrived<'_>,
        now: UnixSeconds,
    ) -> Result<Signed<Grant>, AdmissionError> {
        let grant_key = delegated_key(arrived.delegation, &self.broker_root, now)?;
        let grant: Signed<Grant> =
            verify(arrived.grant, &grant_key).map_err(AdmissionError::Grant)?;
        if grant.keyset != self.keyset {
            return Err(AdmissionError::GrantAudience { expected: self.keyset, got: grant.keyset });
        }
        let ordered = grant.admit_by <= grant.run_until && grant.run_until <= grant.settle_by;
        if !ordered || now > grant.admit_by {
            let (admit_by, run_until, settle_by) =
                (grant.admit_by, grant.run_until, grant.settle_by);
            return Err(AdmissionError::GrantDates { admit_by, run_until, settle_by, now });
        }
        Ok(grant)
    }

    fn check_order(&self, order: &Order, now: UnixSeconds) -> Result<(), AdmissionError> {
        if order.keyset != self.keyset {
            return Err(AdmissionError::OrderKeyset { expected: self.keyset, got: order.keyset });
        }
        if !self.models.contains(&order.model) {
            return Err(AdmissionError::Model { got: order.model });
        }
        if now.0 > order.not_after.0.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(AdmissionError::OrderExpired { not_after: order.not_after, now });
        }
        let most = order
            .rates
            .most(order.ceiling_input_tokens, order.ceiling_output_tokens)
            .map_err(AdmissionError::Rates)?;
        if most > order.max_charge {
            return Err(AdmissionError::MaxCharge { most, max_charge: order.max_charge });
        }
        Ok(())
    }
}

/// The grant key a delegation names, if the broker's root signed it and it holds now.
pub fn delegated_key(
    delegation: &[u8],
    broker_root: &PublicKey,
    now: UnixSeconds,
) -> Result<PublicKey, AdmissionError> {
    let delegation: Signed<Delegation> =
        verify(delegation, broker_root).map_err(AdmissionError::Delegation)?;
    let (from, to) = (delegation.issued_at, delegation.not_after);
    if now.0.saturating_add(CLOCK_TOLERANCE_S) < from.0 || now > to {
        return Err(AdmissionError::DelegationDates { from, to, now });
    }
    Ok(delegation.grant_key)
}
