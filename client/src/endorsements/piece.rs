//! One endorsement as a file: what it says it is about, and how long it is worth keeping. Read
//! from its bytes every time, verified by nobody here.

use bulla_attestation::endorsement::intel::Dated;
use bulla_attestation::endorsement::{Certificate, Crl, Endorsements, rfc3339};
use bulla_attestation::tee::snp::Leaf;
use bulla_attestation::tee::snp::report::SigningKey;

use super::need::Need;
use super::service::plain;

/// Largest endorsement that is kept, in bytes (ours; manifests are near 1 MiB).
pub const MAX_PIECE_BYTES: usize = 4 << 20;

/// How long an endorsement is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// To this second (since 1970): its successor is due then.
    Until(i64),
    /// It says the same for ever: certificates, manifests.
    ForEver,
}

impl Keep {
    /// Whether it is still worth something at `now`.
    pub fn is_on(self, now: i64) -> bool {
        match self {
            Keep::Until(end) => now <= end,
            Keep::ForEver => true,
        }
    }
}

impl std::fmt::Display for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Keep::Until(end) => f.write_str(&rfc3339(*end)),
            Keep::ForEver => f.write_str("for ever"),
        }
    }
}

/// An endorsement, read.
#[derive(Debug, Clone)]
pub struct Piece {
    holds: Endorsements,
}

impl Piece {
    /// Reads bytes; `None` where they hold no endorsement that could be kept.
    pub fn read(bytes: &[u8]) -> Option<Piece> {
        if bytes.len() > MAX_PIECE_BYTES {
            return None;
        }
        let piece = Piece { holds: Endorsements::sort([bytes]) };
        let Endorsements {
            certificates, crls, ocsp_answers, rims, tcb_infos, qe_identities, ..
        } = &piece.holds;
        let is_something = !certificates.is_empty()
            || !crls.is_empty()
            || !ocsp_answers.is_empty()
            || !rims.is_empty()
            || !tcb_infos.is_empty()
            || !qe_identities.is_empty();
        is_something.then_some(piece)
    }

    /// What was found in it.
    pub fn endorsements(&self) -> &Endorsements {
        &self.holds
    }

    /// Until its first part that ends.
    pub fn keep(&self) -> Keep {
        let holds = &self.holds;
        let crls = holds.crls.iter().map(|crl| crl.next_update.unwrap_or(crl.this_update));
        let infos = holds.tcb_infos.iter().map(|info| info.statement.next_update());
        let identities = holds.qe_identities.iter().map(|qe| qe.statement.next_update());
        let entries = holds.ocsp_answers.iter().flat_map(|answer| &answer.entries);
        let answers = entries.map(|entry| entry.next_update.unwrap_or(entry.this_update));
        let ends = crls.chain(infos).chain(identities).chain(answers);
        ends.min().map_or(Keep::ForEver, Keep::Until)
    }

    /// Whether it says, for the second `now`, what is needed.
    pub fn meets(&self, need: &Need, now: i64) -> bool {
        meets(&self.holds, need, now)
    }

    /// What it is, in a few words.
    pub fn words(&self) -> String {
        let holds = &self.holds;
        let name = |certificate: &Certificate| match Leaf::of(certificate) {
            Some(leaf) => format!("{} at {}", plain(&certificate.subject.common_name), leaf.tcb),
            None => plain(&certificate.subject.common_name),
        };
        let mut words: Vec<String> = Vec::new();
        words.extend(holds.certificates.iter().map(|c| format!("certificate of {}", name(c))));
        words.extend(
            holds
                .crls
                .iter()
                .map(|crl| format!("revocation list of {}", plain(&crl.issuer.common_name))),
        );
        words.extend(holds.tcb_infos.iter().map(|info| {
            let fmspc = data_encoding::HEXLOWER.encode(&info.statement.fmspc);
            format!("TDX TCB information of FMSPC {fmspc}")
        }));
        words.extend(holds.qe_identities.iter().map(|_| "TD QE identity".to_owned()));
        words.extend(
            holds
                .rims
                .iter()
                .map(|rim| format!("manifest of {} {}", plain(&rim.product), plain(&rim.version))),
        );
        words.extend(holds.ocsp_answers.iter().map(|_| "OCSP answer".to_owned()));
        let more = words.len().saturating_sub(3);
        words.truncate(3);
        if more > 0 {
            words.push(format!("{more} more"));
        }
        words.join(", ")
    }
}

/// Whether among `holds` is what is needed, speaking for the second `now`.
pub fn meets(holds: &Endorsements, need: &Need, now: i64) -> bool {
    let certificate = |is: &dyn Fn(&Certificate) -> bool| holds.certificates.iter().any(is);
    let crl_of = |name: &str| {
        holds.crls.iter().any(|crl: &Crl| crl.issuer.common_name == name && crl.is_current(now))
    };
    match need {
        Need::AmdVcek { line, hardware_id, tcb } => certificate(&|certificate| {
            Leaf::of(certificate).is_some_and(|leaf| {
                leaf.kind == SigningKey::Vcek
                    && leaf.line() == Some(*line)
                    && leaf.hardware_id.as_ref() == Some(hardware_id)
                    && leaf.tcb == *tcb
            })
        }),
        Need::AmdVlek { line, tcb } => certificate(&|certificate| {
            Leaf::of(certificate).is_some_and(|leaf| {
                leaf.kind == SigningKey::Vlek && leaf.line() == Some(*line) && leaf.tcb == *tcb
            })
        }),
        Need::AmdChain { line, key } => {
            let name = Need::amd_intermediate(*line, *key);
            certificate(&|certificate| certificate.subject.common_name == name)
        }
        Need::AmdCrl { line, .. } => crl_of(&format!("ARK-{}", line.amd_name())),
        Need::IntelTcbInfo { fmspc } => holds
            .tcb_infos
            .iter()
            .any(|info| info.statement.fmspc == *fmspc && info.statement.is_current(now)),
        Need::IntelQeIdentity => {
            holds.qe_identities.iter().any(|identity| identity.statement.is_current(now))
        }
        Need::IntelPckCrl { authority } => crl_of(authority.common_name()),
        Need::IntelRootCrl => crl_of("Intel SGX Root CA"),
        Need::NvidiaRim { id } => holds.rims.iter().any(|rim| match &rim.id {
            Some(named) => named == id.as_str(),
            None => {
                let version = rim.version.replace('.', "").to_ascii_uppercase();
                let driver = format!("_{}_{}", rim.product, rim.version);
                id.as_str().ends_with(&driver) || id.as_str().ends_with(&format!("_{version}"))
            }
        }),
        Need::NvidiaOcsp { certificate, issuer } => holds.ocsp_answers.iter().any(|answer| {
            answer.about(certificate, issuer).is_some_and(|entry| entry.is_current(now))
        }),
    }
}
