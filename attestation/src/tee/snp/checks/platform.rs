//! The processor and its firmware: product, chip, TCB.

use super::{Case, NO_LEAF};
use crate::hex::Hex;
use crate::policy::{Accept, Demand, Tolerance};
use crate::result::{Check, CheckName};
use crate::tee::snp::product::ProductLine;
use crate::tee::snp::report::SigningKey;
use crate::tee::snp::tcb::RawTcb;

/// A Turin chip is named by 8 bytes, the others by 64.
const TURIN_HARDWARE_ID_BYTES: usize = 8;
const HARDWARE_ID_BYTES: usize = 64;

const UNKNOWN_PRODUCT: &str = "unknown product";

/// Report, leaf and chain must agree: the line decides how every TCB byte is read.
pub(super) fn product_line(case: &Case<'_>) -> Check {
    let name = CheckName::ProductLine;
    let words = |line: Option<ProductLine>| line.map_or("unknown".to_owned(), |l| l.to_string());
    let Some(leaf) = &case.chain.leaf else {
        return match case.report.cpu {
            Some(cpu) if cpu.line().is_none() => {
                Check::judge(name, false, "a product with SEV-SNP", cpu.to_string())
            }
            _ => Check::unknown(name, "the same in report, leaf and chain", NO_LEAF),
        };
    };
    let in_report = match case.report.cpu {
        Some(cpu) => words(cpu.line()),
        None => "not told (version 2)".to_owned(),
    };
    let (in_leaf, in_chain) = (leaf.line(), case.chain.line());
    let report_agrees = case.report.cpu.is_none_or(|cpu| cpu.line() == in_leaf);
    let agree = in_leaf.is_some() && in_leaf == in_chain && report_agrees;
    let got = format!("report {in_report}, leaf {}, chain {}", words(in_leaf), words(in_chain));
    Check::judge(name, agree, "the same in report, leaf and chain", got)
}

/// The chip that reports is the chip the leaf's key was made for. A VLEK belongs to a provider's
/// whole fleet and names no chip.
pub(super) fn hardware_id(case: &Case<'_>) -> Check {
    let name = CheckName::HardwareId;
    let Some(leaf) = &case.chain.leaf else {
        return Check::unknown(name, "the report's chip id", NO_LEAF);
    };
    if leaf.kind == SigningKey::Vlek {
        let provider = leaf.provider_id.as_deref().unwrap_or("an unnamed provider");
        return Check::not_required(name, format!("a key of {provider}, not of a chip"));
    }
    if case.report.chip_id_is_masked() {
        return Check::unknown(name, "the report's chip id", "the platform hides its chip id");
    }
    let length = match case.line() {
        Some(ProductLine::Turin) => TURIN_HARDWARE_ID_BYTES,
        Some(ProductLine::Milan | ProductLine::Genoa) | None => HARDWARE_ID_BYTES,
    };
    let (id, rest) = case.report.chip_id.split_at(length);
    let got = leaf.hardware_id.as_deref();
    let agrees = got == Some(id) && rest.iter().all(|byte| *byte == 0);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    Check::judge(name, agrees, hex(id), got.map_or("no hardware id".to_owned(), hex))
}

/// The key is derived for one TCB; the certificate and the report must name the same.
pub(super) fn tcb_in_certificate(case: &Case<'_>) -> Check {
    let name = CheckName::TcbInCertificate;
    let expected = format!("reported TCB {}", case.report.reported_tcb);
    let Some(leaf) = &case.chain.leaf else {
        return Check::unknown(name, expected, NO_LEAF);
    };
    let got = leaf.raw_tcb.map_or(UNKNOWN_PRODUCT.to_owned(), |tcb| tcb.to_string());
    Check::judge(name, leaf.raw_tcb == Some(case.report.reported_tcb), expected, got)
}

pub(super) fn report_version(case: &Case<'_>) -> Check {
    let minimum = case.rules.minimum_report_version;
    let got = case.report.version;
    Check::judge(
        CheckName::ReportVersion,
        got >= minimum,
        format!("{minimum} or newer"),
        got.to_string(),
    )
}

pub(super) fn product_allowed(case: &Case<'_>) -> Check {
    let name = CheckName::ProductAllowed;
    match (&case.rules.products, case.line()) {
        (Accept::Any, line) => Check::not_required(name, line_words(line)),
        (only, line) => {
            let allowed = line.is_some_and(|line| only.accepts(&line));
            Check::judge(name, allowed, "a product the policy lists", line_words(line))
        }
    }
}

pub(super) fn product_banned(case: &Case<'_>) -> Check {
    let name = CheckName::ProductBanned;
    let bans = &case.rules.banned_products;
    if bans.is_empty() {
        return Check::not_required(name, line_words(case.line()));
    }
    let Some(line) = case.line() else {
        return Check::judge(name, false, "a product known not to be banned", UNKNOWN_PRODUCT);
    };
    match bans.iter().find(|ban| ban.product == line) {
        Some(ban) => {
            let got = format!("{line}, banned: {}", ban.reason);
            Check::judge(name, false, "a product that is not banned", got)
        }
        None => Check::judge(name, true, "a product that is not banned", line.to_string()),
    }
}

