//! The commands, with shipped policies and the evidence of a simulated node.

use bulla_attestation::policy::Policy as Rules;
use bulla_attestation::result::CheckName;
use bulla_wire::units::UnixSeconds;

use super::overrides::{OverrideError, apply};
use super::whatif::Test;
use super::{Source, check};
use crate::commands::GlobalArgs;
use crate::commands::verify::SHIPPED;
use crate::testing::{ARK, ASK, Enclave, NOW, VCEK};

fn text(name: &str) -> String {
    Source::named(name).unwrap().text
}

fn applied(changes: &[&str]) -> Result<String, OverrideError> {
    apply(&text("strict"), &changes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
}

#[test]
fn every_shipped_policy_is_told_in_words() {
    for (name, _) in SHIPPED {
        let policy = Source::named(name).unwrap().policy().unwrap();
        let words = check::in_words(&text(name), &policy).unwrap();
        assert!(words.contains(&policy.digest().prefixed()), "{words}");
        assert!(words.contains("minimum_tcb"), "{words}");
        let json: serde_json::Value =
            serde_json::from_str(&check::document(&text(name), &policy).unwrap()).unwrap();
        assert_eq!(json["name"], name);
    }
}

#[test]
fn says_what_an_operator_has_still_to_fill_in() {
    let told = |name: &str| {
        let policy = Source::named(name).unwrap().policy().unwrap();
        check::in_words(&text(name), &policy).unwrap()
    };
    let strict = told("strict");
    assert!(strict.contains("takes nothing as it stands"), "{strict}");
    assert!(strict.contains("snp.measurements") && strict.contains("snp.chip_ids"), "{strict}");
    assert!(!strict.contains("snp.banned_products,"), "{strict}");
    assert!(!told("authentic").contains("takes nothing"), "{}", told("authentic"));
    assert!(strict.contains("hybrid post-quantum at least"), "{strict}");
}

#[test]
fn changes_reach_tables_lists_and_values_of_every_kind() {
    let changed = applied(&[
        "snp.smt=allowed",
        "freshness.maximum_age_seconds = 60",
        "snp.floor[part=genoa].microcode=0x60",
        "snp.vmpl=[0, 1]",
        "allow_simulated=true",
    ])
    .unwrap();
    let policy = Rules::from_toml(&changed).unwrap();
    let snp = policy.snp().unwrap();
    assert_eq!(snp.smt, bulla_attestation::policy::Tolerance::Allowed);
    assert!(snp.vmpl.accepts(&1) && policy.allows_simulated());
    assert!(snp.floor.iter().any(|floor| floor.microcode == 0x60));
    assert_ne!(policy.digest(), Rules::from_toml(&text("strict")).unwrap().digest());
}

#[test]
fn refuses_changes_that_would_change_nothing() {
    for bad in ["snp.minimum_tbc=required", "no.such=1", "snp.floor[part=rome].snp=1"] {
        assert!(matches!(applied(&[bad]), Err(OverrideError::NoKey { .. })), "{bad}");
    }
    assert!(matches!(applied(&["snp.smt"]), Err(OverrideError::Form { .. })));
    // A value of the wrong kind is for the policy's reader to refuse.
    let text = applied(&["snp.smt=7"]).unwrap();
    assert!(Rules::from_toml(&text).unwrap_err().to_string().contains("smt"));
}

/// A folder with the evidence of a simulated node and what endorses it.
fn recorded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let document = Enclave::new("one", 1).report(Some([7; 32]));
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("report.bin", &document.attestation.evidence.report);
    write("README", b"what these files are");
    std::fs::create_dir(folder.path().join("endorsements")).unwrap();
    write("endorsements/vcek.der", VCEK);
    write("endorsements/ask.der", ASK);
    write("endorsements/ark.der", ARK);
    folder
}

fn try_changes(folder: &tempfile::TempDir, set: &[&str], against: Option<&str>) -> Test {
    Test {
        evidence: vec![folder.path().to_owned()],
        policy: "development".to_owned(),
        against: against.map(str::to_owned),
        set: set.iter().map(|change| (*change).to_owned()).collect(),
        at: Some(UnixSeconds(NOW.seconds().0)),
        simulated_root: vec![folder.path().join("endorsements/ark.der")],
    }
}

