//! The one kind of XML signature manifests carry (W3C XML Signature, RFC 6931): enveloped, over the
//! whole document, C14N 1.1, SHA-384, ECDSA with P-384.
//!
//! Nothing is negotiated: any other algorithm, transform, reference or order is refused, so that
//! what the signature covers cannot be moved.

use data_encoding::BASE64;
use ring::digest::{SHA384, digest};
use roxmltree::{Document, Node};

use super::{XmlError, c14n, compact_text, elements, is, only};

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N_11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const XML_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";

/// Most certificates of one signature (ours; NVIDIA's manifests carry 4).
const MAX_CERTIFICATES: usize = 16;
/// r || s of P-384.
const SIGNATURE_BYTES: usize = 96;

/// Why a document carries no signature we can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not exactly one `Signature` below the root.
    #[error("not exactly one signature below the root")]
    NotOne,
    /// A part is missing, doubled, out of order, or not the one algorithm there is.
    #[error("unexpected {part} in the signature")]
    Shape {
        /// Which part.
        part: &'static str,
    },
    /// No canonical form.
    #[error(transparent)]
    Xml(#[from] XmlError),
}

/// A signature taken apart; nothing of it is verified yet but the digest compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enveloped {
    /// Whether the document's digest is the one that is signed.
    pub digest_matches: bool,
    /// What the signature covers: `SignedInfo` in canonical form.
    pub signed_info: Vec<u8>,
    /// r || s, 96 bytes.
    pub signature: Vec<u8>,
    /// The certificates that came along, DER, the signer's first.
    pub certificates: Vec<Vec<u8>>,
}

impl Enveloped {
    /// Takes the signature of `document` apart and compares its digest.
    pub fn of(document: &Document<'_>) -> Result<Enveloped, SignatureError> {
        let root = document.root_element();
        let signature = only(root, DSIG, "Signature").ok_or(SignatureError::NotOne)?;
        let parts = elements(signature);
        let [info, value, key] = parts.as_slice() else { return shape("content") };
        if !is(*info, DSIG, "SignedInfo") || !is(*key, DSIG, "KeyInfo") {
            return shape("content");
        }
        let stated = stated_digest(*info)?;
        let canonical = c14n::document(document, Some(signature.id()))?;
        Ok(Enveloped {
            digest_matches: digest(&SHA384, &canonical).as_ref() == stated,
            signed_info: c14n::element(*info)?,
            signature: base64_of(*value, "SignatureValue")
                .filter(|bytes| bytes.len() == SIGNATURE_BYTES)
                .ok_or(SignatureError::Shape { part: "SignatureValue" })?,
            certificates: certificates(*key)?,
        })
    }
}

fn shape<T>(part: &'static str) -> Result<T, SignatureError> {
    Err(SignatureError::Shape { part })
}

fn base64_of(node: Node<'_, '_>, name: &str) -> Option<Vec<u8>> {
    let text = is(node, DSIG, name).then(|| compact_text(node)).flatten()?;
    BASE64.decode(text.as_bytes()).ok()
}

/// The digest in `SignedInfo`, whose every part must be the one that is known.
fn stated_digest(info: Node<'_, '_>) -> Result<Vec<u8>, SignatureError> {
    let parts = elements(info);
    let [canonicalization, method, reference] = parts.as_slice() else {
        return shape("SignedInfo");
    };
    says(*canonicalization, "CanonicalizationMethod", C14N_11)?;
    says(*method, "SignatureMethod", ECDSA_SHA384)?;
    if !is(*reference, DSIG, "Reference") || reference.attribute("URI") != Some("") {
        return shape("Reference");
    }
    let parts = elements(*reference);
    let [transforms, method, value] = parts.as_slice() else { return shape("Reference") };
    let list = elements(*transforms);
    let (true, [enveloped, canonical]) = (is(*transforms, DSIG, "Transforms"), list.as_slice())
    else {
        return shape("Transforms");
    };
    says(*enveloped, "Transform", ENVELOPED)?;
    says(*canonical, "Transform", C14N_11)?;
    says(*method, "DigestMethod", XML_SHA384)?;
    base64_of(*value, "DigestValue").ok_or(SignatureError::Shape { part: "DigestValue" })
}

/// `node` is called `name`, names `algorithm`, and holds no parameters.
fn says(node: Node<'_, '_>, name: &'static str, algorithm: &str) -> Result<(), SignatureError> {
    let names_it = is(node, DSIG, name) && node.attribute("Algorithm") == Some(algorithm);
    if names_it && elements(node).is_empty() { Ok(()) } else { shape(name) }
}

fn certificates(key: Node<'_, '_>) -> Result<Vec<Vec<u8>>, SignatureError> {
    let wrong = SignatureError::Shape { part: "KeyInfo" };
    let data = only(key, DSIG, "X509Data").ok_or(wrong.clone())?;
    let nodes = elements(data);
    if nodes.len() > MAX_CERTIFICATES {
        return Err(wrong);
    }
    let decoded = nodes.into_iter().map(|node| base64_of(node, "X509Certificate"));
    decoded.collect::<Option<Vec<_>>>().ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each part under its own name, and the whole document signed.
    #[test]
    fn a_signature_has_the_parts_of_one_and_covers_the_document() {
        let method = |name: &str, algorithm: &str| format!("<{name} Algorithm='{algorithm}'/>");
        let document = |info: &str, reference: &str, uri: &str, key: &str| {
            let transforms = method("Transform", ENVELOPED) + &method("Transform", C14N_11);
            let digest = method("DigestMethod", XML_SHA384);
            format!(
                "<Doc><Signature xmlns='{DSIG}'><{info}>{}{}<{reference} URI='{uri}'>\
                 <Transforms>{transforms}</Transforms>{digest}<DigestValue>AAAA</DigestValue>\
                 </{reference}></{info}><SignatureValue>{}</SignatureValue><{key}><X509Data>\
                 <X509Certificate>AAAA</X509Certificate></X509Data></{key}></Signature></Doc>",
                method("CanonicalizationMethod", C14N_11),
                method("SignatureMethod", ECDSA_SHA384),
                "A".repeat(128),
            )
        };
        let read = |xml: String| {
            let document = super::super::parse(xml.as_bytes()).unwrap();
            Enveloped::of(&document).map(|signature| signature.digest_matches)
        };
        let shape = |part| Err(SignatureError::Shape { part });
        assert_eq!(read(document("SignedInfo", "Reference", "", "KeyInfo")), Ok(false));
        assert_eq!(read(document("Info", "Reference", "", "KeyInfo")), shape("content"));
        assert_eq!(read(document("SignedInfo", "Reference", "", "Key")), shape("content"));
        assert_eq!(read(document("SignedInfo", "Ref", "", "KeyInfo")), shape("Reference"));
        assert_eq!(read(document("SignedInfo", "Reference", "#a", "KeyInfo")), shape("Reference"));
    }

    #[test]
    fn a_signature_brings_at_most_16_certificates() {
        let read = |count: usize| {
            let all = "<X509Certificate>AAAA</X509Certificate>".repeat(count);
            let xml = format!("<KeyInfo xmlns='{DSIG}'><X509Data>{all}</X509Data></KeyInfo>");
            let document = super::super::parse(xml.as_bytes()).unwrap();
            certificates(document.root_element()).map(|all| all.len())
        };
        assert_eq!(read(16), Ok(16));
        assert_eq!(read(17), Err(SignatureError::Shape { part: "KeyInfo" }));
    }
}
