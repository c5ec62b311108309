//! Policies that name Rego modules. With the feature `rego` they are evaluated; without it such a
//! policy is refused when it is read.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod simulated;

use bulla_attestation::hash::sha256;
use bulla_attestation::policy::{Policy, PolicyError};
use bulla_attestation::result::{AttestationResult, CheckName};
use simulated::World;

const FILE: &str = "rules/extra.rego";

/// A module that asks for two things types do not: an even number of processors' model, a chip.
const ALLOWS: &str = r#"package bulla

default allow := false

allow if {
    input.tee == "snp"
    input.claims.vmpl == 0
    every check in input.checks { check.result != "fail" }
}
"#;

fn policy_text(module: &str) -> String {
    let digest = sha256(module.as_bytes());
    let text = simulated::demanding_policy_text(&World::new());
    let named = format!("modules = [{{ file = \"{FILE}\", sha256 = \"{digest}\" }}]");
    text.replacen("modules = []", &named, 1)
}

#[cfg(not(feature = "rego"))]
#[test]
fn a_build_without_rego_refuses_to_read_a_policy_that_names_a_module() {
    let refused = Policy::from_toml(&policy_text(ALLOWS)).unwrap_err();
    assert_eq!(refused, PolicyError::RegoNotBuilt);
    assert!(refused.to_string().contains("rego.modules"), "{refused}");
}

#[cfg(feature = "rego")]
mod evaluated {
    use super::*;

    fn judge(module: &str, given: &str) -> AttestationResult {
        let policy = Policy::from_toml(&policy_text(module)).unwrap();
        let policy = policy.with_rego(&[(FILE.to_owned(), given.to_owned())]);
        let world = World::new();
        world.judge_document(&world.document(), &policy)
    }

    fn failed(result: &AttestationResult) -> Vec<CheckName> {
        result.failed().map(|check| check.name).collect()
    }

    #[test]
    fn a_module_that_allows_changes_nothing_and_is_named_in_the_verdict() {
        let result = judge(ALLOWS, ALLOWS);
        assert!(result.is_affirmed(), "{result}");
        assert_eq!(result.policy().rego[0].sha256, sha256(ALLOWS.as_bytes()));
    }

    #[test]
    fn whatever_is_not_true_refuses() {
        let with = |body: &str| format!("package bulla\n\n{body}\n");
        for (what, module) in [
            ("false", with("default allow := false")),
            ("undefined", with("deny := true")),
            ("a text", with("allow := \"true\"")),
            ("an object", with("allow := {\"a\": true}")),
            ("a number", with("allow := 1")),
            ("another package", "package other\n\nallow := true\n".to_owned()),
            ("not Rego", "package bulla\n\nallow := \n".to_owned()),
            ("random", with("allow := rand.intn(\"a\", 1) == 0")),
            ("network", with("allow := http.send({\"method\": \"get\"}).status == 200")),
            ("a broken function", with("allow := to_number(\"x\") == 0")),
        ] {
            let result = judge(&module, &module);
            assert_eq!(failed(&result), [CheckName::Rego], "{what}\n{result}");
            assert!(result.into_keys().is_err());
        }
    }

    #[test]
    fn a_module_that_never_ends_refuses_in_time() {
        let module = "package bulla\n\nn := numbers.range(1, 2000)\n\n\
             allow if {\n    some a in n\n    some b in n\n    some c in n\n    a * b * c < 0\n}\n";
        let result = judge(module, module);
        assert_eq!(failed(&result), [CheckName::Rego], "{result}");
        let check = result.check(CheckName::Rego).unwrap();
        assert!(check.got.contains("time"), "{}", check.got);
    }

    #[test]
    fn a_module_that_is_missing_or_another_refuses() {
        let other = ALLOWS.replace("vmpl == 0", "vmpl == 1");
        for given in ["", other.as_str()] {
            assert_eq!(failed(&judge(ALLOWS, given)), [CheckName::Rego], "{given}");
        }
        let policy = Policy::from_toml(&policy_text(ALLOWS)).unwrap();
        let world = World::new();
        let result = world.judge_document(&world.document(), &policy);
        assert_eq!(failed(&result), [CheckName::Rego], "{result}");
    }

    #[test]
    fn a_module_has_at_most_64_kibibytes() {
        let filled = |bytes: usize| {
            let mut text = ALLOWS.to_owned();
            while text.len() + 200 < bytes {
                text += &format!("{}\n", "#".repeat(100));
            }
            let left = bytes - text.len();
            text + &"#".repeat(left)
        };
        let longest = filled(65_536);
        assert!(judge(&longest, &longest).is_affirmed());
        let longer = filled(65_537);
        assert_eq!(failed(&judge(&longer, &longer)), [CheckName::Rego]);
    }

    #[test]
    fn a_module_is_found_by_its_file_and_its_digest_together() {
        let other = "package bulla\n\nallow := true\n";
        let given = |texts: &[(&str, &str)]| {
            let policy = Policy::from_toml(&policy_text(ALLOWS)).unwrap();
            let texts: Vec<(String, String)> =
                texts.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect();
            let world = World::new();
            world.judge_document(&world.document(), &policy.with_rego(&texts))
        };
        // Another text under its name, and its text under another name: neither is the module.
        for texts in [[(FILE, other)], [("rules/other.rego", ALLOWS)]] {
            let result = given(&texts);
            let got = &result.check(CheckName::Rego).unwrap().got;
            assert!(got.contains("was not given"), "{got}");
        }
        assert!(given(&[(FILE, other), (FILE, ALLOWS)]).is_affirmed());
    }

    #[test]
    fn a_module_cannot_allow_what_types_refuse() {
        let module = "package bulla\n\nallow := true\n";
        let policy = Policy::from_toml(&policy_text(module)).unwrap();
        let policy = policy.with_rego(&[(FILE.to_owned(), module.to_owned())]);
        let mut world = World::new();
        world.template.vmpl = 2;
        let result = world.judge_document(&world.document(), &policy);
        assert_eq!(failed(&result), [CheckName::Vmpl], "{result}");
    }
}
