//! The table check → test for Azure's paravisor and vTPM: evidence in which one thing is wrong, so
//! that this check and no other refuses it.
#![allow(
    clippy::disallowed_types,
    dead_code,
    unused_imports,
    reason = "the simulated TEE is included by path, and makes keys of its own"
)]

mod azure_simulated;
mod simulated;

use std::collections::BTreeSet;

use azure_simulated::AzureWorld;
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::CheckResult;
use serde_json::{Value, json};

/// What is wrong, how to make it so, and the check that has to say so.
type Row = (CheckName, &'static str, fn(&mut AzureWorld));

const TABLE: &[Row] = &[
    (TeeType, "a TEE the policy does not list", |w| w.change_policy("\"azure-snp\", ", "")),
    (HclFormat, "a document without a report", |w| {
        w.on_document = |d| *d = json!({ "tpm_quote": d["tpm_quote"] });
    }),
    (HclFormat, "two reports in one document", |w| {
        w.on_document = |d| d["report"] = d["hcl_report"].clone();
    }),
    (HclFormat, "bytes in no encoding", |w| w.on_document = |d| d["hcl_report"] = "?".into()),
    (HclFormat, "a report that begins with something else", |w| w.on_hcl = |hcl| hcl[0] = 0),
    (HclFormat, "a length that lies", |w| w.on_hcl = |hcl| hcl[8] ^= 1),
    (HclFormat, "something behind the report", |w| {
        w.on_hcl = |hcl| *hcl.last_mut().unwrap() = 1;
    }),
    (RuntimeData, "no attestation key", |w| w.runtime["keys"][0]["kid"] = "another".into()),
    (RuntimeData, "two attestation keys", |w| w.runtime["keys"][1]["kid"] = "HCLAkPub".into()),
    (RuntimeDataBound, "a hardware report over something else", |w| w.on_slot = |s| s[0] ^= 1),
    (RuntimeDataBound, "something beside the digest", |w| w.on_slot = |slot| slot[63] = 1),
    (RuntimeDataBound, "another hash than the one named", |w| w.hash_type = 2),
    (RuntimeDataBound, "runtime data altered afterwards", |w| {
        // White space, so that nothing else changes.
        w.on_hcl = |hcl| {
            let at = 1236 + hcl[1236..].iter().position(|byte| *byte == b':').unwrap();
            let moved = hcl.iter().rposition(|byte| *byte == b'}').unwrap();
            hcl[at..=moved + 1].rotate_right(1);
            hcl[at] = b' ';
            hcl.swap(at, at + 1);
            for length in [8, 1216, 1232] {
                let word = u32::from_le_bytes(hcl[length..length + 4].try_into().unwrap()) + 1;
                hcl[length..length + 4].copy_from_slice(&word.to_le_bytes());
            }
        };
    }),
    (ParavisorLevel, "a report the guest itself asked for", |w| {
        w.template.vmpl = 2;
        w.change_policy("vmpl = [0]", "vmpl = [0, 2]");
    }),
    (TpmQuoteFormat, "an attestation of something else", |w| w.on_quote = |q| q[5] = 0x17),
    (TpmQuoteFormat, "a structure no TPM made", |w| w.on_quote = |q| q[0] = 0),
    (TpmQuoteFormat, "something behind the quote", |w| w.on_quote = |q| q.push(0)),
    (TpmQuoteSignature, "a quote by another key", |w| w.signer = 1),
    (TpmQuoteSignature, "a quote altered afterwards", |w| {
        w.on_document = |d| replace(&mut d["tpm_quote"]["message"], "20200312", "20200313");
    }),
    (TpmQuoteSignature, "an altered signature", |w| {
        w.on_document = |d| {
            let signature = &mut d["tpm_quote"]["signature"];
            let flipped = if signature.as_str().unwrap().starts_with('0') { "1" } else { "0" };
            *signature = format!("{flipped}{}", &signature.as_str().unwrap()[1..]).into();
        };
    }),
    (TpmPcrDigest, "a register altered afterwards", |w| {
        w.on_document = |d| d["tpm_quote"]["pcrs"][23] = "00".repeat(32).into();
    }),
    (TpmPcrDigest, "a register left out", |w| {
        w.on_document = |d| {
            d["tpm_quote"]["pcrs"].as_array_mut().unwrap().pop();
        };
    }),
    (TpmPcrDigest, "a bank nobody showed", |w| {
        w.on_quote = |q| {
            let at = q.windows(4).position(|four| four == [0, 0, 0, 1]).unwrap();
            q[at + 5] = 0x0c;
        };
        w.change_policy("pcrs = [{", "pcrs = \"any\" # [{");
    }),
    (TpmQuoteGiven, "no quote", |w| {
        w.with_quote = false;
        w.expectations.nonce = None;
        w.change_policy("pcrs = [{", "pcrs = \"any\" # [{");
        w.change_policy(AZURE_NONCE, AZURE_NO_NONCE);
    }),
    (ParavisorSigner, "somebody else's paravisor", |w| {
        w.change_policy("paravisor_signers = [\"00", "paravisor_signers = [\"01");
    }),
    (SecureBoot, "secure boot off", |w| configure(w, "secure-boot", json!(false))),
    (SecureBoot, "secure boot not said", |w| configure(w, "secure-boot", Value::Null)),
    (GuestConsole, "a serial console", |w| configure(w, "console-enabled", json!(true))),
    (GuestConsole, "a console not spoken of", |w| configure(w, "console-enabled", Value::Null)),
    (VmUniqueId, "another VM", |w| configure(w, "vmUniqueId", json!("00000000"))),
    (VmUniqueId, "a VM without an id", |w| configure(w, "vmUniqueId", Value::Null)),
    (TpmPcrs, "something else booted", |w| w.pcrs[4] = [0; 32]),
    (TpmPcrs, "a register that is not quoted", |w| {
        w.change_policy("{ pcr = 4", "{ pcr = 24");
    }),
    (TpmPcrs, "a policy that lists no register", |w| {
        w.change_policy("pcrs = [{", "pcrs = [] # [{");
    }),
    (Nonce, "an answer to somebody else", |w| w.extra_data[31] ^= 1),
    (Nonce, "an answer to the beginning of the nonce", |w| w.extra_data.truncate(31)),
    (Nonce, "a verifier that sent none", |w| w.expectations.nonce = None),
    (ReportData, "other bytes than the guest was asked to sign", |w| {
        w.expectations.report_data = Some([0x12; 64]);
    }),
    (ReportData, "a guest that signed nothing of its own", |w| {
        w.runtime.as_object_mut().unwrap().remove("user-data");
    }),
    (ReportData, "the expected bytes as a nonce", |w| {
        w.extra_data = vec![0x22; 64];
        w.expectations.nonce = Some(vec![0x22; 64]);
        w.expectations.report_data = Some([0x22; 64]);
    }),
    // What is wrong with the CPU inside is refused by the checks of its own module.
    (ReportSignature, "an altered hardware report", |w| {
        // The image id, which nobody asks for.
        w.on_hcl = |hcl| hcl[32 + 0x020] ^= 1;
    }),
    (GuestDebug, "a guest the host can read", |w| w.template.policy |= 1 << 19),
    (Measurement, "another paravisor", |w| w.template.measurement[0] ^= 1),
    (Measurement, "another paravisor than the caller expects", |w| {
        w.expectations.measurement = Some(vec![1; 48]);
    }),
    (RevocationKnown, "no revocation list", |w| w.crls.clear()),
];

/// The line of the `[azure]` section, told from that of `[freshness]` by the one before it.
const AZURE_NONCE: &str = "tpm_quote = \"required\"\nnonce = \"required\"";
const AZURE_NO_NONCE: &str = "tpm_quote = \"required\"\nnonce = \"not_required\"";

fn configure(world: &mut AzureWorld, member: &str, value: Value) {
    world.runtime["vm-configuration"][member] = value;
}

fn replace(text: &mut Value, from: &str, to: &str) {
    let old = text.as_str().unwrap();
    assert!(old.contains(from));
    *text = old.replacen(from, to, 1).into();
}

/// Checks that ask about what this one found missing.
fn also(name: CheckName, what: &str) -> &'static [CheckName] {
    match (name, what) {
        // Registers nobody can read answer no question.
        (TpmQuoteFormat, _) => &[TpmPcrs, Nonce],
        // Without runtime data there is no configuration and no user data.
        (RuntimeData, _) => &[SecureBoot, GuestConsole, VmUniqueId, ReportData],
        _ => &[],
    }
}

