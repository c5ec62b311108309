//! Double entry: every transfer takes from one side of a package and gives to another, so that
//! the sum over all sides of a package is always zero.

use bulla_wire::bundle::TransferKind;

/// Where value can be. Every package has all five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What the issuer owes: minus all that was ever issued and not sent on.
    Issued,
    /// Free to be held.
    Available,
    /// Set aside for orders, or frozen until a dispute is decided.
    Held,
    /// Spent.
    Spent,
    /// Lapsed.
    Expired,
}

/// The side a transfer takes from and the side it gives to.
pub fn postings(kind: TransferKind) -> (Side, Side) {
    match kind {
        TransferKind::Issue | TransferKind::Receive | TransferKind::Earn => {
            (Side::Issued, Side::Available)
        }
        TransferKind::Send | TransferKind::Reverse => (Side::Available, Side::Issued),
        TransferKind::Hold | TransferKind::Freeze => (Side::Available, Side::Held),
        TransferKind::Settle | TransferKind::Dismiss => (Side::Held, Side::Spent),
        TransferKind::Release | TransferKind::Uphold | TransferKind::Thaw => {
            (Side::Held, Side::Available)
        }
        TransferKind::Expire | TransferKind::Void => (Side::Available, Side::Expired),
        TransferKind::Refund => (Side::Spent, Side::Available),
        TransferKind::Purchase | TransferKind::Payout => (Side::Available, Side::Spent),
        TransferKind::Dispute => (Side::Spent, Side::Held),
    }
}
