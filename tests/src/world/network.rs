//! Who speaks with whom, in which bytes, and what the network may do to them.

use bulla_broker::ledger::AccountNumber;
use bulla_wire::ids::{HoldId, InstanceId};
use bulla_wire::problem::Problem;
use bulla_wire::statement::Nonce;
use bulla_wire::units::UnixMillis;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::{below, chance};

/// One connection, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conn(pub u64);

/// Who lives in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// One request of a customer.
    Client(usize),
    /// The broker.
    Broker,
    /// An enclave.
    Enclave(usize),
}

/// What travels. All content is bytes as the protocol has them; the rest is paths and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Client to broker: attestation report of an enclave.
    AskEvidence {
        /// Of which.
        instance: InstanceId,
        /// To be in the evidence.
        nonce: Nonce,
    },
    /// Client to broker: an ordered sealed request.
    Order {
        /// The credential's account.
        account: AccountNumber,
        /// The enclave.
        instance: InstanceId,
        /// COSE_Sign1.
        order: Vec<u8>,
        /// Chunked OHTTP request.
        sealed: Vec<u8>,
    },
    /// The kept answer of a hold; to the broker with a credential, to the enclave without.
    Again {
        /// The credential's account.
        account: Option<AccountNumber>,
        /// The hold.
        hold: HoldId,
    },
    /// Broker to enclave: report under a nonce, passport and models.
    Appraise {
        /// To be in the evidence.
        nonce: Nonce,
    },
    /// Broker to enclave: open the epoch, please.
    OpenEpoch {
        /// COSE_Sign1.
        offer: Vec<u8>,
        /// COSE_Sign1.
        delegation: Vec<u8>,
    },
    /// Broker to enclave: the outbox, please.
    Pull {
        /// COSE_Sign1.
        pull: Vec<u8>,
        /// COSE_Sign1.
        delegation: Vec<u8>,
    },
    /// Broker to enclave: a granted order.
    Sealed {
        /// COSE_Sign1.
        order: Vec<u8>,
        /// COSE_Sign1.
        grant: Vec<u8>,
        /// COSE_Sign1.
        delegation: Vec<u8>,
        /// Chunked OHTTP request.
        sealed: Vec<u8>,
    },
    /// Answer: report, passport (JSON).
    Evidence {
        /// Under the nonce.
        report: Vec<u8>,
        /// Without one.
        passport: Vec<u8>,
    },
    /// Answer: a whole body.
    Body(Vec<u8>),
    /// Answer: sealed bytes; more follows.
    Chunk(Vec<u8>),
    /// Answer: the end of a stream, with the receipt as trailer.
    End(Option<Vec<u8>>),
    /// Answer: a problem, perhaps with a receipt beside it.
    Problem {
        /// Which.
        problem: Problem,
        /// For people.
        message: String,
        /// COSE_Sign1.
        receipt: Option<Vec<u8>>,
    },
}

impl Message {
    /// Every byte string in it.
    pub fn bytes(&self) -> Vec<&[u8]> {
        match self {
            Message::AskEvidence { nonce, .. } | Message::Appraise { nonce } => vec![nonce],
            Message::Order { order, sealed, .. } => vec![order, sealed],
            Message::Again { hold, .. } => vec![&hold.0],
            Message::OpenEpoch { offer, delegation } => vec![offer, delegation],
            Message::Body(bytes) | Message::Chunk(bytes) => vec![bytes],
            Message::Pull { pull, delegation } => vec![pull, delegation],
            Message::Sealed { order, grant, delegation, sealed } => {
                vec![order, grant, delegation, sealed]
            }
            Message::Evidence { report, passport } => vec![report, passport],
            Message::End(receipt) => receipt.iter().map(Vec::as_slice).collect(),
            Message::Problem { message, receipt, .. } => {
                let mut all = vec![message.as_bytes()];
                all.extend(receipt.iter().map(Vec::as_slice));
                all
            }
        }
    }

    /// True when nothing follows on its line.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Message::Evidence { .. } | Message::Body(_) | Message::End(_) | Message::Problem { .. }
        )
    }

    /// One word for the trace.
    pub fn name(&self) -> String {
        match self {
            Message::AskEvidence { instance, .. } => format!("ask-evidence {instance}"),
            Message::Order { instance, .. } => format!("order {instance}"),
            Message::Again { hold, .. } => format!("again {hold}"),
            Message::Appraise { .. } => "appraise".to_owned(),
            Message::OpenEpoch { .. } => "open-epoch".to_owned(),
            Message::Pull { .. } => "pull".to_owned(),
            Message::Sealed { .. } => "sealed".to_owned(),
            Message::Evidence { .. } => "evidence".to_owned(),
            Message::Body(bytes) => format!("body {}", bytes.len()),
            Message::Chunk(bytes) => format!("chunk {}", bytes.len()),
            Message::End(_) => "end".to_owned(),
            Message::Problem { problem, .. } => format!("problem {}", problem.code()),
        }
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No connection: nothing was sent.
    Unreached,
    /// On the way the connection broke.
    Lost,
    /// Arrives after so many milliseconds, perhaps twice.
    Arrives {
        /// Time under way.
        delay_ms: u64,
        /// Another copy arrives on its own.
        twice: bool,
    },
}

/// How the network behaves. Frequencies in permille.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Messages that are lost, and their connection with them.
    pub lost: u64,
    /// Messages that take seconds.
    pub slow: u64,
    /// Requests that arrive twice.
    pub twice: u64,
    /// Chunks of answers changed, left out, repeated or swapped between broker and client.
    pub mangled: u64,
    /// Batches the store fails to write.
    pub commit_fails: u64,
    /// Links that are down, and until when.
    pub cuts: Vec<((Party, Party), UnixMillis)>,
}

impl Weather {
    /// What becomes of a message, told on its way.
    pub fn fate(
        &self,
        rng: &mut ChaCha20Rng,
        from: Party,
        to: Party,
        now: UnixMillis,
        is_request: bool,
    ) -> Fate {
        let is_cut = |((a, b), until): &((Party, Party), UnixMillis)| {
            now < *until && [(*a, *b), (*b, *a)].contains(&(class(from), class(to)))
        };
        if self.cuts.iter().any(is_cut) {
            return if is_request { Fate::Unreached } else { Fate::Lost };
        }
        if chance(rng, self.lost) {
            return if is_request && chance(rng, 300) { Fate::Unreached } else { Fate::Lost };
        }
        let delay_ms = match chance(rng, self.slow) {
            true => 500 + below(rng, 4000),
            false => 1 + below(rng, 40),
        };
        Fate::Arrives { delay_ms, twice: is_request && chance(rng, self.twice) }
    }

    /// Changes a chunk on its way, or leaves it out.
    pub fn mangle(&self, rng: &mut ChaCha20Rng, bytes: &mut Vec<u8>) -> bool {
        if bytes.is_empty() || !chance(rng, self.mangled) {
            return false;
        }
        match rng.next_u32() % 4 {
            0 => bytes.clear(),
            1 => bytes.extend(bytes.clone()),
            2 => {
                let middle = bytes.len() / 2;
                bytes.rotate_left(middle);
            }
            _ => {
                let place = below(rng, bytes.len() as u64) as usize;
                bytes[place] ^= 1 << (rng.next_u32() % 8);
            }
        }
        true
    }
}

/// All clients share one way to the broker.
fn class(party: Party) -> Party {
    match party {
        Party::Client(_) => Party::Client(0),
        other => other,
    }
}
