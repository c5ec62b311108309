//! Credits for breached availability. What counts are the outcomes enclaves signed, refusals
//! included: nobody's monitoring, and nobody's word.

use bulla_attestation::hash::sha256;
use bulla_wire::receipt::Outcome;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use serde::Serialize;

use crate::ledger::{AccountNumber, Queries, StoreError};
use crate::payable::WHOLE_PPM;
use crate::record::read_receipt;

/// Receipts asked for at once.
const PAGE_ROWS: usize = 4096;

/// What an account's requests came to within a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Availability {
    /// Answered, or ended by the customer.
    pub served: u64,
    /// Ended by a fault of the enclave.
    pub failed: u64,
    /// Refused at admission.
    pub refused: u64,
}

impl Availability {
    /// Counts one outcome.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::EnclaveError => self.failed += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Complete | Outcome::Length | Outcome::ClientGone | Outcome::CustomerError => {
                self.served += 1;
            }
        }
    }

    /// Served requests per million, rounded down; all of them where there were none.
    pub fn ppm(&self) -> u32 {
        let all = u128::from(self.served) + u128::from(self.failed) + u128::from(self.refused);
        let served = u128::from(self.served) * u128::from(WHOLE_PPM);
        served.checked_div(all).and_then(|ppm| u32::try_from(ppm).ok()).unwrap_or(WHOLE_PPM)
    }
}

/// Below this availability so much of the period's charges is credited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Served per million requests.
    pub below_ppm: u32,
    /// Credited of the charges, in parts per million.
    pub credit_ppm: u32,
}

/// What is credited of `charged`: by the tier that gives most of those that were missed, rounded
/// up to the next micro-unit.
pub fn credit(availability: &Availability, tiers: &[Tier], charged: MicroUnits) -> MicroUnits {
    let missed = tiers.iter().filter(|tier| availability.ppm() < tier.below_ppm);
    let ppm = missed.map(|tier| tier.credit_ppm.min(WHOLE_PPM)).max().unwrap_or(0);
    let credit = (u128::from(charged.0) * u128::from(ppm)).div_ceil(u128::from(WHOLE_PPM));
    MicroUnits(u64::try_from(credit).unwrap_or(charged.0))
}

/// The key a period's credit is issued under: it is issued once.
pub fn credit_key(
    account: AccountNumber,
    unit: &Unit,
    from: UnixSeconds,
    until: UnixSeconds,
) -> [u8; 16] {
    let digest = sha256(format!("bulla credit {account} {unit} {from} {until}").as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.0[..16]);
    key
}

/// Counts the final receipts of an account that were signed within a period.
pub fn availability(
    view: &dyn Queries,
    account: AccountNumber,
    from: UnixSeconds,
    until: UnixSeconds,
) -> Result<Availability, StoreError> {
    let mut counted = Availability::default();
    let mut after = 0;
    loop {
        let page = view.receipts(Some(account), after, PAGE_ROWS)?;
        let Some(last) = page.last() else { return Ok(counted) };
        after = last.number;
        let receipts = page.iter().filter_map(|record| read_receipt(&record.bytes));
        for receipt in receipts.filter(|receipt| receipt.is_final()) {
            if from <= receipt.issued_at && receipt.issued_at < until {
                counted.count(receipt.outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(served: u64, failed: u64, refused: u64) -> Availability {
        Availability { served, failed, refused }
    }

    #[test]
    fn refusals_and_faults_count_alike_and_the_customers_own_never() {
        let mut counted = Availability::default();
        for outcome in Outcome::ALL {
            counted.count(outcome);
        }
        assert_eq!(counted, of(4, 1, 1));
        assert_eq!(of(999, 0, 1).ppm(), 999_000);
        assert_eq!(of(0, 0, 0).ppm(), WHOLE_PPM, "nothing asked, nothing missed");
        assert_eq!(of(0, 1, 0).ppm(), 0);
    }

    #[test]
    fn the_tier_that_gives_most_counts_and_never_more_than_was_charged() {
        let tiers = [
            Tier { below_ppm: 999_000, credit_ppm: 100_000 },
            Tier { below_ppm: 990_000, credit_ppm: 250_000 },
            Tier { below_ppm: 900_000, credit_ppm: 2_000_000 },
        ];
        let credited = |served, refused| credit(&of(served, 0, refused), &tiers, MicroUnits(1_001));
        assert_eq!(credited(999, 1), MicroUnits(0), "999,000 is not below 999,000");
        assert_eq!(credited(998, 2), MicroUnits(101));
        assert_eq!(credited(98, 2), MicroUnits(251));
        assert_eq!(credited(1, 9), MicroUnits(1_001));
    }
}
