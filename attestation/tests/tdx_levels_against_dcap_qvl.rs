//! TCB levels drawn at random under a simulated root: where `dcap-qvl` gives a status, so do we, the
//! same; where it has none, neither have we.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod simulated;
mod simulated_tdx;

use std::collections::BTreeMap;

use bulla_attestation::policy::Policy;
use bulla_attestation::result::{CheckName, Claims};
use data_encoding::BASE64;
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::verify::QuoteVerifier;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use simulated::now;
use simulated::tdx::{EnclaveLevel, Intel, Level, Module};
use simulated_tdx::World;

const CASES: usize = 400;

const STATUSES: [&str; 8] = [
    "UpToDate",
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
];

struct Draw(ChaCha20Rng);

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    fn status(&mut self, of: &[&str]) -> String {
        of[self.below(of.len() as u32) as usize].to_owned()
    }

    fn advisories(&mut self) -> Vec<String> {
        let number = self.below(4);
        if number == 0 { Vec::new() } else { vec![format!("INTEL-SA-0000{number}")] }
    }

    fn components(&mut self) -> [u8; 16] {
        let mut all = [0; 16];
        all[..3].fill_with(|| self.below(3) as u8);
        all
    }

    fn level(&mut self) -> Level {
        let mut sgx = [0; 16];
        sgx[self.below(16) as usize] = self.below(4) as u8;
        Level {
            sgx,
            pce_svn: 11 + self.below(4) as u16,
            tdx: [
                self.below(2) as u8,
                0,
                self.below(2) as u8,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ],
            status: self.status(&STATUSES),
            date: format!("2024-0{}-13T00:00:00Z", 1 + self.below(9)),
            advisory_ids: self.advisories(),
        }
    }

    fn enclave_level(&mut self) -> EnclaveLevel {
        EnclaveLevel {
            isv_svn: self.below(4) as u16,
            status: self.status(&["UpToDate", "UpToDate", "OutOfDate", "OutOfDate", "Revoked"]),
            advisory_ids: self.advisories(),
        }
    }

    /// Levels of falling security versions, as Intel writes them.
    fn enclave_levels(&mut self) -> Vec<EnclaveLevel> {
        let mut levels: Vec<EnclaveLevel> = (0..3).map(|_| self.enclave_level()).collect();
        levels.push(EnclaveLevel { isv_svn: self.below(2) as u16, ..self.enclave_level() });
        levels.sort_by_key(|level| std::cmp::Reverse(level.isv_svn));
        levels.dedup_by_key(|level| level.isv_svn);
        levels
    }

    fn tee_tcb_svn(&mut self) -> [u8; 16] {
        let mut svn = self.components();
        svn[1] = self.below(3) as u8;
        svn
    }

    /// A platform, a TD and collateral that know little of each other.
    fn shuffle(&mut self, intel: &mut Intel) {
        intel.platform.components = [2; 16];
        intel.platform.components[self.below(16) as usize] = self.below(3) as u8;
        intel.quote.td.tee_tcb_svn = self.tee_tcb_svn();
        if let Some((current, _)) = &mut intel.quote.td.since_1_5 {
            *current = self.tee_tcb_svn();
        }
        intel.quote.qe_isv_svn = self.below(4) as u16;
        let mut levels: Vec<Level> = (0..4).map(|_| self.level()).collect();
        // Equal levels of different status have no order, with Intel either.
        levels.sort_by_key(|level| (level.sgx, level.pce_svn, level.tdx));
        levels.dedup_by_key(|level| (level.sgx, level.pce_svn, level.tdx));
        intel.tcb_info.levels = levels;
        intel.tcb_info.evaluation_number = 17 + self.below(3);
        let module = |id: &str, draw: &mut Draw| Module {
            id: id.to_owned(),
            mrsigner: [0; 48],
            levels: draw.enclave_levels(),
        };
        intel.tcb_info.modules = vec![module("TDX_02", self), module("TDX_01", self)];
        intel.qe_identity.levels = self.enclave_levels();
    }
}

fn pem(chain: &[Vec<u8>]) -> String {
    let one = |der: &Vec<u8>| {
        let text = BASE64.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    chain.iter().map(one).collect()
}

/// The world's collateral as the other implementation wants it.
fn collateral(world: &World) -> QuoteCollateralV3 {
    let intel = &world.intel;
    let signers = pem(&[intel.signer_certificate().unwrap(), intel.root_certificate().unwrap()]);
    let (tcb_info, qe_identity) = (intel.tcb_info.json(), intel.qe_identity.json());
    let sign = |json: &str| intel.signer.sign(json.as_bytes()).unwrap().to_vec();
    QuoteCollateralV3 {
        pck_crl_issuer_chain: pem(&intel.chain().unwrap()[1..]),
        root_ca_crl: intel.root.revocation_list(&[], world.lists).unwrap(),
        pck_crl: intel.authority.revocation_list(&[], world.lists).unwrap(),
        tcb_info_issuer_chain: signers.clone(),
        tcb_info_signature: sign(&tcb_info),
        tcb_info,
        qe_identity_issuer_chain: signers,
        qe_identity_signature: sign(&qe_identity),
        qe_identity,
        pck_certificate_chain: None,
    }
}

#[test]
fn every_level_drawn_at_random_is_found_as_dcap_qvl_finds_it() {
    let text = include_str!("../../policies/appraisal/authentic.toml").replacen(
        "allow_simulated = false",
        "allow_simulated = true",
        1,
    );
    let policy = Policy::from_toml(&text).unwrap();
    let mut draw = Draw(ChaCha20Rng::seed_from_u64(7));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in 0..CASES {
        let mut world = World::of(case % 2 == 0);
        draw.shuffle(&mut world.intel);
        world.event_log.clear();
        let (quote, _) = world.evidence(&[7; 64]);
        let theirs = QuoteVerifier::new(world.intel.root_certificate().unwrap()).verify(
            &quote,
            &collateral(&world),
            now() as u64,
        );
        let ours = world.judge_raw(&policy);
        let word = match theirs {
            Ok(report) => {
                assert!(ours.is_affirmed(), "{}\n{ours}", report.status);
                let Some(Claims::Tdx(claims)) = ours.claims() else { panic!("{ours}") };
                assert_eq!(claims.tcb_status.unwrap().as_str(), report.status, "{ours}");
                assert_eq!(claims.advisory_ids, report.advisory_ids, "{ours}");
                report.status
            }
            Err(error) => {
                let failed: Vec<CheckName> = ours.failed().map(|check| check.name).collect();
                assert_eq!(failed, [CheckName::TcbLevel], "{error:#}\n{ours}");
                let revoked = format!("{error:#}").contains("Revoked");
                if revoked { "Revoked".to_owned() } else { "no level".to_owned() }
            }
        };
        *counts.entry(word).or_default() += 1;
    }
    println!("levels against dcap-qvl: {counts:?}");
    assert!(counts.len() >= 8, "the draw reaches too little: {counts:?}");
}
