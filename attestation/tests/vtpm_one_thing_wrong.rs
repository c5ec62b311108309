//! Evidence `vtpm-dev` with one thing wrong at a time: each is refused by its own check. The TPM is
//! played here: a P-256 key, sixteen registers, a quote written field by field.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]
#![allow(clippy::disallowed_types, reason = "the TPM that is played here draws its own key")]

mod simulated;

use std::collections::BTreeSet;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::hash;
use bulla_attestation::policy::{Policy, PolicyError};
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::reference::{
    Image, Instant, Manifest, ManifestBody, ReferenceDocuments, Role, RootBody, RootDocument,
    VtpmValues,
};
use bulla_attestation::result::CheckName::*;
use bulla_attestation::result::{AttestationResult, CheckName};
use bulla_attestation::sign::SigningKey;
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::tpm::TpmKey;
use bulla_attestation::tee::vtpm::VtpmEvidence;
use bulla_wire::evidence::{AttestationReport, Evidence, TEE_VTPM_DEV};
use bulla_wire::ids::Digest;
use bulla_wire::keyset::{Keyset, Subject};
use bulla_wire::statement::{Nonce, Statement, report_data};
use bulla_wire::units::UnixSeconds;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use simulated::{NONCE, NOW, hex};

const DEVELOPMENT: &str = include_str!("../../policies/appraisal/development.toml");
const RESTRICTED_SIGNING: u32 = 0x0005_0472;