#[test]
fn the_world_passes_with_nothing_wrong() {
    let result = AzureWorld::new().judge();
    assert!(result.is_affirmed() && result.is_simulated(), "{result}");
    let asked = |check: &&bulla_attestation::result::Check| check.result != CheckResult::Pass;
    let unasked: Vec<_> = result.checks().iter().filter(asked).map(|check| check.name).collect();
    assert_eq!(unasked, [GuestSingleSocket, HostData], "{result}");
    // What is checked for the VM as a whole is not said again of the CPU inside.
    let names: BTreeSet<CheckName> = result.checks().iter().map(|check| check.name).collect();
    assert_eq!(names.len(), result.checks().len(), "{result}");
}

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    for (name, what, make_wrong) in TABLE {
        let mut world = AzureWorld::new();
        make_wrong(&mut world);
        let result = world.judge();
        let failed: BTreeSet<CheckName> = result.failed().map(|check| check.name).collect();
        let mut expected = BTreeSet::from([*name]);
        expected.extend(also(*name, what));
        assert_eq!(failed, expected, "{what}\n{result}");
    }
    println!("one thing wrong in an Azure VM: {} cases refused, each by its check", TABLE.len());
}

/// The checks of this block, but for those that only a TD can fail (`azure_tdx.rs`).
const OURS: [CheckName; 14] = [
    HclFormat,
    RuntimeData,
    RuntimeDataBound,
    ParavisorLevel,
    TpmQuoteFormat,
    TpmQuoteSignature,
    TpmPcrDigest,
    TpmQuoteGiven,
    ParavisorSigner,
    SecureBoot,
    GuestConsole,
    VmUniqueId,
    TpmPcrs,
    Nonce,
];

#[test]
fn every_check_has_a_row() {
    let tested: BTreeSet<CheckName> = TABLE.iter().map(|(name, ..)| *name).collect();
    let untested: Vec<_> = OURS.iter().filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn no_mutation_is_accepted_with_other_claims() {
    use rand_core::{Rng, SeedableRng};
    /// Few: `mutations.rs` does the many, on real evidence.
    const TRIED: usize = 100;
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
    let world = AzureWorld::new();
    let document = world.document().to_string().into_bytes();
    let original = world.judge_bytes(&document);
    let mut accepted = 0;
    for _ in 0..TRIED {
        let mut mutated = document.clone();
        let at = rng.next_u32() as usize % mutated.len();
        mutated[at] ^= 1 << (rng.next_u32() % 8);
        let result = world.judge_bytes(&mutated);
        if result.is_affirmed() {
            assert_eq!(result.claims(), original.claims(), "byte {at}");
            accepted += 1;
        }
    }
    println!("Azure mutations: {TRIED} tried, {accepted} accepted with the same claims");
}
