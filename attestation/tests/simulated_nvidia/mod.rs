//! A world of one simulated GPU (and a switch, where a test wants one) with its vendor, in which a
//! test makes one thing wrong at a time.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::disallowed_types, reason = "the simulated Intel draws from ring's source")]

#[path = "../../../enclave/src/simulated_tee/mod.rs"]
mod simulated_tee;

use std::sync::OnceLock;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::nvidia::appraise_raw;
use bulla_wire::units::UnixSeconds;
use data_encoding::{BASE64, HEXLOWER};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
pub use simulated_tee::nvidia::*;
pub use simulated_tee::{Certificate, Extension, Name, Validity};

/// 2026-11-20T00:00:00Z.
pub const NOW: UnixSeconds = UnixSeconds(1_795_132_800);
/// The verifier's challenge.
pub const NONCE: [u8; 32] = [0x5a; 32];
/// Digest of the simulated firmware.
pub const FWID: [u8; 48] = [0x11; 48];
/// A day, in seconds.
pub const DAY: i64 = 24 * 3600;

/// The instant of appraisal as certificates count.
pub fn now() -> i64 {
    NOW.0 as i64
}

/// From yesterday to tomorrow.
pub fn today() -> Validity {
    Validity { not_before: now() - DAY, not_after: now() + DAY }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Who signs what in the world.
#[derive(Clone)]
pub struct Keys {
    pub device_root: Signer,
    pub identity: Signer,
    pub provisioner: Signer,
    pub chip: Signer,
    pub leaf: Signer,
    pub switch_chip: Signer,
    pub switch_leaf: Signer,
    pub rim_root: Signer,
    pub rim_authority: Signer,
    pub rim_signer: Signer,
    pub responder: Signer,
}

impl Keys {
    /// The same for every world: making them takes a while.
    fn known() -> Keys {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(Keys::make).clone()
    }

    fn make() -> Keys {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let mut key = |name: &str| Signer::generate(name, &mut rng);
        Keys {
            device_root: key("Simulated Device Identity CA"),
            identity: key("Simulated GH100 Identity"),
            provisioner: key("Simulated GH100 Provisioner"),
            chip: key("GH100 A01 GSP BROM"),
            leaf: key("GH100 A01 GSP FMC LF"),
            switch_chip: key("LS_10 A01 FSP BROM"),
            switch_leaf: key("LS_10 A01 FSP FMC LF"),
            rim_root: key("Simulated CoRIM Root CA"),
            rim_authority: key("Simulated Reference Value CA"),
            rim_signer: key("Simulated RIM Signer"),
            responder: key("Simulated OCSP Responder"),
        }
    }
}

/// Serial numbers, so that answers can name them.
pub mod serial {
    pub const IDENTITY: u32 = 2;
    pub const PROVISIONER: u32 = 3;
    pub const CHIP: u32 = 0x4143;
    pub const LEAF: u32 = 0x53c2;
    pub const SWITCH_CHIP: u32 = 0x5020;
    pub const SWITCH_LEAF: u32 = 0x79b9;
    pub const RIM_AUTHORITY: u32 = 12;
    pub const RIM_SIGNER: u32 = 13;
}

/// One thing an OCSP answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    DeviceRoot,
    Identity,
    Provisioner,
    RimRoot,
    RimAuthority,
}

/// Certificates before they are signed.
pub struct Certificates {
    pub identity: Certificate,
    pub provisioner: Certificate,
    pub chip: Certificate,
    pub leaf: Certificate,
    pub rim_authority: Certificate,
    pub rim_signer: Certificate,
    pub responder: Certificate,
}

