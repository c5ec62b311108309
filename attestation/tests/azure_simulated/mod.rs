//! A simulated Azure VM: a paravisor on a simulated chip, a vTPM with a key of its own, and the
//! document a guest agent would write. A test changes a field, then judges.

use std::sync::LazyLock;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::snp::product::ProductLine;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rand_core::{CryptoRng, SeedableRng};
use ring::digest::{SHA256, digest};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

use crate::simulated::{
    Authority, Chip, LeafTemplate, NOW, ReportTemplate, Validity, authority, hex, now,
};

/// The verifier's challenge.
pub const NONCE: &[u8] = b"a challenge of thirty-two bytes.";
/// What the simulated paravisor's ID block is signed with, by digest. A template of the simulated
/// chip has no such field, so it stays zero.
pub const NO_SIGNER: [u8; 48] = [0; 48];
const VM_ID: &str = "26F8BC30-774E-4290-8E7A-535F3B672AEE";
const RSA_BITS: usize = 2048;

/// The vTPM's key and another one: made once, which takes half a second.
static KEYS: LazyLock<[RsaPrivateKey; 2]> = LazyLock::new(|| {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(17);
    [(); 2].map(|()| RsaPrivateKey::new(&mut Older(&mut rng), RSA_BITS).expect("a key is made"))
});

/// The `rsa` crate speaks an older `rand_core`.
struct Older<'a, R>(&'a mut R);

impl<R: CryptoRng> rsa::rand_core::RngCore for Older<'_, R> {
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

impl<R: CryptoRng> rsa::rand_core::CryptoRng for Older<'_, R> {}

/// One VM and everything around it.
pub struct AzureWorld {
    pub kind: TeeKind,
    authority: Authority,
    pub template: ReportTemplate,
    pub crls: Vec<Vec<u8>>,
    /// Words of the header, from the version on, where they should differ from what is right.
    pub report_type: u32,
    pub hash_type: u32,
    pub runtime: Value,
    pub pcrs: Vec<[u8; 32]>,
    pub extra_data: Vec<u8>,
    /// Which of the two keys signs the quote.
    pub signer: usize,
    pub with_quote: bool,
    pub expectations: Expectations,
    pub policy_changes: Vec<(&'static str, String)>,
    /// Last change to the digest the hardware signs.
    pub on_slot: fn(&mut [u8; 64]),
    /// Last change to the paravisor's report.
    pub on_hcl: fn(&mut Vec<u8>),
    /// Last change to the quote before it is signed.
    pub on_quote: fn(&mut Vec<u8>),
    /// Last change to the document.
    pub on_document: fn(&mut Value),
}

impl AzureWorld {
    /// A VM that passes the demanding policy.
    pub fn new() -> AzureWorld {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(7);
        let authority = authority(ProductLine::Genoa);
        let mut template = ReportTemplate::new(ProductLine::Genoa, &mut rng);
        template.policy |= crate::simulated::SINGLE_SOCKET;
        let crl = authority.revocation_list(&[], Validity::years_from(now(), 1), &mut rng);
        AzureWorld {
            kind: TeeKind::AzureSnp,
            authority,
            template,
            crls: vec![crl],
            report_type: 2,
            hash_type: 1,
            runtime: runtime_data(),
            pcrs: (0..24).map(|register| [register; 32]).collect(),
            extra_data: NONCE.to_vec(),
            signer: 0,
            with_quote: true,
            expectations: Expectations {
                nonce: Some(NONCE.to_vec()),
                report_data: Some([0x11; 64]),
                measurement: None,
            },
            policy_changes: Vec::new(),
            on_slot: |_| {},
            on_hcl: |_| {},
            on_quote: |_| {},
            on_document: |_| {},
        }
    }

    /// Changes a line of the policy.
    pub fn change_policy(&mut self, from: &'static str, to: &str) {
        self.policy_changes.push((from, to.to_owned()));
    }

