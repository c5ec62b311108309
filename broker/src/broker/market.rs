//! What the broker looks after besides orders: splits, reservations, the daily supply statement.

use std::collections::BTreeMap;

use bulla_wire::cbor::Bytes;
use bulla_wire::leaf::Leaf;
use bulla_wire::units::{Unit, UnixSeconds};

use super::event::Purpose;
use super::{Broker, BrokerError, Effect};
use crate::ledger::{AccountNumber, Command, Queries};
use crate::payable::{Part, SplitTerms};
use crate::price::EVERY_MODEL;
use crate::register::EntryKind;
use crate::reservation::{Booking, current, slots};
use crate::supply;

/// Most splits looked at.
const MAX_SPLITS: usize = 100_000;

/// What of the register the broker keeps at hand.
#[derive(Debug, Default)]
pub(super) struct Market {
    /// Newest split read.
    splits_read: u64,
    splits: BTreeMap<(String, Unit), Vec<Part>>,
    /// Newest reservation read.
    bookings_read: u64,
    bookings: Vec<Booking>,
    /// The last day known to need no statement.
    stated: Option<UnixSeconds>,
    stating: bool,
}

impl Broker {
    pub(super) fn tend_market(
        &mut self,
        view: &dyn Queries,
        now: UnixSeconds,
    ) -> Result<Option<Effect>, BrokerError> {
        let newest = view.newest_entry(EntryKind::Split)?;
        if newest > self.market.splits_read {
            for entry in
                view.entries(EntryKind::Split, None, self.market.splits_read, MAX_SPLITS)?
            {
                let terms: SplitTerms = entry.read()?;
                let parts = terms.parts();
                self.market.splits.insert((terms.model, terms.unit), parts);
            }
            self.market.splits_read = newest;
        }
        let newest = view.newest_entry(EntryKind::Reservation)?;
        if newest > self.market.bookings_read {
            self.market.bookings = current(view, now)?;
            self.market.bookings_read = newest;
        }
        self.state_supply(view, now)
    }

    fn state_supply(
        &mut self,
        view: &dyn Queries,
        now: UnixSeconds,
    ) -> Result<Option<Effect>, BrokerError> {
        let day = supply::day_closed(now);
        if self.market.stating || self.market.stated.is_some_and(|stated| stated >= day) {
            return Ok(None);
        }
        if !supply::is_due(view, day)? {
            self.market.stated = Some(day);
            return Ok(None);
        }
        self.market.stating = true;
        let statement = supply::state(view, self.keys.root(), day, now)?.bytes().to_vec();
        let leaf = Leaf::Supply { statement: Bytes(statement.clone()) }.to_vec();
        let command = Command::PutSupply { day, statement, leaf };
        Ok(Some(self.commit_one(command, Purpose::Supply)))
    }

    /// Asked for again at a later tick where it did not happen.
    pub(super) fn supply_stated(&mut self) {
        self.market.stating = false;
    }

    /// Who earns what of a charge for a model: its own split, else the one for every model.
    pub(super) fn split(&self, model: &str, unit: &Unit) -> Vec<Part> {
        let of = |name: &str| self.market.splits.get(&(name.to_owned(), unit.clone()));
        of(model).or_else(|| of(EVERY_MODEL)).cloned().unwrap_or_default()
    }

    /// Requests at once an account has booked at `now`.
    pub fn booked_slots(&self, account: AccountNumber, now: UnixSeconds) -> u32 {
        slots(&self.market.bookings, account, now)
    }
}
