use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::tee::snp::appraise_raw;
use rand_core::SeedableRng;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_795_132_800);

/// A folder that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("bulla-simulated-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The stored chain for tests: making RSA keys takes seconds.
fn stored_authority() -> Authority {
    macro_rules! stored {
        ($name:literal) => {
            include_bytes!(concat!("../../../../../tests/vectors/simulated-chain/genoa-", $name))
        };
    }
    Authority::from_stored(
        LINE,
        stored!("WORTHLESS-ark.key"),
        stored!("WORTHLESS-ask.key"),
        stored!("ark.der").to_vec(),
        stored!("ask.der").to_vec(),
    )
    .unwrap()
}

fn made(scratch: &Scratch) -> SimulatedTee {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let now = NOW.0 as i64;
    SimulatedTee::generate_under(&stored_authority(), &scratch.0, now, &mut rng).unwrap()
}

#[test]
fn what_it_signs_passes_the_development_policy_under_its_named_root_only() {
    let scratch = Scratch::new("policy");
    let tee = made(&scratch);
    let evidence = tee.report(&[5; 64]).unwrap();
    let endorsements = Endorsements::sort(evidence.endorsements.iter().map(|e| e.data.as_slice()));
    let development =
        Policy::from_toml(include_str!("../../../../../policies/appraisal/development.toml"))
            .unwrap();
    let judge = |anchors: TrustAnchors| {
        let expectations = Expectations { report_data: Some([5; 64]), ..Expectations::default() };
        appraise_raw(&evidence.report, &endorsements, &anchors, &development, &expectations, NOW)
    };
    let root = TrustAnchor::simulated("this machine", tee.root_certificate()).unwrap();
    let named = judge(TrustAnchors::vendors().with(root));
    assert!(named.is_affirmed() && named.is_simulated(), "{named}");
    assert!(!judge(TrustAnchors::vendors()).is_affirmed());
}

#[test]
fn comes_back_the_same_from_its_folder() {
    let scratch = Scratch::new("again");
    let first = made(&scratch);
    let again = SimulatedTee::load(&scratch.0).unwrap();
    assert_eq!(first.report(&[1; 64]).unwrap(), again.report(&[1; 64]).unwrap());
    assert_eq!(first.chip_id(), again.chip_id());
}

#[test]
fn keeps_its_files_for_the_owner_and_refuses_keys_others_may_read() {
    let scratch = Scratch::new("modes");
    made(&scratch);
    for entry in fs::read_dir(&scratch.0).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let key = scratch.0.join("vcek.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = SimulatedTee::load(&scratch.0).err();
    assert!(matches!(error, Some(SimulatedTeeError::Permissions { mode: 0o640, .. })));
}

#[test]
fn a_damaged_folder_is_a_clear_error() {
    let scratch = Scratch::new("damaged");
    made(&scratch);
    fs::write(scratch.0.join("chip.id"), [0; 5]).unwrap();
    let error = SimulatedTee::load(&scratch.0).err();
    assert!(matches!(error, Some(SimulatedTeeError::Length { got_bytes: 5, .. })));
    fs::remove_file(scratch.0.join("ask.der")).unwrap();
    assert!(SimulatedTee::load(&scratch.0).is_err());
}
