//! Reference values of a development image, published as a release would be: a root document, a signed
//! manifest, and policies that name them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bulla_attestation::reference::{Instant, Manifest, Role, RootBody, RootDocument};
use bulla_attestation::sign::SigningKey;
use bulla_broker::Setup;
use bulla_client::io::system::{SystemRng, now};
use bulla_enclave::io::attester::attestation_key;
use bulla_image::io::files;
use bulla_image::io::tpm::SoftwareTpm;
use bulla_image::measurement::{self, Issue};
use bulla_wire::units::UnixSeconds;

use super::guest::Guest;
use crate::up::folders::{DEVELOPMENT_POLICY, Folders};
use crate::up::roles::Rules;

/// How long a development image's manifest vouches.
const LIFE_SECONDS: u64 = 24 * 3600;
const ROOT: &str = "reference/root-1.json";
const MANIFEST: &str = "reference/manifest.json";

/// A TPM made anew, whose attestation key is learnt from itself.
pub struct Provisioned {
    /// Its state.
    pub folder: PathBuf,
    /// Its attestation key (DER SubjectPublicKeyInfo), a file relying parties name as a root.
    pub root: PathBuf,
}

/// Makes a TPM beside the image.
pub fn provision(guest: &Guest) -> anyhow::Result<Provisioned> {
    let folder = guest.folder.join("tpm");
    let key = SoftwareTpm::provision(&folder, |tpm| Ok(attestation_key(tpm)?))?;
    let root = guest.folder.join("attestation-key.der");
    files::write(&root, &key.spki())?;
    Ok(Provisioned { folder, root })
}

/// Publishes the image's reference values, in the log too, and writes the policies that judge by them: the client's
/// names the manifest, the broker's takes any image, so that what is refused is refused by the client.
pub fn publish(
    folders: &Folders,
    guest: &Guest,
    tpm: &Provisioned,
) -> anyhow::Result<(Rules, Manifest, u64)> {
    files::make_folder(&guest.folder.join("reference"))?;
    let (root_key, key) = (fresh_key(), fresh_key());
    let expires = Instant(UnixSeconds(now().seconds().0 + LIFE_SECONDS));
    let role = |key: &SigningKey| Role { threshold: 1, keys: vec![key.public()] };
    let root = RootDocument::sign(
        RootBody {
            kind: RootBody::KIND.to_owned(),
            name: "development".to_owned(),
            version: 1,
            expires,
            root: role(&root_key),
            manifests: role(&key),
        },
        &[&root_key],
    )?;
    let description = &guest.built.description;
    let image =
        measurement::image(description, &guest.built.kernel, &guest.built.initramfs, None, None)?;
    let name = description.name.clone();
    let issue = Issue { name: name.clone(), version: 1, issued: Instant(now().seconds()), expires };
    let manifest = Manifest::sign(measurement::manifest(issue, image), &[&key])?;
    files::write(&guest.folder.join(ROOT), root.to_json().as_bytes())?;
    files::write(&guest.folder.join(MANIFEST), manifest.to_json().as_bytes())?;
    let named = format!(
        "manifests = [{{ name = \"{name}\", root = \"{}\", minimum_version = 1, \
         files = [\"{ROOT}\", \"{MANIFEST}\"] }}]",
        root.digest()
    );
    let (leaf, _) = Setup::open(&folders.broker())?.log_reference_values(manifest.digest())?;
    let rules = Rules {
        broker: write_policy(&guest.folder.join("broker-policy.toml"), "manifests = []")?,
        client: write_policy(&guest.folder.join("client-policy.toml"), &named)?,
        simulated_roots: vec![tpm.root.clone()],
        published: true,
    };
    Ok((rules, manifest, leaf))
}

fn fresh_key() -> SigningKey {
    SigningKey::generate(&mut SystemRng::new())
}

/// The development policy for evidence of this kind alone.
fn write_policy(path: &Path, manifests: &str) -> anyhow::Result<PathBuf> {
    let policy = DEVELOPMENT_POLICY.replacen("manifests = []", manifests, 1);
    let (before, after) = policy.split_once("\ntees = [").context("the policy lists no TEEs")?;
    let (_, after) = after.split_once(']').context("the list of TEEs does not end")?;
    files::write(path, format!("{before}\ntees = [\"vtpm-dev\"]{after}").as_bytes())?;
    Ok(path.to_owned())
}
