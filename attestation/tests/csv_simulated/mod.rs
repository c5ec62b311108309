//! A simulated Hygon: root, signing key, chip and platform with SM2 keys of their own, and the
//! reports they sign. A test changes a field, then judges.

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::hash::sha256;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sm2::dsa::SigningKey;
use sm2::dsa::signature::Signer;

/// 2026-11-20T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);
/// The verifier's challenge.
pub const NONCE: [u8; 16] = [0x5a; 16];
/// NODBG, NOKS, ES, NOSEND, CSV3.
const POLICY: u32 = 0b0100_1111;
const MEASUREMENT: [u8; 32] = [0x77; 32];
const FIRMWARE_NONCE: [u8; 4] = [0x26, 0xd7, 0xc7, 0x5d];
const KEY_IDS: [[u8; 16]; 2] = [[1; 16], [2; 16]];

/// One of the keys: its secret is this byte, repeated.
type Secret = u8;
const HRK: Secret = 0x11;
const HSK: Secret = 0x12;
const CEK: Secret = 0x13;
const PEK: Secret = 0x14;
/// Somebody else's key.
pub const OTHER: Secret = 0x15;

fn key(secret: Secret, user_id: &str) -> SigningKey {
    SigningKey::from_slice(user_id, &[secret; 32]).expect("a scalar")
}

/// x and y, little-endian, each in 72 bytes.
fn public(secret: Secret) -> Vec<u8> {
    let point = sm2::PublicKey::from_secret_scalar(key(secret, "").as_nonzero_scalar());
    let point = sm2::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&point, false);
    pair(&point.as_bytes()[1..])
}

/// Two big-endian numbers of 32 bytes, as Hygon writes them.
fn pair(numbers: &[u8]) -> Vec<u8> {
    let field = |number: &[u8]| {
        let mut field: Vec<u8> = number.iter().rev().copied().collect();
        field.resize(72, 0);
        field
    };
    numbers.chunks(32).flat_map(field).collect()
}

fn sign(secret: Secret, user_id: &str, signed: &[u8]) -> Vec<u8> {
    let signature: sm2::dsa::Signature = key(secret, user_id).sign(signed);
    pair(&signature.to_bytes())
}

fn user_id(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_le_bytes().to_vec();
    bytes.extend(text.bytes());
    bytes.resize(256, 0);
    bytes
}

fn root_form(secret: Secret, usage: u32, name: &str, ids: [[u8; 16]; 2]) -> Vec<u8> {
    let mut bytes = [&1u32.to_le_bytes()[..], &ids.concat(), &usage.to_le_bytes()].concat();
    bytes.resize(64, 0);
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(public(secret));
    bytes.extend(user_id(name));
    bytes.resize(576, 0);
    let signature = sign(HRK, "HYGON-SSD-HRK", &bytes);
    bytes.extend(signature);
    bytes.resize(832, 0);
    bytes
}

fn chip_form(secret: Secret, usage: u32, name: &str, issuer: (Secret, u32, &str)) -> Vec<u8> {
    let words = [1u32, 0x0301, usage, 4, 3];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(public(secret));
    bytes.extend(user_id(name));
    bytes.resize(1044, 0);
    let (by, by_usage, by_name) = issuer;
    let signature = sign(by, by_name, &bytes);
    bytes.extend([by_usage, 4].iter().flat_map(|word: &u32| word.to_le_bytes()));
    bytes.extend(signature);
    bytes.resize(2084, 0);
    bytes
}

/// One guest and everything around it.
pub struct CsvWorld {
    pub version: u8,
    pub guest_policy: u32,
    pub measurement: [u8; 32],
    pub report_data: [u8; 64],
    pub nonce: [u8; 16],
    pub signing_usage: u32,
    pub algorithm: u32,
    /// The user id the report is signed under.
    pub signs_as: &'static str,
    pub pek_issuer: u8,
    pub hsk_signer_id: [u8; 16],
    /// HSK and CEK given at all.
    pub with_chain: bool,
    /// In the document, rather than as endorsements.
    pub chain_inside: bool,
    pub on_report: fn(&mut Vec<u8>),
    pub on_cek: fn(&mut Vec<u8>),
    pub on_hsk: fn(&mut Vec<u8>),
    pub anchors: TrustAnchors,
    pub expectations: Expectations,
    pub policy_changes: Vec<(&'static str, &'static str)>,
}

impl CsvWorld {
    /// A guest that passes the demanding policy.
    pub fn new() -> CsvWorld {
        let root = TrustAnchor::by_certificate("test root", sha256(&CsvWorld::root()), true);
        CsvWorld {
            version: 1,
            guest_policy: POLICY,
            measurement: MEASUREMENT,
            report_data: [0x33; 64],
            nonce: NONCE,
            signing_usage: 0x1002,
            algorithm: 4,
            signs_as: "HYGON-SSD-PEK",
            pek_issuer: CEK,
            hsk_signer_id: KEY_IDS[0],
            with_chain: true,
            chain_inside: false,
            on_report: |_| {},
            on_cek: |_| {},
            on_hsk: |_| {},
            anchors: TrustAnchors::vendors().with(root),
            expectations: Expectations {
                report_data: Some([0x33; 64]),
                nonce: Some(NONCE.to_vec()),
                measurement: None,
            },
            policy_changes: Vec::new(),
        }
    }

    /// Changes a line of the policy.
    pub fn change_policy(&mut self, from: &'static str, to: &'static str) {
        self.policy_changes.push((from, to));
    }

