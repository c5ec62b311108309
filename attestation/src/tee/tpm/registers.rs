//! What a quote says of a TPM's registers, judged: for every kind of evidence with a quote in it.

use data_encoding::HEXLOWER;

use super::quote::Quote;
use crate::policy::{Accept, PcrRule};
use crate::result::{Check, CheckName};

/// A quote, and the values given beside it.
pub(in crate::tee) type Quoted<'a> = (&'a Quote, &'a [[u8; 32]]);

/// That it reads.
pub(in crate::tee) fn format(quote: &Quote) -> Check {
    let registers: usize = quote.banks.iter().map(|bank| bank.registers.len()).sum();
    let got = format!("a quote of {registers} registers");
    Check::judge(CheckName::TpmQuoteFormat, true, QUOTE, got)
}

/// What a quote must be.
pub(in crate::tee) const QUOTE: &str = "a quote made by a TPM (TPMS_ATTEST)";

/// Only the digest is signed; the values beside it count for as much as they agree with it.
pub(in crate::tee) fn digest((quote, values): Quoted<'_>) -> Check {
    let name = CheckName::TpmPcrDigest;
    let signed = HEXLOWER.encode(&quote.pcr_digest);
    match quote.digest_over(values) {
        Some(digest) => {
            let holds = digest[..] == quote.pcr_digest[..];
            Check::judge(name, holds, signed, HEXLOWER.encode(&digest))
        }
        None => {
            let got = format!("{} SHA-256 values, which are not all that is quoted", values.len());
            Check::judge(name, false, signed, got)
        }
    }
}

/// Each register the policy names is quoted and holds a value it lists; `absent` says what there is
/// instead of a quote.
pub(in crate::tee) fn listed(
    rules: &Accept<PcrRule>,
    quoted: Option<Quoted<'_>>,
    absent: &str,
) -> Check {
    let name = CheckName::TpmPcrs;
    let Accept::Only(rules) = rules else {
        return Check::not_required(name, "any values");
    };
    let expected = "the values the policy lists";
    let Some((quote, values)) = quoted else {
        return Check::judge(name, false, expected, absent);
    };
    let holds = |rule: &&PcrRule| {
        quote
            .quoted(values)
            .any(|(register, value)| register == rule.pcr && rule.values.contains(&value))
    };
    let wrong: Vec<String> =
        rules.iter().filter(|rule| !holds(rule)).map(|rule| rule.pcr.to_string()).collect();
    let got = match (rules.is_empty(), wrong.is_empty()) {
        (true, _) => "the policy lists none".to_owned(),
        (false, true) => "as listed".to_owned(),
        (false, false) => format!("registers {} differ or are not quoted", wrong.join(", ")),
    };
    Check::judge(name, !rules.is_empty() && wrong.is_empty(), expected, got)
}