/// Everything about one appraisal. A test changes a field, then judges.
pub struct World {
    pub keys: Keys,
    pub certificates: Certificates,
    pub report: ReportTemplate,
    /// Shown beside the GPU, where a test wants it.
    pub switch: Option<ReportTemplate>,
    pub driver_manifest: ManifestTemplate,
    pub vbios_manifest: ManifestTemplate,
    /// Who signs the manifests; their certificate names the right one.
    pub manifest_signer: Signer,
    pub answers: Vec<(Issuer, AnswerTemplate)>,
    pub crls: Vec<Vec<u8>>,
    pub more_endorsements: Vec<Vec<u8>>,
    pub anchors: TrustAnchors,
    pub nonce_sent: Option<Vec<u8>>,
    /// Textual changes to the demanding policy.
    pub policy_changes: Vec<(String, String)>,
    /// Last change to the GPU's report.
    pub on_report: fn(&mut Vec<u8>),
    /// Last change to a certificate of the chain: leaf, chip, provisioner, identity, root.
    pub on_chain: fn(&mut Vec<Vec<u8>>),
    /// Last change to the manifests: driver's, VBIOS'.
    pub on_manifests: fn(&mut Vec<String>),
    /// Last change to the document.
    pub on_document: fn(&mut Value),
}

/// The device root's anchor.
fn anchor(label: &str, key: &Signer) -> TrustAnchor {
    TrustAnchor::simulated(label, &root_certificate(key)).unwrap()
}

/// A root's own certificate.
pub fn root_certificate(key: &Signer) -> Vec<u8> {
    key.certify(&key.template(key, 1, years(), authority_extensions()))
}

fn years() -> Validity {
    Validity::years_from(now(), 20)
}

impl World {
    /// A GPU that passes the demanding policy.
    pub fn new() -> World {
        let keys = Keys::known();
        let mut report = ReportTemplate::gpu(NONCE, &FWID);
        report.set(22, None);
        let mut leaf_extensions = leaf_extensions();
        leaf_extensions.push(firmware_identity(&keys.leaf, &FWID));
        let authority = authority_extensions;
        let certify = |key: &Signer, issuer: &Signer, serial, extensions| {
            key.template(issuer, serial, years(), extensions)
        };
        let signer_extensions = simulated_tee::nvidia::leaf_extensions();
        let certificates = Certificates {
            identity: certify(&keys.identity, &keys.device_root, serial::IDENTITY, authority()),
            provisioner: certify(
                &keys.provisioner,
                &keys.identity,
                serial::PROVISIONER,
                authority(),
            ),
            chip: certify(&keys.chip, &keys.provisioner, serial::CHIP, authority()),
            leaf: certify(&keys.leaf, &keys.chip, serial::LEAF, leaf_extensions),
            rim_authority: certify(
                &keys.rim_authority,
                &keys.rim_root,
                serial::RIM_AUTHORITY,
                authority(),
            ),
            rim_signer: certify(
                &keys.rim_signer,
                &keys.rim_authority,
                serial::RIM_SIGNER,
                signer_extensions,
            ),
            responder: certify(&keys.responder, &keys.provisioner, 99, responder_extensions()),
        };
        let good = |serial| AnswerTemplate::good(serial, today());
        World {
            driver_manifest: ManifestTemplate::of(&report, "GH100", "580.95.05", "GPU", |index| {
                index % 3 == 0
            }),
            vbios_manifest: ManifestTemplate::of(
                &report,
                "GH100",
                "96.00.CF.00.02",
                "GPU",
                |index| index % 3 == 1,
            ),
            manifest_signer: keys.rim_signer.clone(),
            answers: vec![
                (Issuer::DeviceRoot, good(serial::IDENTITY)),
                (Issuer::Identity, good(serial::PROVISIONER)),
                (Issuer::Provisioner, good(serial::CHIP)),
                (Issuer::RimRoot, good(serial::RIM_AUTHORITY)),
                (Issuer::RimAuthority, good(serial::RIM_SIGNER)),
            ],
            crls: vec![keys.identity.revocation_list(&[], today())],
            more_endorsements: Vec::new(),
            anchors: TrustAnchors::vendors()
                .with(anchor("simulated devices", &keys.device_root))
                .with(anchor("simulated manifests", &keys.rim_root)),
            nonce_sent: Some(NONCE.to_vec()),
            policy_changes: Vec::new(),
            on_report: |_| {},
            on_chain: |_| {},
            on_manifests: |_| {},
            on_document: |_| {},
            switch: None,
            report,
            certificates,
            keys,
        }
    }

