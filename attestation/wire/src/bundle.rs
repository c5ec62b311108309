//! The audit bundle: one file from which a stranger judges everything, offline.
//!
//! A CBOR sequence (RFC 8742): a [`Header`](Item::Header), then items in any order but leaves,
//! which come in log order. Written and read one item at a time, so memory stays bounded.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::cbor::{Bytes, CborError, cbor_map};
use crate::ids::{AccountHandle, Digest, HoldId};
use crate::units::{MicroUnits, Unit, UnixMillis, UnixSeconds};

/// `format` of the header.
pub const FORMAT: &str = "bulla-audit-bundle/1";
/// `format` of the header where the file proves one receipt and no more.
pub const PROOF_FORMAT: &str = "bulla-receipt-proof/1";
/// Largest single item, in bytes.
pub const MAX_ITEM_BYTES: usize = 5 << 20;

/// One item of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// First item.
    Header(Header),
    /// A signed checkpoint (C2SP signed note), oldest first; the last one covers every leaf.
    Checkpoint(Bytes),
    /// Leaf bytes, in log order. A full bundle has all of them.
    Leaf(Bytes),
    /// A leaf's place and proof, for bundles that do not have all leaves.
    Inclusion(Inclusion),
    /// A usage receipt (COSE_Sign1).
    Receipt(Bytes),
    /// An order with grant and delegation, as the enclave got them.
    Order(Ordered),
    /// An attestation report (JSON) as archived.
    Evidence(Archived),
    /// One movement of the ledger.
    Transfer(Transfer),
    /// What the broker says an account owes or paid in the period.
    Invoice(Invoice),
    /// What a receipt's commitments stand for; in proofs of receipts, where the customer shows it.
    Opening(Opening),
    /// A witness's word that it handed an order to the log's operator (COSE_Sign1,
    /// [`crate::showing`]); added by whoever was given it.
    Showing(Bytes),
}

cbor_map! {
    /// What the bundle is.
    pub struct Header {
        /// [`FORMAT`].
        1 => format: String,
        /// When it was made.
        6 => created_at: UnixSeconds,
        /// `Some` when the bundle shows one account only.
        -70043 => account: Option<AccountHandle>,
        /// Origin of the log.
        -70201 => origin: String,
    }
}

cbor_map! {
    /// Inclusion of a leaf in the tree of the last checkpoint.
    pub struct Inclusion {
        /// Index of the leaf, from 0.
        -70210 => index: u64,
        /// Leaf bytes.
        -70211 => leaf: Bytes,
        /// Audit path (RFC 9162 §2.1.3), leaf to root.
        -70212 => proof: Vec<Digest>,
    }
}

cbor_map! {
    /// An order as granted.
    pub struct Ordered {
        /// COSE_Sign1 of the order.
        -70220 => order: Bytes,
        /// COSE_Sign1 of the grant.
        -70221 => grant: Bytes,
        /// COSE_Sign1 of the delegation.
        -70222 => delegation: Bytes,
    }
}

cbor_map! {
    /// Evidence as of serving time.
    pub struct Archived {
        /// When the broker appraised it.
        6 => appraised_at: UnixSeconds,
        /// The report, exactly as served.
        -70230 => report: Bytes,
    }
}

/// What a transfer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferKind {
    /// Value enters a package: a purchase or a gift.
    Issue,
    /// Part of a package is set aside for an order.
    Hold,
    /// The used part of a hold is spent.
    Settle,
    /// The unused part of a hold returns.
    Release,
    /// What is left of a package lapses.
    Expire,
    /// A correction in the customer's favour, by name.
    Refund,
    /// Value leaves a package for another account's: its grant shrinks by as much.
    Send,
    /// Value that another account sent enters a package.
    Receive,
    /// What is left of a package is taken back by name; it was never spent.
    Void,
    /// Something other than an answer is bought: a reservation.
    Purchase,
    /// A settled charge is frozen: spent no longer, and not yet given back.
    Dispute,
    /// A dispute is decided for the customer: what was frozen is free again.
    Uphold,
    /// A dispute is decided against the customer: what was frozen is spent again.
    Dismiss,
    /// A party's part of a settled charge is owed to it.
    Earn,
    /// A party's part goes back, because the charge did.
    Reverse,
    /// A party's part of a disputed charge waits for the decision.
    Freeze,
    /// The decision came: what was frozen is owed again.
    Thaw,
    /// What was owed is paid.
    Payout,
}

