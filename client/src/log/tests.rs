//! An epoch is believed when the log shows it, and not for any other reason.

use bulla_attestation::appraise::{Freshness, appraise, appraise_logged};
use bulla_attestation::hash::keyset_digest;
use bulla_attestation::policy::Policy;
use bulla_tlog::{
    Checkpoint, Hash, SignedCheckpoint, SignerKey, TlogProof, Tree, VerifierKey, WitnessSigner,
};
use bulla_wire::cbor::Bytes;
use bulla_wire::epoch::{EpochClose, EpochOpen};
use bulla_wire::ids::{Digest, EpochId};
use bulla_wire::leaf::Leaf;
use bulla_wire::units::UnixSeconds;

use super::{LogConfig, LogRefusal, LogRule, RuleError, follows, judge_epoch};
use crate::testing::{Enclave, NOW, POLICY, anchors};

const ORIGIN: &str = "log.example/usage";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn signer(n: u8) -> WitnessSigner {
    WitnessSigner::from_seed(&format!("w{n}.example"), &[n + 10; 32]).unwrap()
}

fn vkeys(of: &[u8]) -> Vec<String> {
    of.iter().map(|n| signer(*n).verifier().to_string()).collect()
}

/// The development policy, asking for `quorum` of these witnesses and an age.
fn policy(quorum: usize, witnesses: &[u8], maximum_age: &str) -> Policy {
    let keys: Vec<String> = vkeys(witnesses).iter().map(|key| format!("\"{key}\"")).collect();
    let text = POLICY
        .replace("quorum = 0", &format!("quorum = {quorum}"))
        .replace("keys = []", &format!("keys = [{}]", keys.join(", ")))
        .replace("maximum_age_seconds = \"any\"", &format!("maximum_age_seconds = {maximum_age}"))
        .replace("nonce = \"required\"", "nonce = \"not_required\"");
    Policy::from_toml(&text).unwrap()
}

fn rule(maximum_age_seconds: Option<u64>) -> LogRule {
    let config = LogConfig { quorum: 2, witnesses: vkeys(&[1, 2, 3]), maximum_age_seconds };
    let key = log_key().verifier();
    LogRule::of(&config, Some(key), &policy(0, &[], "\"any\"")).unwrap().unwrap()
}

/// What a broker shows of an epoch; a test makes one thing wrong.
struct Case {
    enclave: Enclave,
    signed_by: u8,
    keyset: Option<Digest>,
    parent_key: SignerKey,
    parent_size: u64,
    parent_by: Vec<u8>,
    parent_ages: u64,
    head_by: Vec<u8>,
    head_ages: u64,
    leaf: Option<Leaf>,
}

impl Case {
    fn good() -> Case {
        Case {
            enclave: Enclave::new("enclave-1", 5),
            signed_by: 5,
            keyset: None,
            parent_key: log_key(),
            parent_size: 3,
            parent_by: vec![1, 2],
            parent_ages: 500,
            head_by: vec![2, 3],
            head_ages: 100,
            leaf: None,
        }
    }

    fn cosigned(mut head: SignedCheckpoint, by: &[u8], age_s: u64) -> SignedCheckpoint {
        for n in by {
            let line = signer(*n).cosign(&head, NOW.seconds().0 - age_s).unwrap();
            head.push_signature(line).unwrap();
        }
        head
    }

