//! The checks on paravisor and vTPM: one function each, in the order they are reported. Those on
//! the CPU inside are its own module's.

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use super::evidence::{Evidence, QuoteEvidence};
use super::hcl::Hcl;
use super::runtime::{RuntimeData, RuntimeDataError};
use super::td_report::Td;
use crate::hex::Hex;
use crate::policy::{Accept, AzurePolicy, Demand, Tolerance};
use crate::raw::Expectations;
use crate::result::{Check, CheckName};
use crate::signature::SignatureAlgorithm;
use crate::tee::TeeKind;
use crate::tee::snp::report::Report;
use crate::tee::tpm::{Quote, QuoteError, registers};

/// What the checks look at.
pub(super) struct Case<'a> {
    /// What the caller asked to have judged.
    pub kind: TeeKind,
    pub evidence: &'a Evidence,
    pub hcl: &'a Hcl<'a>,
    pub runtime: Result<RuntimeData, RuntimeDataError>,
    /// The quote, where one was given.
    pub parsed_quote: Option<Result<Quote, QuoteError>>,
    /// The SNP report inside, where it is one.
    pub snp: Option<Report>,
    pub rules: &'a AzurePolicy,
    pub expectations: &'a Expectations,
}

const NO_QUOTE: &str = "no vTPM quote";
const UNREADABLE_QUOTE: &str = "a quote that does not read";
/// What a check says whose answer depends on runtime data that does not read.
const NO_RUNTIME_DATA: &str = "runtime data that does not read";

impl Case<'_> {
    /// The quote that reads, with what came beside it.
    pub fn quote(&self) -> Option<(&Quote, &QuoteEvidence)> {
        self.parsed_quote.as_ref()?.as_ref().ok().zip(self.evidence.quote.as_ref())
    }

    /// The report data the hardware signed: of the SNP report, or of the TD quote.
    fn signed_report_data(&self) -> Option<[u8; 64]> {
        match self.hcl.kind {
            TeeKind::AzureTdx => Some(*Td::of_quote(self.evidence.td_quote.as_ref()?)?.report_data),
            _ => Some(self.snp.as_ref()?.report_data),
        }
    }
}

