//! Virtual token counters: whoever has had the least service for its weight is next.
//!
//! After "Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024): a counter per
//! tenant grows by what it was served; a tenant that comes back is lifted to the least counter of
//! those that are there, so that nobody saves up credit while away.

use std::collections::BTreeMap;

use crate::request::{MAX_TENANT_WEIGHT, Tenant, TenantId};

/// What reading a prompt token costs.
const PROMPT_COST: u64 = 1;
/// What generating a token costs, as in the paper: it takes a step of its own.
const ANSWER_COST: u64 = 2;
/// Tenants whose counters are remembered while they are away. The least served are forgotten
/// first, who lose nothing by it.
const MAX_ABSENT_TENANTS: usize = 4096;

/// The counters.
#[derive(Default)]
pub(crate) struct Counters {
    tenants: BTreeMap<TenantId, Counter>,
    /// Level of the tenant that left last: where a tenant starts that finds nobody.
    level: u64,
}

#[derive(Default)]
struct Counter {
    served: u64,
    /// Requests that wait or run.
    live: usize,
}

impl Counters {
    /// A request of `tenant` comes.
    pub fn arrive(&mut self, tenant: &Tenant) {
        let present = self.tenants.values().filter(|counter| counter.live > 0);
        let least = present.map(|counter| counter.served).min().unwrap_or(self.level);
        let counter = self.tenants.entry(tenant.id).or_default();
        if counter.live == 0 {
            counter.served = counter.served.max(least);
        }
        counter.live += 1;
    }

    /// A request of `tenant` has ended.
    pub fn leave(&mut self, tenant: &Tenant) {
        let Some(counter) = self.tenants.get_mut(&tenant.id) else { return };
        counter.live = counter.live.saturating_sub(1);
        if counter.live > 0 {
            return;
        }
        self.level = counter.served;
        let absent = self.tenants.iter().filter(|(_, counter)| counter.live == 0);
        if absent.clone().count() > MAX_ABSENT_TENANTS {
            let least = absent.min_by_key(|(_, counter)| counter.served).map(|(id, _)| *id);
            least.and_then(|id| self.tenants.remove(&id));
        }
    }

    /// `tenant` had this much of its prompts read.
    pub fn charge_prompt(&mut self, tenant: &Tenant, tokens: usize) {
        self.charge(tenant, tokens as u64 * PROMPT_COST);
    }

    /// `tenant` had a token generated.
    pub fn charge_answer(&mut self, tenant: &Tenant) {
        self.charge(tenant, ANSWER_COST);
    }

    fn charge(&mut self, tenant: &Tenant, cost: u64) {
        if let Some(counter) = self.tenants.get_mut(&tenant.id) {
            let weight = u64::from(tenant.weight.clamp(1, MAX_TENANT_WEIGHT));
            let share = cost.saturating_mul(u64::from(MAX_TENANT_WEIGHT)) / weight;
            counter.served = counter.served.saturating_add(share);
        }
    }

    /// What `tenant` was served, for its weight.
    pub fn served(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).map_or(0, |counter| counter.served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: u8, weight: u32) -> Tenant {
        Tenant { id: TenantId([name; 32]), weight }
    }

    #[test]
    fn weights_divide_the_cost() {
        let mut counters = Counters::default();
        let (light, heavy) = (tenant(1, 1), tenant(2, 4));
        counters.arrive(&light);
        counters.arrive(&heavy);
        counters.charge_answer(&light);
        (0..4).for_each(|_| counters.charge_answer(&heavy));
        assert_eq!(counters.served(&light.id), counters.served(&heavy.id));
    }

    #[test]
    fn nobody_saves_up_credit_and_nobody_sheds_debt_while_away() {
        let mut counters = Counters::default();
        let (a, b) = (tenant(1, 1), tenant(2, 1));
        counters.arrive(&a);
        counters.charge_prompt(&a, 100);
        counters.arrive(&b);
        assert_eq!(counters.served(&b.id), counters.served(&a.id), "b starts level");
        counters.charge_prompt(&a, 100);
        let debt = counters.served(&a.id);
        counters.leave(&a);
        counters.arrive(&a);
        assert_eq!(counters.served(&a.id), debt);
    }

    #[test]
    fn absent_tenants_are_bounded() {
        let mut counters = Counters::default();
        for n in 0..MAX_ABSENT_TENANTS as u32 + 10 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let tenant = Tenant { id: TenantId(id), weight: 1 };
            counters.arrive(&tenant);
            counters.charge_answer(&tenant);
            counters.leave(&tenant);
        }
        assert!(counters.tenants.len() <= MAX_ABSENT_TENANTS + 1);
    }
}