fn line_words(line: Option<ProductLine>) -> String {
    line.map_or(UNKNOWN_PRODUCT.to_owned(), |line| line.to_string())
}

/// BadRAM (CVE-2024-21944): memory modules that lie about their size give two addresses for one
/// cell; the firmware looks for that since report version 3.
pub(super) fn alias_check_complete(case: &Case<'_>) -> Check {
    let name = CheckName::AliasCheckComplete;
    let told = case.report.version >= 3;
    let complete = told && case.report.platform_info.alias_check_complete();
    let got = match (told, complete) {
        (false, _) => "a version 2 report does not tell",
        (true, true) => "complete",
        (true, false) => "not complete",
    };
    match case.rules.alias_check_complete {
        Demand::Required => Check::judge(name, complete, "complete", got),
        Demand::NotRequired => Check::not_required(name, got),
    }
}

pub(super) fn minimum_reported_tcb(case: &Case<'_>) -> Check {
    minimum(case, CheckName::MinimumReportedTcb, case.report.reported_tcb)
}

pub(super) fn minimum_launch_tcb(case: &Case<'_>) -> Check {
    minimum(case, CheckName::MinimumLaunchTcb, case.report.launch_tcb)
}

pub(super) fn minimum_committed_tcb(case: &Case<'_>) -> Check {
    minimum(case, CheckName::MinimumCommittedTcb, case.report.committed_tcb)
}

pub(super) fn minimum_current_tcb(case: &Case<'_>) -> Check {
    minimum(case, CheckName::MinimumCurrentTcb, case.report.current_tcb)
}

fn minimum(case: &Case<'_>, name: CheckName, raw: RawTcb) -> Check {
    let Some(line) = case.line() else {
        return match case.rules.minimum_tcb {
            Demand::Required => Check::judge(name, false, "a known product", UNKNOWN_PRODUCT),
            Demand::NotRequired => Check::not_required(name, raw.to_string()),
        };
    };
    let got = raw.decode(line);
    if case.rules.minimum_tcb == Demand::NotRequired {
        return Check::not_required(name, got.to_string());
    }
    let Some(part) = case.report.cpu.and_then(|cpu| cpu.part()) else {
        let words = "a part the report does not name (version 2, or an unknown model)";
        return Check::judge(name, false, "a part with a floor", words);
    };
    let Some(floor) = case.rules.floor_for(part) else {
        let words = format!("{part}, for which the policy has none");
        return Check::judge(name, false, "a part with a floor", words);
    };
    let below = got.below(&floor.tcb());
    let expected = format!("{part}: {} ({})", floor.tcb(), floor.source);
    let words = match below.is_empty() {
        true => got.to_string(),
        false => format!("{got}: {} too low", below.join(", ")),
    };
    Check::judge(name, below.is_empty(), expected, words)
}

/// Firmware can be rolled back to the committed version, never below; so it cannot be above the
/// one that runs.
pub(super) fn tcb_order(case: &Case<'_>) -> Check {
    let name = CheckName::TcbOrder;
    let raw = (case.report.committed_tcb, case.report.current_tcb);
    let got = format!("committed {} current {}", raw.0, raw.1);
    if case.rules.tcb_order == Demand::NotRequired {
        return Check::not_required(name, got);
    }
    let in_order = case.line().is_some_and(|line| {
        let (committed, current) = (raw.0.decode(line), raw.1.decode(line));
        current.below(&committed).is_empty()
    });
    Check::judge(name, in_order, "no component of committed above current", got)
}

pub(super) fn chip_id_masked(case: &Case<'_>) -> Check {
    let name = CheckName::ChipIdMasked;
    let got = if case.report.chip_id_is_masked() { "hidden" } else { "shown" };
    match case.rules.masked_chip_id {
        Tolerance::Refused => {
            Check::judge(name, !case.report.chip_id_is_masked(), "a chip id that is shown", got)
        }
        Tolerance::Allowed => Check::not_required(name, got),
    }
}

/// A leaked key of any passing chip would otherwise pass for all. An id that is hidden, or a key
/// shared by a fleet, names no chip and never matches.
pub(super) fn chip_id_pinned(case: &Case<'_>) -> Check {
    let name = CheckName::ChipIdPinned;
    let chip_id = Hex(case.report.chip_id);
    let pins = &case.rules.chip_ids;
    if *pins == Accept::Any {
        return Check::not_required(name, chip_id.to_string());
    }
    let names_a_chip =
        !case.report.chip_id_is_masked() && case.report.signing_key == SigningKey::Vcek;
    let got = match names_a_chip {
        true => chip_id.to_string(),
        false => "a report that names no chip".to_owned(),
    };
    let pinned = names_a_chip && pins.accepts(&chip_id);
    Check::judge(name, pinned, "a chip id the policy lists", got)
}
