//! Quotes of versions 4 and 5, every field settable.

use bulla_attestation::hash::sha256;
use data_encoding::BASE64;

use super::signer::{KeyError, Signer};

/// Quoting enclave of Intel.
const INTEL_QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// SEPT_VE_DISABLE.
const TD_ATTRIBUTES: u64 = 1 << 28;
const ENCLAVE_REPORT_BYTES: usize = 384;

/// What the TDX module reports of a TD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdTemplate {
    /// TEE_TCB_SVN.
    pub tee_tcb_svn: [u8; 16],
    /// Measurement of the module.
    pub mrseam: [u8; 48],
    /// Its signer.
    pub mrsignerseam: [u8; 48],
    /// Its attributes.
    pub seam_attributes: [u8; 8],
    /// Attributes of the TD.
    pub td_attributes: u64,
    /// Extended features.
    pub xfam: u64,
    /// MRTD.
    pub mrtd: [u8; 48],
    /// MRCONFIGID.
    pub mrconfigid: [u8; 48],
    /// MROWNER.
    pub mrowner: [u8; 48],
    /// MROWNERCONFIG.
    pub mrownerconfig: [u8; 48],
    /// RTMR 0 to 3.
    pub rtmrs: [[u8; 48]; 4],
    /// TEE_TCB_SVN2 and MRSERVICETD: a body of TDX 1.5.
    pub since_1_5: Option<([u8; 16], [u8; 48])>,
}

impl TdTemplate {
    fn encode(&self, report_data: &[u8; 64]) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.tee_tcb_svn);
        body.extend(self.mrseam);
        body.extend(self.mrsignerseam);
        body.extend(self.seam_attributes);
        body.extend(self.td_attributes.to_le_bytes());
        body.extend(self.xfam.to_le_bytes());
        for register in [self.mrtd, self.mrconfigid, self.mrowner, self.mrownerconfig] {
            body.extend(register);
        }
        self.rtmrs.iter().for_each(|register| body.extend(register));
        body.extend(report_data);
        if let Some((tee_tcb_svn2, mrservicetd)) = &self.since_1_5 {
            body.extend(tee_tcb_svn2);
            body.extend(mrservicetd);
        }
        body
    }
}

/// Everything in a quote but its REPORT_DATA and signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteTemplate {
    /// 4 or 5.
    pub version: u16,
    /// Attestation key type.
    pub key_type: u16,
    /// TEE type.
    pub tee_type: u32,
    /// Vendor of the quoting enclave.
    pub qe_vendor: [u8; 16],
    /// What the TDX module reports.
    pub td: TdTemplate,
    /// MISCSELECT of the quoting enclave.
    pub qe_miscselect: [u8; 4],
    /// Its ATTRIBUTES.
    pub qe_attributes: [u8; 16],
    /// Its signer.
    pub qe_mrsigner: [u8; 32],
    /// Its product.
    pub qe_isv_prod_id: u16,
    /// Its security version.
    pub qe_isv_svn: u16,
    /// Exclusive-or over its REPORT_DATA: zero where it vouches for the attestation key.
    pub qe_report_data_change: [u8; 64],
    /// Authentication data.
    pub qe_auth_data: Vec<u8>,
    /// Certification data of the PCK certificate: type, and for types that carry none, the data.
    pub certification: u16,
    /// Zero bytes after the quote.
    pub padding: usize,
}

/// Who signs a quote.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The quoting enclave's own key.
    pub attestation: &'a Signer,
    /// The platform's key.
    pub pck: &'a Signer,
    /// Certificates in the quote, DER: leaf first.
    pub chain: &'a [Vec<u8>],
}

impl QuoteTemplate {
    /// A quote of an up-to-date TD: version 4, or 5 where the TD is of TDX 1.5.
    pub fn new(td: TdTemplate) -> QuoteTemplate {
        let mut qe_attributes = [0; 16];
        qe_attributes[0] = 0x11;
        QuoteTemplate {
            version: if td.since_1_5.is_some() { 5 } else { 4 },
            key_type: 2,
            tee_type: 0x81,
            qe_vendor: INTEL_QE_VENDOR,
            td,
            qe_miscselect: [0; 4],
            qe_attributes,
            qe_mrsigner: [0x5e; 32],
            qe_isv_prod_id: 2,
            qe_isv_svn: 4,
            qe_report_data_change: [0; 64],
            qe_auth_data: (0..32).collect(),
            certification: 5,
            padding: 0,
        }
    }

