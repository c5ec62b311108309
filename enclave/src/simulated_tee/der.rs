//! Writing the little DER (X.690) that certificates in AMD's shape are made of.

use rsa::RsaPrivateKey;
use rsa::pss::BlindedSigningKey;
use rsa::sha2::Sha384;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use time::OffsetDateTime;

use super::SIMULATED_ORGANISATION;

/// A certificate serial number.
pub type Serial = u32;

const OID_COUNTRY: &str = "2.5.4.6";
const OID_ORGANISATION: &str = "2.5.4.10";
const OID_ORGANISATIONAL_UNIT: &str = "2.5.4.11";
const OID_COMMON_NAME: &str = "2.5.4.3";
const OID_PSS: &str = "1.2.840.113549.1.1.10";
const OID_MGF1: &str = "1.2.840.113549.1.1.8";
const OID_SHA384: &str = "2.16.840.1.101.3.4.2.2";

/// Length of a SHA-384 digest, which is also the PSS salt length AMD uses.
const PSS_SALT_BYTES: u8 = 48;

/// A distinguished name: common name under the simulated organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

/// An X.509 extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Dotted object identifier.
    pub oid: String,
    /// Whether whoever does not understand it must refuse.
    pub critical: bool,
    /// Content of the OCTET STRING.
    pub value: Vec<u8>,
}

/// Everything in a certificate but its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Serial number.
    pub serial: Serial,
    /// Who signs.
    pub issuer: Name,
    /// Whom it is about.
    pub subject: Name,
    /// First and last second, since 1970.
    pub not_before: i64,
    /// See `not_before`.
    pub not_after: i64,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Extensions, in order.
    pub extensions: Vec<Extension>,
}

impl Certificate {
    /// The signed certificate, DER.
    pub fn sign(&self, issuer: &RsaPrivateKey, rng: &mut impl rand_core::CryptoRng) -> Vec<u8> {
        let extensions: Vec<u8> = self.extensions.iter().flat_map(Extension::der).collect();
        let tbs = sequence(&[
            tagged(0xa0, &integer(2)),
            integer(self.serial),
            pss_sha384(),
            self.issuer.der(),
            sequence(&[date(self.not_before), date(self.not_after)]),
            self.subject.der(),
            self.spki.clone(),
            tagged(0xa3, &tagged(0x30, &extensions)),
        ]);
        signed(tbs, issuer, rng)
    }
}

impl Name {
    pub(super) fn der(&self) -> Vec<u8> {
        let attribute = |oid: &str, tag: u8, text: &str| {
            tagged(0x31, &sequence(&[object(oid), tagged(tag, text.as_bytes())]))
        };
        const UTF8: u8 = 0x0c;
        const PRINTABLE: u8 = 0x13;
        sequence(&[
            attribute(OID_ORGANISATIONAL_UNIT, UTF8, "Simulation"),
            attribute(OID_COUNTRY, PRINTABLE, "ZZ"),
            attribute(OID_ORGANISATION, UTF8, SIMULATED_ORGANISATION),
            attribute(OID_COMMON_NAME, UTF8, &self.0),
        ])
    }
}

impl Extension {
    pub(super) fn der(&self) -> Vec<u8> {
        let critical = if self.critical { tagged(0x01, &[0xff]) } else { Vec::new() };
        sequence(&[object(&self.oid), critical, tagged(0x04, &self.value)])
    }
}

/// `tbs` with the PSS SHA-384 signature of `key`.
pub(super) fn signed(
    tbs: Vec<u8>,
    key: &RsaPrivateKey,
    rng: &mut impl rand_core::CryptoRng,
) -> Vec<u8> {
    let signer = BlindedSigningKey::<Sha384>::new(key.clone());
    let signature = signer.sign_with_rng(&mut ForRsa(rng), &tbs).to_bytes();
    sequence(&[tbs, pss_sha384(), bit_string(&signature)])
}

/// The `rsa` crate speaks an older `rand_core` than the rest of the workspace.
pub(super) struct ForRsa<'a, R>(pub &'a mut R);

impl<R: rand_core::CryptoRng> rsa::rand_core::RngCore for ForRsa<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: rand_core::CryptoRng> rsa::rand_core::CryptoRng for ForRsa<'_, R> {}

pub(super) fn pss_sha384() -> Vec<u8> {
    let sha384 = sequence(&[object(OID_SHA384), tagged(0x05, &[])]);
    sequence(&[
        object(OID_PSS),
        sequence(&[
            tagged(0xa0, &sha384),
            tagged(0xa1, &sequence(&[object(OID_MGF1), sha384.clone()])),
            tagged(0xa2, &integer(PSS_SALT_BYTES.into())),
        ]),
    ])
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

/// A non-negative INTEGER in its shortest form.
pub(super) fn integer(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut content = bytes[first..].to_vec();
    if content[0] >= 0x80 {
        content.insert(0, 0);
    }
    tagged(0x02, &content)
}

pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], bytes].concat())
}

/// UTCTime to 2049, GeneralizedTime after it (RFC 5280 §4.1.2.5). Instants outside year 1 to 9999
/// become the epoch.
pub(super) fn date(seconds: i64) -> Vec<u8> {
    let instant =
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (instant.date(), instant.time());
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    match date.year() {
        year @ 1950..=2049 => tagged(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        year => tagged(0x18, format!("{year:04}{rest}").as_bytes()),
    }
}

/// An OBJECT IDENTIFIER from its dotted form; parts that are no number count as zero.
pub(super) fn object(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().unwrap_or(0)).collect();
    let mut content = Vec::new();
    if let [first, second, rest @ ..] = arcs.as_slice() {
        content.extend(base_128(first * 40 + second));
        content.extend(rest.iter().flat_map(|arc| base_128(*arc)));
    }
    tagged(0x06, &content)
}

fn base_128(value: u32) -> Vec<u8> {
    let mut septets = vec![(value & 0x7f) as u8];
    let mut left = value >> 7;
    while left > 0 {
        septets.insert(0, 0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    septets
}

/// One tag, length and value.
pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
        out.push(0x80 | (bytes.len() - first) as u8);
        out.extend(&bytes[first..]);
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_lengths_integers_and_identifiers_as_der_wants_them() {
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(0xdb), [2, 2, 0, 0xdb]);
        assert_eq!(tagged(4, &[7; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tagged(4, &[7; 0x123])[..4], [4, 0x82, 1, 0x23]);
        assert_eq!(object(OID_SHA384), [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2]);
        assert_eq!(date(0), *b"\x17\x0d700101000000Z");
        assert_eq!(date(2_524_608_000), *b"\x18\x0f20500101000000Z");
    }
}
