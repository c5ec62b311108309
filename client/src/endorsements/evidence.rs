//! What a piece of evidence needs, read from the evidence before anybody has judged it: a wrong
//! number asks a vendor for something that does not exist, and no more.

use bulla_attestation::endorsement::{Certificate, Endorsements};
use bulla_attestation::input::{File, Role, recognise};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::nvidia::document;
use bulla_attestation::tee::nvidia::identity::Identity;
use bulla_attestation::tee::snp::Leaf;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_attestation::tee::snp::report::{Report, SigningKey};
use bulla_attestation::tee::tdx::Platform;
use bulla_attestation::tee::tdx::quote::Quote;

use super::need::{AmdKey, Need, PckAuthority, RimId};
use super::piece::meets;

/// Bytes of a chip's identifier on Turin.
const TURIN_ID_BYTES: usize = 8;
/// Most certificates of one chain that are asked about (ours; NVIDIA's chains have five).
const MAX_CHAIN: usize = 8;

/// What is needed, and what cannot be said.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// What is needed, each once.
    pub needs: Vec<Need>,
    /// Why something that may be needed is not among them.
    pub remarks: Vec<String>,
}

impl Needs {
    fn add(&mut self, need: Need) {
        if !self.needs.contains(&need) {
            self.needs.push(need);
        }
    }

    fn remark(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.remarks.contains(&why) {
            self.remarks.push(why);
        }
    }

    /// Takes over what another piece of evidence needs.
    pub fn merge(&mut self, other: Needs) {
        other.needs.into_iter().for_each(|need| self.add(need));
        other.remarks.into_iter().for_each(|why| self.remark(why));
    }

    /// Those that `holds` does not meet at the second `now`.
    pub fn missing(&self, holds: &Endorsements, now: i64) -> Vec<Need> {
        self.needs.iter().filter(|need| !meets(holds, need, now)).cloned().collect()
    }
}

/// What `evidence` of `kind` needs. What is at hand already helps to say it: a SEV-SNP report of
/// version 2 names no product, its certificate does, or `line`; and the certificates of manifests
/// are asked about once the manifests are there.
pub fn needs(
    kind: TeeKind,
    evidence: &[u8],
    at_hand: &Endorsements,
    line: Option<ProductLine>,
) -> Needs {
    let mut found = Needs::default();
    match kind {
        TeeKind::Snp => snp(&mut found, evidence, at_hand, line),
        TeeKind::Tdx => tdx(&mut found, evidence, at_hand),
        TeeKind::Nvidia => nvidia(&mut found, evidence, at_hand),
        TeeKind::AzureSnp => inside(&mut found, TeeKind::Snp, evidence, at_hand, line),
        TeeKind::AzureTdx => inside(&mut found, TeeKind::Tdx, evidence, at_hand, line),
        TeeKind::VtpmDev => found.remark("nobody endorses a TPM without a TEE: its key is named"),
        TeeKind::Csv => found.remark("Hygon's certificates come with the evidence"),
    }
    found
}

/// The CPU evidence inside an Azure document.
fn inside(
    found: &mut Needs,
    kind: TeeKind,
    evidence: &[u8],
    at_hand: &Endorsements,
    line: Option<ProductLine>,
) {
    let file = File { name: "evidence", bytes: evidence, role: Role::Anything };
    let recognised = recognise(&[file], Some(kind));
    if recognised.evidence.is_empty() {
        found.remark(format!("no {kind} evidence found inside"));
    }
    for inner in recognised.evidence {
        found.merge(needs(kind, &inner.bytes, at_hand, line));
    }
}

