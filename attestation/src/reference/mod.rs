//! Reference values (RFC 9334): signed manifests that say which measurements belong to which
//! image, under a root whose keys rotate by threshold.
//!
//! Documents are JSON that people can read; what is signed is the JCS form (RFC 8785) of `signed`
//! behind a line that names its kind, so white space and member order are nobody's business and
//! nothing else is left open.
//!
//! * [`RootDocument`]: who may sign manifests and who may sign the next root, each a threshold of
//!   keys. A policy pins one root document by digest; from there, version n + 1 counts when k of
//!   version n's root keys and k of its own signed it. Skipping back is impossible, two documents
//!   of one version are refused, and the newest one must not have expired.
//! * [`Manifest`]: the images and models of one line of releases, signed by the newest root's
//!   manifest keys, with a version that only grows and a date at which it ends.
//!
//! Left out, visibly: nothing here remembers the newest version seen; a policy's
//! `minimum_version` and the manifest's end bound how old a manifest can be shown.

mod envelope;
mod instant;
mod judge;
mod manifest;
mod resolve;
mod root;
mod sign;

pub use envelope::{DocumentError, SignatureEntry};
pub use instant::Instant;
pub(crate) use judge::judge;
pub use manifest::{
    CsvValues, Image, Manifest, ManifestBody, Model, SnpValues, TdxValues, VtpmValues,
};
pub use resolve::{ManifestState, ReferenceDocuments, ReferenceValues};
pub use root::{Role, RootBody, RootDocument, RotationError};
pub use sign::{Described, add_signature, describe};

#[cfg(test)]
mod tests {
    use bulla_wire::ids::PublicKey;
    use bulla_wire::units::UnixSeconds;

    use super::envelope::Envelope;
    use super::*;
    use crate::sign::SigningKey;

    fn root_body(keys: u8) -> RootBody {
        let role = |keys: u8| Role { threshold: 1, keys: (0..keys).map(public).collect() };
        RootBody {
            kind: RootBody::KIND.to_owned(),
            name: "example".to_owned(),
            version: 1,
            expires: Instant(UnixSeconds(1)),
            root: role(keys),
            manifests: role(1),
        }
    }

    fn public(n: u8) -> PublicKey {
        PublicKey([n; 32])
    }

    fn manifest_body(images: Vec<Image>) -> ManifestBody {
        ManifestBody {
            kind: ManifestBody::KIND.to_owned(),
            name: "example".to_owned(),
            version: 1,
            issued: Instant(UnixSeconds(0)),
            expires: Instant(UnixSeconds(1)),
            images,
            models: Vec::new(),
        }
    }

    fn image(entries: usize) -> Image {
        let csv = vec![CsvValues { measurement: crate::hex::Hex([0; 32]) }; entries];
        let (snp, tdx, vtpm) = (Vec::new(), Vec::new(), Vec::new());
        Image { name: String::new(), snp, tdx, vtpm, csv }
    }

    #[test]
    fn lists_have_their_limits() {
        assert!(root_body(16).check().is_ok() && root_body(17).check().is_err());
        let check = |images| manifest_body(images).check();
        assert!(check(vec![image(4096), image(0)]).is_ok());
        assert!(check(vec![image(0), image(4097)]).is_err());
        assert!(check(vec![image(1); 4096]).is_ok());
        assert!(check(vec![image(1); 4097]).is_err());
    }

    #[test]
    fn a_document_has_at_most_32_signatures() {
        let key = SigningKey::from_seed([7; 32]);
        let read = |count: usize| {
            let signed = Envelope::sign(root_body(1), &vec![&key; count]).unwrap();
            Envelope::<RootBody>::from_json(signed.to_json().as_bytes()).is_ok()
        };
        assert!(read(32) && !read(33));
    }

    #[test]
    fn documents_have_their_limits() {
        let root = |bytes: usize| RootDocument::from_json(&vec![b' '; bytes]).err();
        let manifest = |bytes: usize| Manifest::from_json(&vec![b' '; bytes]).err();
        let is_read = |got| matches!(got, Some(DocumentError::Malformed { .. }));
        let is_long = |got| matches!(got, Some(DocumentError::TooLong { .. }));
        assert!(is_read(root(64 * 1024)) && is_long(root(64 * 1024 + 1)));
        assert!(is_read(manifest(4 * 1024 * 1024)) && is_long(manifest(4 * 1024 * 1024 + 1)));
    }
}