    /// Changes a line of the policy.
    pub fn change_policy(&mut self, from: &str, to: &str) {
        self.policy_changes.push((from.to_owned(), to.to_owned()));
    }

    /// The strict policy with the world's device, simulation allowed, then as changed.
    pub fn policy(&self) -> Policy {
        let strict = include_str!("../../../policies/appraisal/strict.toml");
        let tees = strict.lines().find(|line| line.starts_with("tees = ")).unwrap();
        let (general, section) = strict.split_once("[nvidia]").unwrap();
        let general = general
            .replacen("allow_simulated = false", "allow_simulated = true", 1)
            .replacen(tees, "tees = [\"nvidia\"]", 1);
        let section = section
            .replacen("devices = []", &format!("devices = [\"{:04x}\"]", serial::CHIP), 1)
            .replacen("drivers = \"any\"", "drivers = [\"580.95.05\"]", 1)
            .replacen("vbios = \"any\"", "vbios = [\"96.00.CF.00.02\"]", 1);
        let text = format!("{general}[nvidia]{section}");
        let text = self.policy_changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from.as_str()), "{from}");
            text.replacen(from.as_str(), to, 1)
        });
        Policy::from_toml(&text).unwrap()
    }

    /// The certificates beside the GPU's report: leaf first.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let (keys, certificates) = (&self.keys, &self.certificates);
        let mut chain = vec![
            keys.chip.certify(&certificates.leaf),
            keys.provisioner.certify(&certificates.chip),
            keys.identity.certify(&certificates.provisioner),
            keys.device_root.certify(&certificates.identity),
            root_certificate(&keys.device_root),
        ];
        (self.on_chain)(&mut chain);
        chain
    }

    fn switch_chain(&self) -> Vec<Vec<u8>> {
        let keys = &self.keys;
        let authority = authority_extensions;
        let chip =
            keys.switch_chip.template(&keys.provisioner, serial::SWITCH_CHIP, years(), authority());
        let mut extensions = leaf_extensions();
        extensions.push(firmware_identity(&keys.switch_leaf, &FWID));
        let leaf =
            keys.switch_leaf.template(&keys.switch_chip, serial::SWITCH_LEAF, years(), extensions);
        let mut chain = vec![keys.switch_chip.certify(&leaf), keys.provisioner.certify(&chip)];
        chain.extend(self.chain().into_iter().skip(2));
        chain
    }

    /// The GPU's report, signed.
    pub fn signed_report(&self) -> Vec<u8> {
        let mut report = self.report.sign(&self.keys.leaf);
        (self.on_report)(&mut report);
        report
    }

    /// The document a tool would write.
    pub fn document(&self) -> Value {
        // The nonce stands behind the four bytes of the request's header.
        let device = |report: Vec<u8>, chain: Vec<Vec<u8>>, architecture: &str| {
            json!({
                "evidence": BASE64.encode(&report),
                "certificate": BASE64.encode(pem(&chain).as_bytes()),
                "arch": architecture,
                "nonce": hex(&report[4..36]),
            })
        };
        let mut devices = vec![device(self.signed_report(), self.chain(), "HOPPER")];
        if let Some(switch) = &self.switch {
            let report = switch.sign(&self.keys.switch_leaf);
            devices.push(device(report, self.switch_chain(), "LS10"));
        }
        let mut document = Value::Array(devices);
        (self.on_document)(&mut document);
        document
    }

    /// The manifests, signed: driver's, VBIOS', and the switch's where there is one.
    pub fn manifests(&self) -> Vec<String> {
        let certificates = [
            self.keys.rim_authority.certify(&self.certificates.rim_signer),
            self.keys.rim_root.certify(&self.certificates.rim_authority),
            root_certificate(&self.keys.rim_root),
        ];
        let sign =
            |manifest: &ManifestTemplate| manifest.sign(&self.manifest_signer, &certificates);
        let mut manifests = vec![sign(&self.driver_manifest), sign(&self.vbios_manifest)];
        manifests.extend(self.switch.as_ref().map(|switch| {
            sign(&ManifestTemplate::of(switch, "LS10", "96.10.6D.00.01", "SWITCH", |_| true))
        }));
        (self.on_manifests)(&mut manifests);
        manifests
    }

    /// One answer: by a responder below the provisioner for what that issued, by the issuer itself
    /// for the rest.
    pub fn answer(&self, issuer: Issuer, template: &AnswerTemplate) -> Vec<u8> {
        let keys = &self.keys;
        let responder = keys.provisioner.certify(&self.certificates.responder);
        match issuer {
            Issuer::DeviceRoot => template.sign(&keys.device_root, &keys.device_root, None),
            Issuer::Identity => template.sign(&keys.identity, &keys.identity, None),
            Issuer::Provisioner => {
                template.sign(&keys.provisioner, &keys.responder, Some(&responder))
            }
            Issuer::RimRoot => template.sign(&keys.rim_root, &keys.rim_root, None),
            Issuer::RimAuthority => template.sign(&keys.rim_authority, &keys.rim_authority, None),
        }
    }

    /// Everything that goes along.
    pub fn endorsements(&self) -> Endorsements {
        let mut blobs: Vec<Vec<u8>> =
            self.manifests().into_iter().map(String::into_bytes).collect();
        blobs.extend(self.answers.iter().map(|(issuer, answer)| self.answer(*issuer, answer)));
        blobs.extend(self.crls.iter().chain(&self.more_endorsements).cloned());
        Endorsements::sort(blobs.iter().map(Vec::as_slice))
    }

    /// Judges the document.
    pub fn judge(&self) -> AttestationResult {
        let document = serde_json::to_vec(&self.document()).unwrap();
        self.judge_bytes(&document, &self.endorsements())
    }

    /// Judges any evidence in this world.
    pub fn judge_bytes(&self, evidence: &[u8], endorsements: &Endorsements) -> AttestationResult {
        let expectations =
            Expectations { nonce: self.nonce_sent.clone(), ..Expectations::default() };
        let policy = self.policy();
        appraise_raw(evidence, endorsements, &self.anchors, &policy, &expectations, NOW)
    }

    /// A set of the GPU and the switch it is linked to, under a policy that takes both.
    pub fn with_switch(mut self) -> World {
        self.report.set(22, Some(&[8, 7, 6, 5, 4, 3, 2, 1].repeat(2)));
        self.switch = Some(ReportTemplate::switch(NONCE));
        let chip = serial::SWITCH_CHIP;
        let good = AnswerTemplate::good(chip, today());
        self.answers.push((Issuer::Provisioner, good));
        let pins = format!("devices = [\"{:04x}\"", serial::CHIP);
        self.change_policy(&pins, &format!("{pins}, \"{chip:04x}\""));
        self.change_policy("[\"hopper\", \"blackwell\"]", "[\"hopper\", \"ls10\"]");
        self.change_policy("switches = \"refused\"", "switches = \"allowed\"");
        self.change_policy("[\"96.00.CF.00.02\"]", "[\"96.00.CF.00.02\", \"96.10.6D.00.01\"]");
        self.change_policy(
            "architecture = \"blackwell\"\ndrivers = [\"570.195.03\", \"580.95.05\"]\nvbios = \"97.00.00.00.00\"",
            "architecture = \"ls10\"\ndrivers = []\nvbios = \"96.10.6D.00.01\"",
        );
        self
    }
}

/// Certificates as PEM text.
pub fn pem(chain: &[Vec<u8>]) -> String {
    let block = |der: &Vec<u8>| {
        let text = BASE64.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    chain.iter().map(block).collect()
}