/// Every check on evidence that was taken apart.
pub(super) fn all(case: &Case<'_>) -> Vec<Check> {
    let checks: [fn(&Case<'_>) -> Check; 14] = [
        report_type,
        runtime_data,
        runtime_data_bound,
        hardware_report,
        tpm_quote_format,
        tpm_quote_signature,
        tpm_pcr_digest,
        tpm_quote_given,
        paravisor_signer,
        secure_boot,
        console,
        vm_unique_id,
        pcrs,
        nonce,
    ];
    let mut all: Vec<Check> = checks.iter().map(|check| check(case)).collect();
    all.extend(report_data(case));
    all
}

fn report_type(case: &Case<'_>) -> Check {
    let got = case.hcl.kind;
    Check::judge(CheckName::HclReportType, got == case.kind, case.kind.name(), got.name())
}

fn runtime_data(case: &Case<'_>) -> Check {
    let got = match &case.runtime {
        Ok(data) => data.key_names.join(", "),
        Err(error) => error.to_string(),
    };
    let expected = "runtime data with one RSA attestation key";
    Check::judge(CheckName::RuntimeData, case.runtime.is_ok(), expected, got)
}

/// The hardware signed the digest of the runtime data, and nothing besides. This is what makes the
/// vTPM's key, the configuration and the user data the paravisor's words.
fn runtime_data_bound(case: &Case<'_>) -> Check {
    let name = CheckName::RuntimeDataBound;
    let expected = case.hcl.hash.slot(case.hcl.runtime_data);
    let words = format!("{} of the runtime data: {}", case.hcl.hash.name(), Hex(expected));
    match case.signed_report_data() {
        Some(got) => Check::judge(name, got == expected, words, Hex(got).to_string()),
        None => Check::unknown(name, words, "no hardware report that reads"),
    }
}

/// The hardware's report is one that only the paravisor could have asked for and a stranger can
/// verify: of VMPL 0 (AMD), or quoted (Intel).
fn hardware_report(case: &Case<'_>) -> Check {
    match case.hcl.kind {
        TeeKind::AzureTdx => td_quote(case),
        _ => paravisor_level(case),
    }
}

/// Anything less privileged is the guest itself, which could have runtime data of its own making
/// signed.
fn paravisor_level(case: &Case<'_>) -> Check {
    let name = CheckName::ParavisorLevel;
    let expected = "VMPL 0, where the paravisor runs";
    match &case.snp {
        Some(report) => {
            Check::judge(name, report.vmpl == 0, expected, format!("VMPL {}", report.vmpl))
        }
        None => Check::unknown(name, expected, "a report that does not read"),
    }
}

fn td_quote(case: &Case<'_>) -> Check {
    let name = CheckName::TdQuote;
    let expected = "a quote of the TD report inside";
    let Some(quote) = &case.evidence.td_quote else {
        return Check::judge(
            name,
            false,
            expected,
            "none: a TD report's MAC cannot be checked here",
        );
    };
    let (report, quote) = (Td::of_report(case.hcl.hardware_report), Td::of_quote(quote));
    let (holds, got) = match (report, quote) {
        (Some(report), Some(quote)) if report == quote => (true, "the same TD and report data"),
        (Some(_), Some(_)) => (false, "a quote of another TD report"),
        _ => (false, "a quote that does not read"),
    };
    Check::judge(name, holds, expected, got)
}

fn tpm_quote_format(case: &Case<'_>) -> Check {
    let name = CheckName::TpmQuoteFormat;
    match &case.parsed_quote {
        None => Check::unknown(name, registers::QUOTE, NO_QUOTE),
        Some(Err(error)) => Check::judge(name, false, registers::QUOTE, error.to_string()),
        Some(Ok(quote)) => registers::format(quote),
    }
}

fn tpm_quote_signature(case: &Case<'_>) -> Check {
    let name = CheckName::TpmQuoteSignature;
    let expected = "signed by the attestation key in the runtime data (RSASSA, SHA-256)";
    let Some(quote) = &case.evidence.quote else {
        return Check::unknown(name, expected, NO_QUOTE);
    };
    let Ok(data) = &case.runtime else {
        return Check::unknown(name, expected, NO_RUNTIME_DATA);
    };
    let by = SignatureAlgorithm::RsaPkcs1Sha256;
    let verifies = data.attestation_key.verifies(by, &quote.message, &quote.signature);
    let got = if verifies { "verifies" } else { "does not verify" };
    Check::judge(name, verifies, expected, got)
}

fn tpm_pcr_digest(case: &Case<'_>) -> Check {
    match case.quote() {
        Some((quote, given)) => registers::digest((quote, &given.pcrs)),
        None => {
            let got = if case.evidence.quote.is_some() { UNREADABLE_QUOTE } else { NO_QUOTE };
            Check::unknown(CheckName::TpmPcrDigest, "the digest of the registers given", got)
        }
    }
}

fn tpm_quote_given(case: &Case<'_>) -> Check {
    let given = case.evidence.quote.is_some();
    let got = if given { "given" } else { NO_QUOTE };
    match case.rules.tpm_quote {
        Demand::Required => Check::judge(CheckName::TpmQuoteGiven, given, "a vTPM quote", got),
        Demand::NotRequired => Check::not_required(CheckName::TpmQuoteGiven, got),
    }
}

/// Whose paravisor it is: the key that signed its ID block. A TD has no such key, its paravisor is
/// told by MRTD.
fn paravisor_signer(case: &Case<'_>) -> Check {
    let name = CheckName::ParavisorSigner;
    let Some(report) = &case.snp else {
        return Check::not_required(name, "no ID block: the measurement tells the paravisor");
    };
    let got = Hex(report.id_key_digest);
    match &case.rules.paravisor_signers {
        Accept::Any => Check::not_required(name, got.to_string()),
        only => Check::judge(name, only.accepts(&got), "a key the policy lists", got.to_string()),
    }
}

/// On, off, or what the check says instead.
fn switch(case: &Case<'_>, member: &str) -> (Option<bool>, &'static str) {
    match case.runtime.as_ref().map(|data| data.switch(member)) {
        Ok(Some(true)) => (Some(true), "on"),
        Ok(Some(false)) => (Some(false), "off"),
        Ok(None) => (None, "not said"),
        Err(_) => (None, NO_RUNTIME_DATA),
    }
}

fn secure_boot(case: &Case<'_>) -> Check {
    let (state, got) = switch(case, "secure-boot");
    match case.rules.secure_boot {
        Demand::Required => Check::judge(CheckName::SecureBoot, state == Some(true), "on", got),
        Demand::NotRequired => Check::not_required(CheckName::SecureBoot, got),
    }
}

fn console(case: &Case<'_>) -> Check {
    let (state, got) = switch(case, "console-enabled");
    match case.rules.console {
        Tolerance::Refused => {
            Check::judge(CheckName::GuestConsole, state == Some(false), "off", got)
        }
        Tolerance::Allowed => Check::not_required(CheckName::GuestConsole, got),
    }
}

fn vm_unique_id(case: &Case<'_>) -> Check {
    let name = CheckName::VmUniqueId;
    let id = case.runtime.as_ref().ok().and_then(RuntimeData::vm_unique_id);
    let got = id.unwrap_or("not said").to_owned();
    match &case.rules.vm_unique_ids {
        Accept::Any => Check::not_required(name, got),
        Accept::Only(ids) => {
            // GUIDs are written in either case.
            let listed = id.is_some_and(|id| ids.iter().any(|one| one.eq_ignore_ascii_case(id)));
            Check::judge(name, listed, "a VM the policy lists", got)
        }
    }
}

fn pcrs(case: &Case<'_>) -> Check {
    let quoted = case.quote().map(|(quote, given)| (quote, &given.pcrs[..]));
    registers::listed(&case.rules.pcrs, quoted, NO_QUOTE)
}

/// The extra data of the quote, compared whole. An absent quote answers no nonce.
fn nonce(case: &Case<'_>) -> Check {
    let name = CheckName::Nonce;
    let signed = case.quote().map(|(quote, _)| quote.extra_data.as_slice());
    let got = signed.map_or(NO_QUOTE.to_owned(), |data| HEXLOWER.encode(data));
    match (&case.expectations.nonce, case.rules.nonce) {
        (Some(sent), _) => {
            let answered = signed.is_some_and(|signed| sent[..].ct_eq(signed).into());
            Check::judge(name, answered, HEXLOWER.encode(sent), got)
        }
        (None, Demand::Required) => Check::judge(
            name,
            false,
            "a nonce sent by the verifier",
            format!("none was sent; {got}"),
        ),
        (None, Demand::NotRequired) => Check::not_required(name, got),
    }
}

/// What the caller expects the guest to have had signed: the user data in the runtime data, or the
/// hardware's report data as it stands. Never the extra data of a quote: a guest signs there what
/// anybody sends it as a nonce.
fn report_data(case: &Case<'_>) -> Option<Check> {
    let expected = case.expectations.report_data?;
    let user_data = case.runtime.as_ref().ok().and_then(|data| data.user_data);
    let signed = case.signed_report_data();
    let same = |slot: Option<[u8; 64]>| slot.is_some_and(|slot| slot.ct_eq(&expected).into());
    let shown = user_data.or(signed).map_or("none".to_owned(), |slot| Hex(slot).to_string());
    let holds = same(user_data) || same(signed);
    Some(Check::judge(CheckName::ReportData, holds, Hex(expected).to_string(), shown))
}
