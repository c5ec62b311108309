//! `--ear FILE --ear-key FILE`: the verdict for other verifiers' customers, signed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bulla_attestation::ear::{Dialect, Ear, VerifierId};
use bulla_attestation::sign::SigningKey;
use clap::{Args, ValueEnum};
use data_encoding::{BASE64, HEXLOWER};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use zeroize::Zeroizing;

use super::judge::Appraisal;
use crate::io::folder::read_limited;
use crate::io::system::now;

/// Largest key file, in bytes.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// How claims are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EarDialect {
    /// draft-ietf-rats-ear-04
    Draft04,
    /// What Veraison and Trustee release: `ear.status`
    Veraison2023,
}

/// Where an EAR goes and who signs it.
#[derive(Debug, Clone, Default, Args)]
pub struct EarOutput {
    /// Write the verdict besides as an EAT attestation result: a CWT where the name ends in .cwt, else
    /// a JWT
    #[arg(long, value_name = "FILE", requires = "ear_key")]
    pub ear: Option<PathBuf>,
    /// Key that signs it, PKCS #8 in PEM or DER: Ed25519 (JWT and CWT) or P-256 (JWT)
    #[arg(long, value_name = "FILE", requires = "ear")]
    pub ear_key: Option<PathBuf>,
    /// How the JWT's claims are named [default: draft04]
    #[arg(long, value_name = "DIALECT", requires = "ear")]
    pub ear_dialect: Option<EarDialect>,
}

/// A key of one of the two kinds.
enum Key {
    Ed25519(Box<SigningKey>),
    P256(Box<EcdsaKeyPair>),
}

impl EarOutput {
    /// Writes the EAR of the one verdict there is, affirmed or refused.
    pub(super) fn write(&self, appraisal: &Appraisal, nonce: Option<&[u8]>) -> anyhow::Result<()> {
        let (Some(path), Some(key)) = (&self.ear, &self.ear_key) else { return Ok(()) };
        let [judged] = appraisal.judged.as_slice() else {
            bail!("--ear writes one verdict, and {} were reached", appraisal.judged.len());
        };
        let verifier = VerifierId {
            developer: "bulla".to_owned(),
            build: concat!("bulla ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let mut ear = Ear::new(&judged.result, verifier, now().seconds())?;
        if let Some(nonce) = nonce {
            ear = ear.answering(nonce)?;
        }
        let bytes = self.token(&ear, &Key::read(key)?, path)?;
        std::fs::write(path, bytes).with_context(|| path.display().to_string())
    }

    fn token(&self, ear: &Ear<'_>, key: &Key, path: &Path) -> anyhow::Result<Vec<u8>> {
        let dialect = match self.ear_dialect {
            None | Some(EarDialect::Draft04) => Dialect::Draft04,
            Some(EarDialect::Veraison2023) => Dialect::Veraison2023,
        };
        let is_cwt = path.extension().is_some_and(|extension| extension == "cwt");
        match key {
            Key::Ed25519(key) if is_cwt => Ok(ear.cwt(key)?),
            Key::Ed25519(key) => Ok(ear.jwt(dialect, key)?.into_bytes()),
            Key::P256(_) if is_cwt => bail!("a CWT is signed with an Ed25519 key"),
            Key::P256(key) => {
                let key_id = HEXLOWER.encode(
                    ring::digest::digest(&ring::digest::SHA256, key.public_key().as_ref()).as_ref(),
                );
                let unsigned = ear.unsigned_jwt(dialect, "ES256", &key_id)?;
                let signature = key
                    .sign(&SystemRandom::new(), unsigned.signing_input())
                    .map_err(|_| anyhow::anyhow!("the P-256 key does not sign"))?;
                Ok(unsigned.with_signature(signature.as_ref()).into_bytes())
            }
        }
    }
}

/// An Ed25519 key in PKCS #8.
pub(in crate::commands) fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    match Key::read(path)? {
        Key::Ed25519(key) => Ok(*key),
        Key::P256(_) => bail!("{}: an Ed25519 key is needed", path.display()),
    }
}

impl Key {
    fn read(path: &Path) -> anyhow::Result<Key> {
        let bytes = Zeroizing::new(read_limited(path, MAX_KEY_BYTES)?);
        if let Some(key) = SigningKey::from_pkcs8(&bytes) {
            return Ok(Key::Ed25519(Box::new(key)));
        }
        let der = Zeroizing::new(of_pem(&bytes).unwrap_or_else(|| bytes.to_vec()));
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new())
            .map(|key| Key::P256(Box::new(key)))
            .map_err(|_| {
                anyhow::anyhow!(
                    "{}: not a key in PKCS #8 of Ed25519 or P-256, as \
                     `openssl genpkey -algorithm ed25519` writes them",
                    path.display()
                )
            })
    }
}

/// The bytes between the lines of a PEM private key.
fn of_pem(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let digits: String = body.split_whitespace().collect();
    BASE64.decode(digits.as_bytes()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn reads_the_two_kinds_of_key_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = folder.path().join("key");
            std::fs::write(&path, bytes).unwrap();
            Key::read(&path)
        };
        let Ok(Key::Ed25519(key)) = read(ED25519.as_bytes()) else { panic!("no Ed25519") };
        assert_eq!(key.public(), SigningKey::from_seed([7; 32]).public());
        let p256 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .unwrap();
        assert!(matches!(read(p256.as_ref()), Ok(Key::P256(_))));
        for bad in [b"".as_slice(), b"-----BEGIN PRIVATE KEY-----\nAAAA\n", &[7; 32]] {
            assert!(read(bad).err().unwrap().to_string().contains("PKCS #8"));
        }
    }
}