#[test]
fn a_tightened_policy_shows_what_breaks() {
    let folder = recorded();
    let broken = |set: &[&str]| try_changes(&folder, set, None).outcome().unwrap().broken();
    assert_eq!(broken(&["snp.vmpl=[0]"]), (0, vec![]));
    assert_eq!(broken(&["snp.vmpl=[3]"]), (1, vec![CheckName::Vmpl]));
    let (breaks, checks) = broken(&["snp.minimum_tcb=required"]);
    assert_eq!(breaks, 1);
    assert!(checks.contains(&CheckName::MinimumReportedTcb), "{checks:?}");
    assert_eq!(broken(&["snp.revocation=required"]), (1, vec![CheckName::RevocationKnown]));
    let whole = try_changes(&folder, &[], Some("strict")).outcome().unwrap();
    let (breaks, checks) = whole.broken();
    assert!(breaks == 1 && checks.contains(&CheckName::SimulatedRoot), "{checks:?}");
    let json = serde_json::to_value(&whole).unwrap();
    assert_eq!(json["evidence"][0]["before"], "affirmed");
    assert_eq!(json["evidence"][0]["after"], "refused");
    assert_eq!((&json["breaks"], &json["affirmed_before"]), (&1.into(), &1.into()));
}

#[test]
fn nothing_to_try_and_nothing_to_judge_are_errors() {
    let folder = recorded();
    assert!(try_changes(&folder, &[], None).outcome().is_err());
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(empty.path().join("README"), b"nothing").unwrap();
    let mut test = try_changes(&folder, &["snp.vmpl=[3]"], None);
    test.evidence = vec![empty.path().to_owned()];
    assert!(test.outcome().unwrap_err().to_string().contains("no evidence"));
}

/// A policy, its manifest and its root in one folder, as the shipped example shows them.
#[test]
fn a_policy_finds_the_documents_it_names_beside_itself() {
    let folder = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/reference-values/development");
    for name in ["root-1.json", "root-2.json", "manifest.json"] {
        let bytes = std::fs::read(format!("{example}/{name}")).unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let root = std::fs::read(format!("{example}/root-1.json")).unwrap();
    let root = bulla_attestation::reference::RootDocument::from_json(&root).unwrap().digest();
    let named = format!(
        "manifests = [{{ name = \"bulla-appliance\", root = \"{root}\", minimum_version = 1, \
         files = [\"root-1.json\", \"root-2.json\", \"manifest.json\"] }}]"
    );
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, text("strict").replacen("manifests = []", &named, 1)).unwrap();
    let policy = crate::io::rules::read(&path).unwrap();
    let bulla_attestation::policy::Accept::Only(measurements) = &policy.snp().unwrap().measurements
    else {
        panic!("any")
    };
    assert_eq!(measurements.len(), 1);
    std::fs::remove_file(folder.path().join("root-2.json")).unwrap();
    assert!(crate::io::rules::read(&path).unwrap_err().to_string().contains("root-2.json"));
}

#[test]
fn a_document_is_described_and_signed_in_its_place() {
    use super::reference::Reference;
    let folder = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/reference-values/development");
    let file = folder.path().join("root.json");
    std::fs::copy(format!("{example}/root-1.json"), &file).unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, crate::commands::appraise::ED25519).unwrap();
    let global = GlobalArgs { data: folder.path().to_owned(), config: None, json: true };
    let signers = || {
        let document = std::fs::read(&file).unwrap();
        bulla_attestation::reference::describe(&document).unwrap().signers.len()
    };
    assert_eq!(signers(), 2);
    let run = |sign| Reference { file: file.clone(), sign }.run(&global).unwrap();
    assert_eq!((run(None), signers()), (0, 2));
    assert_eq!((run(Some(key.clone())), signers()), (0, 3));
    assert_eq!((run(Some(key.clone())), signers()), (0, 3));
}
