//! What is at hand for an appraisal: what was given, and what the cache adds.

use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::tee::snp::product::ProductLine;

use super::cache::{Cache, CacheError, Kept};
use crate::endorsements::{Material, Need, Needs};

/// Rounds of asking: what is found (a manifest) may need more (OCSP answers about its signers).
const MAX_ROUNDS: usize = 3;
/// Most endorsements taken from the cache (ours; the verifier looks at 64 in all).
const MAX_TAKEN: usize = 48;

/// Given and kept endorsements, and what is missing still.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// What is needed, and remarks.
    pub needs: Needs,
    /// From the cache.
    pub kept: Vec<Kept>,
    /// Neither given nor kept.
    pub missing: Vec<Need>,
    given: Endorsements,
}

impl Gathered {
    /// Gathers for `material` at the second `now`.
    pub fn gather(
        material: &Material,
        cache: Option<&Cache>,
        line: Option<ProductLine>,
        now: i64,
    ) -> Result<Gathered, CacheError> {
        let own = || material.endorsements.iter().map(Vec::as_slice);
        let given = Endorsements::sort(own());
        let mut gathered = Gathered { given: given.clone(), ..Gathered::default() };
        let mut at_hand = given;
        for _ in 0..MAX_ROUNDS {
            let needs = material.needs(&at_hand, line);
            let is_same = needs.needs == gathered.needs.needs && !gathered.needs.needs.is_empty();
            gathered.needs = needs;
            if is_same {
                break;
            }
            // What was given comes first; the cache fills gaps.
            let open = gathered.needs.missing(&gathered.given, now);
            gathered.kept = match cache {
                Some(cache) => cache.meeting(&open, now)?,
                None => Vec::new(),
            };
            gathered.kept.truncate(MAX_TAKEN);
            at_hand = Endorsements::sort(own().chain(gathered.taken()));
        }
        gathered.missing = gathered.needs.missing(&at_hand, now);
        Ok(gathered)
    }

    /// What was taken from the cache.
    pub fn taken(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.iter().map(|kept| kept.bytes.as_slice())
    }

    /// Whether `need` was met by what was given.
    pub fn is_given(&self, need: &Need, now: i64) -> bool {
        crate::endorsements::is_met(&self.given, need, now)
    }
}
