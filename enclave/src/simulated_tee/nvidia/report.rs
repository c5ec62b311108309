//! The report of a GPU or switch, every field settable.

use std::collections::BTreeMap;

use super::super::der::{Extension, integer, object, sequence, tagged};
use super::signer::Signer;

const OID_SHA384: &str = "2.16.840.1.101.3.4.2.2";
/// tcg-dice-TcbInfo, which Hopper's leaves use for a key and one digest.
const FIRMWARE_IDENTITY: &str = "2.23.133.5.4.1";

/// Everything a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportTemplate {
    /// SPDM version, in both headers.
    pub version: u8,
    /// The verifier's nonce.
    pub nonce: [u8; 32],
    /// The device's own.
    pub responder_nonce: [u8; 32],
    /// Value by index, from 1.
    pub measurements: BTreeMap<u8, Vec<u8>>,
    /// Type and value of opaque fields, in order.
    pub opaque: Vec<(u16, Vec<u8>)>,
}

/// A text with the zero that ends it.
fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A measurement that is the same for every simulated device.
fn measurement(index: u8) -> Vec<u8> {
    let digest = ring::digest::digest(&ring::digest::SHA384, &[b's', b'i', b'm', index]);
    digest.as_ref().to_vec()
}

impl ReportTemplate {
    /// A GPU with driver 580.95.05 and VBIOS 96.00.CF.00.02, linked to one switch.
    pub fn gpu(nonce: [u8; 32], fwid: &[u8; 48]) -> ReportTemplate {
        ReportTemplate {
            version: 0x11,
            nonce,
            responder_nonce: [0x22; 32],
            measurements: (1..=64).map(|index| (index, measurement(index))).collect(),
            opaque: vec![
                (6, vec![0, 0xcf, 0, 0x96, 2, 0, 0, 0]),
                (15, text("895")),
                (17, text("G520")),
                (18, text("0280")),
                (3, text("580.95.05")),
                (11, vec![0xaa]),
                (20, fwid.to_vec()),
                (21, vec![0xaa]),
                (22, [8, 7, 6, 5, 4, 3, 2, 1].repeat(2)),
            ],
        }
    }

    /// The switch that GPU is linked to.
    pub fn switch(nonce: [u8; 32]) -> ReportTemplate {
        ReportTemplate {
            version: 0x11,
            nonce,
            responder_nonce: [0x33; 32],
            measurements: (1..=31).map(|index| (index, measurement(index))).collect(),
            opaque: vec![
                (6, b"96.10.6D.00.01".to_vec()),
                (22, vec![1, 2, 3, 4, 5, 6, 7, 8]),
                (26, vec![0x0a; 8]),
                (24, vec![2, 0]),
                (25, vec![1, 0]),
            ],
        }
    }

    /// Sets one opaque field, or takes it away.
    pub fn set(&mut self, kind: u16, value: Option<&[u8]>) {
        self.opaque.retain(|(other, _)| *other != kind);
        self.opaque.extend(value.map(|value| (kind, value.to_vec())));
    }

    /// What the signature covers.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Vec::new();
        for (index, value) in &self.measurements {
            let value_bytes = value.len() as u16;
            record.extend([*index, 1]);
            record.extend((value_bytes + 3).to_le_bytes());
            record.push(1);
            record.extend(value_bytes.to_le_bytes());
            record.extend(value);
        }
        let mut opaque = Vec::new();
        for (kind, value) in &self.opaque {
            opaque.extend(kind.to_le_bytes());
            opaque.extend((value.len() as u16).to_le_bytes());
            opaque.extend(value);
        }
        let mut report = vec![self.version, 0xe0, 1, 0xff];
        report.extend(self.nonce);
        report.push(0);
        report.extend([self.version, 0x60, 0, 0, self.measurements.len() as u8]);
        report.extend(&(record.len() as u32).to_le_bytes()[..3]);
        report.extend(record);
        report.extend(self.responder_nonce);
        report.extend((opaque.len() as u16).to_le_bytes());
        report.extend(opaque);
        report
    }

    /// The whole report, signed by the device's key.
    pub fn sign(&self, leaf: &Signer) -> Vec<u8> {
        let mut report = self.encode();
        let signature = leaf.sign_fixed(&report);
        report.extend(signature);
        report
    }
}

/// The extension of a leaf that names the digest of the firmware it was made for.
pub fn firmware_identity(leaf: &Signer, fwid: &[u8; 48]) -> Extension {
    let digest = sequence(&[object(OID_SHA384), tagged(0x04, fwid)]);
    let value = sequence(&[integer(1), sequence(&[leaf.spki(), digest])]);
    Extension { oid: FIRMWARE_IDENTITY.to_owned(), critical: false, value }
}