    fn proof(&self) -> Vec<u8> {
        let mut tree = Tree::from_leaf_hashes((0..3).map(|n| Hash::leaf(&[n])));
        let parent = Checkpoint::new(ORIGIN, self.parent_size, Hash::leaf(b"root")).unwrap();
        let parent = match self.parent_size == 3 {
            true => Checkpoint::new(ORIGIN, 3, tree.root()).unwrap(),
            false => parent,
        };
        let parent = parent.sign(&self.parent_key).unwrap();
        let parent = Case::cosigned(parent, &self.parent_by, self.parent_ages);
        let keyset = self.keyset.unwrap_or_else(|| keyset_digest(&self.enclave.keyset));
        let receipts = bulla_attestation::sign::SigningKey::from_seed([self.signed_by; 32]);
        let open = receipts.sign(EpochOpen {
            issuer: self.enclave.instance.clone(),
            issued_at: NOW.seconds(),
            keyset,
            epoch: EpochId::of_keyset(&keyset),
            configuration: Digest([8; 32]),
            parent: Bytes(parent.to_bytes()),
            evidence: Digest([9; 32]),
        });
        let leaf = Leaf::EpochOpen { record: Bytes(open.bytes().to_vec()) };
        let leaf = self.leaf.clone().unwrap_or(leaf).to_vec();
        let index = tree.push(&leaf);
        tree.push(b"more");
        let head = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
        let head = Case::cosigned(head.sign(&log_key()).unwrap(), &self.head_by, self.head_ages);
        let path = tree.inclusion_proof(index, tree.size()).unwrap();
        TlogProof::new(index, path, &head, &leaf).unwrap().to_string().into_bytes()
    }

    fn refusal(&self, rule: &LogRule) -> LogRefusal {
        judge_epoch(&self.proof(), &self.enclave.keyset, rule, NOW.seconds()).err().unwrap()
    }
}

#[test]
fn a_witnessed_epoch_is_believed_and_a_demanding_policy_affirmed() {
    let case = Case::good();
    let keyset = &case.enclave.keyset;
    let shown = judge_epoch(&case.proof(), keyset, &rule(Some(100)), NOW.seconds()).unwrap();
    assert_eq!(shown.logged.since, UnixSeconds(NOW.seconds().0 - 500));
    assert_eq!(shown.head.checkpoint().size(), 5);
    let report = case.enclave.report(None);
    let judge = |policy: &Policy, logged| {
        appraise_logged(&report, &anchors(), policy, Freshness::Passport, logged, NOW.seconds())
    };
    // The policy names a witness the configuration does not; it is found among the cosigners.
    let demanding = policy(2, &[2, 3, 4], "600");
    let result = judge(&demanding, Some(&shown.logged));
    assert!(result.is_affirmed(), "{result}");
    let without = appraise(&report, &anchors(), &demanding, Freshness::Passport, NOW.seconds());
    assert!(!without.is_affirmed());
    assert!(!judge(&policy(3, &[2, 3, 4], "600"), Some(&shown.logged)).is_affirmed());
    assert!(!judge(&policy(2, &[2, 3, 4], "499"), Some(&shown.logged)).is_affirmed());
}

#[test]
fn every_thing_wrong_is_found() {
    use LogRefusal as E;
    let with = |change: fn(&mut Case)| {
        let mut case = Case::good();
        change(&mut case);
        case.refusal(&rule(Some(100)))
    };
    let wrong_leaf = |leaf: Leaf| {
        let case = Case { leaf: Some(leaf), ..Case::good() };
        case.refusal(&rule(None))
    };
    assert!(matches!(with(|c| c.head_by = vec![2]), E::Proof(_)));
    assert!(matches!(with(|c| c.head_by = vec![2, 9]), E::Proof(_)));
    assert!(matches!(with(|c| c.head_ages = 101), E::Stale { age_s: 101, maximum_s: 100 }));
    assert!(matches!(with(|c| c.parent_by = vec![1]), E::Witness { .. }));
    assert!(matches!(with(|c| c.parent_size = 9), E::Parent(_)));
    let forged = |c: &mut Case| c.parent_key = SignerKey::from_seed(ORIGIN, &[2; 32]).unwrap();
    assert!(matches!(with(forged), E::Parent(_)));
    assert!(matches!(with(|c| c.signed_by = 6), E::Record(_)));
    assert!(matches!(with(|c| c.keyset = Some(Digest([3; 32]))), E::Keyset { .. }));
    let delegation = Leaf::Delegation { delegation: Bytes(vec![1]) };
    assert!(matches!(wrong_leaf(delegation), E::NoOpen));
    let keyset = keyset_digest(&Case::good().enclave.keyset);
    let close = bulla_attestation::sign::SigningKey::from_seed([5; 32]).sign(EpochClose {
        issuer: Case::good().enclave.instance,
        issued_at: NOW.seconds(),
        keyset,
        epoch: EpochId::of_keyset(&keyset),
        seq: 1,
        prev: Digest([0; 32]),
    });
    let close = Leaf::EpochOpen { record: Bytes(close.bytes().to_vec()) };
    assert!(matches!(wrong_leaf(close), E::Record(_)));
    let proof = String::from_utf8(Case::good().proof()).unwrap();
    let bare = proof.lines().filter(|line| !line.starts_with("extra")).map(|l| format!("{l}\n"));
    let bare: String = bare.collect();
    let case = Case::good();
    let judged = judge_epoch(bare.as_bytes(), &case.enclave.keyset, &rule(None), NOW.seconds());
    assert!(matches!(judged.err(), Some(E::Leaf(_))));
    let judged = judge_epoch(b"", &case.enclave.keyset, &rule(None), NOW.seconds());
    assert!(matches!(judged.err(), Some(E::Format(_))));
    // A clock that was set back sees cosignatures of the future.
    let early = UnixSeconds(NOW.seconds().0 - 1000);
    let judged = judge_epoch(&case.proof(), &case.enclave.keyset, &rule(None), early);
    assert!(matches!(judged.err(), Some(E::Future { ahead_s: 900 })));
}

