//! One simulated machine: evidence for the asking.

use bulla_wire::evidence::{Endorsement, Evidence};
use data_encoding::HEXLOWER;
use rand_core::CryptoRng;

use super::authority::{Authority, Validity};
use super::chip::{Chip, LeafTemplate};
use super::report::ReportTemplate;

/// A chip, what it reports, and what endorses it.
#[derive(Clone)]
pub struct Node {
    /// The processor.
    pub chip: Chip,
    /// What its reports say.
    pub template: ReportTemplate,
    /// Certificates that go along, DER: leaf, ASK, ARK.
    pub endorsements: Vec<Vec<u8>>,
}

impl Node {
    /// A new processor under `authority`, its certificate valid for `validity`.
    pub fn new(authority: &Authority, validity: Validity, rng: &mut impl CryptoRng) -> Node {
        let template = ReportTemplate::new(authority.line(), rng);
        let leaf = LeafTemplate::for_report(authority.line(), &template, validity);
        let chip = Chip::generate(authority, &leaf, rng);
        let ask = authority.ask_certificate().to_vec();
        let ark = authority.ark_certificate().to_vec();
        Node { endorsements: vec![chip.certificate().to_vec(), ask, ark], chip, template }
    }

    /// Signed evidence over `report_data`.
    pub fn evidence(&self, report_data: &[u8; 64]) -> Evidence {
        let endorsement =
            |data: &Vec<u8>| Endorsement { kind: "certificate".to_owned(), data: data.clone() };
        Evidence {
            report: self.chip.report(&self.template, report_data),
            endorsements: self.endorsements.iter().map(endorsement).collect(),
        }
    }

    /// The chip id as the report has it, lower-case hex.
    pub fn chip_id(&self) -> String {
        HEXLOWER.encode(&self.template.chip_id)
    }
}
