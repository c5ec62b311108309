//! Fields of evidence whose reader states all of them as claims.

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{Evidence, Recognised};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_wire::units::UnixSeconds;
use serde_json::Value;

use super::describe::Field;

/// Reads the evidence for its claims; what the appraisal says besides is not used.
pub fn fields(found: &Recognised, evidence: &Evidence) -> Vec<Field> {
    let text = include_str!("../../../../policies/appraisal/authentic.toml");
    let Ok(policy) = Policy::from_toml(text) else { return Vec::new() };
    let result = appraise_raw(
        evidence.kind,
        &evidence.bytes,
        &Endorsements::sort(found.endorsements_for(evidence)),
        &TrustAnchors::vendors(),
        &policy,
        &Expectations::default(),
        UnixSeconds(0),
    );
    match serde_json::to_value(result.claims()) {
        Ok(Value::Object(claims)) => {
            claims.into_iter().map(|(name, value)| Field::new(&name, value, words(&name))).collect()
        }
        _ => {
            let why = result.failed().map(|check| check.got.clone()).collect::<Vec<_>>();
            vec![Field::new("unreadable", why, "why its fields cannot be shown")]
        }
    }
}

/// What a claim means.
fn words(name: &str) -> &'static str {
    match name {
        "quote_version" => "version of the quote's layout",
        "body" => "version of the TD's report inside",
        "measurement" => "what the guest began with (SNP's launch digest, TDX's MRTD)",
        "report_data" => "what the guest asked to have signed",
        "chip_id" => "the chip or platform",
        "tcb" => "security versions: SNP's reported TCB, TDX's TEE_TCB_SVN",
        "tee_tcb_svn2" => "security versions of the TDX module that runs now",
        "tcb_status" => "what Intel says of these versions; needs collateral",
        "tcb_date" => "date of the matching TCB level",
        "advisory_ids" => "advisories that apply",
        "tcb_evaluation_data_number" => "Intel's counter of TCB recoveries",
        "rtmrs" => "runtime measurements: firmware, boot, kernel, application",
        "mrseam" => "measurement of the TDX module",
        "mrsignerseam" => "signer of the TDX module; zero: Intel",
        "seam_attributes" => "attributes of the TDX module",
        "mrconfigid" => "configuration the TD's owner set",
        "mrowner" => "the TD's owner",
        "mrownerconfig" => "configuration of the owner",
        "mrservicetd" => "service TDs bound to it",
        "td_attributes" => "attributes of the TD as they stand",
        "td_attribute_names" => "the same in words",
        "xfam" => "extended processor features the TD may use",
        "qe_vendor" => "whose quoting enclave signed",
        "qe_isv_svn" => "security version of the quoting enclave",
        "fmspc" => "kind of platform, which collateral is about",
        "pce_id" => "kind of provisioning enclave",
        "pce_svn" => "security version of the provisioning enclave",
        "cpu_svn" => "security versions of the processor",
        "ppid" => "the processor package",
        "platform_instance_id" => "the set of packages",
        "driver" => "driver version",
        "vbios" => "VBIOS version",
        "nonce" => "the verifier's nonce",
        "devices" => "each GPU and switch, with every field of its report",
        "vm_configuration" => "how the VM is configured, as the paravisor says",
        "user_data" => "what the guest wrote into the runtime data",
        "keys" => "keys in the runtime data",
        "pcrs" => "registers of the vTPM that its quote covers (SHA-256)",
        "tpm_clock" => "the vTPM's clock when it signed",
        "tpm_firmware" => "firmware version of the vTPM",
        "report_version" => "version of the report's layout",
        "host_data" => "what the host attached at launch",
        "id_key_digest" => "SHA-384 of the key that signed the ID block; zero: none",
        "guest_svn" => "security version of the guest",
        "vmpl" => "privilege level that asked; 0 is the highest",
        "policy" => "launch policy of the guest",
        "platform_info" => "state of the platform",
        "signing_key" => "kind of key that signed",
        "cpu" => "the processor",
        "part" => "processors whose microcode numbers can be compared",
        "committed_tcb" => "firmware below which the platform cannot go back",
        "current_tcb" => "firmware that runs now",
        "launch_tcb" => "firmware when the guest began",
        "attestation_key" => "SHA-256 of the TPM's attestation key (SubjectPublicKeyInfo)",
        "key_attributes" => "what the TPM says that key may do",
        "generation" => "how much the host is kept out of: csv, csv2 or csv3",
        "vm_id" => "the owner's name for the VM",
        "vm_version" => "the owner's version of the VM",
        "user_pubkey_digest" => "digest of the owner's session key; zero: none",
        "chip_certificate" => {
            "SHA-256 of the signed part of the chip's certificate, which names the chip"
        }
        "firmware_build" => "build of the firmware, since version 2",
        "registers" => "runtime measurements (SM3), since version 2",
        _ => "",
    }
}
