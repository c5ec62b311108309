//! Passwords: Argon2id (RFC 9106), the salt from the caller's randomness.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Shortest password somebody may choose, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longest password, in bytes: more is no safer, and hashing it is work a stranger asks for.
pub const MAX_PASSWORD_BYTES: usize = 256;
/// Memory of one hash, in KiB; passes over it; lanes (OWASP's second recommended setting).
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Letters of a generated password: nothing that is easily mistaken.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";
/// Length of a generated password: five bits each.
const GENERATED_CHARS: usize = 24;

/// Why a password cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error(
        "a password has at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes"
    )]
    Length,
    /// The hash function refuses.
    #[error("the password cannot be hashed: {reason}")]
    Hash {
        /// What it says.
        reason: String,
    },
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let (memory_kib, passes, lanes) = COST;
    let params = Params::new(memory_kib, passes, lanes, None).map_err(failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash { reason: error.to_string() }
}

/// The PHC string to keep for a password.
pub fn hash(password: &str, rng: &mut dyn CryptoRng) -> Result<String, PasswordError> {
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::Length);
    }
    let mut salt = [0u8; 16];
    rng.fill_bytes(&mut salt);
    let hash: PasswordHash =
        hasher()?.hash_password_with_salt(password.as_bytes(), &salt).map_err(failed)?;
    Ok(hash.to_string())
}

/// Whether a password is the one that was hashed. An empty hash, of a user without password, takes
/// as long as any other and is never matched.
pub fn verify(password: &str, kept: &str) -> bool {
    // Made once with the cost above; the password to it is not known to anybody.
    const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$YnVsbGEtbm8tcGFzc3dvcmQ$\
                          HbqvzQFzIvTx6wFGk1oZ6qJyvO0zM8rY2Rk2t7zjJ0A";
    let password = &password.as_bytes()[..password.len().min(MAX_PASSWORD_BYTES + 1)];
    let known = !kept.is_empty();
    let Ok(parsed) = PasswordHash::new(if known { kept } else { NOBODY }) else { return false };
    let matches = Argon2::default().verify_password(password, &parsed).is_ok();
    known && matches && password.len() <= MAX_PASSWORD_BYTES
}

/// A password for somebody who has none yet: 120 random bits.
pub fn generate(rng: &mut dyn CryptoRng) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; GENERATED_CHARS]);
    rng.fill_bytes(bytes.as_mut());
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    Zeroizing::new(bytes.iter().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn a_password_is_matched_by_itself_only() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let kept = hash("correct horse battery", &mut rng).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(verify("correct horse battery", &kept));
        assert!(!verify("correct horse batter", &kept));
        assert_ne!(hash("correct horse battery", &mut rng).unwrap(), kept, "another salt");
        assert_eq!(hash("eleven char", &mut rng), Err(PasswordError::Length));
        assert_eq!(hash(&"x".repeat(257), &mut rng), Err(PasswordError::Length));
    }

    #[test]
    fn nobody_signs_in_without_a_password() {
        assert!(!verify("", ""));
        assert!(!verify("anything at all", ""));
        assert!(!verify("anything at all", "not a hash"));
        let dummy = PasswordHash::new(
            "$argon2id$v=19$m=19456,t=2,p=1$YnVsbGEtbm8tcGFzc3dvcmQ$\
             HbqvzQFzIvTx6wFGk1oZ6qJyvO0zM8rY2Rk2t7zjJ0A",
        );
        assert!(dummy.is_ok(), "an unknown user's attempt takes as long as a known one's");
    }

    #[test]
    fn a_generated_password_may_be_used() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let made = generate(&mut rng);
        assert_eq!(made.len(), GENERATED_CHARS);
        assert_ne!(*made, *generate(&mut rng));
        assert!(hash(&made, &mut rng).is_ok());
    }
}
