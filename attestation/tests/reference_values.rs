//! Reference-value manifests: roots that rotate by threshold, and policies that rely on them.
//!
//! `BULLA_WRITE_EXAMPLES=1 cargo test -p bulla-attestation --test reference_values` writes the
//! development example in `policies/reference-values/development` again.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]
#![allow(clippy::disallowed_methods, reason = "writes examples where it is told to")]

mod simulated;
mod simulated_tdx;

use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::hash::sha256;
use bulla_attestation::hex::Hex;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::reference::{
    DocumentError, Image, Instant, Manifest, ManifestBody, Model, ReferenceDocuments, Role,
    RootBody, RootDocument, RotationError, SnpValues, TdxValues, add_signature, describe,
};
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult, Claims};
use bulla_attestation::sign::SigningKey;
use bulla_attestation::tee::TeeKind;
use bulla_wire::ids::Digest;
use bulla_wire::units::UnixSeconds;
use simulated::{NOW, World, hex};

const DAY: u64 = 24 * 3600;
const LINE: &str = "bulla-appliance";

/// A key whose seed everybody knows.
fn worthless(n: u8) -> SigningKey {
    SigningKey::from_seed([n; 32])
}

fn role(threshold: usize, keys: &[u8]) -> Role {
    Role { threshold, keys: keys.iter().map(|n| worthless(*n).public()).collect() }
}

fn in_days(days: u64) -> Instant {
    Instant(UnixSeconds(NOW.0 + days * DAY))
}

fn root_body(version: u64, root: Role, manifests: Role) -> RootBody {
    let (kind, name) = (RootBody::KIND.to_owned(), "example releases".to_owned());
    RootBody { kind, name, version, expires: in_days(365), root, manifests }
}

fn sign_root(body: RootBody, keys: &[u8]) -> Result<RootDocument, DocumentError> {
    let keys: Vec<_> = keys.iter().map(|n| worthless(*n)).collect();
    RootDocument::sign(body, &keys.iter().collect::<Vec<_>>())
}

fn sign_manifest(body: ManifestBody, keys: &[u8]) -> Manifest {
    let keys: Vec<_> = keys.iter().map(|n| worthless(*n)).collect();
    Manifest::sign(body, &keys.iter().collect::<Vec<_>>()).unwrap()
}

/// Two of three root keys, one manifest key.
fn first_root() -> RootDocument {
    sign_root(root_body(1, role(2, &[1, 2, 3]), role(1, &[10])), &[1, 3]).unwrap()
}

/// Key 3 replaced by 4, the manifest key by two of which both must sign.
fn second_body() -> RootBody {
    root_body(2, role(2, &[1, 2, 4]), role(2, &[11, 12]))
}

fn manifest_body(version: u64, measurement: [u8; 48]) -> ManifestBody {
    let values = SnpValues {
        measurement: Hex(measurement),
        vcpus: 4,
        cpu_model: "EPYC-v4".to_owned(),
        ovmf_sha256: sha256(b"an OVMF file"),
    };
    ManifestBody {
        kind: ManifestBody::KIND.to_owned(),
        name: LINE.to_owned(),
        version,
        issued: in_days(0),
        expires: in_days(90),
        images: vec![Image {
            name: "bulla 0.1.0".to_owned(),
            snp: vec![values],
            tdx: Vec::new(),
            vtpm: Vec::new(),
            csv: Vec::new(),
        }],
        models: vec![Model { name: "demo".to_owned(), manifest: sha256(b"a model manifest") }],
    }
}

/// A world whose policy lists no measurement of its own and names a manifest.
struct Case {
    world: World,
    root: Digest,
    minimum_version: u64,
    /// What the policy lists itself.
    measurements: &'static str,
    documents: Vec<String>,
}

impl Case {
    fn new() -> Case {
        let world = World::new();
        let measurement = world.template.measurement;
        let second = sign_root(second_body(), &[1, 2, 4]).unwrap();
        let manifest = sign_manifest(manifest_body(3, measurement), &[11, 12]);
        Case {
            world,
            root: first_root().digest(),
            minimum_version: 2,
            measurements: "measurements = []",
            documents: vec![first_root().to_json(), second.to_json(), manifest.to_json()],
        }
    }

    /// The third document is another manifest, signed by these keys.
    fn manifest(&mut self, keys: &[u8], change: impl Fn(&mut ManifestBody)) {
        let mut body = manifest_body(3, self.world.template.measurement);
        change(&mut body);
        self.documents[2] = sign_manifest(body, keys).to_json();
    }

