//! From the documents given to the values a policy may rely on.

use bulla_wire::units::UnixSeconds;

use super::{Instant, Manifest, RootDocument};
use crate::hex::Hex;
use crate::policy::ManifestReference;

/// Documents as they were found beside a policy: roots and manifests in any order. What is neither
/// is kept with the reason, so that a verdict can say what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferenceDocuments {
    roots: Vec<RootDocument>,
    manifests: Vec<Manifest>,
    unread: Vec<String>,
}

/// The manifests a policy names, each with what became of it. Signatures are verified here, once;
/// dates at every appraisal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferenceValues {
    named: Vec<(String, ManifestState)>,
}

/// What became of one manifest that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestState {
    /// Signed as the newest root asks.
    Genuine {
        /// The manifest.
        manifest: Box<Manifest>,
        /// When the newest root ends.
        root_expires: Instant,
    },
    /// Not to be relied on.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Everything the manifests list, by kind of TEE and register. Which values belong together is the
/// check `reference_values`.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) snp: Vec<Hex<48>>,
    pub(crate) mrtds: Vec<Hex<48>>,
    pub(crate) rtmrs: [Vec<Hex<48>>; 4],
    pub(crate) csv: Vec<Hex<32>>,
}

impl ReferenceDocuments {
    /// No documents.
    pub fn none() -> ReferenceDocuments {
        ReferenceDocuments::default()
    }

    /// Reads one more document, `name`d for people.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let as_root = RootDocument::from_json(bytes);
        let as_manifest = Manifest::from_json(bytes);
        match (as_root, as_manifest) {
            (Ok(root), _) => self.roots.push(root),
            (_, Ok(manifest)) => self.manifests.push(manifest),
            (Err(root), Err(manifest)) => {
                let says_root = bytes_contain(bytes, super::RootBody::KIND);
                let reason = if says_root { root.to_string() } else { manifest.to_string() };
                self.unread.push(format!("{name}: {reason}"));
            }
        }
    }
}

/// Whether a document says it is of `kind`: chooses the error shown, nothing else.
fn bytes_contain(bytes: &[u8], kind: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(kind)
}

impl ReferenceValues {
    /// Resolves what a policy names among the documents given.
    pub(crate) fn resolve(
        named: &[ManifestReference],
        documents: &ReferenceDocuments,
    ) -> ReferenceValues {
        let state = |reference: &ManifestReference| match documents.genuine(reference) {
            Ok((manifest, root)) => ManifestState::Genuine {
                manifest: Box::new(manifest.clone()),
                root_expires: root.body().expires,
            },
            Err(reason) => ManifestState::Refused { reason },
        };
        let named = named.iter().map(|reference| (reference.name.clone(), state(reference)));
        ReferenceValues { named: named.collect() }
    }

    /// The manifests by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ManifestState)> {
        self.named.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Those that are genuine.
    pub fn genuine(&self) -> impl Iterator<Item = &Manifest> {
        self.iter().filter_map(|(_, state)| match state {
            ManifestState::Genuine { manifest, .. } => Some(&**manifest),
            ManifestState::Refused { .. } => None,
        })
    }

    /// What is wrong with one of them at the instant `now`: the first thing found.
    pub fn problem(&self, now: UnixSeconds) -> Option<String> {
        self.iter().find_map(|(name, state)| match state {
            ManifestState::Refused { reason } => Some(format!("{name}: {reason}")),
            ManifestState::Genuine { manifest, root_expires } => {
                let body = manifest.body();
                if body.expires.0 <= now {
                    Some(format!("{name}: expired {}", body.expires))
                } else if body.issued.0 > now {
                    Some(format!("{name}: issued {}, after the time of judgement", body.issued))
                } else if root_expires.0 <= now {
                    Some(format!("{name}: its root expired {root_expires}"))
                } else {
                    None
                }
            }
        })
    }

    pub(crate) fn measured(&self) -> Measured {
        let mut all = Measured::default();
        for image in self.genuine().flat_map(|manifest| &manifest.body().images) {
            all.snp.extend(image.snp.iter().map(|values| values.measurement));
            all.csv.extend(image.csv.iter().map(|values| values.measurement));
            for values in &image.tdx {
                all.mrtds.push(values.mrtd);
                for (listed, register) in all.rtmrs.iter_mut().zip(values.rtmrs()) {
                    listed.extend(*register);
                }
            }
        }
        all
    }
}

impl ReferenceDocuments {
    /// The newest manifest of this name, signed under the newest root that follows from the pinned
    /// one.
    fn genuine(&self, wanted: &ManifestReference) -> Result<(&Manifest, &RootDocument), String> {
        if let Some(reason) = self.unread.first() {
            return Err(reason.clone());
        }
        let root = self.newest_root(wanted)?;
        let candidates = self.manifests.iter().filter(|m| m.body().name == wanted.name);
        let newest = candidates.max_by_key(|manifest| manifest.body().version);
        let manifest = newest.ok_or("not given")?;
        let version = manifest.body().version;
        let of_version =
            |m: &&Manifest| m.body().name == wanted.name && m.body().version == version;
        if self.manifests.iter().filter(of_version).any(|m| m.digest() != manifest.digest()) {
            return Err(format!("two manifests of version {version}"));
        }
        manifest.signed_by(&root.body().manifests).map_err(|error| error.to_string())?;
        if version < wanted.minimum_version {
            let minimum = wanted.minimum_version;
            return Err(format!("version {version}, the policy asks {minimum} or newer"));
        }
        Ok((manifest, root))
    }

    /// Follows rotations from the pinned root to the newest.
    fn newest_root(&self, wanted: &ManifestReference) -> Result<&RootDocument, String> {
        let mut newest =
            self.roots.iter().find(|root| root.digest() == wanted.root).ok_or_else(|| {
                format!("the root the policy pins was not given: {}", wanted.root)
            })?;
        loop {
            let next_version = newest.body().version.saturating_add(1);
            let is_next = |root: &&RootDocument| {
                root.body().name == newest.body().name && root.body().version == next_version
            };
            let mut next = self.roots.iter().filter(is_next);
            let Some(following) = next.next() else { return Ok(newest) };
            newest.is_followed_by(following).map_err(|error| error.to_string())?;
            if next.any(|other| other.digest() != following.digest()) {
                return Err(format!("two roots of version {next_version}"));
            }
            newest = following;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ManifestBody, RootBody};

    #[test]
    fn what_does_not_read_is_told_as_what_it_says_it_is() {
        let told = |kind: &str| {
            let text = format!(r#"{{"body":{{"kind":"{kind}"}},"signatures":[]}}"#);
            let mut documents = ReferenceDocuments::none();
            documents.add("a.json", text.as_bytes());
            let as_root = RootDocument::from_json(text.as_bytes()).unwrap_err();
            let as_manifest = Manifest::from_json(text.as_bytes()).unwrap_err();
            assert_ne!(as_root.to_string(), as_manifest.to_string());
            (
                documents.unread.remove(0),
                format!("a.json: {as_root}"),
                format!("a.json: {as_manifest}"),
            )
        };
        let (got, as_root, _) = told(RootBody::KIND);
        assert_eq!(got, as_root);
        let (got, _, as_manifest) = told(ManifestBody::KIND);
        assert_eq!(got, as_manifest);
    }
}