    /// The strict policy, filled in for this VM as it was made.
    fn policy(&self) -> Policy {
        let strict = include_str!("../../../policies/appraisal/strict.toml");
        let list = |hex: String| format!("[\"{hex}\"]");
        let made = AzureWorld::made();
        let signers = strict.find("paravisor_signers = [").expect("strict lists signers");
        let end = signers + strict[signers..].find("\n]\n").expect("the list ends") + 3;
        let signer = format!("paravisor_signers = {}\n", list(hex(&NO_SIGNER)));
        let text = [&strict[..signers], &signer, &strict[end..]].concat();
        let pcr = format!("pcrs = [{{ pcr = 4, values = [\"{}\"] }}]", hex(&[4; 32]));
        let filled = [
            ("allow_simulated = false", "allow_simulated = true".to_owned()),
            ("tees = [", "tees = [\"azure-snp\", ".to_owned()),
            ("measurements = []", format!("measurements = {}", list(hex(&made.measurement)))),
            ("chip_ids = []", format!("chip_ids = {}", list(hex(&made.chip_id)))),
            ("vm_unique_ids = []", format!("vm_unique_ids = {}", list(VM_ID.to_lowercase()))),
            ("pcrs = []", pcr),
        ];
        let changes = filled.iter().chain(&self.policy_changes);
        let text = changes.fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        Policy::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn made() -> ReportTemplate {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(7);
        ReportTemplate::new(ProductLine::Genoa, &mut rng)
    }

    /// The document the guest's agent would write.
    pub fn document(&self) -> Value {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(8);
        let runtime = self.runtime.to_string().into_bytes();
        let mut slot = [0; 64];
        slot[..32].copy_from_slice(digest(&SHA256, &runtime).as_ref());
        (self.on_slot)(&mut slot);
        let validity = Validity::years_from(now(), 7);
        let leaf = LeafTemplate::for_report(ProductLine::Genoa, &self.template, validity);
        let chip = Chip::generate(&self.authority, &leaf, &mut rng);
        let types = [self.report_type, self.hash_type];
        let mut hcl = hcl_report(types, &chip.report(&self.template, &slot), &runtime);
        (self.on_hcl)(&mut hcl);
        let mut document = json!({
            "version": 2,
            "hcl_report": BASE64URL_NOPAD.encode(&hcl),
            "vcek": BASE64URL_NOPAD.encode(chip.certificate()),
        });
        if self.with_quote {
            document["tpm_quote"] = self.quote();
        }
        (self.on_document)(&mut document);
        document
    }

    fn quote(&self) -> Value {
        tpm_quote(&self.extra_data, &self.pcrs, self.signer, self.on_quote)
    }

    /// Judges what the VM serves.
    pub fn judge(&self) -> AttestationResult {
        self.judge_bytes(self.document().to_string().as_bytes())
    }

    /// Judges other bytes as if they were this VM's.
    pub fn judge_bytes(&self, evidence: &[u8]) -> AttestationResult {
        let ask = self.authority.ask_certificate();
        let endorsements =
            Endorsements::sort([ask].into_iter().chain(self.crls.iter().map(Vec::as_slice)));
        let root = TrustAnchor::simulated("test root", self.authority.ark_certificate()).unwrap();
        let anchors = TrustAnchors::vendors().with(root);
        let (policy, expectations) = (self.policy(), &self.expectations);
        appraise_raw(self.kind, evidence, &endorsements, &anchors, &policy, expectations, NOW)
    }
}

/// The paravisor's report around a hardware report: `types` are those of report and hash.
pub fn hcl_report(types: [u32; 2], hardware_report: &[u8], runtime: &[u8]) -> Vec<u8> {
    let runtime_bytes = runtime.len() as u32;
    let mut hcl = Vec::new();
    let magic = u32::from_le_bytes(*b"HCLA");
    let header = [magic, 2, 32 + 1184 + 20 + runtime_bytes, 2, 0, 0, 0, 0];
    hcl.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    hcl.extend(hardware_report);
    hcl.resize(32 + 1184, 0);
    let [report_type, hash_type] = types;
    let data = [20 + runtime_bytes, 1, report_type, hash_type, runtime_bytes];
    hcl.extend(data.iter().flat_map(|word| word.to_le_bytes()));
    hcl.extend(runtime);
    hcl.resize(2600, 0);
    hcl
}

/// A vTPM's quote of all registers, signed by one of the two keys after `change`.
pub fn tpm_quote(
    extra_data: &[u8],
    pcrs: &[[u8; 32]],
    signer: usize,
    change: fn(&mut Vec<u8>),
) -> Value {
    let mut message = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 2, 0xab, 0xcd];
    message.extend((extra_data.len() as u16).to_be_bytes());
    message.extend(extra_data);
    message.extend([0; 17]);
    message.extend([0x20, 0x20, 3, 0x12, 0, 0x12, 0, 3]);
    message.extend([0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff, 0, 32]);
    message.extend(digest(&SHA256, &pcrs.concat()).as_ref());
    change(&mut message);
    let signer = SigningKey::<Sha256>::new(KEYS[signer].clone());
    json!({
        "message": HEXLOWER.encode(&message),
        "signature": HEXLOWER.encode(&signer.sign(&message).to_bytes()),
        "pcrs": pcrs.iter().map(|value| HEXLOWER.encode(value)).collect::<Vec<_>>(),
    })
}

/// What the paravisor writes: its vTPM's keys, the configuration, the guest's own bytes.
pub fn runtime_data() -> Value {
    let key = |kid: &str, operation: &str, key: &RsaPrivateKey| {
        json!({
            "kid": kid, "key_ops": [operation], "kty": "RSA",
            "e": BASE64URL_NOPAD.encode(&key.e().to_bytes_be()),
            "n": BASE64URL_NOPAD.encode(&key.n().to_bytes_be()),
        })
    };
    json!({
        "keys": [key("HCLAkPub", "sign", &KEYS[0]), key("HCLEkPub", "encrypt", &KEYS[1])],
        "vm-configuration": {
            "console-enabled": false, "secure-boot": true, "tpm-enabled": true, "vmUniqueId": VM_ID,
        },
        "user-data": "11".repeat(64),
    })
}
