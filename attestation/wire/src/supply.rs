//! The daily statement of all value there is: issued = burned + held + expired + outstanding, per
//! unit of account, signed by the broker's root key and logged. And signed invoices.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{Bytes, cbor_map};
use crate::ids::Digest;
use crate::units::{Unit, UnixSeconds};

/// Largest signed supply statement, in bytes: it is a leaf of the log.
pub const MAX_SUPPLY_BYTES: usize = 60_000;
/// Largest signed invoice, in bytes, its annex of receipts included.
pub const MAX_INVOICE_BYTES: usize = 16 << 20;

/// A sum of amounts in micro-units: 128 bits, because many amounts of 64 bits are added. On the
/// wire 16 bytes, big-endian; in JSON a decimal text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum(pub u128);

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Sum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<C> Encode<C> for Sum {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0.to_be_bytes())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Sum {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes: Result<[u8; 16], _> = d.bytes()?.try_into();
        match bytes {
            Ok(bytes) => Ok(Sum(u128::from_be_bytes(bytes))),
            Err(_) => Err(minicbor::decode::Error::message("a sum has 16 bytes")),
        }
    }
}

cbor_map! {
    /// A supply statement (`typ` [`crate::labels::TYP_SUPPLY`]).
    pub struct SupplyStatement {
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// Begin of the day it closes, 00:00 UTC.
        -70260 => day: UnixSeconds,
        /// Number of the last transfer it covers: who has the ledger recomputes it from them.
        -70261 => transfers: u64,
        /// Digest of the statement before it ([`crate::labels::RECORD`]); absent on the first.
        -70262 => previous: Option<Digest>,
        /// One row per unit of account, in their order.
        -70263 => rows: Vec<SupplyRow>,
    }
}

cbor_map! {
    /// Where all value of one unit of account is.
    pub struct SupplyRow {
        /// Unit of account.
        -70008 => unit: Unit,
        /// Ever issued. What an account sent to another was issued once.
        -70264 => issued: Sum,
        /// Spent, refunds taken off.
        -70265 => burned: Sum,
        /// Set aside for orders, or frozen by disputes.
        -70266 => held: Sum,
        /// Lapsed or voided.
        -70267 => expired: Sum,
        /// Free.
        -70268 => outstanding: Sum,
    }
}

impl SupplyRow {
    /// True when nothing appeared or vanished.
    pub fn balances(&self) -> bool {
        let parts = [self.burned, self.held, self.expired, self.outstanding];
        let sum = parts.iter().try_fold(0u128, |sum, part| sum.checked_add(part.0));
        sum == Some(self.issued.0)
    }
}

cbor_map! {
    /// An invoice or credit note (`typ` [`crate::labels::TYP_INVOICE`]).
    pub struct InvoiceDocument {
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// Its number; invoices and credit notes are one sequence without gaps.
        -70270 => number: u64,
        /// The document: canonical JSON (RFC 8785).
        -70271 => document: Bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;

    fn row(parts: [u128; 5]) -> SupplyRow {
        let [issued, burned, held, expired, outstanding] = parts.map(Sum);
        SupplyRow { unit: Unit::tokens(), issued, burned, held, expired, outstanding }
    }

    #[test]
    fn sums_beyond_64_bits_round_trip_and_balance() {
        let large = u128::from(u64::MAX) * 3;
        let statement = SupplyStatement {
            issued_at: UnixSeconds(86_401),
            day: UnixSeconds(0),
            transfers: 7,
            previous: None,
            rows: vec![row([large, large - 6, 1, 2, 3])],
        };
        assert!(statement.rows[0].balances());
        let bytes = cbor::to_vec(&statement);
        assert_eq!(cbor::from_slice::<SupplyStatement>(&bytes, 1000), Ok(statement));
    }

    #[test]
    fn what_vanished_or_overflows_does_not_balance() {
        assert!(!row([10, 4, 1, 2, 2]).balances());
        assert!(!row([10, u128::MAX, 11, 0, 0]).balances());
    }
}