fn snp(found: &mut Needs, evidence: &[u8], at_hand: &Endorsements, line: Option<ProductLine>) {
    let report = match Report::parse(evidence) {
        Ok(report) => report,
        Err(error) => return found.remark(format!("no SEV-SNP report: {error}")),
    };
    let key = match report.signing_key {
        SigningKey::Vcek => AmdKey::Vcek,
        SigningKey::Vlek => AmdKey::Vlek,
        other => return found.remark(format!("the report says it is signed with key {other}")),
    };
    let of_leaf = || {
        let leaves = at_hand.certificates.iter().filter_map(Leaf::of);
        leaves.filter(|leaf| leaf.kind == report.signing_key).find_map(|leaf| leaf.line())
    };
    let of_cpu = report.cpu.and_then(|cpu| cpu.line());
    let Some(line) = of_cpu.or_else(of_leaf).or(line) else {
        return found.remark(
            "a SEV-SNP report of version 2 does not name its product: say milan or genoa with --product",
        );
    };
    let tcb = report.reported_tcb.decode(line);
    match key {
        AmdKey::Vlek => found.add(Need::AmdVlek { line, tcb }),
        AmdKey::Vcek if report.chip_id == [0; 64] => {
            found.remark("the report hides its chip id, so its VCEK cannot be asked for");
        }
        AmdKey::Vcek => {
            let hardware_id = match line {
                ProductLine::Turin => report.chip_id.iter().take(TURIN_ID_BYTES).copied().collect(),
                ProductLine::Milan | ProductLine::Genoa => report.chip_id.to_vec(),
            };
            found.add(Need::AmdVcek { line, hardware_id, tcb });
        }
    }
    found.add(Need::AmdChain { line, key });
    found.add(Need::AmdCrl { line, key });
}

fn tdx(found: &mut Needs, evidence: &[u8], at_hand: &Endorsements) {
    let quote = match Quote::parse(evidence) {
        Ok(quote) => quote,
        Err(error) => return found.remark(format!("no TDX quote: {error}")),
    };
    let own = Endorsements::sort(quote.certification.certificates());
    let given = own.certificates.iter().chain(&at_hand.certificates);
    let platform = given.clone().find_map(|c| Some((c, Platform::of(c)?)));
    let Some((certificate, platform)) = platform else {
        return found.remark(
            "the quote carries no certificate of its platform (PCK), which Intel gives to its registered owner only",
        );
    };
    found.add(Need::IntelTcbInfo { fmspc: platform.fmspc });
    found.add(Need::IntelQeIdentity);
    match PckAuthority::of_common_name(&certificate.issuer.common_name) {
        Some(authority) => found.add(Need::IntelPckCrl { authority }),
        None => found.remark("the platform's certificate names no authority of Intel's"),
    }
    found.add(Need::IntelRootCrl);
}

fn nvidia(found: &mut Needs, evidence: &[u8], at_hand: &Endorsements) {
    let devices = match document::read(evidence) {
        Ok(devices) => devices,
        Err(error) => return found.remark(format!("no NVIDIA evidence: {error}")),
    };
    for device in &devices {
        let chain = if device.certificates.is_empty() {
            &at_hand.certificates
        } else {
            &device.certificates
        };
        let identity = Identity::of(&device.report, chain.first());
        for (what, id) in [("driver", identity.driver_rim_id()), ("VBIOS", identity.vbios_rim_id())]
        {
            let is_asked = what == "VBIOS" || identity.driver.is_some();
            match id.as_deref().and_then(RimId::new) {
                Some(id) => found.add(Need::NvidiaRim { id }),
                None if is_asked => {
                    found.remark(format!("a device does not say which {what} manifest it needs"));
                }
                None => {}
            }
        }
        // The leaf is made by the device itself; its responder is asked about what stands above.
        if let Some((_, above)) = chain.split_first() {
            ask_about(found, above, chain);
        }
    }
    for rim in &at_hand.rims {
        ask_about(found, &rim.certificates, &rim.certificates);
    }
}

/// Asks about each certificate that is no root and has its issuer in `chain`.
fn ask_about(found: &mut Needs, certificates: &[Certificate], chain: &[Certificate]) {
    for certificate in certificates.iter().take(MAX_CHAIN).filter(|c| !c.is_self_issued()) {
        if let Some(issuer) = chain.iter().find(|issuer| issuer.subject == certificate.issuer) {
            let (certificate, issuer) = (Box::new(certificate.clone()), Box::new(issuer.clone()));
            found.add(Need::NvidiaOcsp { certificate, issuer });
        }
    }
}
