//! Double entry: every transfer takes from one side of a package and gives to another, so that
//! the sum over all sides of a package is always zero.

use bulla_wire::bundle::TransferKind;

/// Where value can be. Every package has all five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What the issuer owes: minus all that was ever issued.
    Issued,
    /// Free to be held.
    Available,
    /// Set aside for orders.
    Held,
    /// Spent.
    Spent,
    /// Lapsed.
    Expired,
}

/// The side a transfer takes from and the side it gives to.
pub fn postings(kind: TransferKind) -> (Side, Side) {
    match kind {
        TransferKind::Issue => (Side::Issued, Side::Available),
        TransferKind::Hold => (Side::Available, Side::Held),
        TransferKind::Settle => (Side::Held, Side::Spent),
        TransferKind::Release => (Side::Held, Side::Available),
        TransferKind::Expire => (Side::Available, Side::Expired),
        TransferKind::Refund => (Side::Spent, Side::Available),
    }
}
