//! A world of one simulated node, in which a test makes one thing wrong at a time.

#[path = "../../../enclave/src/simulated_tee/mod.rs"]
mod simulated_tee;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise_logged};
use bulla_attestation::hash;
use bulla_attestation::policy::{Logged, Policy};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_tlog::WitnessKey;
use bulla_wire::evidence::{
    API_VERSION, Attestation, AttestationReport, Endorsement, Evidence, ServiceCapabilities,
    SourceProvenance, TEE_SEV_SNP,
};
use bulla_wire::ids::Digest;
use bulla_wire::keyset::{KeyEntry, Keyset, Subject, TlsKey};
use bulla_wire::statement::{Nonce, Statement, report_data};
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
pub use simulated_tee::*;

/// 2026-11-20T00:00:00Z.
pub const NOW: UnixSeconds = UnixSeconds(1_795_132_800);
/// The verifier's challenge.
pub const NONCE: Nonce = [0x5a; 32];
/// Where a second node differs.
const OTHER_CHIP: [u8; 64] = [0x77; 64];

/// Seconds in a year, roughly.
pub const YEAR: i64 = 365 * 24 * 3600;

/// The instant of appraisal as certificates count.
pub fn now() -> i64 {
    NOW.0 as i64
}

/// The stored chain: making RSA keys takes seconds.
pub fn authority(line: ProductLine) -> Authority {
    macro_rules! stored {
        ($line:literal, $name:literal) => {
            include_bytes!(concat!("../../../tests/vectors/simulated-chain/", $line, "-", $name))
        };
    }
    macro_rules! authority {
        ($line:literal) => {
            Authority::from_stored(
                line,
                stored!($line, "WORTHLESS-ark.key"),
                stored!($line, "WORTHLESS-ask.key"),
                stored!($line, "ark.der").to_vec(),
                stored!($line, "ask.der").to_vec(),
            )
        };
    }
    match line {
        ProductLine::Genoa => authority!("genoa"),
        ProductLine::Turin => authority!("turin"),
        ProductLine::Milan => panic!("no stored chain for Milan"),
    }
    .expect("the stored chain reads")
}

