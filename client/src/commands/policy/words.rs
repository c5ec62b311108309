//! The general rules of a policy, one sentence each.

use bulla_attestation::policy::{Accept, Demand, KemFloor, Limit, Policy, Purpose, Tolerance};

/// What each rule is about, and what it says.
pub fn general(policy: &Policy) -> Vec<(&'static str, String)> {
    vec![
        ("for", purpose(policy)),
        ("evidence of", list(policy.tees().iter().map(ToString::to_string))),
        ("simulated TEE", simulated(policy).to_owned()),
        ("nonce", nonce(policy).to_owned()),
        ("age", age(policy)),
        ("keyset", keyset(policy)),
        ("sealing", sealing(policy).to_owned()),
        ("accelerators", accelerators(policy)),
        ("witnesses", witnesses(policy)),
        ("reference values", reference_values(policy)),
        ("rego", rego(policy)),
    ]
}

fn purpose(policy: &Policy) -> String {
    match policy.purpose() {
        Purpose::Workload => "deciding whom to talk to: affirmed evidence yields keys".to_owned(),
        Purpose::Evidence => "judging evidence: never yields keys".to_owned(),
    }
}

fn simulated(policy: &Policy) -> &'static str {
    match policy.allows_simulated() {
        true => "taken, where its root is named: no hardware protects anything",
        false => "refused",
    }
}

fn nonce(policy: &Policy) -> &'static str {
    match policy.freshness().nonce {
        Demand::Required => "evidence must answer ours",
        Demand::NotRequired => "not asked: evidence made before may be shown",
    }
}

fn age(policy: &Policy) -> String {
    match policy.freshness().maximum_age_seconds {
        Limit::Any => "not asked".to_owned(),
        Limit::AtMost(seconds) => {
            format!("at most {}, as a witnessed log tells, without a nonce", duration(seconds))
        }
    }
}

fn keyset(policy: &Policy) -> String {
    let rule = policy.keyset();
    let chip = match rule.chip_id_in_subject {
        Demand::Required => "must name the chip of the evidence",
        Demand::NotRequired => "need not name a chip",
    };
    format!("ends within {}; {chip}", duration(rule.maximum_life_seconds))
}

fn sealing(policy: &Policy) -> &'static str {
    match policy.sealing().kem {
        KemFloor::Any => "any key encapsulation",
        KemFloor::Hybrid => "hybrid post-quantum at least (X-Wing)",
    }
}

fn accelerators(policy: &Policy) -> String {
    let rule = policy.accelerators();
    let classes = match &rule.classes {
        Accept::Any => "of any class".to_owned(),
        Accept::Only(classes) => format!("class {}", list(classes.iter().map(ToString::to_string))),
    };
    let products = match &rule.products {
        Accept::Any => String::new(),
        Accept::Only(products) => format!("; products {}", list(products.iter().cloned())),
    };
    let asserted = match rule.asserted {
        Tolerance::Refused => "the vendor must attest them",
        Tolerance::Allowed => "the measured guest's word is taken where the vendor attests nothing",
    };
    format!("{classes}{products}; {asserted}")
}

fn witnesses(policy: &Policy) -> String {
    let rule = policy.witnesses();
    match rule.quorum {
        0 => "not asked".to_owned(),
        quorum => {
            let names = list(rule.keys.iter().map(|key| key.name().to_owned()));
            format!("{quorum} of {} must have cosigned the log: {names}", rule.keys.len())
        }
    }
}

fn reference_values(policy: &Policy) -> String {
    let manifests = &policy.reference_values().manifests;
    let one = |named: &bulla_attestation::policy::ManifestReference| {
        format!("{} (version {} or newer, root {})", named.name, named.minimum_version, named.root)
    };
    match manifests.is_empty() {
        true => "none: only what is listed below".to_owned(),
        false => format!("beside what is listed below, {}", list(manifests.iter().map(one))),
    }
}

fn rego(policy: &Policy) -> String {
    match policy.rego().modules.as_slice() {
        [] => "none".to_owned(),
        modules => {
            format!("must allow: {}", list(modules.iter().map(|module| module.file.clone())))
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Seconds in the largest unit that divides them.
fn duration(seconds: u64) -> String {
    match seconds {
        0 => "0 s".to_owned(),
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
