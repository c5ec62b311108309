//! The lock file: what an image is made of that is not in this repository, by name, version and
//! hash. Where a package is fetched from is the business of the machine that fetches it.

use serde::{Deserialize, Serialize};

/// Longest lock file, in bytes.
pub const MAX_LOCK_BYTES: u64 = 64 * 1024;

/// What is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The compiler, as `rustc --version` says.
    pub rustc: String,
    /// Debian's release, by its name.
    pub suite: String,
    /// The kernel.
    pub kernel: Package,
    /// Firmware for machines without a TEE (measured boot with a TPM).
    pub firmware: Package,
}

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Why a lock file, or what it locks, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Not TOML of the shape.
    #[error("lock file: {reason}")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// Other bytes than were locked.
    #[error("{name}: sha256 {expected} is locked, got {got}; another build of it is another image")]
    Digest {
        /// Package or tool.
        name: String,
        /// As locked.
        expected: String,
        /// As found.
        got: String,
    },
    /// Another compiler than was locked.
    #[error(
        "the lock file says {expected:?}, this is {got:?}: install that toolchain, or lock anew"
    )]
    Compiler {
        /// As locked.
        expected: String,
        /// As found.
        got: String,
    },
    /// apt tells of the package without saying what the lock file must know.
    #[error("apt says nothing of {field} of {name}; run apt-get update")]
    Index {
        /// Package.
        name: String,
        /// Field of its description.
        field: &'static str,
    },
}

impl Lock {
    /// Reads a lock file.
    pub fn from_toml(text: &str) -> Result<Lock, LockError> {
        toml::from_str(text)
            .map_err(|e| LockError::Malformed { reason: e.to_string().trim().to_owned() })
    }

    /// Writes one.
    pub fn to_toml(&self) -> String {
        let head = "# What the sealed image is made of beside this repository. Written by\n\
                    # `bulla image lock --update`; packages come by the machine's own apt.\n";
        format!("{head}{}", toml::to_string(self).unwrap_or_default())
    }

    /// That the compiler is the locked one.
    pub fn check_compiler(&self, got: &str) -> Result<(), LockError> {
        match got == self.rustc {
            true => Ok(()),
            false => {
                let (expected, got) = (self.rustc.clone(), got.to_owned());
                Err(LockError::Compiler { expected, got })
            }
        }
    }
}

impl Package {
    /// Reads what `apt-cache show` tells of one version.
    pub fn from_index(text: &str) -> Result<Package, LockError> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::trim)
        };
        let name = field("Package").unwrap_or("a package").to_owned();
        let wanted = |key: &'static str| {
            field(key).ok_or(LockError::Index { name: name.clone(), field: key })
        };
        Ok(Package {
            version: wanted("Version")?.to_owned(),
            architecture: wanted("Architecture")?.to_owned(),
            sha256: wanted("SHA256")?.to_owned(),
            bytes: wanted("Size")?
                .parse()
                .map_err(|_| LockError::Index { name: name.clone(), field: "Size" })?,
            name,
        })
    }

    /// The file's name, as apt writes it.
    pub fn file_name(&self) -> String {
        let version = self.version.replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    /// That these bytes are the locked ones.
    pub fn check(&self, sha256: [u8; 32]) -> Result<(), LockError> {
        let got = crate::hash::hex(&sha256);
        match got == self.sha256 {
            true => Ok(()),
            false => {
                let (name, expected) = (self.name.clone(), self.sha256.clone());
                Err(LockError::Digest { name, expected, got })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "Package: ovmf\nVersion: 2:1.0-8\nArchitecture: all\nSHA256: 00ff\n\
                         Size: 12\nDescription: x\n";

    #[test]
    fn reads_what_apt_tells() {
        let package = Package::from_index(INDEX).unwrap();
        assert_eq!(package.file_name(), "ovmf_2%3a1.0-8_all.deb");
        for field in ["Version", "SHA256", "Size", "Architecture"] {
            let lacking = INDEX.replace(field, "Other");
            let got = Package::from_index(&lacking);
            assert_eq!(got, Err(LockError::Index { name: "ovmf".into(), field }));
        }
    }

    #[test]
    fn the_lock_file_of_this_repository_reads_and_refuses_other_bytes() {
        let lock = Lock::from_toml(include_str!("../../lock.toml")).unwrap();
        assert_eq!(Lock::from_toml(&lock.to_toml()), Ok(lock.clone()));
        assert!(matches!(lock.kernel.check([0; 32]), Err(LockError::Digest { .. })));
        assert!(matches!(lock.check_compiler("rustc 1.0"), Err(LockError::Compiler { .. })));
    }

    #[test]
    fn no_registry_host_is_in_it() {
        let text = include_str!("../../lock.toml");
        assert!(!text.contains("://") && !text.contains(".org"));
    }
}