/// A policy under which every check asks something, and the world passes: the strict one with the
/// world's measurement and chip, simulation allowed, one socket.
pub fn demanding_policy_text(world: &World) -> String {
    let strict = include_str!("../../../policies/appraisal/strict.toml");
    let list = |hex: String| format!("[\"{hex}\"]");
    let replacements = [
        ("allow_simulated = false", "allow_simulated = true".to_owned()),
        ("measurements = []", format!("measurements = {}", list(hex(&world.template.measurement)))),
        ("chip_ids = []", format!("chip_ids = {}", list(hex(&world.template.chip_id)))),
        ("host_data = \"any\"", format!("host_data = {}", list(hex(&[0; 32])))),
        ("single_socket = \"not_required\"", "single_socket = \"required\"".to_owned()),
        ("maximum_age_seconds = \"any\"", "maximum_age_seconds = 300".to_owned()),
        ("quorum = 0", "quorum = 2".to_owned()),
        ("keys = []", format!("keys = [{}]", witness_texts().join(", "))),
    ];
    replacements.iter().fold(strict.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

/// A witness of the log.
pub fn witness(n: u8) -> WitnessKey {
    WitnessKey::new(&format!("witness-{n}.example"), [n; 32]).unwrap()
}

/// The three witnesses the demanding policy names.
fn witness_texts() -> Vec<String> {
    [1, 2, 3].map(|n| format!("\"{}\"", witness(n))).to_vec()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// One node and everything around it. A test changes a field, then judges.
pub struct World {
    pub line: ProductLine,
    pub authority: Authority,
    pub template: ReportTemplate,
    pub leaf: LeafTemplate,
    /// Certificate of the ASK, ASK's certificate among the endorsements.
    pub ask: Vec<u8>,
    pub crls: Vec<Vec<u8>>,
    pub more_endorsements: Vec<Vec<u8>>,
    pub keyset: Keyset,
    /// The nonce the enclave answers.
    pub answered: Option<Nonce>,
    pub freshness: Freshness,
    /// What the log says of the node's epoch.
    pub logged: Option<Logged>,
    pub anchors: TrustAnchors,
    /// Textual changes to the demanding policy.
    pub policy_changes: Vec<(&'static str, String)>,
    /// Last change to REPORT_DATA before it is signed.
    pub on_report_data: fn(&mut [u8; 64]),
    /// Last change to the signed report.
    pub on_report: fn(&mut Vec<u8>),
    /// Last change to the leaf certificate.
    pub on_leaf: fn(&mut Vec<u8>),
    /// Last change to the document.
    pub on_document: fn(&mut AttestationReport),
    /// The instant of appraisal.
    pub now: UnixSeconds,
    policy: Option<String>,
}

impl World {
    /// A node that passes the demanding policy.
    pub fn new() -> World {
        World::of(ProductLine::Genoa)
    }

    /// A node of this product line.
    pub fn of(line: ProductLine) -> World {
        let mut rng = World::rng();
        let authority = authority(line);
        let mut template = ReportTemplate::new(line, &mut rng);
        template.policy |= SINGLE_SOCKET;
        let leaf = LeafTemplate::for_report(line, &template, Validity::years_from(now(), 7));
        let crl = authority.revocation_list(&[], Validity::years_from(now(), 1), &mut rng);
        let root = TrustAnchor::simulated("test root", authority.ark_certificate()).unwrap();
        let subject =
            Subject { instance: "node-1".parse().unwrap(), chip_id: hex(&template.chip_id) };
        let mut world = World {
            line,
            ask: authority.ask_certificate().to_vec(),
            authority,
            template,
            leaf,
            crls: vec![crl],
            more_endorsements: Vec::new(),
            keyset: keyset(&subject),
            answered: Some(NONCE),
            freshness: Freshness::Nonce(NONCE),
            logged: Some(Logged {
                since: UnixSeconds(NOW.0 - 60),
                cosigners: vec![witness(1), witness(3)],
            }),
            anchors: TrustAnchors::vendors().with(root),
            policy_changes: Vec::new(),
            on_report_data: |_| {},
            on_report: |_| {},
            on_leaf: |_| {},
            on_document: |_| {},
            now: NOW,
            policy: None,
        };
        world.policy = Some(demanding_policy_text(&world));
        world
    }

    /// Randomness, always the same.
    pub fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(7)
    }

    /// The chip id of another node.
    pub fn other_chip() -> [u8; 64] {
        OTHER_CHIP
    }

    /// Changes a line of the policy.
    pub fn change_policy(&mut self, from: &'static str, to: &str) {
        self.policy_changes.push((from, to.to_owned()));
    }

    /// The policy as changed; made before anything else was.
    pub fn policy(&self) -> Policy {
        let text = self.policy.clone().expect("set by the constructor");
        let text = self.policy_changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        Policy::from_toml(&text).unwrap()
    }

    /// The document the node would serve.
    pub fn document(&self) -> AttestationReport {
        let mut rng = World::rng();
        let keyset_digest = hash::keyset_digest(&self.keyset);
        let statement = Statement { keyset_digest, nonce: self.answered };
        let mut slot = report_data(&hash::statement_digest(&statement));
        (self.on_report_data)(&mut slot);
        let chip = Chip::generate(&self.authority, &self.leaf, &mut rng);
        let mut report = chip.report(&self.template, &slot);
        (self.on_report)(&mut report);
        let mut leaf = chip.certificate().to_vec();
        (self.on_leaf)(&mut leaf);
        let given = [leaf, self.ask.clone()];
        let all = given.iter().chain(&self.crls).chain(&self.more_endorsements);
        let mut document = AttestationReport {
            api_version: API_VERSION.to_owned(),
            workload_keyset_digest: keyset_digest.prefixed(),
            attestation: Attestation {
                tee_type: TEE_SEV_SNP.to_owned(),
                workload_keyset: self.keyset.clone(),
                nonce: self.answered.map(|nonce| hex(&nonce)),
                report_data: hex(&slot[..32]),
                source_provenance: SourceProvenance::default(),
                evidence: Evidence {
                    report,
                    endorsements: all
                        .map(|data| Endorsement { kind: "any".to_owned(), data: data.clone() })
                        .collect(),
                },
            },
            service_capabilities: ServiceCapabilities {
                supported_e2ee_versions: Vec::new(),
                serving: "direct".to_owned(),
            },
        };
        (self.on_document)(&mut document);
        document
    }

    /// Judges what the node serves.
    pub fn judge(&self) -> AttestationResult {
        self.judge_document(&self.document(), &self.policy())
    }

    /// Judges a document as this world's verifier.
    pub fn judge_document(
        &self,
        document: &AttestationReport,
        policy: &Policy,
    ) -> AttestationResult {
        let (freshness, logged) = (self.freshness.clone(), self.logged.as_ref());
        appraise_logged(document, &self.anchors, policy, freshness, logged, self.now)
    }
}

/// Bit 20 of the guest policy.
pub const SINGLE_SOCKET: u64 = 1 << 20;

/// HPKE KEM id and length of a public key: X-Wing, X25519.
pub const X_WING: (u16, usize) = (0x647a, 1216);
pub const X25519: (u16, usize) = (0x0020, 32);

/// A key configuration (RFC 9458 §3.1) of this KEM, in hex; nobody has its private key.
pub fn sealing_key((kem, key_bytes): (u16, usize)) -> String {
    format!("01{kem:04x}{}000400010001", "22".repeat(key_bytes))
}

/// A keyset that lasts two hours.
pub fn keyset(subject: &Subject) -> Keyset {
    let entry = |key_id: &str, algo: &str, public_key: String| KeyEntry {
        key_id: key_id.to_owned(),
        algo: algo.to_owned(),
        public_key,
    };
    Keyset {
        subject: Some(subject.to_string()),
        not_after: UnixSeconds(NOW.0 + 7200),
        receipt_signing_keys: vec![entry("receipt-1", "ed25519", "11".repeat(32))],
        e2ee_public_keys: vec![entry("seal-1", "ohttp-chunked", sealing_key(X_WING))],
        tls_public_keys: vec![TlsKey { spki_sha256: Digest([3; 32]), domain: None }],
    }
}
