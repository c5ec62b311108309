//! A bounded store that forgets what was not asked for lately.

use std::collections::BTreeMap;

use bulla_wire::ids::Digest;

/// Two generations. What is added or found goes into the young one; when that has reached its
/// capacity it becomes the old one, and what the old one held is forgotten. So the store holds at
/// most twice its capacity, and nothing is forgotten that was used within the last capacity's worth.
#[derive(Debug)]
pub(crate) struct Generations<V> {
    capacity: usize,
    young: BTreeMap<Digest, (V, usize)>,
    young_weight: usize,
    old: BTreeMap<Digest, (V, usize)>,
}

impl<V: Clone> Generations<V> {
    /// An empty store; `capacity` is the weight of one generation.
    pub fn new(capacity: usize) -> Generations<V> {
        Generations { capacity, young: BTreeMap::new(), young_weight: 0, old: BTreeMap::new() }
    }

    /// What is stored under `name`.
    pub fn find(&mut self, name: &Digest) -> Option<V> {
        if let Some((value, _)) = self.young.get(name) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(name)?;
        self.add(*name, value.clone(), weight);
        Some(value)
    }

    /// Stores `value`; what weighs more than a whole generation is not kept.
    pub fn add(&mut self, name: Digest, value: V, weight: usize) {
        if weight > self.capacity {
            return;
        }
        if self.young_weight + weight > self.capacity {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += weight;
        if let Some((_, replaced)) = self.young.insert(name, (value, weight)) {
            self.young_weight -= replaced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> Digest {
        Digest([n; 32])
    }

    #[test]
    fn holds_at_most_two_generations() {
        let mut store = Generations::new(10);
        for n in 0..200 {
            store.add(name(n), n, 1);
            let held = store.young.len() + store.old.len();
            assert!(held <= 20 && store.young_weight == store.young.len(), "{held}");
        }
        assert_eq!(store.find(&name(199)), Some(199));
        assert_eq!(store.find(&name(100)), None);
    }

    #[test]
    fn keeps_what_is_in_use() {
        let mut store = Generations::new(10);
        store.add(name(255), 255, 1);
        for n in 0..200 {
            store.add(name(n), n, 1);
            assert_eq!(store.find(&name(255)), Some(255), "after {n}");
        }
    }

    #[test]
    fn a_generation_is_filled_to_its_capacity() {
        let mut store = Generations::new(10);
        for n in 0..10 {
            store.add(name(n), n, 1);
        }
        assert_eq!((store.young.len(), store.old.len()), (10, 0));
        store.add(name(10), 10, 10);
        assert_eq!((store.young.len(), store.old.len()), (1, 10));
        store.add(name(11), 11, 11);
        assert_eq!(store.find(&name(11)), None);
        assert_eq!(store.find(&name(10)), Some(10));
    }

    #[test]
    fn what_is_replaced_weighs_nothing_any_more() {
        let mut store = Generations::new(20);
        store.add(name(1), 1, 6);
        store.add(name(1), 2, 7);
        assert_eq!((store.young_weight, store.find(&name(1))), (7, Some(2)));
    }

    #[test]
    fn weighs_what_it_holds() {
        let mut store = Generations::new(10);
        store.add(name(1), 1, 11);
        assert_eq!(store.find(&name(1)), None);
        store.add(name(2), 2, 6);
        store.add(name(2), 2, 6);
        store.add(name(3), 3, 6);
        store.add(name(4), 4, 6);
        let found = [2, 3, 4].map(|n| store.find(&name(n)));
        assert_eq!(found[0], None);
        assert!(found[2].is_some());
    }
}