    fn policy(&self) -> Policy {
        let named = format!(
            "manifests = [{{ name = \"{LINE}\", root = \"{}\", minimum_version = {}, files = [\"a.json\"] }}]",
            self.root, self.minimum_version
        );
        let text = simulated::demanding_policy_text(&World::new());
        let text = text.replacen("manifests = []", &named, 1);
        let list = format!("measurements = [\"{}\"]", hex(&World::new().template.measurement));
        let policy = Policy::from_toml(&text.replacen(&list, self.measurements, 1)).unwrap();
        let mut documents = ReferenceDocuments::none();
        for (index, document) in self.documents.iter().enumerate() {
            documents.add(&format!("{index}.json"), document.as_bytes());
        }
        policy.with_reference_values(&documents)
    }

    fn judge(&self) -> AttestationResult {
        self.world.judge_document(&self.world.document(), &self.policy())
    }
}

fn failed(result: &AttestationResult) -> Vec<CheckName> {
    result.failed().map(|check| check.name).collect()
}

#[test]
fn a_manifest_brings_its_measurements_and_is_named_in_the_verdict() {
    let result = Case::new().judge();
    assert!(result.is_affirmed(), "{result}");
    let check = result.check(CheckName::ReferenceValues).unwrap();
    assert_eq!(check.got, "bulla 0.1.0 (manifest bulla-appliance, version 3)");
    assert_eq!(result.policy().manifests[0].version, 3);
}

