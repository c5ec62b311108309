//! Policy for reference values: which signed manifests say what may run.

use serde::Deserialize;

use bulla_wire::ids::Digest;

use super::PolicyError;

/// Most manifests one policy names (ours).
const MAX_MANIFESTS: usize = 16;
/// Most files one manifest comes in: itself and the root documents of its rotations (ours).
const MAX_FILES: usize = 64;
/// Longest file name beside a policy, in bytes.
const MAX_FILE_NAME_BYTES: usize = 200;

/// The manifests a policy takes its measurements from, beside those it lists itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRule {
    /// The manifests; all of them must be there, genuine and in force.
    pub manifests: Vec<ManifestReference>,
}

/// One manifest, by name and by the root it hangs from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestReference {
    /// The name the manifest gives itself.
    pub name: String,
    /// SHA-256 of the canonical form of a root document the reader of this policy has checked;
    /// later roots must follow from it by rotation.
    pub root: Digest,
    /// Oldest version taken: an older one is a rollback.
    pub minimum_version: u64,
    /// Where the documents are, relative to the policy: the manifest, and root documents.
    pub files: Vec<String>,
}

impl ReferenceRule {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if self.manifests.len() > MAX_MANIFESTS {
            let reason = format!("at most {MAX_MANIFESTS} manifests, got {}", self.manifests.len());
            return Err(PolicyError::ReferenceValues { reason });
        }
        for (index, manifest) in self.manifests.iter().enumerate() {
            let earlier = self.manifests.iter().take(index);
            if earlier.into_iter().any(|earlier| earlier.name == manifest.name) {
                let reason = format!("two manifests named {:?}", manifest.name);
                return Err(PolicyError::ReferenceValues { reason });
            }
            if manifest.files.is_empty() || manifest.files.len() > MAX_FILES {
                let got = manifest.files.len();
                let reason = format!("{:?}: 1 to {MAX_FILES} files, got {got}", manifest.name);
                return Err(PolicyError::ReferenceValues { reason });
            }
            manifest.files.iter().try_for_each(|file| beside_the_policy(file))?;
        }
        Ok(())
    }
}

/// A file name that stays in the policy's folder or below it.
pub(super) fn beside_the_policy(file: &str) -> Result<(), PolicyError> {
    let part_is_plain = |part: &str| !matches!(part, "" | "." | "..");
    let is_plain = file.len() <= MAX_FILE_NAME_BYTES
        && !file.contains(['\\', ':', '\0'])
        && file.split('/').all(part_is_plain);
    match is_plain {
        true => Ok(()),
        false => Err(PolicyError::FileName { file: file.chars().take(80).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(manifests: usize, files: usize) -> bool {
        let manifest = |n: usize| ManifestReference {
            name: format!("{n}"),
            root: Digest([0; 32]),
            minimum_version: 1,
            files: vec!["file.json".to_owned(); files],
        };
        let rule = ReferenceRule { manifests: (0..manifests).map(manifest).collect() };
        match rule.check() {
            Ok(()) => true,
            Err(error) => {
                assert!(matches!(error, PolicyError::ReferenceValues { .. }), "{error}");
                false
            }
        }
    }

    #[test]
    fn so_many_manifests_of_so_many_files_may_be_named() {
        assert!(is_taken(0, 0) && is_taken(MAX_MANIFESTS, 1) && is_taken(1, MAX_FILES));
        assert!(!is_taken(MAX_MANIFESTS + 1, 1));
        assert!(!is_taken(1, 0) && !is_taken(1, MAX_FILES + 1));
    }

    #[test]
    fn a_file_stays_in_the_policys_folder_or_below_it() {
        for plain in ["a.json", "x/y.json", "..a", &"a".repeat(200)] {
            assert_eq!(beside_the_policy(plain), Ok(()), "{plain}");
        }
        let other = ["", "/a", "../a", "a/../b", "a/./b", "a//b", "a\\b", "c:b", "a\0b"];
        for file in other.into_iter().chain([&*"a".repeat(201)]) {
            let refused = beside_the_policy(file);
            assert!(matches!(refused, Err(PolicyError::FileName { .. })), "{file:?}: {refused:?}");
        }
    }
}