#[test]
fn heads_grow_and_one_size_has_one_root() {
    let head = |size: u64, root: u8| {
        let root = if size == 0 { Hash::empty_root() } else { Hash::leaf(&[root]) };
        Checkpoint::new(ORIGIN, size, root).unwrap()
    };
    assert_eq!(follows(&head(0, 0), &head(4, 1)), Ok(None));
    assert_eq!(follows(&head(3, 1), &head(4, 1)), Ok(Some(3)));
    assert_eq!(follows(&head(4, 1), &head(4, 1)), Ok(None));
    let forked = follows(&head(4, 1), &head(4, 2));
    assert!(matches!(forked, Err(LogRefusal::Forked { seen: 4, got: 4, .. })));
    let rewound = follows(&head(4, 1), &head(3, 1));
    assert_eq!(rewound, Err(LogRefusal::Rewound { seen: 4, got: 3 }));
}

#[test]
fn a_rule_is_read_whole_or_not_at_all() {
    let key = log_key().verifier();
    let plain = policy(0, &[], "\"any\"");
    let of = |config: &LogConfig, key: Option<&VerifierKey>, policy: &Policy| {
        LogRule::of(config, key.cloned(), policy).map(|rule| rule.is_some())
    };
    assert_eq!(of(&LogConfig::default(), None, &plain), Ok(false));
    assert_eq!(of(&LogConfig::default(), Some(&key), &policy(1, &[1], "\"any\"")), Ok(true));
    assert_eq!(
        of(&LogConfig::default(), None, &policy(1, &[1], "\"any\"")),
        Err(RuleError::NoLogKey)
    );
    let config = LogConfig { quorum: 1, witnesses: vkeys(&[1]), maximum_age_seconds: None };
    assert_eq!(of(&config, Some(&key), &plain), Ok(true));
    let too_many = LogConfig { quorum: 2, ..config.clone() };
    assert!(matches!(of(&too_many, Some(&key), &plain), Err(RuleError::Quorum(_))));
    let none = LogConfig { quorum: 0, ..config.clone() };
    assert!(matches!(of(&none, Some(&key), &plain), Err(RuleError::Quorum(_))));
    let misspelt = LogConfig { witnesses: vec!["w".to_owned()], ..config.clone() };
    assert!(matches!(of(&misspelt, Some(&key), &plain), Err(RuleError::WitnessKey { .. })));
    let age = LogConfig { maximum_age_seconds: Some(5), ..LogConfig::default() };
    assert_eq!(of(&age, Some(&key), &plain), Err(RuleError::AgeAlone));
    let stranger = VerifierKey::new("other.example", [1; 32]).unwrap();
    let rule = LogRule::of(&config, Some(stranger), &plain).unwrap().unwrap();
    let case = Case::good();
    let judged = judge_epoch(&case.proof(), &case.enclave.keyset, &rule, NOW.seconds());
    assert!(matches!(judged.err(), Some(LogRefusal::Proof(_))));
}