    /// The quote over `report_data`.
    pub fn sign(&self, report_data: &[u8; 64], keys: Keys<'_>) -> Result<Vec<u8>, KeyError> {
        let mut quote = self.header();
        let body = self.td.encode(report_data);
        if self.version >= 5 {
            let kind: u16 = if self.td.since_1_5.is_some() { 3 } else { 2 };
            quote.extend(kind.to_le_bytes());
            quote.extend((body.len() as u32).to_le_bytes());
        }
        quote.extend(body);
        let signature = keys.attestation.sign(&quote)?;
        let attestation_key = &keys.attestation.point()[1..];
        let qe_report = self.qe_report(attestation_key);
        let mut inner = qe_report.clone();
        inner.extend(keys.pck.sign(&qe_report)?);
        inner.extend((self.qe_auth_data.len() as u16).to_le_bytes());
        inner.extend(&self.qe_auth_data);
        append(&mut inner, self.certification, &self.certification_data(keys.chain));
        let mut data = signature.to_vec();
        data.extend(attestation_key);
        append(&mut data, 6, &inner);
        quote.extend((data.len() as u32).to_le_bytes());
        quote.extend(data);
        quote.extend(vec![0; self.padding]);
        Ok(quote)
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.version.to_le_bytes());
        header.extend(self.key_type.to_le_bytes());
        header.extend(self.tee_type.to_le_bytes());
        header.extend([0; 4]);
        header.extend(self.qe_vendor);
        header.extend([0; 20]);
        header
    }

    fn qe_report(&self, attestation_key: &[u8]) -> Vec<u8> {
        let mut report = vec![0; ENCLAVE_REPORT_BYTES];
        let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &self.qe_miscselect);
        put(48, &self.qe_attributes);
        put(128, &self.qe_mrsigner);
        put(256, &self.qe_isv_prod_id.to_le_bytes());
        put(258, &self.qe_isv_svn.to_le_bytes());
        let mut slot = self.qe_report_data_change;
        let digest = sha256(&[attestation_key, &self.qe_auth_data].concat());
        slot.iter_mut().zip(digest.0).for_each(|(slot, byte)| *slot ^= byte);
        put(320, &slot);
        report
    }

    fn certification_data(&self, chain: &[Vec<u8>]) -> Vec<u8> {
        match self.certification {
            4 | 5 => chain.iter().flat_map(|der| pem(der).into_bytes()).collect(),
            _ => vec![0; 36],
        }
    }
}

impl TdTemplate {
    /// A TD of TDX 1.0, or of 1.5, with SEPT_VE_DISABLE, under a module of generation 1.
    pub fn new(since_1_5: bool) -> TdTemplate {
        let mut tee_tcb_svn = [0; 16];
        tee_tcb_svn[..3].copy_from_slice(&[6, 1, 3]);
        TdTemplate {
            tee_tcb_svn,
            mrseam: [0x5e; 48],
            mrsignerseam: [0; 48],
            seam_attributes: [0; 8],
            td_attributes: TD_ATTRIBUTES,
            xfam: 0x0006_1ae7,
            mrtd: [0x77; 48],
            mrconfigid: [0; 48],
            mrowner: [0; 48],
            mrownerconfig: [0; 48],
            rtmrs: [[1; 48], [2; 48], [3; 48], [0; 48]],
            since_1_5: since_1_5.then_some((tee_tcb_svn, [0; 48])),
        }
    }
}

fn append(to: &mut Vec<u8>, kind: u16, data: &[u8]) {
    to.extend(kind.to_le_bytes());
    to.extend((data.len() as u32).to_le_bytes());
    to.extend(data);
}

/// PEM of a certificate.
pub(super) fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
