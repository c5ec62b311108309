//! Intel TDX: quotes of versions 4 and 5 (TD 1.0 and 1.5) with their collateral.
//!
//! Two questions are kept apart. Whether the quote is genuine: signatures from the TD's body to the
//! quoting enclave, from there by the platform's key (PCK) to Intel's root. And what Intel thinks of
//! the platform's security versions: the TCB level, worked out from signed collateral that is current
//! at the instant of appraisal. Collateral outside its dates says nothing, and without collateral no
//! level matches: such a quote is genuine, and refused by the check `tcb_level`.
//!
//! Left out, visibly: SGX quotes, TD bodies beyond 1.5 (type 4), attestation keys on P-384,
//! certification data that names a platform without its certificate (the PCK certificate must then be
//! among the endorsements).

mod body;
mod chain;
mod checks;
mod claims;
pub mod event_log;
pub mod launch;
mod pck;
pub mod quote;
pub mod roots;
mod tcb;

pub use body::{Body, BodyKind, TD_1_0_BYTES, TD_1_5_BYTES, TdAttributes};
pub use claims::TdxClaims;
pub use pck::Platform;
pub use roots::intel_anchors;
pub use tcb::{Evaluation, NoLevel, evaluate};

use bulla_wire::units::UnixSeconds;

use self::chain::{Chain, Statements};
use self::checks::Case;
use self::quote::{Quote, QuoteError};
use super::TeeKind;
use crate::anchor::{Domain, TrustAnchors};
use crate::endorsement::intel::{QeIdentity, TcbInfo};
use crate::endorsement::{Certificate, Endorsements};
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, Claims};

/// What the product is called in a verdict.
const PRODUCT: &str = "tdx";

/// What the quote's own certificate says of the platform it comes from; `None` where the quote does
/// not parse or carries none. Nothing is verified.
pub fn platform_of(quote: &[u8]) -> Option<Platform> {
    let quote = Quote::parse(quote).ok()?;
    chain::certificates(&quote).iter().find_map(Platform::of)
}

/// Appraises one raw quote at the instant `now`. The result never yields keys: nothing is bound to
/// the quote here.
pub fn appraise_raw(
    quote: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let expected = "a TD quote, version 4 or 5";
    let quote = match Quote::parse(quote) {
        Ok(quote) => quote,
        Err(error) => return malformed(&error, policy, now),
    };
    let got = format!("version {}, {}", quote.version, quote.body.kind.as_str());
    let format = Check::judge(CheckName::ReportFormat, true, expected, got);
    let tee_type = checks::tee_type(policy);
    let Some(rules) = policy.tdx() else {
        return AttestationResult::new(TeeKind::Tdx, policy, now, vec![tee_type, format]);
    };
    let anchors = anchors.about(Domain::Intel);
    let mut own = chain::certificates(&quote);
    own.iter_mut().for_each(|certificate| certificate.remember_in(&endorsements.memory));
    let material = Material::find(&quote, &own, endorsements, &anchors, seconds(now));
    let platform = material.chain.platform.as_ref();
    let case = Case {
        quote: &quote,
        evaluation: checks::evaluation(&quote, &material),
        material: &material,
        policy,
        rules,
        expectations,
        now: seconds(now),
    };
    let mut all = vec![tee_type, format];
    all.extend(checks::all(&case));
    let claims = TdxClaims::of(&quote, platform, case.evaluation.as_ref().ok());
    AttestationResult::new(TeeKind::Tdx, policy, now, all).about(
        Some(PRODUCT.to_owned()),
        material.chain.is_simulated(),
        Claims::Tdx(Box::new(claims)),
    )
}

/// A date past the year 292 billion is past every certificate.
fn seconds(now: UnixSeconds) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX)
}

/// Bytes that are no TD quote. An SGX enclave's quote reads well, and is of the wrong kind.
fn malformed(error: &QuoteError, policy: &Policy, now: UnixSeconds) -> AttestationResult {
    let check = match error {
        QuoteError::Sgx { .. } | QuoteError::TeeType { .. } => {
            vec![Check::judge(CheckName::TeeType, false, "a TD's quote", error.to_string())]
        }
        other => vec![
            checks::tee_type(policy),
            Check::judge(
                CheckName::ReportFormat,
                false,
                "a TD quote, version 4 or 5",
                other.to_string(),
            ),
        ],
    };
    AttestationResult::new(TeeKind::Tdx, policy, now, check)
}

/// Everything found that belongs to a quote, every signature verified.
struct Material<'a> {
    chain: Chain<'a>,
    /// Whether the attestation key signed header and body.
    is_signed: bool,
    /// Certificates given, the quote's own first.
    pool: Vec<&'a Certificate>,
    crls: checks::RevocationLists<'a>,
    /// Whether a certificate that signs collateral was given.
    has_signer: bool,
    tcb_infos: Statements<'a, TcbInfo>,
    qe_identities: Statements<'a, QeIdentity>,
    event_logs: &'a [event_log::EventLog],
}

impl<'a> Material<'a> {
    fn find(
        quote: &Quote<'_>,
        own: &'a [Certificate],
        endorsements: &'a Endorsements,
        anchors: &'a TrustAnchors,
        now: i64,
    ) -> Material<'a> {
        let pool = chain::pool(own, endorsements);
        let chain = Chain::find(quote, &pool, anchors);
        let crls = checks::RevocationLists::find(&chain, endorsements);
        let signers = chain::signers(&pool, chain.root());
        let is_sound =
            |signer: &chain::Signer<'a>| checks::signer_fault(signer, &crls, now).is_none();
        let platform = chain.platform.as_ref();
        let is_about = |info: &TcbInfo| {
            platform.is_some_and(|platform| {
                info.fmspc == platform.fmspc && info.pce_id == platform.pce_id
            })
        };
        let infos = chain::statements(&endorsements.tcb_infos, is_about, &signers, now);
        let identities = chain::statements(&endorsements.qe_identities, |_| true, &signers, now);
        let tcb_infos = Statements::choose(infos, now, is_sound);
        let qe_identities = Statements::choose(identities, now, is_sound);
        Material {
            is_signed: checks::quote_is_signed(quote, &endorsements.memory),
            chain,
            pool,
            crls,
            has_signer: !signers.is_empty(),
            tcb_infos,
            qe_identities,
            event_logs: &endorsements.event_logs,
        }
    }
}
