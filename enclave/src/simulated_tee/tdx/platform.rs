//! What a PCK certificate says of its platform.

use super::super::der::{Extension, integer, object, sequence, tagged};

const SGX_EXTENSIONS: &str = "1.2.840.113741.1.13.1";

/// Every part of Intel's extension that a verifier reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformTemplate {
    /// Processor package.
    pub ppid: [u8; 16],
    /// Security versions of its components.
    pub components: [u8; 16],
    /// Security version of the provisioning enclave.
    pub pce_svn: u16,
    /// Which provisioning enclave.
    pub pce_id: [u8; 2],
    /// Kind of platform.
    pub fmspc: [u8; 6],
    /// Set of packages.
    pub instance_id: Option<[u8; 16]>,
}

impl PlatformTemplate {
    /// The extension, in Intel's order and encoding.
    pub fn extension(&self) -> Extension {
        let mut tcb: Vec<Vec<u8>> = (1..=16_usize)
            .zip(self.components)
            .map(|(number, svn)| part(&format!("2.{number}"), integer(svn.into())))
            .collect();
        tcb.push(part("2.17", integer(self.pce_svn.into())));
        tcb.push(part("2.18", octets(&self.components)));
        let mut parts = vec![
            part("1", octets(&self.ppid)),
            part("2", sequence(&tcb)),
            part("3", octets(&self.pce_id)),
            part("4", octets(&self.fmspc)),
            part("5", tagged(0x0a, &[1])),
        ];
        if let Some(id) = &self.instance_id {
            parts.push(part("6", octets(id)));
            let yes = || tagged(0x01, &[0xff]);
            let configuration = ["7.1", "7.2", "7.3"].map(|number| part(number, yes()));
            parts.push(part("7", sequence(&configuration)));
        }
        Extension { oid: SGX_EXTENSIONS.to_owned(), critical: false, value: sequence(&parts) }
    }
}

fn part(number: &str, value: Vec<u8>) -> Vec<u8> {
    sequence(&[object(&format!("{SGX_EXTENSIONS}.{number}")), value])
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    tagged(0x04, bytes)
}