impl TransferKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [TransferKind; 18] = [
        TransferKind::Issue,
        TransferKind::Hold,
        TransferKind::Settle,
        TransferKind::Release,
        TransferKind::Expire,
        TransferKind::Refund,
        TransferKind::Send,
        TransferKind::Receive,
        TransferKind::Void,
        TransferKind::Purchase,
        TransferKind::Dispute,
        TransferKind::Uphold,
        TransferKind::Dismiss,
        TransferKind::Earn,
        TransferKind::Reverse,
        TransferKind::Freeze,
        TransferKind::Thaw,
        TransferKind::Payout,
    ];
}

impl<C> Encode<C> for TransferKind {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(*self as u8)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for TransferKind {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let code = d.u8()?;
        TransferKind::ALL
            .into_iter()
            .find(|k| *k as u8 == code)
            .ok_or_else(|| minicbor::decode::Error::message("unknown transfer kind"))
    }
}

cbor_map! {
    /// One immutable movement of value. Amounts are never negative: the kind says the direction.
    pub struct Transfer {
        /// The hold, for hold, settle and release.
        -70001 => hold: Option<HoldId>,
        /// Unit of account.
        -70008 => unit: Unit,
        /// Place in the ledger, from 1, without gaps.
        -70240 => number: u64,
        /// When it was committed.
        -70241 => at: UnixMillis,
        /// What it does.
        -70242 => kind: TransferKind,
        /// The account, by the broker's own number.
        -70243 => account_number: u64,
        /// The package it touches, by the broker's own number.
        -70244 => package_number: u64,
        /// Amount.
        -70245 => amount: MicroUnits,
        /// Digest of the usage receipt that settled it.
        -70246 => receipt: Option<Digest>,
        /// Why, for issue and refund.
        -70247 => memo: Option<String>,
    }
}

cbor_map! {
    /// The broker's claim for one account and unit.
    pub struct Invoice {
        /// Unit of account.
        -70008 => unit: Unit,
        /// The account, by the broker's own number.
        -70243 => account_number: u64,
        /// Order keys registered with it, by handle.
        -70250 => handles: Vec<AccountHandle>,
        /// Sum of all settlements.
        -70251 => charged: MicroUnits,
        /// Sum of all refunds.
        -70252 => refunded: MicroUnits,
        /// What is left in packages, holds not counted.
        -70253 => available: MicroUnits,
        /// What is held.
        -70254 => held: MicroUnits,
    }
}

cbor_map! {
    /// Request and answer of a receipt, as its customer opens them.
    pub struct Opening {
        /// Key of the commitments.
        -70260 => salt: Digest,
        /// Body of the request.
        -70261 => request: Bytes,
        /// Body of the answer; absent where there was none.
        -70262 => answer: Option<Bytes>,
    }
}

macro_rules! items {
    ($($code:literal => $kind:ident($ty:ty)),* $(,)?) => {
        impl<C> Encode<C> for Item {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.array(2)?;
                match self {
                    $( Item::$kind(value) => { e.u8($code)?; value.encode(e, ctx) } )*
                }
            }
        }

        impl<'b, C> Decode<'b, C> for Item {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
                use minicbor::decode::Error;
                if d.array()? != Some(2) {
                    return Err(Error::message("a bundle item is an array of two"));
                }
                match d.u8()? {
                    $( $code => Ok(Item::$kind(<$ty>::decode(d, ctx)?)), )*
                    kind => Err(Error::message(format!("unknown bundle item {kind}"))),
                }
            }
        }
    };
}
items! {
    0 => Header(Header),
    1 => Checkpoint(Bytes),
    2 => Leaf(Bytes),
    3 => Inclusion(Inclusion),
    4 => Receipt(Bytes),
    5 => Order(Ordered),
    6 => Evidence(Archived),
    7 => Transfer(Transfer),
    8 => Invoice(Invoice),
    9 => Opening(Opening),
    10 => Showing(Bytes),
}