    /// The strict policy, filled in for this guest as it was made.
    fn policy(&self) -> Policy {
        let strict = include_str!("../../../policies/appraisal/strict.toml");
        let (before, section) = strict.split_once("[csv]\n").expect("strict has a section");
        let list = format!("measurements = [\"{}\"]", HEXLOWER.encode(&MEASUREMENT));
        let section = section.replacen("measurements = []", &list, 1);
        let text = format!("{before}[csv]\n{section}");
        let filled = [
            ("allow_simulated = false", "allow_simulated = true"),
            ("tees = [", "tees = [\"csv\", "),
        ];
        let text = filled.iter().chain(&self.policy_changes).fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        Policy::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn root() -> Vec<u8> {
        root_form(HRK, 0, "HYGON-SSD-HRK", [KEY_IDS[0]; 2])
    }

    fn hsk(&self) -> Vec<u8> {
        let ids = [KEY_IDS[1], self.hsk_signer_id];
        let mut hsk = root_form(HSK, 0x13, "HYGON-SSD-HSK", ids);
        (self.on_hsk)(&mut hsk);
        hsk
    }

    fn cek(&self) -> Vec<u8> {
        let issuer = (HSK, 0x13, "HYGON-SSD-HSK");
        let mut cek = chip_form(CEK, 0x1004, "HYGON-SSD-CEK", issuer);
        (self.on_cek)(&mut cek);
        cek
    }

    /// The root, and the chip's chain where it does not travel inside.
    pub fn endorsements(&self) -> Vec<Vec<u8>> {
        let chain = [self.hsk(), self.cek()].concat();
        let beside = self.with_chain && !self.chain_inside;
        [Some(CsvWorld::root()), beside.then_some(chain)].into_iter().flatten().collect()
    }

    /// The report as the firmware writes it: of version 1, every field disguised.
    pub fn report(&self) -> Vec<u8> {
        let pek_issuer = (self.pek_issuer, 0x1004, "HYGON-SSD-CEK");
        let pek = chip_form(PEK, 0x1002, "HYGON-SSD-PEK", pek_issuer);
        let mut page = vec![0; 64];
        page.extend(self.report_data);
        page.extend(self.nonce);
        page.extend(self.measurement);
        let words = [self.guest_policy, self.signing_usage, self.algorithm];
        page.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        if self.version == 1 {
            disguise(&mut page);
            page.extend(FIRMWARE_NONCE);
            let signature = sign(PEK, self.signs_as, &page[..180]);
            page.extend(signature);
            page.extend(pek);
        } else {
            page.resize(1024, 0x44);
            let signature = sign(PEK, self.signs_as, &page);
            page.extend(signature);
            page.extend(pek);
        }
        page.resize(4096, 0);
        (self.on_report)(&mut page);
        page
    }

    /// The report in the document a guest agent writes.
    pub fn document(&self) -> Vec<u8> {
        let magic = if self.version == 1 { [0; 16] } else { *b"ATTESTATION_EXT\0" };
        let flags = self.version - 1;
        let report = json!({ "magic": magic, "flags": flags, "data": self.report() });
        let mut document = json!({ "attestation_report": report });
        if self.chain_inside && self.with_chain {
            let hsk_cek = json!({ "hsk": spelled_root(&self.hsk()), "cek": spelled(&self.cek()) });
            document["cert_chain"] = json!({ "hsk_cek": hsk_cek });
        }
        document.to_string().into_bytes()
    }

    /// Judges what the guest serves.
    pub fn judge(&self) -> AttestationResult {
        self.judge_bytes(&self.document())
    }

    /// Judges other bytes as if they were this guest's.
    pub fn judge_bytes(&self, evidence: &[u8]) -> AttestationResult {
        let files = self.endorsements();
        let endorsements = Endorsements::sort(files.iter().map(Vec::as_slice));
        let (policy, expectations) = (self.policy(), &self.expectations);
        let (kind, anchors) = (TeeKind::Csv, &self.anchors);
        appraise_raw(kind, evidence, &endorsements, anchors, &policy, expectations, NOW)
    }
}

fn disguise(bytes: &mut [u8]) {
    for (byte, nonce) in bytes.iter_mut().zip(FIRMWARE_NONCE.into_iter().cycle()) {
        *byte ^= nonce;
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// A certificate in root form, field by field, as guests' libraries write JSON.
fn spelled_root(bytes: &[u8]) -> Value {
    json!({
        "body": {
            "preamble": { "ver": word(bytes, 0), "data": {
                "kid": bytes[4..20], "sid": bytes[20..36],
                "usage": word(bytes, 36), "reserved": bytes[40..64],
            }},
            "pubkey": { "g": word(bytes, 64), "x": bytes[68..140], "y": bytes[140..212] },
            "uid_size": short(bytes, 212), "user_id": bytes[214..468],
            "reserved": bytes[468..576],
        },
        "signature": { "r": bytes[576..648], "s": bytes[648..720] },
        "_reserved": bytes[720..832],
    })
}

/// A certificate in chip form.
fn spelled(bytes: &[u8]) -> Value {
    let slot = |at: usize| {
        json!({
            "usage": word(bytes, at), "algo": word(bytes, at + 4),
            "signature": { "r": bytes[at + 8..at + 80], "s": bytes[at + 80..at + 152] },
            "_reserved": bytes[at + 152..at + 520],
        })
    };
    json!({
        "body": { "ver": word(bytes, 0), "data": {
            "firmware": { "major": bytes[4], "minor": bytes[5] }, "reserved1": short(bytes, 6),
            "pubkey": {
                "usage": word(bytes, 8), "algo": word(bytes, 12),
                "key": { "g": word(bytes, 16), "x": bytes[20..92], "y": bytes[92..164] },
            },
            "uid_size": short(bytes, 164), "user_id": bytes[166..420],
            "sid": bytes[420..436], "reserved2": bytes[436..1044],
        }},
        "sigs": [slot(1044), slot(1564)],
    })
}
