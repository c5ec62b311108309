//! What the broker says there is: enclaves and the models they serve. Hints only: keys come from
//! evidence, prices from the signed book.

use bulla_wire::ids::{Digest, InstanceId};
use bulla_wire::receipt::SecurityMode;
use bulla_wire::units::{TokenCount, UnixSeconds};
use serde::{Deserialize, Serialize};

/// Most enclaves in one list.
pub const MAX_ENCLAVES: usize = 1_000;

/// `GET /v1/enclaves`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The enclaves.
    pub enclaves: Vec<EnclaveEntry>,
}

/// One enclave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclaveEntry {
    /// Its name.
    pub instance: InstanceId,
    /// The keyset it serves under now.
    pub keyset_digest: Digest,
    /// What the broker's own appraisal found.
    pub security: SecurityMode,
    /// What it serves.
    pub models: Vec<ServedModel>,
    /// End of its keyset.
    pub not_after: UnixSeconds,
}

/// One model of an enclave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedModel {
    /// The name people use.
    pub name: String,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Longest context, in tokens.
    pub context_tokens: TokenCount,
    /// Class of its accelerators: prices may differ by it.
    #[serde(default)]
    pub accelerator: String,
}

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not JSON of the expected shape.
    #[error("malformed enclave list: {reason}")]
    Malformed {
        /// What the reader says.
        reason: String,
    },
    /// More than [`MAX_ENCLAVES`].
    #[error("enclave list has {got} entries, at most {MAX_ENCLAVES} are allowed")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// Nobody serves the model.
    #[error("no enclave serves model {name:?} (manifest {manifest}) now: try again later")]
    NotServed {
        /// The model.
        name: String,
        /// Its manifest.
        manifest: Digest,
    },
}

impl Catalogue {
    /// Reads the list.
    pub fn from_json(bytes: &[u8]) -> Result<Catalogue, CatalogueError> {
        let catalogue: Catalogue = serde_json::from_slice(bytes)
            .map_err(|e| CatalogueError::Malformed { reason: e.to_string() })?;
        match catalogue.enclaves.len() {
            got if got > MAX_ENCLAVES => Err(CatalogueError::TooMany { got }),
            _ => Ok(catalogue),
        }
    }

    /// The class of accelerators an instance serves a manifest on.
    pub fn class(&self, instance: &InstanceId, manifest: &Digest) -> &str {
        let enclave = self.enclaves.iter().find(|enclave| enclave.instance == *instance);
        let models = enclave.iter().flat_map(|enclave| &enclave.models);
        let mut models = models.filter(|model| model.manifest == *manifest);
        models.next().map_or("", |model| &model.accelerator)
    }

    /// The instances that serve a manifest, in the broker's order, and the shortest context among
    /// them: ceilings must hold wherever the request ends up.
    pub fn serving(
        &self,
        name: &str,
        manifest: &Digest,
    ) -> Result<(Vec<InstanceId>, TokenCount), CatalogueError> {
        let mut instances = Vec::new();
        let mut context: Option<TokenCount> = None;
        for enclave in &self.enclaves {
            let Some(model) = enclave.models.iter().find(|m| m.manifest == *manifest) else {
                continue;
            };
            instances.push(enclave.instance.clone());
            let tokens = model.context_tokens;
            context = Some(context.map_or(tokens, |least| least.min(tokens)));
        }
        let not_served =
            || CatalogueError::NotServed { name: name.to_owned(), manifest: *manifest };
        Ok((instances, context.ok_or_else(not_served)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(instance: &str, manifest: u8, context: u64) -> EnclaveEntry {
        let manifest = Digest([manifest; 32]);
        let name = "m".to_owned();
        let context_tokens = TokenCount(context);
        EnclaveEntry {
            instance: instance.parse().unwrap(),
            keyset_digest: Digest([0; 32]),
            security: SecurityMode::Simulated,
            models: vec![ServedModel {
                name,
                manifest,
                context_tokens,
                accelerator: "cpu".to_owned(),
            }],
            not_after: UnixSeconds(1),
        }
    }

    #[test]
    fn finds_who_serves_a_manifest_and_the_shortest_context() {
        let enclaves = vec![entry("a", 1, 4096), entry("b", 2, 10), entry("c", 1, 2048)];
        let json = serde_json::to_vec(&Catalogue { enclaves }).unwrap();
        let catalogue = Catalogue::from_json(&json).unwrap();
        let (instances, context) = catalogue.serving("m", &Digest([1; 32])).unwrap();
        assert_eq!(instances, ["a".parse().unwrap(), "c".parse().unwrap()]);
        assert_eq!(context, TokenCount(2048));
        let got = catalogue.serving("m", &Digest([9; 32])).unwrap_err();
        assert!(matches!(got, CatalogueError::NotServed { .. }));
    }
}
