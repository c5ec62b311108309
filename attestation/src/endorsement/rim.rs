//! NVIDIA's reference integrity manifests: a signed SWID tag (ISO/IEC 19770-2 in the TCG RIM
//! information model) with the measurements one driver or one VBIOS should show.
//!
//! A manifest names its product and version, not the board: which board it was published for is
//! only in the name of the file, and in the `id` beside it where NVIDIA's service delivers it.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use roxmltree::{Document, Node};
use serde::Deserialize;

use super::certificate::Certificate;
use super::xml::dsig::{Enveloped, SignatureError};
use super::xml::{self, XmlError, elements, is, only};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const HASH: &str = "http://www.w3.org/2001/04/xmlenc#sha384";

/// Most rows of one manifest (a measurement index is one byte; real ones have 64).
const MAX_ROWS: usize = 256;
/// Most alternatives of one row (ours; real ones have up to 4).
const MAX_ALTERNATIVES: usize = 64;
/// Longest product, version or id, in bytes (ours; the longest seen has 46).
const MAX_NAME_BYTES: usize = 128;

/// Why bytes are no manifest, or a manifest is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RimError {
    /// Not XML we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another document than a SWID tag that names product and version.
    #[error("not a software identity with one product and version")]
    NotARim,
    /// A row that does not read.
    #[error("measurement row {index:?}: {fault}")]
    Row {
        /// Its index, as it stands.
        index: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// No single list of rows, or too many of them.
    #[error("not one payload of at most {MAX_ROWS} measurement rows")]
    Payload,
}

/// The values accepted for one measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldenRow {
    /// Any of these.
    pub alternatives: Vec<Vec<u8>>,
}

/// Active rows by their index, counted from 0: row i is about measurement i + 1.
pub type GoldenRows = BTreeMap<u16, GoldenRow>;

/// A manifest, read; nothing of it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rim {
    /// Chip it is for, such as `GH100`.
    pub product: String,
    /// Driver or VBIOS version, as the vendor writes it.
    pub version: String,
    /// Kind of device: `GPU` or `SWITCH`.
    pub edition: String,
    /// Name under which NVIDIA's service delivered it, where it came so wrapped: signed by nobody.
    pub id: Option<String>,
    /// The active rows, or why they do not read.
    pub rows: Result<GoldenRows, RimError>,
    /// Its signature, or why it has none that can be checked.
    pub signature: Result<Enveloped, SignatureError>,
    /// The certificates it carries, the signer's first; those that do not parse are left out.
    pub certificates: Vec<Certificate>,
}

/// What NVIDIA's service answers.
#[derive(Deserialize)]
struct Wrapped {
    id: String,
    rim: String,
}

impl Rim {
    /// Reads a manifest: its XML, or the service's JSON around it.
    pub fn read(bytes: &[u8]) -> Result<Rim, RimError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Rim::of(&xml::parse(bytes)?);
        }
        let wrapped: Wrapped = serde_json::from_slice(bytes).map_err(|_| RimError::NotARim)?;
        let xml = BASE64.decode(wrapped.rim.trim().as_bytes()).map_err(|_| RimError::NotARim)?;
        if wrapped.id.len() > MAX_NAME_BYTES {
            return Err(RimError::NotARim);
        }
        Ok(Rim { id: Some(wrapped.id), ..Rim::of(&xml::parse(&xml)?)? })
    }

    fn of(document: &Document<'_>) -> Result<Rim, RimError> {
        let root = document.root_element();
        let is_tag = is(root, SWID, "SoftwareIdentity");
        let meta = only(root, SWID, "Meta").filter(|_| is_tag).ok_or(RimError::NotARim)?;
        let said = |node: Node<'_, '_>, name: &str| {
            let text = node.attribute(name).filter(|text| text.len() <= MAX_NAME_BYTES);
            text.map(str::to_owned).ok_or(RimError::NotARim)
        };
        let product = said(meta, "product")?;
        if said(root, "name")? != product {
            return Err(RimError::NotARim);
        }
        let signature = Enveloped::of(document);
        let given = signature.as_ref().map_or(&[][..], |signature| &signature.certificates);
        Ok(Rim {
            product,
            version: said(meta, "colloquialVersion")?,
            edition: said(meta, "edition")?,
            id: None,
            rows: rows(root),
            certificates: given.iter().filter_map(|der| Certificate::from_der(der).ok()).collect(),
            signature,
        })
    }

    /// The certificate of whoever signed: the first one.
    pub fn signer(&self) -> Option<&Certificate> {
        self.certificates.first()
    }

    /// Whether digest and signature hold under the signer's key. Says nothing about the signer.
    pub fn is_signed(&self) -> bool {
        let (Ok(signature), Some(signer)) = (&self.signature, self.signer()) else { return false };
        signature.digest_matches
            && signer.public_key.verifies_fixed(&signature.signed_info, &signature.signature)
    }
}

