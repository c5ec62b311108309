//! What others do for the same evidence: signatures and chain, without our checks and policy.

use bulla_attestation::endorsement::{Certificate, Endorsements};
use bulla_attestation::signature::PublicKey;
use dcap_qvl::QuoteCollateralV3;
use p384::ecdsa::signature::hazmat::PrehashVerifier;
use p384::ecdsa::{Signature, VerifyingKey};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pss;
use rsa::sha2::{Digest, Sha384};
use rsa::signature::Verifier;
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

use crate::specimens::Specimen;

/// Report parsed by `sev`; ARK, ASK, VCEK and report verified by the crates `sev` uses for it without
/// OpenSSL (`p384`, `rsa`), as `sev`'s and go-sev-guest's verification of a report does.
pub struct Snp {
    report: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

impl Snp {
    pub const NAME: &str = "signatures of report, VCEK, ASK, ARK: sev, p384, rsa";

    /// Leaf, intermediate and root of `specimen`.
    pub fn of(specimen: &Specimen) -> Snp {
        let given = Endorsements::sort(specimen.endorsements.iter().map(Vec::as_slice));
        let (leaf, others): (Vec<Certificate>, Vec<Certificate>) = given
            .certificates
            .into_iter()
            .partition(|certificate| certificate.subject.common_name == "SEV-VCEK");
        let intermediate = &others[0];
        let roots = specimen.anchors.iter().filter_map(|anchor| anchor.certificate());
        let root = roots.into_iter().find(|root| root.subject == intermediate.issuer);
        let chain = [&leaf[0], intermediate, root.expect("a shipped root")];
        let chain = chain.iter().map(|certificate| certificate.der.clone()).collect();
        Snp { report: specimen.evidence.clone(), chain }
    }

    pub fn verify(&self) {
        let report = AttestationReport::from_bytes(&self.report).expect("a report");
        std::hint::black_box(&report);
        let chain: Vec<_> = self.chain.iter().map(|der| parse(der)).collect();
        let [leaf, intermediate, root] = &chain[..] else { panic!("three certificates") };
        for (subject, issuer) in [(root, root), (intermediate, root), (leaf, intermediate)] {
            let spki = &issuer.tbs_certificate.subject_pki.subject_public_key.data;
            let key = rsa::RsaPublicKey::from_pkcs1_der(spki).expect("an RSA key");
            let signature = pss::Signature::try_from(&subject.signature_value.data[..]).unwrap();
            let key = pss::VerifyingKey::<Sha384>::new(key);
            key.verify(subject.tbs_certificate.as_ref(), &signature).expect("verifies");
        }
        let point = &leaf.tbs_certificate.subject_pki.subject_public_key.data;
        let key = VerifyingKey::from_sec1_bytes(point).expect("a P-384 key");
        let scalar = |at: usize| {
            let mut bytes: Vec<u8> = self.report[at..at + 48].to_vec();
            bytes.reverse();
            bytes
        };
        let signature = [scalar(0x2a0), scalar(0x2e8)].concat();
        let signature = Signature::from_slice(&signature).expect("a signature");
        let digest = Sha384::digest(&self.report[..0x2a0]);
        key.verify_prehash(&digest, &signature).expect("verifies");
    }
}

fn parse(der: &[u8]) -> x509_parser::certificate::X509Certificate<'_> {
    x509_parser::parse_x509_certificate(der).expect("a certificate").1
}

/// `dcap-qvl` on the same quote and collateral, from bytes; its own policy, on `ring`.
pub struct Tdx {
    quote: Vec<u8>,
    collateral: Vec<u8>,
    at: u64,
}

impl Tdx {
    pub const NAME: &str = "dcap-qvl verify, on ring";

    pub fn of(specimen: &Specimen) -> Option<Tdx> {
        let collateral = specimen.endorsements.first()?.clone();
        serde_json::from_slice::<QuoteCollateralV3>(&collateral).ok()?;
        Some(Tdx { quote: specimen.evidence.clone(), collateral, at: specimen.at.0 })
    }

    pub fn verify(&self) {
        let collateral: QuoteCollateralV3 = serde_json::from_slice(&self.collateral).unwrap();
        dcap_qvl::verify::verify(&self.quote, &collateral, self.at).expect("verifies");
    }
}
