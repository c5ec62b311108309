//! The names of all checks, of every kind of evidence: one table.

use super::About;

macro_rules! check_names {
    ($($(#[doc = $doc:literal])+ $variant:ident $text:literal $about:ident;)+) => {
        /// Every check there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CheckName {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl CheckName {
            /// All of them, in the order they are reported.
            pub const ALL: &'static [CheckName] = &[$(CheckName::$variant,)+];

            /// The name in tables and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(CheckName::$variant => $text,)+ }
            }

            /// What it is about.
            pub fn about(self) -> About {
                match self { $(CheckName::$variant => About::$about,)+ }
            }
        }
    };
}

check_names! {
    /// The policy takes this kind of TEE, and it can be appraised here.
    TeeType "tee_type" Policy;
    /// The report parses: length, version, zero padding.
    ReportFormat "report_format" Evidence;
    /// The signature algorithm is the one defined.
    SignatureAlgorithm "signature_algorithm" Evidence;
    /// A certificate of the kind of key that signed (VCEK or VLEK) is among the endorsements.
    SigningKey "signing_key" Evidence;
    /// The report's signature verifies under the leaf's key.
    ReportSignature "report_signature" Evidence;
    /// The leaf is signed by the intermediate (ASK or ASVK).
    LeafSignature "leaf_signature" Evidence;
    /// The intermediate is signed by the root (ARK).
    IntermediateSignature "intermediate_signature" Evidence;
    /// The root is one the relying party named, and no other claims its name.
    RootPinned "root_pinned" Evidence;
    /// Leaf, intermediate and root carry the names AMD gives them, of one product line.
    CertificateNames "certificate_names" Evidence;
    /// All certificates are inside their dates.
    CertificateDates "certificate_dates" Evidence;
    /// Authorities may sign certificates, the leaf may not; nothing critical is left unread.
    CertificateConstraints "certificate_constraints" Evidence;
    /// A revocation list given for this chain is genuine.
    CrlSignature "crl_signature" Evidence;
    /// No authority of the chain is revoked; unknown without a current list.
    Revocation "revocation" Evidence;
    /// Report, leaf and chain speak of the same product line.
    ProductLine "product_line" Evidence;
    /// The leaf's hardware id is the report's chip id.
    HardwareId "hardware_id" Evidence;
    /// The leaf's TCB is the report's reported TCB.
    TcbInCertificate "tcb_in_certificate" Evidence;
    /// DEBUG is off: otherwise the host reads and writes the guest.
    GuestDebug "guest_debug" Evidence;
    /// A simulated root is used only where the policy allows it.
    SimulatedRoot "simulated_root" Policy;
    /// The policy wants revocation known.
    RevocationKnown "revocation_known" Policy;
    /// The report's version is new enough.
    ReportVersion "report_version" Policy;
    /// The policy takes this kind of signing key.
    SigningKeyAllowed "signing_key_allowed" Policy;
    /// The product is on the list.
    ProductAllowed "product_allowed" Policy;
    /// The product is not banned.
    ProductBanned "product_banned" Policy;
    /// No migration agent may move the guest.
    GuestMigrationAgent "guest_migration_agent" Policy;
    /// Simultaneous multithreading, as the guest's policy allows it.
    GuestSmt "guest_smt" Policy;
    /// The guest stays on one socket.
    GuestSingleSocket "guest_single_socket" Policy;
    /// The privilege level that asked for the report.
    Vmpl "vmpl" Policy;
    /// The firmware has checked that memory has no aliases.
    AliasCheckComplete "alias_check_complete" Policy;
    /// Reported TCB against the floor for this part.
    MinimumReportedTcb "minimum_reported_tcb" Policy;
    /// TCB at launch against the floor.
    MinimumLaunchTcb "minimum_launch_tcb" Policy;
    /// Committed TCB against the floor: what the platform can be rolled back to.
    MinimumCommittedTcb "minimum_committed_tcb" Policy;
    /// Current TCB against the floor.
    MinimumCurrentTcb "minimum_current_tcb" Policy;
    /// Committed TCB is not above the current one.
    TcbOrder "tcb_order" Policy;
    /// The launch digest is a known one.
    Measurement "measurement" Policy;
    /// What the host attached at launch is a known value.
    HostData "host_data" Policy;
    /// The chip does not hide its id.
    ChipIdMasked "chip_id_masked" Policy;
    /// The chip is on the list.
    ChipIdPinned "chip_id_pinned" Policy;
    /// REPORT_DATA bytes 0 to 31 are the digest of the statement.
    ReportData "report_data" Binding;
    /// REPORT_DATA bytes 32 to 63 are zero.
    ReportDataPadding "report_data_padding" Binding;
    /// The `report_data` beside the evidence restates what the evidence binds.
    ReportDataCopy "report_data_copy" Binding;
    /// The keyset digest beside the keyset is the keyset's.
    KeysetDigest "keyset_digest" Binding;
    /// The verifier's own nonce is in the statement.
    Nonce "nonce" Binding;
    /// The keyset has not expired.
    KeysetExpiry "keyset_expiry" Binding;
    /// The keyset does not outlive what the policy calls plausible.
    KeysetLife "keyset_life" Binding;
    /// The chip id inside the keyset is the report's.
    KeysetChipId "keyset_chip_id" Binding;
    /// The keyset holds the keys this protocol needs.
    KeysetKeys "keyset_keys" Binding;
    /// Evidence without our nonce is not older than the policy allows, as a witnessed log tells.
    MaximumAge "maximum_age" Policy;
    /// The sealing key's KEM is at least what the policy asks.
    SealingKem "sealing_kem" Policy;
    /// The accelerators named are of classes and standing the policy takes.
    Accelerator "accelerator" Policy;
    /// Enough of the named witnesses cosigned the log that holds this epoch.
    Witnesses "witnesses" Policy;
    /// The manifests the policy names are genuine and in force, and list what was measured.
    ReferenceValues "reference_values" Policy;
    /// The Rego modules the policy names allow this verdict.
    Rego "rego" Policy;
    // Azure confidential VMs: paravisor and vTPM, beside the checks of the CPU inside.
    /// The evidence reads, and the paravisor's report in it: header, lengths, zero tail.
    HclFormat "hcl_format" Evidence;
    /// The hardware's report inside is of the kind the evidence is judged as.
    HclReportType "hcl_report_type" Evidence;
    /// The runtime data reads and names one RSA attestation key.
    RuntimeData "runtime_data" Evidence;
    /// The hardware signed the digest of the runtime data, and nothing besides.
    RuntimeDataBound "runtime_data_bound" Evidence;
    /// The hardware's report was asked for at the paravisor's level (VMPL 0).
    ParavisorLevel "paravisor_level" Evidence;
    /// A TD quote is given, and is of the TD report inside.
    TdQuote "td_quote" Evidence;
    /// The TPM's quote is one.
    TpmQuoteFormat "tpm_quote_format" Evidence;
    /// The attestation key (Azure: the one in the runtime data) signed the TPM's quote.
    TpmQuoteSignature "tpm_quote_signature" Evidence;
    /// The register values given are those the TPM quoted.
    TpmPcrDigest "tpm_pcr_digest" Evidence;
    /// The policy wants a vTPM quote.
    TpmQuoteGiven "tpm_quote_given" Policy;
    /// The key that signed the paravisor's ID block is on the list.
    ParavisorSigner "paravisor_signer" Policy;
    /// Secure boot is on.
    SecureBoot "secure_boot" Policy;
    /// The VM has no serial console.
    GuestConsole "guest_console" Policy;
    /// The VM is on the list.
    VmUniqueId "vm_unique_id" Policy;
    /// The registers of the TPM hold known values.
    TpmPcrs "tpm_pcrs" Policy;
    /// The TPM's key is an attestation key: restricted, made by the TPM and kept in it.
    TpmKey "tpm_key" Evidence;
    /// The TPM signed 32 bytes: the digest of a statement.
    TpmQualifyingData "tpm_qualifying_data" Evidence;
    // Hygon CSV.
    /// The chip's key (CEK) signed the platform's (PEK).
    PekSignature "pek_signature" Evidence;
    /// Hygon's signing key (HSK) signed the chip's (CEK).
    CekSignature "cek_signature" Evidence;
    /// Hygon's root (HRK) signed its signing key (HSK).
    HskSignature "hsk_signature" Evidence;
    /// The generation of CSV is on the list.
    CsvGeneration "csv_generation" Policy;
    /// No other guest may share the guest's key.
    GuestKeySharing "guest_key_sharing" Policy;
    /// The guest may not be sent to another platform.
    GuestSending "guest_sending" Policy;
    // Accelerators beside a CPU's evidence.
    /// The evidence of the accelerators is genuine, and good enough for the policy.
    AcceleratorEvidence "accelerator_evidence" Binding;
    /// It answers the nonce made of this keyset's statement and this CPU's chip.
    AcceleratorNonce "accelerator_nonce" Binding;
    /// The measured guest signed, with an attested key, that it verified this evidence itself.
    AcceleratorVoucher "accelerator_voucher" Binding;
    // NVIDIA GPUs and switches, beside the checks of the same meaning above.
    /// The OCSP answers given about these certificates are genuine.
    OcspSignature "ocsp_signature" Evidence;
    /// The digest of the device's firmware is the one its key was derived for.
    FirmwareIdentity "firmware_identity" Evidence;
    /// The manifests about this device read, and no two speak of one measurement.
    ManifestFormat "manifest_format" Evidence;
    /// The manifests about this device are unaltered and signed.
    ManifestSignature "manifest_signature" Evidence;
    /// Whoever signed them stands under the vendor's root for manifests.
    ManifestCertificates "manifest_certificates" Evidence;
    /// The certificates of their signers are inside their dates.
    ManifestDates "manifest_dates" Evidence;
    /// None of those certificates is revoked; unknown without current answers.
    ManifestRevocation "manifest_revocation" Evidence;
    /// Every measurement the manifests list is the one the device shows; unknown without them.
    DeviceMeasurements "device_measurements" Evidence;
    /// The policy wants all measurements compared.
    DeviceMeasurementsKnown "device_measurements_known" Policy;
    /// The policy wants the revocation of manifest signers known.
    ManifestRevocationKnown "manifest_revocation_known" Policy;
    /// Switches are taken.
    SwitchAllowed "switch_allowed" Policy;
    /// No device stands in the evidence twice.
    DistinctDevices "distinct_devices" Policy;
    /// The GPUs' links lead to the switches that are shown, and to no others.
    FabricClosed "fabric_closed" Policy;
    /// The driver is on the list.
    DriverAllowed "driver_allowed" Policy;
    /// The driver is not older than the oldest taken of its branch.
    MinimumDriver "minimum_driver" Policy;
    /// The VBIOS is on the list.
    VbiosAllowed "vbios_allowed" Policy;
    /// The VBIOS is not older than the oldest taken.
    MinimumVbios "minimum_vbios" Policy;
    /// What a document says beside a report is what the report says, and all answer one nonce.
    DocumentAgrees "document_agrees" Binding;
    // Intel TDX, beside the names above that mean the same there (the leaf is the PCK certificate, the
    // intermediate the PCK authority).
    /// The quoting enclave is of Intel's vendor id.
    QeVendor "qe_vendor" Evidence;
    /// The quoting enclave vouches for the attestation key.
    AttestationKey "attestation_key" Evidence;
    /// The platform's key signed the quoting enclave's report.
    QeReportSignature "qe_report_signature" Evidence;
    /// The PCK certificate says which platform it is about.
    PlatformExtensions "platform_extensions" Evidence;
    /// Collateral given about this platform is genuine.
    CollateralSignature "collateral_signature" Evidence;
    /// Whoever signed collateral for this time was allowed to.
    CollateralSigner "collateral_signer" Evidence;
    /// The quoting enclave is Intel's, without DEBUG.
    QeIdentity "qe_identity" Evidence;
    /// The TDX module is Intel's.
    TdxModule "tdx_module" Evidence;
    /// An event log given leads to the run-time registers.
    EventLog "event_log" Binding;
    /// Intel has a TCB level for this platform at this time, and has not revoked it.
    TcbLevel "tcb_level" Policy;
    /// The status of that level is on the list.
    TcbStatus "tcb_status" Policy;
    /// The collateral takes enough TCB recoveries into account.
    TcbEvaluationNumber "tcb_evaluation_data_number" Policy;
    /// Only advisories the policy takes apply.
    Advisories "advisories" Policy;
    /// The collateral is not older than the policy allows.
    CollateralAge "collateral_age" Policy;
    /// SEPT_VE_DISABLE is set.
    SeptVeDisable "sept_ve_disable" Policy;
    /// The host may not watch performance counters of the TD.
    TdProfiling "td_profiling" Policy;
    /// No service TD is bound to the TD.
    ServiceTd "service_td" Policy;
    /// RTMR 0 holds a known value.
    Rtmr0 "rtmr0" Policy;
    /// RTMR 1 holds a known value.
    Rtmr1 "rtmr1" Policy;
    /// RTMR 2 holds a known value.
    Rtmr2 "rtmr2" Policy;
    /// RTMR 3 holds a known value.
    Rtmr3 "rtmr3" Policy;
    /// The TDX module is a known one.
    MrSeam "mrseam" Policy;
    /// MRCONFIGID is a known value.
    MrConfigId "mrconfigid" Policy;
    /// MROWNER is a known value.
    MrOwner "mrowner" Policy;
    /// MROWNERCONFIG is a known value.
    MrOwnerConfig "mrownerconfig" Policy;
}
