//! One thing wrong at a time under a simulated root, judged by us under `authentic` and by
//! `dcap-qvl`: both accept with the same status, or both refuse; where they differ, the row says who
//! is stricter and why. (Random TCB levels: `tdx_levels_against_dcap_qvl.rs`.)
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod simulated;
mod simulated_tdx;

use bulla_attestation::policy::Policy;
use bulla_attestation::result::{AttestationResult, Claims};
use data_encoding::{BASE64, HEXLOWER};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::verify::QuoteVerifier;
use serde::Deserialize;
use serde_json::value::RawValue;
use simulated::tdx::{Intel, Signer, leaf_extensions};
use simulated::{Extension, Name, Validity, now};
use simulated_tdx::{DAY, PCK_CRL, QE_IDENTITY, ROOT_CRL, SIGNER, TCB_INFO, World};

/// Index of a certificate among the templates.
const AUTHORITY: usize = 1;
const COLLATERAL_SIGNER: usize = 2;
const PLATFORM: usize = 3;
/// Where the body of a quote of version 5 begins.
const BODY: usize = 54;

/// How two judges stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Both accept, with this status.
    Same(&'static str),
    /// Both refuse.
    Refused,
    /// `dcap-qvl` alone refuses.
    TheyRefuse(&'static str),
    /// We alone refuse.
    WeRefuse(&'static str),
}

use Expected::{Refused, Same, TheyRefuse, WeRefuse};

const CLAIM: &str = "attributes of a TD that are claims under `authentic`, for a policy to ask";
const UNKNOWN: &str = "under `authentic` revocation is checked where a current list is given";

type Row = (&'static str, Expected, fn(&mut World));

const ROWS: &[Row] = &[
    ("nothing", Same("UpToDate"), |_| {}),
    ("a TD of TDX 1.0", Same("UpToDate"), |w| {
        w.intel.quote.td.since_1_5 = None;
        w.intel.quote.version = 4;
    }),
    ("zeros after the quote", Same("UpToDate"), |w| w.intel.quote.padding = 8),
    // The quote.
    ("an SGX enclave's quote", Refused, |w| w.intel.quote.tee_type = 0),
    ("no known TEE", Refused, |w| w.intel.quote.tee_type = 0x82),
    ("a version of tomorrow", Refused, |w| w.on_quote = |quote| quote[0] = 6),
    ("a truncated quote", Refused, |w| {
        w.on_quote = |quote| {
            quote.pop();
        };
    }),
    ("another kind of attestation key", Refused, |w| w.intel.quote.key_type = 3),
    ("somebody else's quoting enclave", Refused, |w| w.intel.quote.qe_vendor[0] ^= 1),
    ("an altered body", Refused, |w| w.on_quote = |quote| quote[BODY + 128] ^= 1),
    ("an altered signature", Refused, |w| w.on_quote = |quote| quote[BODY + 652] ^= 1),
    ("a key nobody vouched for", Refused, |w| w.intel.quote.qe_report_data_change[31] = 1),
    ("a report of another platform's enclave", Refused, |w| {
        w.on_chain = |intel, chain| {
            let mut other = intel.clone();
            other.pck = Signer::generate("another key").unwrap();
            other.certificates[PLATFORM].spki = other.pck.spki();
            chain[0] = other.chain().unwrap()[0].clone();
        };
    }),
    // Certificates.
    ("an altered platform certificate", Refused, |w| {
        w.on_chain = |_, chain| flip_last(&mut chain[0]);
    }),
    ("an altered authority", Refused, |w| w.on_chain = |_, chain| flip_last(&mut chain[1])),
    ("an expired platform certificate", Refused, |w| {
        w.intel.certificates[PLATFORM].not_after = now() - 1;
    }),
    ("an authority from tomorrow", Refused, |w| {
        w.intel.certificates[AUTHORITY].not_before = now() + 1;
    }),
    ("a platform certificate without a platform", Refused, |w| {
        w.on_chain = |intel, chain| {
            chain[0] = intel.authority.certify(&intel.certificates[PLATFORM]).unwrap();
        };
    }),
    ("a platform that claims to be an authority", Refused, |w| {
        w.intel.certificates[PLATFORM].extensions[1].value = vec![0x30, 3, 1, 1, 0xff];
    }),
    ("a critical extension nobody knows", Refused, |w| {
        let unknown = Extension { oid: "1.2.3.4".to_owned(), critical: true, value: vec![5, 0] };
        w.intel.certificates[PLATFORM].extensions.push(unknown);
    }),
    ("an authority that is none", Refused, |w| w.intel.certificates[AUTHORITY].extensions.clear()),
    ("an authority by another name", WeRefuse("Intel's names are asked"), |w| {
        let name = Name("Intel SGX TCB CA".to_owned());
        w.intel.certificates[AUTHORITY].subject = name.clone();
        w.intel.certificates[PLATFORM].issuer = name.clone();
        w.intel.authority.name = name;
    }),
    ("a platform by another name", WeRefuse("Intel's names are asked"), |w| {
        w.intel.certificates[PLATFORM].subject = Name("Intel SGX Attestation".to_owned());
    }),
    // Revocation.
    ("a revoked platform", Refused, |w| {
        w.on_endorsements = |intel, all| {
            let serial = intel.certificates[PLATFORM].serial;
            all[PCK_CRL] = intel.authority.revocation_list(&[serial], month()).unwrap();
        };
    }),
    ("a revoked authority", Refused, |w| {
        w.on_endorsements = |intel, all| {
            let serial = intel.certificates[AUTHORITY].serial;
            all[ROOT_CRL] = intel.root.revocation_list(&[serial], month()).unwrap();
        };
    }),
    ("a revoked signer of collateral", Refused, |w| {
        w.on_endorsements = |intel, all| {
            let serial = intel.certificates[COLLATERAL_SIGNER].serial;
            all[ROOT_CRL] = intel.root.revocation_list(&[serial], month()).unwrap();
        };
    }),
    ("an altered list", Refused, |w| {
        w.on_endorsements = |_, all| flip_last(&mut all[PCK_CRL]);
    }),
    ("a stale list about platforms", TheyRefuse(UNKNOWN), |w| {
        w.on_endorsements = |intel, all| {
            let past = Validity { not_before: now() - 9 * DAY, not_after: now() - 1 };
            all[PCK_CRL] = intel.authority.revocation_list(&[], past).unwrap();
        };
    }),
    ("no list about platforms", TheyRefuse(UNKNOWN), |w| {
        w.on_endorsements = |_, all| all[PCK_CRL].clear();
    }),
    ("no list about authorities", TheyRefuse(UNKNOWN), |w| {
        w.on_endorsements = |_, all| all[ROOT_CRL].clear();
    }),
    // Collateral.
    ("altered TCB info", Refused, |w| {
        w.on_endorsements = |_, all| altered(&mut all[TCB_INFO], "OutOfDate", "UpToDate");
    }),
    ("an altered identity of the quoting enclave", Refused, |w| {
        w.on_endorsements = |_, all| {
            altered(&mut all[QE_IDENTITY], "\"isvsvn\":4", "\"isvsvn\":1");
        };
    }),
    ("TCB info by somebody else", Refused, |w| {
        w.on_endorsements = |intel, all| {
            let other = Signer::generate("Intel SGX TCB Signing").unwrap();
            all[TCB_INFO] = intel.tcb_info.response(&other).unwrap().into_bytes();
        };
    }),
    ("a signer of collateral under another root", Refused, |w| {
        w.on_endorsements = |intel, all| {
            let other = Signer::generate("Intel SGX TCB Signing").unwrap();
            let life = Validity::years_from(now(), 1);
            let template = other.template(&other, 9, life, leaf_extensions());
            all[SIGNER] = other.certify(&template).unwrap();
            all[TCB_INFO] = intel.tcb_info.response(&other).unwrap().into_bytes();
            all[QE_IDENTITY] = intel.qe_identity.response(&other).unwrap().into_bytes();
        };
    }),
    ("an expired signer of collateral", Refused, |w| {
        w.intel.certificates[COLLATERAL_SIGNER].not_after = now() - 1;
    }),
    ("stale TCB info", Refused, |w| {
        w.intel.tcb_info.window.next_update = "2026-11-19T23:59:59Z".to_owned();
    }),
    ("an identity from tomorrow", Refused, |w| {
        w.intel.qe_identity.window.issue_date = "2026-11-20T00:00:01Z".to_owned();
    }),
    ("another kind of platform", Refused, |w| w.intel.tcb_info.fmspc[0] ^= 1),
    ("another kind of provisioning enclave", WeRefuse("PCEID is compared beside FMSPC"), |w| {
        w.intel.tcb_info.pce_id[1] = 1;
    }),
    ("TCB info about SGX", Refused, |w| w.intel.tcb_info.id = "SGX".to_owned()),
    // Levels; many more are drawn at random elsewhere.
    ("a component below every level", Refused, |w| w.intel.platform.components[0] = 1),
    ("a provisioning enclave below every level", Refused, |w| w.intel.platform.pce_svn = 12),
    ("a TDX component below every level", Refused, |w| w.intel.quote.td.tee_tcb_svn[2] = 1),
    ("a TDX module nobody lists", Refused, |w| w.intel.quote.td.tee_tcb_svn[1] = 9),
    ("a quoting enclave below every level", Refused, |w| w.intel.quote.qe_isv_svn = 2),
    ("a quoting enclave out of date", Same("OutOfDate"), |w| w.intel.quote.qe_isv_svn = 3),
    ("a level that asks for hardening", Same("SWHardeningNeeded"), |w| {
        w.intel.tcb_info.levels[0].status = "SWHardeningNeeded".to_owned();
    }),
    ("a revoked level", Refused, |w| {
        w.intel.tcb_info.levels[0].status = "Revoked".to_owned();
    }),
    ("a level in a word nobody knows", Refused, |w| {
        w.intel.tcb_info.levels[0].status = "Splendid".to_owned();
    }),
    // Quoting enclave and module.
    ("a quoting enclave of another signer", Refused, |w| w.intel.quote.qe_mrsigner[0] ^= 1),
    ("another enclave of the signer", Refused, |w| w.intel.quote.qe_isv_prod_id = 1),
    ("a quoting enclave with an attribute", Refused, |w| w.intel.quote.qe_attributes[1] = 1),
    ("a quoting enclave with a MISCSELECT", Refused, |w| w.intel.quote.qe_miscselect[3] = 1),
    ("a quoting enclave with DEBUG", Refused, |w| {
        w.intel.quote.qe_attributes[0] |= 2;
        w.intel.qe_identity.attributes[0] |= 2;
    }),
    ("a module of another signer", Refused, |w| w.intel.quote.td.mrsignerseam[0] = 1),
    ("a module with an attribute", Refused, |w| w.intel.quote.td.seam_attributes[7] = 1),
    // The TD.
    ("a TD the host can read", Refused, |w| w.intel.quote.td.td_attributes |= 1),
    ("a TD without SEPT_VE_DISABLE", TheyRefuse(CLAIM), |w| {
        w.intel.quote.td.td_attributes &= !(1 << 28);
    }),
    ("a TD with a service TD", TheyRefuse(CLAIM), |w| {
        w.intel.quote.td.since_1_5.as_mut().unwrap().1[0] = 1;
    }),
    ("a TD that can be moved", TheyRefuse(CLAIM), |w| {
        w.intel.quote.td.td_attributes |= 1 << 29;
    }),
    ("a TD whose counters the host may watch", TheyRefuse(CLAIM), |w| {
        w.intel.quote.td.td_attributes |= 1 << 5;
    }),
    ("another workload", Same("UpToDate"), |w| w.intel.quote.td.mrtd[0] ^= 1),
];

fn flip_last(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

fn altered(bytes: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{from}");
    *bytes = text.replacen(from, to, 1).into_bytes();
}

fn month() -> Validity {
    Validity { not_before: now() - DAY, not_after: now() + 30 * DAY }
}

fn pem(chain: &[Vec<u8>]) -> String {
    let one = |der: &Vec<u8>| {
        let text = BASE64.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    chain.iter().map(one).collect()
}

/// A response of Intel's service, its statement as it is signed.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, alias = "tcbInfo", alias = "enclaveIdentity")]
    statement: &'a RawValue,
    signature: String,
}

fn response(bytes: &[u8]) -> (String, Vec<u8>) {
    let response: Response<'_> = serde_json::from_slice(bytes).unwrap();
    let signature = HEXLOWER.decode(response.signature.as_bytes()).unwrap();
    (response.statement.get().to_owned(), signature)
}

/// The same endorsements as the other implementation wants them.
fn collateral(intel: &Intel, endorsements: &[Vec<u8>]) -> QuoteCollateralV3 {
    let signers = pem(&[endorsements[SIGNER].clone(), intel.root_certificate().unwrap()]);
    let (tcb_info, tcb_info_signature) = response(&endorsements[TCB_INFO]);
    let (qe_identity, qe_identity_signature) = response(&endorsements[QE_IDENTITY]);
    QuoteCollateralV3 {
        pck_crl_issuer_chain: pem(&intel.chain().unwrap()[1..]),
        root_ca_crl: endorsements[ROOT_CRL].clone(),
        pck_crl: endorsements[PCK_CRL].clone(),
        tcb_info_issuer_chain: signers.clone(),
        tcb_info_signature,
        tcb_info,
        qe_identity_issuer_chain: signers,
        qe_identity_signature,
        qe_identity,
        pck_certificate_chain: None,
    }
}

fn authentic() -> Policy {
    let text = include_str!("../../policies/appraisal/authentic.toml");
    let text = text.replacen("allow_simulated = false", "allow_simulated = true", 1);
    Policy::from_toml(&text).unwrap()
}

fn status(result: &AttestationResult) -> Option<&'static str> {
    let Some(Claims::Tdx(claims)) = result.claims() else { return None };
    claims.tcb_status.map(|status| status.as_str())
}

#[test]
fn one_thing_wrong_is_wrong_for_both_or_the_difference_is_meant() {
    let policy = authentic();
    let mut wrong = Vec::new();
    let mut differences = 0;
    for (what, expected, make_wrong) in ROWS {
        let mut world = World::new();
        world.event_log.clear();
        make_wrong(&mut world);
        let (quote, endorsements) = world.evidence(&[7; 64]);
        let verifier = QuoteVerifier::new(world.intel.root_certificate().unwrap());
        let collateral = collateral(&world.intel, &endorsements);
        let theirs = verifier.verify(&quote, &collateral, now() as u64);
        let ours = world.judge_raw(&policy);
        let is_as_expected = match (expected, &theirs, ours.is_affirmed()) {
            (Same(word), Ok(report), true) => {
                report.status == *word && status(&ours) == Some(*word)
            }
            (Refused, Err(_), false) => true,
            (TheyRefuse(_), Err(_), true) | (WeRefuse(_), Ok(_), false) => {
                differences += 1;
                true
            }
            _ => false,
        };
        if !is_as_expected {
            let theirs = theirs.map(|report| report.status).map_err(|error| format!("{error:#}"));
            let failed: Vec<_> = ours.failed().map(|check| check.name).collect();
            wrong.push(format!("{what}: {expected:?}, but they say {theirs:?}, we {failed:?}"));
        }
    }
    println!("against dcap-qvl: {} cases, {differences} meant differences", ROWS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