/// What is wrong, what it says, and which checks refuse.
type Row = (&'static str, fn(&mut Case), &'static str, &'static [CheckName]);

const BOTH: &[CheckName] = &[CheckName::Measurement, CheckName::ReferenceValues];
const REFERENCE: &[CheckName] = &[CheckName::ReferenceValues];

const TABLE: &[Row] = &[
    ("no documents", |c| c.documents.clear(), "the root the policy pins was not given", BOTH),
    ("no manifest", |c| c.documents.truncate(2), "not given", BOTH),
    (
        "a manifest of another line",
        |c| {
            c.manifest(&[11, 12], |body| body.name = "another".to_owned());
        },
        "not given",
        BOTH,
    ),
    (
        "an altered manifest",
        |c| {
            c.documents[2] = c.documents[2].replacen("EPYC-v4", "EPYC-v3", 1);
        },
        "does not verify",
        BOTH,
    ),
    (
        "a manifest signed by one of two",
        |c| c.manifest(&[11], |_| {}),
        "2 of 2 keys must sign, 1 did",
        BOTH,
    ),
    (
        "a manifest that one key signed twice",
        |c| c.manifest(&[11, 11], |_| {}),
        "2 of 2 keys must sign, 1 did",
        BOTH,
    ),
    (
        "a manifest signed by root keys",
        |c| c.manifest(&[1, 2, 4], |_| {}),
        "2 of 2 keys must sign, 0 did",
        BOTH,
    ),
    (
        "a manifest signed by the key rotated away",
        |c| c.manifest(&[10], |_| {}),
        "2 of 2 keys must sign, 0 did",
        BOTH,
    ),
    (
        "a manifest older than the policy takes",
        |c| {
            c.manifest(&[11, 12], |body| body.version = 1);
        },
        "version 1, the policy asks 2 or newer",
        BOTH,
    ),
    (
        "two manifests of one version",
        |c| {
            let first = c.documents[2].clone();
            c.manifest(&[11, 12], |body| body.images.clear());
            c.documents.push(first);
        },
        "two manifests of version 3",
        BOTH,
    ),
    (
        "an expired manifest",
        |c| {
            c.manifest(&[11, 12], |body| {
                body.issued = Instant(UnixSeconds(NOW.0 - 10 * DAY));
                body.expires = in_days(0);
            });
        },
        "expired 2026-11-20T00:00:00Z",
        REFERENCE,
    ),
    (
        "a manifest of tomorrow",
        |c| {
            c.manifest(&[11, 12], |body| body.issued = in_days(1));
        },
        "issued 2026-11-21T00:00:00Z, after",
        REFERENCE,
    ),
    (
        "an expired root",
        |c| {
            let body = RootBody { expires: in_days(0), ..second_body() };
            c.documents[1] = sign_root(body, &[1, 2, 4]).unwrap().to_json();
        },
        "its root expired",
        REFERENCE,
    ),
    (
        "a pinned root nobody has",
        |c| c.root = sha256(b"another"),
        "the root the policy pins was not given",
        BOTH,
    ),
    (
        "a root the keys before did not sign",
        |c| {
            // One of the older keys is too few.
            c.documents[1] = sign_root(second_body(), &[1, 4]).unwrap().to_json();
        },
        "not signed by the version before",
        BOTH,
    ),
    (
        "two roots of one version",
        |c| {
            let body = RootBody { expires: in_days(300), ..second_body() };
            c.documents.push(sign_root(body, &[1, 2, 4]).unwrap().to_json());
        },
        "two roots of version 2",
        BOTH,
    ),
    ("a document that is none", |c| c.documents.push("{}".to_owned()), "3.json: ", BOTH),
    (
        "an image that is not listed",
        |c| {
            c.manifest(&[11, 12], |body| body.images[0].snp[0].measurement = Hex([7; 48]));
        },
        "",
        &[CheckName::Measurement],
    ),
    (
        "another image, where the policy asks no measurement",
        |c| {
            c.manifest(&[11, 12], |body| body.images.clear());
            c.measurements = "measurements = \"any\"";
        },
        "none of them",
        REFERENCE,
    ),
];

#[test]
fn each_thing_wrong_is_refused_and_named() {
    for (what, make_wrong, says, refusing) in TABLE {
        let mut case = Case::new();
        make_wrong(&mut case);
        let result = case.judge();
        assert_eq!(failed(&result), *refusing, "{what}\n{result}");
        let check = result.check(CheckName::ReferenceValues).unwrap();
        assert!(check.got.contains(says), "{what}: {}", check.got);
    }
    println!("reference values: {} cases refused", TABLE.len());
}

/// An older version may lie beside, and another line of the same version.
#[test]
fn of_several_manifests_the_newest_of_the_line_counts() {
    let older = sign_manifest(manifest_body(2, [9; 48]), &[11, 12]).to_json();
    let mut body = manifest_body(3, [9; 48]);
    body.name = "another".to_owned();
    let another = sign_manifest(body, &[11, 12]).to_json();
    for at in [0, 3] {
        let mut case = Case::new();
        case.documents.insert(at, older.clone());
        case.documents.insert(at, another.clone());
        let result = case.judge();
        assert!(result.is_affirmed(), "{result}");
        assert_eq!(result.policy().manifests[0].version, 3);
    }
}

#[test]
fn a_policy_never_given_its_manifests_refuses() {
    let case = Case::new();
    let text = case.policy();
    let bare = World::new();
    let named = format!(
        "manifests = [{{ name = \"{LINE}\", root = \"{}\", minimum_version = 1, files = [\"a\"] }}]",
        case.root
    );
    let policy = simulated::demanding_policy_text(&bare).replacen("manifests = []", &named, 1);
    let policy = Policy::from_toml(&policy).unwrap();
    let result = bare.judge_document(&bare.document(), &policy);
    assert_eq!(failed(&result), REFERENCE, "{result}");
    assert_ne!(text, policy);
}

#[test]
fn a_measurement_the_policy_lists_itself_passes_beside_a_manifest() {
    let case = Case::new();
    let named = format!(
        "manifests = [{{ name = \"{LINE}\", root = \"{}\", minimum_version = 1, files = [\"a\"] }}]",
        case.root
    );
    let world = World::new();
    let text = simulated::demanding_policy_text(&world).replacen("manifests = []", &named, 1);
    let other = sign_manifest(manifest_body(3, [7; 48]), &[11, 12]).to_json();
    let mut documents = ReferenceDocuments::none();
    for document in [&case.documents[0], &case.documents[1], &other] {
        documents.add("a", document.as_bytes());
    }
    let policy = Policy::from_toml(&text).unwrap().with_reference_values(&documents);
    let result = world.judge_document(&world.document(), &policy);
    assert!(result.is_affirmed(), "{result}");
    let got = &result.check(CheckName::ReferenceValues).unwrap().got;
    assert_eq!(got, "a launch digest the policy itself lists");
}

#[test]
fn rotation_needs_both_thresholds_and_no_version_is_skipped() {
    let first = first_root();
    let second = sign_root(second_body(), &[1, 2, 4]).unwrap();
    assert_eq!(first.is_followed_by(&second), Ok(()));
    // Its own threshold is asked when it is read.
    let own = sign_root(second_body(), &[2, 3]).unwrap_err();
    assert!(matches!(own, DocumentError::TooFewSignatures { got: 1, .. }), "{own}");
    let mut third = second_body();
    third.version = 3;
    let third = sign_root(third, &[1, 2, 4]).unwrap();
    let skipped = first.is_followed_by(&third).unwrap_err();
    assert_eq!(skipped, RotationError::Version { expected: 2, got: 3 });
    assert_eq!(second.is_followed_by(&third), Ok(()));
    let back = second.is_followed_by(&first).unwrap_err();
    assert_eq!(back, RotationError::Version { expected: 3, got: 1 });
    let mut renamed = second_body();
    renamed.name = "somebody else".to_owned();
    let renamed = sign_root(renamed, &[1, 2, 4]).unwrap();
    assert!(matches!(first.is_followed_by(&renamed), Err(RotationError::Name { .. })));
}

/// As the holders do it: the document goes round, each adds a signature.
#[test]
fn a_document_is_passed_round_until_enough_have_signed() {
    let enough = sign_root(second_body(), &[1, 2, 4]).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&enough.to_json()).unwrap();
    value["signatures"] = serde_json::json!([]);
    let mut text = value.to_string();
    for (signers, key) in [1, 2, 2, 4].into_iter().enumerate() {
        assert_eq!(describe(text.as_bytes()).unwrap().signers.len(), signers.min(2));
        assert_eq!(RootDocument::from_json(text.as_bytes()).is_ok(), signers >= 2, "{signers}");
        text = add_signature(text.as_bytes(), &worthless(key)).unwrap();
    }
    let root = RootDocument::from_json(text.as_bytes()).unwrap();
    assert_eq!(first_root().is_followed_by(&root), Ok(()));
    let described = describe(text.as_bytes()).unwrap();
    assert_eq!((described.version, described.digest), (2, enough.digest()));
    let manifest = sign_manifest(manifest_body(3, [1; 48]), &[11]).to_json();
    let both = add_signature(manifest.as_bytes(), &worthless(12)).unwrap();
    let expected = sign_manifest(manifest_body(3, [1; 48]), &[11, 12]);
    assert_eq!(Manifest::from_json(both.as_bytes()).unwrap(), expected);
    assert!(describe(b"{}").is_err() && add_signature(b"", &worthless(1)).is_err());
}

