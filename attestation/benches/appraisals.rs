//! What an appraisal costs, beside what the signatures alone cost with other crates, in one run.
//!
//! `cargo bench -p bulla-attestation [-- --json] [-- --seconds N]`. One thread; work and peer run
//! turn by turn, so that whatever else the machine does falls on both. Each figure is the median of
//! single runs; the ratio is that of the medians. Real evidence where the folder is there (see
//! `tests/common`); the cached-chain row needs a fresh report each time, so it is simulated.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads files and the clock")]
#![allow(dead_code, unused_imports, reason = "shared with the tests")]

#[path = "appraisals/peers.rs"]
mod peers;
#[path = "appraisals/row.rs"]
mod row;

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/simulated/mod.rs"]
mod simulated;
#[path = "../tests/specimens/mod.rs"]
mod specimens;

use bulla_attestation::appraise::appraise_logged;
use bulla_attestation::memo::Appraiser;
use bulla_attestation::raw::Expectations;
use bulla_attestation::tee::TeeKind;
use bulla_wire::evidence::AttestationReport;
use row::{Goal, Row, Stopwatch};
use simulated::{NOW, World};
use specimens::Specimen;

/// Fresh reports, made before the clock starts: each takes an RSA-4096 signature.
const FRESH_REPORTS: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let watch = Stopwatch { seconds: after("--seconds").unwrap_or(1.0) };
    let mut rows = Vec::new();
    for specimen in specimens::real() {
        if specimen.judge().is_affirmed() {
            rows.extend(whole(&specimen, &watch));
            rows.push(identical(&specimen, &watch));
        }
    }
    rows.extend(in_a_service(&watch));
    match arguments.iter().any(|argument| argument == "--json") {
        true => println!("{}", row::json(&rows)),
        false => print!("{}", row::table(&rows)),
    }
}

/// From bytes to verdict, nothing remembered.
fn whole(specimen: &Specimen, watch: &Stopwatch) -> Option<Row> {
    let work = || assert!(specimen.judge().is_affirmed());
    let name = format!("{}: whole appraisal", specimen.name);
    Some(match specimen.kind {
        TeeKind::Snp => {
            let peer = peers::Snp::of(specimen);
            let timed = watch.compare(work, || peer.verify());
            Row::new(name, timed, Some(peers::Snp::NAME), Some(Goal::under_us(1500.0)))
        }
        TeeKind::Tdx => {
            let peer = peers::Tdx::of(specimen)?;
            let timed = watch.compare(work, || peer.verify());
            Row::new(name, timed, Some(peers::Tdx::NAME), Some(Goal::under_us(3000.0)))
        }
        _ => Row::new(name, watch.alone(work), None, None),
    })
}

/// The same bytes again.
fn identical(specimen: &Specimen, watch: &Stopwatch) -> Row {
    let appraiser = specimen.appraiser();
    let (blobs, expected) = (specimen.blobs(), Expectations::default());
    let (kind, evidence, at) = (specimen.kind, &specimen.evidence, specimen.at);
    let again =
        || assert!(appraiser.appraise_raw(kind, evidence, &blobs, &expected, at).is_affirmed());
    again();
    let name = format!("{}: identical bytes", specimen.name);
    // The goal was set for CPUs; documents of other kinds are larger.
    let goal = matches!(kind, TeeKind::Snp | TeeKind::Tdx).then(|| Goal::under_us(50.0));
    Row::new(name, watch.alone(again), None, goal)
}

/// A node of the simulated TEE under the strict policy: keyset binding, nonce, revocation list.
fn in_a_service(watch: &Stopwatch) -> Vec<Row> {
    let mut world = World::new();
    let (policy, anchors) = (world.policy(), world.anchors.clone());
    let (freshness, logged) = (world.freshness.clone(), world.logged.clone());
    let logged = logged.as_ref();
    let document = world.document();
    let afresh = || {
        assert!(
            appraise_logged(&document, &anchors, &policy, freshness.clone(), logged, NOW)
                .is_affirmed()
        )
    };
    let whole = Row::new(
        "SNP in aci/1, simulated, strict policy: whole appraisal".to_owned(),
        watch.alone(afresh),
        None,
        Some(Goal::under_us(1500.0)),
    );
    let appraiser = Appraiser::new(world.anchors.clone(), world.policy());
    let judge = |document: &AttestationReport| {
        assert!(appraiser.appraise(document, freshness.clone(), logged, NOW).is_affirmed());
    };
    judge(&document);
    let mut fresh = fresh_documents(&mut world).into_iter();
    let cached = watch.consume(
        FRESH_REPORTS,
        || fresh.next().expect("enough are made"),
        |document| judge(&document),
    );
    let cached = Row::new(
        "SNP in aci/1, simulated: fresh report, cached chain".to_owned(),
        cached,
        None,
        Some(Goal::under_us(900.0)),
    );
    let again = Row::new(
        "SNP in aci/1, simulated: identical bytes".to_owned(),
        watch.alone(|| judge(&document)),
        None,
        Some(Goal::under_us(50.0)),
    );
    vec![whole, cached, again]
}

/// Reports of one chip that differ in the guest's security version.
fn fresh_documents(world: &mut World) -> Vec<AttestationReport> {
    let document = |guest_svn| {
        world.template.guest_svn = guest_svn;
        world.document()
    };
    (1..=FRESH_REPORTS as u32).map(document).collect()
}
