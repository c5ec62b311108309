//! A reference integrity manifest, every row settable. It is written in canonical form, so that its
//! digests are those of its own text and no canonicalisation is needed to make it.

use std::fmt::Write as _;

use data_encoding::{BASE64, HEXLOWER};
use ring::digest::{SHA384, digest};

use super::report::ReportTemplate;
use super::signer::Signer;

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const HASH: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counted from 0: about measurement index + 1.
    pub index: u16,
    /// `True` or `False`.
    pub active: &'static str,
    /// Accepted values.
    pub alternatives: Vec<Vec<u8>>,
}

/// Everything a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestTemplate {
    /// Chip, such as `GH100`.
    pub product: String,
    /// Driver or VBIOS version.
    pub version: String,
    /// `GPU` or `SWITCH`.
    pub edition: String,
    /// The rows, in order.
    pub rows: Vec<Row>,
}

impl ManifestTemplate {
    /// Active rows with the values of `report` for the measurements in `indices` (counted from 1);
    /// the other rows are there and inactive.
    pub fn of(
        report: &ReportTemplate,
        product: &str,
        version: &str,
        edition: &str,
        indices: impl Fn(u8) -> bool,
    ) -> ManifestTemplate {
        let row = |(index, value): (&u8, &Vec<u8>)| {
            let (active, value) = match indices(*index) {
                true => ("True", value.clone()),
                false => ("False", vec![0; 48]),
            };
            let alternatives = vec![vec![0x77; 48], value];
            Row { index: u16::from(*index) - 1, active, alternatives }
        };
        ManifestTemplate {
            product: product.to_owned(),
            version: version.to_owned(),
            edition: edition.to_owned(),
            rows: report.measurements.iter().map(row).collect(),
        }
    }

    /// The tag up to where its signature stands.
    fn body(&self) -> String {
        let ManifestTemplate { product, version, edition, rows } = self;
        let mut body = format!(
            "<SoftwareIdentity xmlns=\"{SWID}\" xmlns:h=\"{HASH}\" name=\"{product}\">\
             <Meta colloquialVersion=\"{version}\" edition=\"{edition}\" product=\"{product}\"></Meta>\
             <Payload>"
        );
        for Row { index, active, alternatives } in rows {
            let count = alternatives.len();
            // Attributes without a namespace first, by name; then those of the hash.
            let _ = write!(
                body,
                "<Resource active=\"{active}\" alternatives=\"{count}\" index=\"{index}\" \
                 size=\"48\" type=\"Measurement\""
            );
            for (n, value) in alternatives.iter().enumerate() {
                let _ = write!(body, " h:Hash{n}=\"{}\"", HEXLOWER.encode(value));
            }
            body.push_str("></Resource>");
        }
        body.push_str("</Payload>");
        body
    }

    /// The signed manifest; `certificates` go along, the signer's first.
    pub fn sign(&self, signer: &Signer, certificates: &[Vec<u8>]) -> String {
        let body = self.body();
        let canonical = format!("{body}</SoftwareIdentity>");
        let reference = BASE64.encode(digest(&SHA384, canonical.as_bytes()).as_ref());
        let info = format!(
            "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"></ds:CanonicalizationMethod>\
             <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384\"></ds:SignatureMethod>\
             <ds:Reference URI=\"\"><ds:Transforms>\
             <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>\
             <ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"></ds:Transform></ds:Transforms>\
             <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#sha384\"></ds:DigestMethod>\
             <ds:DigestValue>{reference}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        );
        // As a subset it carries what it inherits.
        let namespaces = format!("xmlns=\"{SWID}\" xmlns:ds=\"{DSIG}\" xmlns:h=\"{HASH}\"");
        let signed_info = format!("<ds:SignedInfo {namespaces}>{info}");
        let signature = BASE64.encode(&signer.sign_fixed(signed_info.as_bytes()));
        let certificates: String = certificates
            .iter()
            .map(|der| format!("<ds:X509Certificate>{}</ds:X509Certificate>", BASE64.encode(der)))
            .collect();
        format!(
            "{body}<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo>{info}\
             <ds:SignatureValue>{signature}</ds:SignatureValue>\
             <ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo>\
             </ds:Signature></SoftwareIdentity>"
        )
    }
}
