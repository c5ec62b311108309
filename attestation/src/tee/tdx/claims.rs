//! What a quote says, for people and for JSON: hex in lower case.

use serde::Serialize;

use super::pck::Platform;
use super::quote::Quote;
use super::tcb::Evaluation;
use crate::endorsement::intel::TcbStatus;
use crate::endorsement::rfc3339;
use crate::hex::Hex;

/// The claims of a TD quote. Those of the platform come from its certificate, those of the TCB from
/// the collateral; each is absent where that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TdxClaims {
    /// Quote version.
    pub quote_version: u16,
    /// Layout of the body: `td1.0` or `td1.5`.
    pub body: &'static str,
    /// MRTD: what the TD began with.
    pub measurement: Hex<48>,
    /// What the TD had signed.
    pub report_data: Hex<64>,
    /// The platform's name: its instance id where it has one, else its PPID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chip_id: Option<Hex<16>>,
    /// TEE_TCB_SVN: the module's security versions at launch.
    pub tcb: Hex<16>,
    /// TEE_TCB_SVN2: those that run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tee_tcb_svn2: Option<Hex<16>>,
    /// In Intel's words; absent without a matching level.
    pub tcb_status: Option<TcbStatus>,
    /// Date of the matching level.
    pub tcb_date: Option<String>,
    /// What applies to it.
    pub advisory_ids: Vec<String>,
    /// Intel's counter of TCB recoveries in the collateral.
    pub tcb_evaluation_data_number: Option<u32>,
    /// RTMR 0 to 3.
    pub rtmrs: [Hex<48>; 4],
    /// Measurement of the TDX module.
    pub mrseam: Hex<48>,
    /// Signer of the TDX module; zero means Intel.
    pub mrsignerseam: Hex<48>,
    /// Attributes of the TDX module.
    pub seam_attributes: Hex<8>,
    /// Configuration the owner set.
    pub mrconfigid: Hex<48>,
    /// The owner.
    pub mrowner: Hex<48>,
    /// Configuration of the owner.
    pub mrownerconfig: Hex<48>,
    /// Service TDs bound to it; since TDX 1.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mrservicetd: Option<Hex<48>>,
    /// Attributes of the TD as they stand.
    pub td_attributes: Hex<8>,
    /// The same in words.
    pub td_attribute_names: Vec<String>,
    /// Extended processor features.
    pub xfam: Hex<8>,
    /// Whose quoting enclave.
    pub qe_vendor: Hex<16>,
    /// Its security version.
    pub qe_isv_svn: u16,
    /// Kind of platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fmspc: Option<Hex<6>>,
    /// Kind of provisioning enclave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pce_id: Option<Hex<2>>,
    /// Security version of the provisioning enclave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pce_svn: Option<u16>,
    /// Security versions of the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_svn: Option<Hex<16>>,
    /// The processor package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<Hex<16>>,
    /// The set of packages, on platforms of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_instance_id: Option<Hex<16>>,
}

impl TdxClaims {
    pub(super) fn of(
        quote: &Quote<'_>,
        platform: Option<&Platform>,
        evaluation: Option<&Evaluation>,
    ) -> TdxClaims {
        let body = &quote.body;
        TdxClaims {
            quote_version: quote.version,
            body: body.kind.as_str(),
            measurement: Hex(body.mrtd),
            report_data: Hex(body.report_data),
            chip_id: platform.map(|platform| Hex(platform.id())),
            tcb: Hex(body.tee_tcb_svn),
            tee_tcb_svn2: body.tee_tcb_svn2.map(Hex),
            tcb_status: evaluation.map(|evaluation| evaluation.status),
            tcb_date: evaluation.map(|evaluation| rfc3339(evaluation.date)),
            advisory_ids: evaluation.map_or_else(Vec::new, |found| found.advisory_ids.clone()),
            tcb_evaluation_data_number: evaluation.map(|found| found.evaluation_number),
            rtmrs: body.rtmrs.map(Hex),
            mrseam: Hex(body.mrseam),
            mrsignerseam: Hex(body.mrsignerseam),
            seam_attributes: Hex(body.seam_attributes),
            mrconfigid: Hex(body.mrconfigid),
            mrowner: Hex(body.mrowner),
            mrownerconfig: Hex(body.mrownerconfig),
            mrservicetd: body.mrservicetd.map(Hex),
            td_attributes: Hex(body.td_attributes.0),
            td_attribute_names: body.td_attributes.words(),
            xfam: Hex(body.xfam),
            qe_vendor: Hex(quote.qe_vendor),
            qe_isv_svn: quote.qe_report.isv_svn,
            fmspc: platform.map(|platform| Hex(platform.fmspc)),
            pce_id: platform.map(|platform| Hex(platform.pce_id)),
            pce_svn: platform.map(|platform| platform.pce_svn),
            cpu_svn: platform.map(|platform| Hex(platform.cpu_svn)),
            ppid: platform.map(|platform| Hex(platform.ppid)),
            platform_instance_id: platform.and_then(|platform| platform.instance_id).map(Hex),
        }
    }

    /// Every name the platform goes by, in hex; empty where its certificate is missing. Zero is
    /// nobody's name.
    pub fn platform_ids(&self) -> Vec<String> {
        let all = [self.platform_instance_id, self.ppid];
        let names = all.into_iter().flatten().filter(|id| id.0 != [0; 16]);
        names.map(|id| id.to_string()).collect()
    }
}
