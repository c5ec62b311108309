//! The usage receipt: what an enclave signs about one request, and nothing about its content.

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};

use crate::cbor::cbor_map;
use crate::ids::{AccountHandle, Digest, EpochId, HoldId, InstanceId, ReceiptId};
use crate::price::{Rates, TokenUsage};
use crate::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

/// Largest usage receipt, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 2048;
/// `eat_profile` (RFC 9711 §6) of version 1 of this receipt.
pub const RECEIPT_PROFILE: &str = "urn:uuid:0c9b1f6e-58a4-4c7e-9d2b-6f1a3be77a01";
/// Longest name of a kernel path, in bytes.
pub const MAX_KERNEL_PATH_BYTES: usize = 64;
/// Longest accelerator class name, in bytes.
pub const MAX_CLASS_BYTES: usize = 64;

/// How a request ended. Every admitted order ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The model stopped by itself or at a stop string.
    Complete,
    /// A ceiling, the deadline or the context's end was reached.
    Length,
    /// Whoever read the answer went away or read too slowly.
    ClientGone,
    /// The opened request cannot be served: malformed, too long, unsupported.
    CustomerError,
    /// The enclave failed.
    EnclaveError,
    /// Admission refused: busy, expired, terms that differ.
    Refused,
}

impl Outcome {
    /// All outcomes, in the order of their codes.
    pub const ALL: [Outcome; 6] = [
        Outcome::Complete,
        Outcome::Length,
        Outcome::ClientGone,
        Outcome::CustomerError,
        Outcome::EnclaveError,
        Outcome::Refused,
    ];

    /// True when input and generated tokens are charged; false when nothing is.
    pub fn is_charged(self) -> bool {
        match self {
            Outcome::Complete | Outcome::Length | Outcome::ClientGone | Outcome::CustomerError => {
                true
            }
            Outcome::EnclaveError | Outcome::Refused => false,
        }
    }

    fn code(self) -> u8 {
        self as u8
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Outcome::Complete => "complete",
            Outcome::Length => "length",
            Outcome::ClientGone => "client-gone",
            Outcome::CustomerError => "customer-error",
            Outcome::EnclaveError => "enclave-error",
            Outcome::Refused => "refused",
        })
    }
}

/// What stands behind the enclave's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityMode {
    /// A hardware TEE.
    Hardware,
    /// The simulated TEE: proves the protocol, protects nothing.
    Simulated,
}

impl SecurityMode {
    const ALL: [SecurityMode; 2] = [SecurityMode::Hardware, SecurityMode::Simulated];

    fn code(self) -> u8 {
        self as u8
    }
}

impl std::fmt::Display for SecurityMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SecurityMode::Hardware => "hardware",
            SecurityMode::Simulated => "simulated",
        })
    }
}

/// Who vouches that the customer asked for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderMode {
    /// The customer signed the order.
    Ordered,
    /// Only the broker says so (compatibility doors).
    BrokerVouched,
}

impl OrderMode {
    const ALL: [OrderMode; 2] = [OrderMode::Ordered, OrderMode::BrokerVouched];

    fn code(self) -> u8 {
        self as u8
    }
}

macro_rules! coded {
    ($name:ident) => {
        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.u8(self.code())?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let code = d.u8()?;
                $name::ALL.into_iter().find(|v| v.code() == code).ok_or_else(|| {
                    minicbor::decode::Error::message(concat!("unknown ", stringify!($name)))
                })
            }
        }
    };
}
coded!(Outcome);
coded!(SecurityMode);
coded!(OrderMode);

cbor_map! {
    /// A usage receipt: CWT (RFC 8392) and EAT (RFC 9711) claims where they exist, private claims
    /// below -65536 for the rest. `docs/spec/usage-receipt.md` is the normative page.
    pub struct UsageReceipt {
        /// `iss`: the enclave instance.
        1 => issuer: InstanceId,
        /// `iat`: when it was signed, by the enclave's monotone clock.
        6 => issued_at: UnixSeconds,
        /// `cti`: id of this receipt.
        7 => id: ReceiptId,
        /// `eat_nonce`: 32 random bytes, so that its hash in the public log tells nothing.
        10 => nonce: Digest,
        /// `eat_profile`: [`RECEIPT_PROFILE`].
        265 => profile: String,
        /// The hold it settles.
        -70001 => hold: HoldId,
        /// The keyset whose receipt key signed.
        -70004 => keyset: Digest,
        /// Manifest of the model that ran.
        -70005 => model: Digest,
        /// Unit of account.
        -70008 => unit: Unit,
        /// Rates, as ordered.
        -70009 => rates: Rates,
        /// Price book, as ordered.
        -70010 => price_book: Digest,
        /// Digest of the order.
        -70020 => order: Digest,
        /// The epoch.
        -70040 => epoch: EpochId,
        /// Place in the epoch, without gaps; the epoch-open record is 0.
        -70041 => seq: u64,
        /// Digest of the record before this one ([`crate::labels::RECORD`]).
        -70042 => prev: Digest,
        /// Who pays.
        -70043 => account: AccountHandle,
        /// Accelerator class that ran it, such as `cpu:x86_64`.
        -70044 => accelerator: String,
        /// Time on the device, in milliseconds. Informational: a host can stretch it.
        -70045 => device_time_ms: u64,
        /// Tokens, counted by the engine.
        -70046 => usage: TokenUsage,
        /// The charge, computed in the enclave.
        -70047 => charge: MicroUnits,
        /// How it ended.
        -70048 => outcome: Outcome,
        /// Tokens generated.
        -70049 => generated_tokens: TokenCount,
        /// Tokens handed to the connection; an enclave cannot know what was delivered.
        -70050 => sent_tokens: TokenCount,
        /// HMAC of the opened request under the client's salt; absent when it was not opened.
        -70051 => commit_request: Option<Digest>,
        /// HMAC of the answer as sent; absent when there was none.
        -70052 => commit_response: Option<Digest>,
        /// Digest of the enclave's measured configuration.
        -70053 => configuration: Digest,
        /// Hardware or simulated.
        -70054 => security: SecurityMode,
        /// Ordered or broker-vouched.
        -70055 => mode: OrderMode,
        /// Index of an interim receipt of a long stream; absent on the final one.
        -70056 => interim: Option<u64>,
        /// Which arithmetic ran, such as `avx512-vnni`: with model, request and seed it fixes every
        /// token. At most [`MAX_KERNEL_PATH_BYTES`].
        -70057 => kernel_path: Option<String>,
    }
}

impl UsageReceipt {
    /// True for the receipt that ends a request.
    pub fn is_final(&self) -> bool {
        self.interim.is_none()
    }
}
