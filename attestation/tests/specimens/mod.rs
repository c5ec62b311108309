//! One affirmed piece of evidence per format, with what is needed to judge it: real ones where the
//! evidence folder is there.
#![allow(dead_code, reason = "each user takes a part")]

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{File, Role, recognise};
use bulla_attestation::memo::Appraiser;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::AttestationResult;
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;

use crate::common::EvidenceFolder;

/// 2026-11-20T00:00:00Z.
const NOVEMBER_2026: u64 = 1_795_132_800;
/// 2025-06-20T10:32:27Z, in the month of the TDX collateral.
const JUNE_2025: u64 = 1_750_415_547;
/// 2025-07-22T09:13:34Z, in the month of the collateral for Azure's TDX.
const JULY_2025: u64 = 1_753_175_614;
/// 2026-03-31T22:20:07Z, in the month of the newest TDX collateral.
const MARCH_2026: u64 = 1_774_995_607;
/// 2025-08-21T12:00:00Z, in the day of the OCSP answers about the GPU.
const AUGUST_2025: u64 = 1_755_777_600;

/// Evidence, endorsements, and how they are judged.
pub struct Specimen {
    pub name: &'static str,
    pub kind: TeeKind,
    pub evidence: Vec<u8>,
    pub endorsements: Vec<Vec<u8>>,
    pub anchors: TrustAnchors,
    pub policy: Policy,
    pub at: UnixSeconds,
}

/// Name, kind, instant, files.
type Entry = (&'static str, TeeKind, u64, &'static [&'static str]);

const REAL: &[Entry] = &[
    (
        "SNP report, Genoa",
        TeeKind::Snp,
        NOVEMBER_2026,
        &["snp/oak-genoa-v5/report.bin", "snp/oak-genoa-v5/vcek.der", "snp/ca/genoa/ask.pem"],
    ),
    (
        "TDX quote v4",
        TeeKind::Tdx,
        JUNE_2025,
        &["tdx/phala-v4/quote.bin", "tdx/phala-v4/collateral.json"],
    ),
    (
        "TDX quote v5, TD 1.5",
        TeeKind::Tdx,
        MARCH_2026,
        &["tdx/gotdx-v5/quote.bin", "tdx/collateral/lunal-90c06f-2026-03.json"],
    ),
    (
        "GPU report, H100, two RIMs, OCSP",
        TeeKind::Nvidia,
        AUGUST_2025,
        &[
            "nvidia/hopper-550.90.07/report.bin",
            "nvidia/hopper-550.90.07/chain.pem",
            "nvidia/hopper-550.90.07/rim/NV_GPU_DRIVER_GH100_550.90.07.xml",
            "nvidia/hopper-550.90.07/rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml",
            "nvidia/hopper-550.90.07/ocsp/gpu_certificate_l2.der",
            "nvidia/hopper-550.90.07/ocsp/gpu_certificate_l3.der",
            "nvidia/hopper-550.90.07/ocsp/gpu_certificate_l4.der",
        ],
    ),
    (
        "switch report, LS10, one RIM",
        TeeKind::Nvidia,
        NOVEMBER_2026,
        &[
            "nvidia/switch-ls10/report.bin",
            "nvidia/switch-ls10/chain.pem",
            "nvidia/rim/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
        ],
    ),
    (
        "Azure vTPM, TDX",
        TeeKind::AzureTdx,
        JULY_2025,
        &["azure-vtpm/az-tdx-v0.json", "tdx/collateral/automata-00806f05-2025-07.json"],
    ),
    (
        "Azure vTPM, Genoa",
        TeeKind::AzureSnp,
        NOVEMBER_2026,
        &["azure-vtpm/az-snp-genoa.json", "snp/ca/genoa/ask.pem"],
    ),
    ("CSV report", TeeKind::Csv, NOVEMBER_2026, &["csv/csv_evidence.json"]),
];

/// The policy that asks whether evidence is genuine.
pub fn authentic() -> Policy {
    let text = include_str!("../../../policies/appraisal/authentic.toml");
    Policy::from_toml(text).expect("the shipped policy reads")
}

/// Every real specimen; says so and gives none where the evidence folder is missing.
pub fn real() -> Vec<Specimen> {
    let Some(folder) = EvidenceFolder::open() else { return Vec::new() };
    REAL.iter().filter_map(|entry| Specimen::read(&folder, entry)).collect()
}

impl Specimen {
    fn read(folder: &EvidenceFolder, (name, kind, at, paths): &Entry) -> Option<Specimen> {
        let contents: Vec<Vec<u8>> = paths.iter().map(|path| folder.read(path)).collect();
        let files: Vec<File<'_>> = paths
            .iter()
            .zip(&contents)
            .map(|(path, bytes)| File { name: path, bytes, role: Role::Anything })
            .collect();
        let found = recognise(&files, Some(*kind));
        let Some(evidence) = found.evidence.iter().find(|evidence| evidence.kind == *kind) else {
            println!("{name}: not recognised in its files");
            return None;
        };
        let endorsements = found.endorsements_for(evidence);
        Some(Specimen {
            name,
            kind: *kind,
            endorsements: endorsements.into_iter().map(<[u8]>::to_vec).collect(),
            evidence: evidence.bytes.clone(),
            anchors: TrustAnchors::vendors(),
            policy: authentic(),
            at: UnixSeconds(*at),
        })
    }

    /// The endorsements as they are handed over.
    pub fn blobs(&self) -> Vec<&[u8]> {
        self.endorsements.iter().map(Vec::as_slice).collect()
    }

    /// Judges it from its bytes, nothing remembered.
    pub fn judge(&self) -> AttestationResult {
        let endorsements = Endorsements::sort(self.endorsements.iter().map(Vec::as_slice));
        let expected = Expectations::default();
        let (anchors, policy) = (&self.anchors, &self.policy);
        appraise_raw(self.kind, &self.evidence, &endorsements, anchors, policy, &expected, self.at)
    }

    /// A verifier for it, which remembers nothing yet.
    pub fn appraiser(&self) -> Appraiser {
        Appraiser::new(self.anchors.clone(), self.policy.clone())
    }
}