#[test]
fn refuses_roots_that_contradict_themselves() {
    for (root, keys) in [
        (role(0, &[1, 2]), &[1, 2][..]),
        (role(3, &[1, 2]), &[1, 2]),
        (role(1, &[1, 1]), &[1]),
        (role(1, &[]), &[1]),
    ] {
        let refused = sign_root(root_body(1, root, role(1, &[10])), keys).unwrap_err();
        assert!(matches!(refused, DocumentError::Inconsistent { .. }), "{refused}");
    }
    let many = Role { threshold: 1, keys: (1..=17).map(|n| worthless(n).public()).collect() };
    let refused = sign_root(root_body(1, many, role(1, &[10])), &[1]).unwrap_err();
    assert!(matches!(refused, DocumentError::Inconsistent { .. }), "{refused}");
}

#[test]
fn white_space_and_order_are_free_and_nothing_else_is() {
    let manifest = sign_manifest(manifest_body(1, [1; 48]), &[10]);
    let text = manifest.to_json();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let compact = serde_json::to_string(&value).unwrap();
    assert_ne!(compact, text);
    assert_eq!(Manifest::from_json(compact.as_bytes()).unwrap().digest(), manifest.digest());
    for (what, bad) in [
        ("an unknown member", text.replacen("\"version\"", "\"extra\": 1, \"version\"", 1)),
        ("a member twice", text.replacen("\"version\"", "\"version\": 9, \"version\"", 1)),
        ("another kind", text.replacen(ManifestBody::KIND, RootBody::KIND, 1)),
        ("another spelling of a date", text.replacen("T00:00:00Z", "T00:00:00.0Z", 1)),
        ("upper-case hex", text.replacen("0101", "01AB", 1).replacen("01AB", "0A0B", 1)),
        ("a truncation", text[..text.len() - 3].to_owned()),
    ] {
        assert!(Manifest::from_json(bad.as_bytes()).is_err(), "{what}");
    }
    let long = format!("{text}{}", " ".repeat(4 << 20));
    let refused = Manifest::from_json(long.as_bytes()).unwrap_err();
    assert!(matches!(refused, DocumentError::TooLong { .. }), "{refused}");
}