fn rows(root: Node<'_, '_>) -> Result<GoldenRows, RimError> {
    let payload = only(root, SWID, "Payload").ok_or(RimError::Payload)?;
    let resources = elements(payload);
    if resources.is_empty() || resources.len() > MAX_ROWS {
        return Err(RimError::Payload);
    }
    let mut rows = GoldenRows::new();
    for resource in resources {
        let index = resource.attribute("index").unwrap_or("");
        let fault = |fault| RimError::Row { index: index.chars().take(8).collect(), fault };
        if !is(resource, SWID, "Resource") || resource.attribute("type") != Some("Measurement") {
            return Err(fault("not a measurement"));
        }
        // Every other word, such as True, true or 1 spelled otherwise, would be a guess.
        match resource.attribute("active") {
            Some("True") => {}
            Some("False") => continue,
            _ => return Err(fault("neither active nor inactive")),
        }
        let number = index.parse().map_err(|_| fault("index is no number"))?;
        let row = GoldenRow { alternatives: alternatives(resource).map_err(fault)? };
        if rows.insert(number, row).is_some() {
            return Err(fault("appears twice"));
        }
    }
    Ok(rows)
}

fn alternatives(resource: Node<'_, '_>) -> Result<Vec<Vec<u8>>, &'static str> {
    let number = |name: &str| resource.attribute(name)?.parse::<usize>().ok();
    let count = number("alternatives").filter(|count| (1..=MAX_ALTERNATIVES).contains(count));
    let (Some(count), Some(bytes)) = (count, number("size")) else {
        return Err("no number of alternatives or no size");
    };
    let hashes = resource.attributes().filter(|attribute| attribute.namespace() == Some(HASH));
    if hashes.count() != count {
        return Err("another number of values than of alternatives");
    }
    let value = |n: usize| {
        let text = resource.attribute((HASH, format!("Hash{n}").as_str()))?;
        let value = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        (value.len() == bytes).then_some(value)
    };
    (0..count).map(value).collect::<Option<Vec<_>>>().ok_or("a value is no hex of its size")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(resources: &str) -> String {
        format!(
            "<SoftwareIdentity xmlns='{SWID}' name='p'>\
             <Meta product='p' colloquialVersion='1' edition='e'/>\
             <Payload>{resources}</Payload></SoftwareIdentity>"
        )
    }

    fn rows(resources: &str) -> Result<usize, RimError> {
        Ok(Rim::read(xml(resources).as_bytes())?.rows?.len())
    }

    /// A row that is not compared.
    const INACTIVE: &str = "<Resource type='Measurement' index='1' active='False'/>";

    #[test]
    fn a_manifest_has_1_to_256_rows_of_measurements() {
        assert_eq!(rows(&INACTIVE.repeat(256)), Ok(0));
        assert_eq!(rows(&INACTIVE.repeat(257)), Err(RimError::Payload));
        assert_eq!(rows(""), Err(RimError::Payload));
        for other in [INACTIVE.replace("Resource", "File"), INACTIVE.replace("Meas", "Plea")] {
            let fault = "not a measurement";
            assert_eq!(rows(&other), Err(RimError::Row { index: "1".to_owned(), fault }));
        }
    }

    #[test]
    fn a_name_has_at_most_128_bytes() {
        let rim = BASE64.encode(xml(INACTIVE).as_bytes());
        let read = |length: usize| {
            let id = "x".repeat(length);
            Rim::read(format!(r#"{{"id":"{id}","rim":"{rim}"}}"#).as_bytes())
        };
        assert_eq!(read(128).unwrap().id.map(|id| id.len()), Some(128));
        assert_eq!(read(129).err(), Some(RimError::NotARim));
    }
}
