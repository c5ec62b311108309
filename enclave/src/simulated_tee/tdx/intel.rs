//! All keys of a simulated Intel, and one platform that agrees with itself.

use super::super::authority::Validity;
use super::super::der::Certificate;
use super::collateral::{EnclaveLevel, Level, Module, QeIdentityTemplate, TcbInfoTemplate, Window};
use super::platform::PlatformTemplate;
use super::quote::{Keys, QuoteTemplate, TdTemplate};
use super::signer::{KeyError, Signer, authority_extensions, leaf_extensions};

/// Name of the root.
pub const ROOT_CA: &str = "Intel SGX Root CA";
/// Name of the authority for platforms.
pub const PLATFORM_CA: &str = "Intel SGX PCK Platform CA";
/// Name of who signs collateral.
pub const TCB_SIGNING: &str = "Intel SGX TCB Signing";
const PCK: &str = "Intel SGX PCK Certificate";

/// Serial numbers: what a revocation list would name.
const SERIALS: [u32; 4] = [1, 2, 3, 4];

/// A simulated Intel and one of its platforms. Everything is open, so that a test can make one thing
/// wrong; certificates are templates until [`Intel::endorsements`] signs them.
#[derive(Clone)]
pub struct Intel {
    /// The root's key.
    pub root: Signer,
    /// The platform authority's key.
    pub authority: Signer,
    /// The collateral signer's key.
    pub signer: Signer,
    /// The platform's key.
    pub pck: Signer,
    /// The quoting enclave's key.
    pub attestation: Signer,
    /// Certificates of root, authority, signer and platform, before they are signed.
    pub certificates: [Certificate; 4],
    /// What the platform's certificate says of it.
    pub platform: PlatformTemplate,
    /// What is quoted.
    pub quote: QuoteTemplate,
    /// Collateral about the platform.
    pub tcb_info: TcbInfoTemplate,
    /// Collateral about the quoting enclave.
    pub qe_identity: QeIdentityTemplate,
}

impl Intel {
    /// Makes all keys, and a platform that is up to date from `validity` on; collateral speaks for
    /// `window`.
    pub fn generate(validity: Validity, window: Window, td: TdTemplate) -> Result<Intel, KeyError> {
        let root = Signer::generate(ROOT_CA)?;
        let authority = Signer::generate(PLATFORM_CA)?;
        let signer = Signer::generate(TCB_SIGNING)?;
        let pck = Signer::generate(PCK)?;
        let certificates = [
            root.template(&root, SERIALS[0], validity, authority_extensions(1)),
            authority.template(&root, SERIALS[1], validity, authority_extensions(0)),
            signer.template(&root, SERIALS[2], validity, leaf_extensions()),
            pck.template(&authority, SERIALS[3], validity, leaf_extensions()),
        ];
        let platform = PlatformTemplate {
            ppid: [0xb1; 16],
            components: [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
            pce_svn: 13,
            pce_id: [0; 2],
            fmspc: [0x51, 0xc0, 0x6f, 0, 0, 0],
            instance_id: Some([0xc2; 16]),
        };
        Ok(Intel {
            attestation: Signer::generate("attestation key")?,
            tcb_info: tcb_info(&platform, &window),
            qe_identity: qe_identity(window),
            quote: QuoteTemplate::new(td),
            root,
            authority,
            signer,
            pck,
            certificates,
            platform,
        })
    }

    /// The root certificate, DER: what a relying party has to name.
    pub fn root_certificate(&self) -> Result<Vec<u8>, KeyError> {
        self.root.certify(&self.certificates[0])
    }

    /// The certificates a quote carries: platform, authority, root.
    pub fn chain(&self) -> Result<Vec<Vec<u8>>, KeyError> {
        let mut leaf = self.certificates[3].clone();
        leaf.extensions.push(self.platform.extension());
        Ok(vec![
            self.authority.certify(&leaf)?,
            self.root.certify(&self.certificates[1])?,
            self.root_certificate()?,
        ])
    }

    /// The certificate of who signs collateral, DER.
    pub fn signer_certificate(&self) -> Result<Vec<u8>, KeyError> {
        self.root.certify(&self.certificates[2])
    }

    /// A quote over `report_data`, with `chain` inside.
    pub fn quote(&self, report_data: &[u8; 64], chain: &[Vec<u8>]) -> Result<Vec<u8>, KeyError> {
        let keys = Keys { attestation: &self.attestation, pck: &self.pck, chain };
        self.quote.sign(report_data, keys)
    }

    /// What endorses it: collateral with its signer's certificate, and revocation lists for `window`
    /// that revoke nothing.
    pub fn endorsements(&self, window: Validity) -> Result<Vec<Vec<u8>>, KeyError> {
        Ok(vec![
            self.signer_certificate()?,
            self.tcb_info.response(&self.signer)?.into_bytes(),
            self.qe_identity.response(&self.signer)?.into_bytes(),
            self.root.revocation_list(&[], window)?,
            self.authority.revocation_list(&[], window)?,
        ])
    }
}

/// An up-to-date level that the platform reaches, and one below it.
fn tcb_info(platform: &PlatformTemplate, window: &Window) -> TcbInfoTemplate {
    let tdx = |third: u8| {
        let mut tdx = [0; 16];
        tdx[..3].copy_from_slice(&[5, 0, third]);
        tdx
    };
    let level = |sgx, third, status: &str, date: &str, ids: &[&str]| Level {
        sgx,
        pce_svn: platform.pce_svn,
        tdx: tdx(third),
        status: status.to_owned(),
        date: date.to_owned(),
        advisory_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let older = [2, 2, 2, 2, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    let current = level(platform.components, 3, "UpToDate", "2025-05-14T00:00:00Z", &[]);
    let old = level(older, 2, "OutOfDate", "2024-03-13T00:00:00Z", &["INTEL-SA-01036"]);
    let enclave = |isv_svn, status: &str, ids: &[&str]| EnclaveLevel {
        isv_svn,
        status: status.to_owned(),
        advisory_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let levels = vec![enclave(6, "UpToDate", &[]), enclave(4, "OutOfDate", &["INTEL-SA-01099"])];
    TcbInfoTemplate {
        id: "TDX".to_owned(),
        window: window.clone(),
        fmspc: platform.fmspc,
        pce_id: platform.pce_id,
        evaluation_number: 18,
        modules: vec![Module { id: "TDX_01".to_owned(), mrsigner: [0; 48], levels }],
        levels: vec![current, old],
    }
}

fn qe_identity(window: Window) -> QeIdentityTemplate {
    let mut attributes = [0; 16];
    attributes[0] = 0x11;
    let level = |isv_svn, status: &str| EnclaveLevel {
        isv_svn,
        status: status.to_owned(),
        advisory_ids: Vec::new(),
    };
    QeIdentityTemplate {
        id: "TD_QE".to_owned(),
        window,
        evaluation_number: 18,
        mrsigner: [0x5e; 32],
        attributes,
        miscselect: [0; 4],
        isv_prod_id: 2,
        levels: vec![level(4, "UpToDate"), level(3, "OutOfDate")],
    }
}