/// A TD whose policy lists nothing itself, under a manifest of these images.
fn judge_td(images: &[TdxValues]) -> AttestationResult {
    let mut body = manifest_body(1, [1; 48]);
    body.images = images
        .iter()
        .enumerate()
        .map(|(index, values)| Image {
            name: format!("image {index}"),
            snp: Vec::new(),
            tdx: vec![values.clone()],
            vtpm: Vec::new(),
            csv: Vec::new(),
        })
        .collect();
    let mut documents = ReferenceDocuments::none();
    documents.add("root", first_root().to_json().as_bytes());
    documents.add("manifest", sign_manifest(body, &[10]).to_json().as_bytes());
    let mut world = simulated_tdx::World::new();
    world.change_policy("measurements = [", "measurements = [] # [");
    world.change_policy("rtmr1 = [", "rtmr1 = [] # [");
    let named = format!(
        "manifests = [{{ name = \"{LINE}\", root = \"{}\", minimum_version = 1, files = [\"a\"] }}]",
        first_root().digest()
    );
    world.change_policy("manifests = []", &named);
    let policy = world.policy().with_reference_values(&documents);
    let (quote, endorsements) = world.evidence(&[7; 64]);
    let endorsements = Endorsements::sort(endorsements.iter().map(Vec::as_slice));
    let (anchors, expectations) = (world.anchors(), Expectations::default());
    appraise_raw(TeeKind::Tdx, &quote, &endorsements, &anchors, &policy, &expectations, world.now)
}

#[test]
fn the_registers_of_a_td_must_belong_to_one_image() {
    let world = simulated_tdx::World::new();
    let result = world.judge_raw(&world.policy());
    let Some(Claims::Tdx(claims)) = result.claims() else { panic!("{result}") };
    let (mrtd, rtmr1) = (claims.measurement, claims.rtmrs[1]);
    let image =
        |mrtd, rtmr1| TdxValues { mrtd, rtmr0: None, rtmr1: Some(rtmr1), rtmr2: None, rtmr3: None };
    let (other_mrtd, other_rtmr1) = (Hex([8; 48]), Hex([9; 48]));
    let whole = judge_td(&[image(other_mrtd, other_rtmr1), image(mrtd, rtmr1)]);
    assert_eq!(failed(&whole), failed(&result), "{whole}");
    let got = &whole.check(CheckName::ReferenceValues).unwrap().got;
    assert_eq!(got, "image 1 (manifest bulla-appliance, version 1)");
    // Each value is listed, but of different images.
    let mixed = judge_td(&[image(mrtd, other_rtmr1), image(other_mrtd, rtmr1)]);
    assert_eq!(failed(&mixed), REFERENCE, "{mixed}");
    let got = &mixed.check(CheckName::ReferenceValues).unwrap().got;
    assert_eq!(got, "the launch digest of image 0, with other registers");
    let unlisted = judge_td(&[image(other_mrtd, rtmr1)]);
    assert_eq!(failed(&unlisted), [CheckName::Measurement], "{unlisted}");
}

/// Every byte of the text is white space, or its change is refused, or changes nothing that is read.
#[test]
fn no_flipped_bit_passes_with_other_values() {
    let root = first_root();
    let manifest = sign_manifest(manifest_body(3, [1; 48]), &[10]);
    let text = manifest.to_json();
    let named = format!(
        "manifests = [{{ name = \"{LINE}\", root = \"{}\", minimum_version = 1, files = [\"a\"] }}]",
        root.digest()
    );
    let policy = include_str!("../../policies/appraisal/strict.toml");
    let policy = Policy::from_toml(&policy.replacen("manifests = []", &named, 1)).unwrap();
    let read = |bytes: &[u8]| {
        let mut documents = ReferenceDocuments::none();
        documents.add("root", root.to_json().as_bytes());
        documents.add("manifest", bytes);
        policy.clone().with_reference_values(&documents)
    };
    let untouched = read(text.as_bytes());
    let mut passed = 0;
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1 << (at % 7);
        if Manifest::from_json(&bytes).is_ok_and(|m| m.digest() == manifest.digest()) {
            // White space, or a signature, which the root judges.
            continue;
        }
        let read = read(&bytes);
        passed += usize::from(read == untouched);
        let took = read.snp().unwrap().measurements != policy.snp().unwrap().measurements;
        assert!(!took, "byte {at}: {}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(passed, 0);
}

/// The documents in `policies/reference-values/development`: made with keys everybody knows.
fn example() -> [(&'static str, String); 3] {
    let first = first_root();
    let second = sign_root(second_body(), &[1, 2, 4]).unwrap();
    let manifest = sign_manifest(manifest_body(1, World::new().template.measurement), &[11, 12]);
    [
        ("root-1.json", first.to_json()),
        ("root-2.json", second.to_json()),
        ("manifest.json", manifest.to_json()),
    ]
}

#[test]
fn the_development_example_is_what_this_test_makes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/reference-values/development");
    for (name, text) in example() {
        let path = format!("{folder}/{name}");
        if std::env::var_os("BULLA_WRITE_EXAMPLES").is_some() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(stored, text, "{path}: write it with BULLA_WRITE_EXAMPLES=1");
    }
    println!("root of the example: {}", first_root().digest());
}