/// Code of [`Item::Leaf`].
pub const KIND_LEAF: u8 = 2;
/// Code of [`Item::Inclusion`].
pub const KIND_INCLUSION: u8 = 3;
/// Code of [`Item::Receipt`].
pub const KIND_RECEIPT: u8 = 4;
/// Code of [`Item::Order`].
pub const KIND_ORDER: u8 = 5;
/// Code of [`Item::Transfer`].
pub const KIND_TRANSFER: u8 = 7;
/// Code of [`Item::Invoice`].
pub const KIND_INVOICE: u8 = 8;
/// Code of [`Item::Showing`].
pub const KIND_SHOWING: u8 = 10;

/// Reads the next item from the start of `bytes`; returns it with the bytes it took.
///
/// `Ok(None)` means that `bytes` ends inside an item: read more and call again.
pub fn next_item(bytes: &[u8]) -> Result<Option<(Item, usize)>, CborError> {
    let window = window(bytes);
    let mut d = Decoder::new(window);
    match d.decode::<Item>() {
        Ok(item) => {
            let taken = d.position();
            if !crate::cbor::encodes_to(&item, &window[..taken]) {
                return Err(CborError::NotDeterministic);
            }
            Ok(Some((item, taken)))
        }
        Err(e) => unread(bytes, &e),
    }
}

/// [`next_item`] for a reader who wants some kinds of items only: the others are passed over, and
/// judged no further than to find their end.
pub fn next_item_of(
    bytes: &[u8],
    wanted: impl Fn(u8) -> bool,
) -> Result<Option<(Option<Item>, usize)>, CborError> {
    let mut d = Decoder::new(window(bytes));
    match d.array().and_then(|_| d.u8()) {
        Ok(kind) if !wanted(kind) => match d.skip() {
            Ok(()) => Ok(Some((None, d.position()))),
            Err(e) => unread(bytes, &e),
        },
        _ => Ok(next_item(bytes)?.map(|(item, taken)| (Some(item), taken))),
    }
}

fn window(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_ITEM_BYTES)]
}

fn unread<T>(bytes: &[u8], error: &minicbor::decode::Error) -> Result<Option<T>, CborError> {
    match error.is_end_of_input() {
        true if bytes.len() < MAX_ITEM_BYTES => Ok(None),
        true => Err(CborError::TooLong { max_bytes: MAX_ITEM_BYTES, got_bytes: bytes.len() }),
        false => Err(CborError::Malformed { reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_nobody_wants_are_passed_over() {
        let wanted = |kind| kind != KIND_RECEIPT;
        let items = [Item::Receipt(Bytes(vec![1; 300])), Item::Leaf(Bytes(vec![2]))];
        let bytes: Vec<u8> = items.iter().flat_map(crate::cbor::to_vec).collect();
        let (passed, taken) = next_item_of(&bytes, wanted).unwrap().unwrap();
        assert_eq!((passed, taken), (None, crate::cbor::to_vec(&items[0]).len()));
        assert_eq!(next_item_of(&bytes[..taken - 1], wanted).unwrap(), None);
        assert_eq!(next_item_of(&bytes[..1], wanted).unwrap(), None);
        let (leaf, _) = next_item_of(&bytes[taken..], wanted).unwrap().unwrap();
        assert_eq!(leaf.as_ref(), Some(&items[1]));
        assert!(next_item_of(&[0xff], wanted).is_err());
    }

    #[test]
    fn items_are_read_one_by_one() {
        let items = [
            Item::Leaf(Bytes(vec![1, 2, 3])),
            Item::Inclusion(Inclusion {
                index: 4,
                leaf: Bytes(vec![9]),
                proof: vec![Digest([1; 32])],
            }),
        ];
        let bytes: Vec<u8> = items.iter().flat_map(crate::cbor::to_vec).collect();
        let (first, taken) = next_item(&bytes).unwrap().unwrap();
        assert_eq!(first, items[0]);
        assert_eq!(next_item(&bytes[..taken - 1]).unwrap(), None);
        let (second, _) = next_item(&bytes[taken..]).unwrap().unwrap();
        assert_eq!(second, items[1]);
    }
}