/// A TPM, a keyset and a verifier; a test changes a field, then judges.
struct World {
    key: EcdsaKeyPair,
    attributes: u32,
    /// What the TPM holds when it quotes.
    registers: [[u8; 32]; 16],
    /// Bits of the registers quoted.
    selected: [u8; 3],
    bank: u16,
    answered: Option<Nonce>,
    subject: Option<String>,
    /// Last change to the qualifying data.
    on_data: fn(&mut Vec<u8>),
    /// Last change to the quote before it is signed.
    on_quote: fn(&mut Vec<u8>),
    /// Last change to the evidence.
    on_evidence: fn(&mut VtpmEvidence),
    /// Last change to the document.
    on_document: fn(&mut Vec<u8>),
    on_report: fn(&mut AttestationReport),
    anchors: Option<TrustAnchors>,
    policy_changes: Vec<(&'static str, String)>,
    reference: Option<Digest>,
    now: UnixSeconds,
}

fn key() -> EcdsaKeyPair {
    let (by, rng) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(by, &rng).unwrap();
    EcdsaKeyPair::from_pkcs8(by, pkcs8.as_ref(), &rng).unwrap()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

impl World {
    fn new() -> World {
        let mut registers = [[0; 32]; 16];
        registers[4] = [4; 32];
        registers[9] = [9; 32];
        World {
            key: key(),
            attributes: RESTRICTED_SIGNING,
            registers,
            selected: [0xff, 0xff, 0],
            bank: 0x0b,
            answered: Some(NONCE),
            subject: None,
            on_data: |_| {},
            on_quote: |_| {},
            on_evidence: |_| {},
            on_document: |_| {},
            on_report: |_| {},
            anchors: None,
            policy_changes: vec![(
                "[vtpm-dev]\npcrs = \"any\"",
                format!(
                    "[vtpm-dev]\npcrs = [{{ pcr = 4, values = [\"{}\"] }}, {{ pcr = 9, values = [\"{}\"] }}]",
                    hex(&[4; 32]),
                    hex(&[9; 32])
                ),
            )],
            reference: None,
            now: NOW,
        }
    }

    fn public(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut public = vec![0, 0x23, 0, 0x0b];
        public.extend(self.attributes.to_be_bytes());
        public.extend([0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
        public.extend(sized(&point[1..33]));
        public.extend(sized(&point[33..65]));
        public
    }

    fn root(&self) -> Vec<u8> {
        TpmKey::parse(&self.public()).unwrap().spki()
    }

    fn evidence(&self, statement: &Digest) -> Vec<u8> {
        let mut data = statement.0.to_vec();
        (self.on_data)(&mut data);
        let mut quoted = Vec::new();
        for (register, value) in self.registers.iter().enumerate() {
            if self.selected[register / 8] >> (register % 8) & 1 == 1 {
                quoted.extend(value);
            }
        }
        let mut quote = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18];
        quote.extend(sized(b"signer"));
        quote.extend(sized(&data));
        quote.extend([0; 17]);
        quote.extend([1; 8]);
        quote.extend([0, 0, 0, 1]);
        quote.extend(self.bank.to_be_bytes());
        quote.push(3);
        quote.extend(self.selected);
        quote.extend(sized(digest(&SHA256, &quoted).as_ref()));
        (self.on_quote)(&mut quote);
        let signature = self.key.sign(&SystemRandom::new(), &quote).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        let signature = [vec![0, 0x18, 0, 0x0b], sized(r), sized(s)].concat();
        let (public, pcrs) = (self.public(), self.registers.to_vec());
        let mut evidence = VtpmEvidence { public, quote, signature, pcrs };
        (self.on_evidence)(&mut evidence);
        let mut document = evidence.to_json();
        (self.on_document)(&mut document);
        document
    }

    fn keyset(&self) -> Keyset {
        let key = TpmKey::parse(&self.public()).unwrap().digest().to_string();
        let chip_id = self.subject.clone().unwrap_or(key);
        simulated::keyset(&Subject { instance: "node-1".parse().unwrap(), chip_id })
    }

    fn report(&self) -> AttestationReport {
        let keyset = self.keyset();
        let keyset_digest = hash::keyset_digest(&keyset);
        let statement = Statement { keyset_digest, nonce: self.answered };
        let statement = hash::statement_digest(&statement);
        let mut report = simulated::World::new().document();
        report.workload_keyset_digest = keyset_digest.prefixed();
        report.attestation.tee_type = TEE_VTPM_DEV.to_owned();
        report.attestation.workload_keyset = keyset;
        report.attestation.report_data = statement.to_string();
        report.attestation.evidence =
            Evidence { report: self.evidence(&statement), endorsements: Vec::new() };
        (self.on_report)(&mut report);
        report
    }

    fn anchors(&self) -> TrustAnchors {
        let named = || {
            let root = TrustAnchor::simulated("the TPM's key", &self.root()).unwrap();
            TrustAnchors::vendors().with(root)
        };
        self.anchors.clone().unwrap_or_else(named)
    }

    fn policy(&self) -> Policy {
        let text = self.policy_changes.iter().fold(DEVELOPMENT.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        Policy::from_toml(&text).unwrap()
    }

    fn judge(&self) -> AttestationResult {
        let freshness = Freshness::Nonce(NONCE);
        appraise(&self.report(), &self.anchors(), &self.policy(), freshness, self.now)
    }
}

type Row = (CheckName, &'static str, fn(&mut World));

const TABLE: &[Row] = &[
    (TpmKey, "a key that signs anything", |w| w.attributes &= !(1 << 16)),
    (TpmKey, "a key that came from outside", |w| w.attributes &= !(1 << 5)),
    (TpmQuoteSignature, "an altered quote", |w| {
        // In the clock: nothing else looks at it.
        w.on_evidence = |evidence| evidence.quote[50] ^= 1;
    }),
    (TpmQuoteSignature, "another scheme", |w| {
        w.on_evidence = |evidence| evidence.signature[1] = 0x14
    }),
    (TpmPcrDigest, "a register altered afterwards", |w| {
        w.on_evidence = |evidence| evidence.pcrs[0] = [1; 32];
    }),
    (TpmPcrDigest, "a bank nobody showed", |w| w.bank = 4),
    (TpmQualifyingData, "data of another length", |w| w.on_data = |data| data.push(0)),
    (RootPinned, "a key nobody named", |w| w.anchors = Some(TrustAnchors::vendors())),
    (RootPinned, "another TPM's key named", |w| {
        let other = TrustAnchor::simulated("another", &World::new().root()).unwrap();
        w.anchors = Some(TrustAnchors::vendors().with(other));
    }),
    (RootPinned, "the key named as hardware", |w| {
        let root = TrustAnchor::by_spki("hardware", hash::sha256(&w.root()), false);
        w.anchors = Some(TrustAnchors::vendors().with(root));
    }),
    (TpmPcrs, "something else booted", |w| w.registers[9] = [8; 32]),
    (TpmPcrs, "a register that is not quoted", |w| w.selected = [0xff, 0xfd, 0]),
    (ReportData, "another statement", |w| w.on_data = |data| data[0] ^= 1),
    (Nonce, "an old answer", |w| w.answered = None),
    (KeysetChipId, "keys of another TPM", |w| w.subject = Some("77".repeat(32))),
    (KeysetExpiry, "keys at their end", |w| w.now = UnixSeconds(NOW.0 + 7200)),
];

#[test]
fn the_world_passes_with_nothing_wrong_and_says_that_it_is_no_hardware() {
    let result = World::new().judge();
    assert!(result.is_affirmed() && result.is_simulated(), "{result}");
    let text = result.to_string();
    assert!(text.starts_with("AFFIRMED  vtpm-dev TPM without a TEE"), "{text}");
    assert!(text.contains("SIMULATED: no hardware"), "{text}");
    assert!(result.into_keys().unwrap().is_simulated());
}

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    for (name, what, make_wrong) in TABLE {
        let mut world = World::new();
        make_wrong(&mut world);
        let result = world.judge();
        let failed: BTreeSet<CheckName> = result.failed().map(|check| check.name).collect();
        let mut expected = BTreeSet::from([*name]);
        match (*name, *what) {
            // Values of another bank are no values of the one the policy lists.
            (TpmPcrDigest, "a bank nobody showed") => drop(expected.insert(TpmPcrs)),
            // The copy beside the evidence and the nonce are of the statement that was not signed.
            (ReportData, _) => expected.extend([ReportDataCopy, Nonce]),
            _ => {}
        }
        assert_eq!(failed, expected, "{what}\n{result}");
    }
}

#[test]
fn a_document_says_what_its_quote_signs() {
    let signs = |world: World| {
        let document = world.evidence(&Digest([3; 32]));
        VtpmEvidence::from_json(&document).unwrap().report_data()
    };
    let mut field = [0; 64];
    field[..32].fill(3);
    assert_eq!(signs(World::new()), Some(field));
    let mut world = World::new();
    world.on_data = |data| data.push(0);
    assert_eq!(signs(world), None);
}

#[test]
fn documents_and_quotes_that_do_not_read_are_refused_and_nothing_is_claimed() {
    let mut world = World::new();
    world.on_document = |document| document.truncate(100);
    let result = world.judge();
    assert!(result.failed().any(|check| check.name == ReportFormat), "{result}");
    let mut world = World::new();
    world.on_quote = |quote| quote[0] = 0;
    let result = world.judge();
    assert!(result.failed().any(|check| check.name == TpmQuoteFormat), "{result}");
    assert!(result.claims().is_none() && result.into_keys().is_err());
}

#[test]
fn no_shipped_policy_for_real_data_takes_it() {
    let world = World::new();
    for text in [
        include_str!("../../policies/appraisal/strict.toml"),
        include_str!("../../policies/appraisal/standard.toml"),
        include_str!("../../policies/appraisal/authentic.toml"),
    ] {
        let policy = Policy::from_toml(text).unwrap();
        assert!(!policy.allows_tee(TeeKind::VtpmDev), "{}", policy.name());
        let result =
            appraise(&world.report(), &world.anchors(), &policy, Freshness::Nonce(NONCE), NOW);
        let refused = result.failed().any(|check| check.name == TeeType);
        assert!(refused && !result.is_affirmed(), "{result}");
        // Nor does one that was made to list it.
        let named = text.replacen("tees = [", "tees = [\"vtpm-dev\", ", 1);
        let named = format!("{named}\n[vtpm-dev]\npcrs = []\n");
        assert_eq!(Policy::from_toml(&named), Err(PolicyError::NoHardware));
    }
}

/// A manifest under a root of its own, signed by keys everybody knows.
fn documents(pcrs: [(&str, [u8; 32]); 2]) -> (Digest, ReferenceDocuments) {
    let (root_key, key) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
    let role = |key: &SigningKey| Role { threshold: 1, keys: vec![key.public()] };
    let body = RootBody {
        kind: RootBody::KIND.to_owned(),
        name: "example".to_owned(),
        version: 1,
        expires: Instant(UnixSeconds(NOW.0 + 1000)),
        root: role(&root_key),
        manifests: role(&key),
    };
    let root = RootDocument::sign(body, &[&root_key]).unwrap();
    let pcrs = pcrs.map(|(pcr, value)| (pcr.to_owned(), Digest(value))).into();
    let body = ManifestBody {
        kind: ManifestBody::KIND.to_owned(),
        name: "line".to_owned(),
        version: 1,
        issued: Instant(NOW),
        expires: Instant(UnixSeconds(NOW.0 + 1000)),
        images: vec![Image {
            name: "image 1".to_owned(),
            snp: Vec::new(),
            tdx: Vec::new(),
            vtpm: vec![VtpmValues { pcrs }],
            csv: Vec::new(),
        }],
        models: Vec::new(),
    };
    let manifest = Manifest::sign(body, &[&key]).unwrap();
    let mut documents = ReferenceDocuments::none();
    documents.add("root", root.to_json().as_bytes());
    documents.add("manifest", manifest.to_json().as_bytes());
    (root.digest(), documents)
}

#[test]
fn a_manifest_that_a_policy_names_says_which_register_differs() {
    let mut world = World::new();
    let (root, manifest) = documents([("9", [9; 32]), ("10", world.registers[10])]);
    world.policy_changes.clear();
    world.policy_changes.push((
        "manifests = []",
        format!("manifests = [{{ name = \"line\", root = \"{root}\", minimum_version = 1, files = [\"a\"] }}]"),
    ));
    let judge = |world: &World| {
        let policy = world.policy().with_reference_values(&manifest);
        appraise(&world.report(), &world.anchors(), &policy, Freshness::Nonce(NONCE), NOW)
    };
    let result = judge(&world);
    assert!(result.is_affirmed(), "{result}");
    assert!(result.check(CheckName::ReferenceValues).unwrap().got.contains("image 1"));
    world.registers[9] = [8; 32];
    let result = judge(&world);
    let failed: Vec<_> = result.failed().collect();
    assert_eq!(failed.len(), 1, "{result}");
    assert_eq!(failed[0].name, CheckName::ReferenceValues);
    assert_eq!(failed[0].got, format!("none of them: PCR 9 {}", hex(&[8; 32])));
}

#[test]
fn raw_evidence_is_recognised_and_held_against_what_was_asked() {
    use bulla_attestation::input::{File, Role, recognise};
    let world = World::new();
    let statement = Digest([5; 32]);
    let evidence = world.evidence(&statement);
    let file = File { name: "evidence.json", bytes: &evidence, role: Role::Anything };
    let found = recognise(&[file], None);
    assert_eq!((found.evidence.len(), found.evidence[0].kind), (1, TeeKind::VtpmDev));
    let judge = |report_data: [u8; 64], nonce: Option<Vec<u8>>| {
        let expected = Expectations { report_data: Some(report_data), nonce, measurement: None };
        let (none, anchors) = (Endorsements::default(), world.anchors());
        let kind = TeeKind::VtpmDev;
        appraise_raw(kind, &evidence, &none, &anchors, &world.policy(), &expected, NOW)
    };
    assert!(judge(report_data(&statement), Some(vec![5; 32])).is_affirmed());
    let other = judge([6; 64], None);
    assert!(other.failed().map(|check| check.name).eq([ReportData]), "{other}");
    let other = judge(report_data(&statement), Some(vec![5; 31]));
    assert!(other.failed().map(|check| check.name).eq([Nonce]), "{other}");
}
