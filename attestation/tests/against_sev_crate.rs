//! Our reading of a report against the `sev` crate's, an independent one.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod common;
mod simulated;

use bulla_attestation::tee::snp::product::ProductLine;
use bulla_attestation::tee::snp::report::{Report, SigningKey};
use bulla_attestation::tee::snp::tcb::RawTcb;
use common::EvidenceFolder;
use sev::firmware::guest::AttestationReport;
use sev::firmware::host::TcbVersion;
use sev::parser::ByteParser;

fn agree(bytes: &[u8], line: ProductLine) {
    let ours = Report::parse(bytes).unwrap();
    let theirs = AttestationReport::from_bytes(bytes).unwrap();
    assert_eq!(ours.version, theirs.version);
    assert_eq!(ours.guest_svn, theirs.guest_svn);
    assert_eq!(ours.vmpl, theirs.vmpl);
    assert_eq!(ours.signature_algorithm, theirs.sig_algo);
    assert_eq!(ours.report_data, theirs.report_data);
    assert_eq!(ours.measurement, theirs.measurement);
    assert_eq!(ours.host_data, theirs.host_data);
    assert_eq!(ours.id_key_digest, theirs.id_key_digest);
    assert_eq!(ours.chip_id, theirs.chip_id);
    assert_eq!(ours.cpu.map(|cpu| cpu.family), theirs.cpuid_fam_id);
    assert_eq!(ours.cpu.map(|cpu| cpu.model), theirs.cpuid_mod_id);
    assert_eq!(ours.cpu.map(|cpu| cpu.stepping), theirs.cpuid_step);
    assert_eq!(ours.policy.debug_allowed(), theirs.policy.debug_allowed());
    assert_eq!(ours.policy.migration_agent_allowed(), theirs.policy.migrate_ma_allowed());
    assert_eq!(ours.policy.smt_allowed(), theirs.policy.smt_allowed());
    assert_eq!(ours.policy.single_socket_only(), theirs.policy.single_socket_required());
    assert_eq!(ours.platform_info.smt_enabled(), theirs.plat_info.smt_enabled());
    assert_eq!(ours.platform_info.alias_check_complete(), theirs.plat_info.alias_check_complete());
    let vlek = u32::from(ours.signing_key == SigningKey::Vlek);
    assert_eq!(vlek, theirs.key_info.signing_key());
    for (ours, theirs) in [
        (ours.reported_tcb, theirs.reported_tcb),
        (ours.current_tcb, theirs.current_tcb),
        (ours.committed_tcb, theirs.committed_tcb),
        (ours.launch_tcb, theirs.launch_tcb),
    ] {
        same_tcb(ours, theirs, line);
    }
}

fn same_tcb(ours: RawTcb, theirs: TcbVersion, line: ProductLine) {
    let ours = ours.decode(line);
    let theirs_fmc = if line == ProductLine::Turin { theirs.fmc } else { None };
    assert_eq!(ours.fmc, theirs_fmc);
    assert_eq!(
        (ours.bootloader, ours.tee, ours.snp, ours.microcode),
        (theirs.bootloader, theirs.tee, theirs.snp, theirs.microcode)
    );
}

#[test]
fn every_real_report_reads_the_same() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let mut compared = 0;
    for entry in manifest.as_array().unwrap().iter().filter(|e| e["kind"] == "snp-report") {
        let line = match entry["product"].as_str() {
            Some("milan") => ProductLine::Milan,
            Some("genoa") => ProductLine::Genoa,
            Some("turin") => ProductLine::Turin,
            other => panic!("unknown product {other:?}"),
        };
        agree(&folder.read(entry["file"].as_str().unwrap()), line);
        compared += 1;
    }
    println!("reports read like the sev crate reads them: {compared}");
    assert!(compared >= 13);
}

#[test]
fn every_simulated_report_reads_the_same() {
    for line in [ProductLine::Genoa, ProductLine::Turin] {
        let mut world = simulated::World::of(line);
        world.template.policy |= 1 << 18;
        world.template.current_tcb = RawTcb([9, 8, 7, 6, 0, 0, 5, 4]);
        agree(&world.document().attestation.evidence.report, line);
    }
}
