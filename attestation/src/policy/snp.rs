//! Policy for AMD SEV-SNP evidence.

use serde::Deserialize;

use super::{Accept, Demand, PolicyError, Tolerance};
use crate::hex::Hex;
use crate::tee::snp::product::{Part, ProductLine};
use crate::tee::snp::tcb::Tcb;

/// A kind of signing key, by its name in a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningKeyKind {
    /// The chip's own versioned key.
    Vcek,
    /// A key AMD gave a cloud provider for many chips.
    Vlek,
}

/// A product that is refused whatever else is true.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// The product line.
    pub product: ProductLine,
    /// Why, for the verdict.
    pub reason: String,
}

/// Lowest acceptable version per firmware component for one part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcbFloor {
    /// Which part: microcode numbers of different parts cannot be compared.
    pub part: Part,
    /// FMC; Turin only.
    pub fmc: Option<u8>,
    /// Boot loader.
    pub bootloader: u8,
    /// Secure operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Low byte of the microcode revision.
    pub microcode: u8,
    /// Where the numbers come from: a vendor bulletin, or "set by operator".
    pub source: String,
}

impl TcbFloor {
    /// The floor as a TCB version.
    pub fn tcb(&self) -> Tcb {
        let TcbFloor { fmc, bootloader, tee, snp, microcode, .. } = *self;
        Tcb { fmc, bootloader, tee, snp, microcode }
    }
}

/// Rules for SEV-SNP evidence. DEBUG guests are refused by every policy: there is no key for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpPolicy {
    /// Oldest report version taken.
    pub minimum_report_version: u32,
    /// Product lines taken.
    pub products: Accept<ProductLine>,
    /// Product lines refused, with the reason.
    pub banned_products: Vec<Ban>,
    /// Kinds of signing key taken.
    pub signing_keys: Accept<SigningKeyKind>,
    /// Privilege levels taken.
    pub vmpl: Accept<u32>,
    /// Launch digests taken.
    pub measurements: Accept<Hex<48>>,
    /// Values the host may attach at launch.
    pub host_data: Accept<Hex<32>>,
    /// Chips taken, as the 64 report bytes. Masked ids and VLEK reports never match.
    pub chip_ids: Accept<Hex<64>>,
    /// Platforms that hide their chip id.
    pub masked_chip_id: Tolerance,
    /// ALIAS_CHECK_COMPLETE.
    pub alias_check_complete: Demand,
    /// A current revocation list.
    pub revocation: Demand,
    /// Committed TCB not above the current one.
    pub tcb_order: Demand,
    /// Guests that a migration agent may move.
    pub migration_agent: Tolerance,
    /// Guests that may run with simultaneous multithreading.
    pub smt: Tolerance,
    /// Guests bound to one socket.
    pub single_socket: Demand,
    /// Whether all four TCB versions must reach the floor of the part; a part without a floor is
    /// then refused.
    pub minimum_tcb: Demand,
    /// The floors.
    pub floor: Vec<TcbFloor>,
}

impl SnpPolicy {
    /// The floor for `part`.
    pub fn floor_for(&self, part: Part) -> Option<&TcbFloor> {
        self.floor.iter().find(|floor| floor.part == part)
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
        for ban in &self.banned_products {
            if matches!(&self.products, Accept::Only(lines) if lines.contains(&ban.product)) {
                let product = ban.product.to_string();
                return Err(PolicyError::AllowedAndBanned { product });
            }
        }
        for (index, floor) in self.floor.iter().enumerate() {
            if self.floor.iter().take(index).any(|earlier| earlier.part == floor.part) {
                return Err(PolicyError::RepeatedFloor { part: floor.part.to_string() });
            }
        }
        Ok(())
    }
}
