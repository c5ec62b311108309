//! The files given, sorted: attestation reports (aci/1), which come with a keyset, raw evidence, and
//! everything that endorses either.

use std::collections::BTreeMap;

use bulla_attestation::input::{self, File, Recognised};
use bulla_attestation::tee::TeeKind;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::evidence_bundle::{EvidenceBundle, KIND_ACI};

use crate::appraisal::Found;
use crate::request::Given;

/// What was found in all files together.
pub(crate) struct Pile {
    /// Attestation reports, each with the number of its file.
    pub reports: Vec<(usize, AttestationReport)>,
    /// Raw evidence and endorsements.
    pub sorted: Recognised,
}

impl Pile {
    /// Sorts `files`; `wanted` forces the reading of raw evidence.
    pub fn sort(files: &[Given<'_>], wanted: Option<TeeKind>) -> Pile {
        let mut reports = Vec::new();
        let bundles: Vec<Option<EvidenceBundle>> = files.iter().map(bundle).collect();
        // What the recogniser looks at, each with the number of the file it came in.
        let mut looked_at: Vec<(usize, File<'_>)> = Vec::new();
        let name = |index: usize| files.get(index).map_or("", |file| file.name);
        let mut look = |index: usize, bytes, role| {
            looked_at.push((index, File { name: name(index), bytes, role }));
        };
        for (index, (file, bundle)) in files.iter().zip(&bundles).enumerate() {
            let Some(bundle) = bundle else {
                match report(file.bytes) {
                    Some(report) => reports.push((index, report)),
                    None => look(index, file.bytes, input::Role::Anything),
                }
                continue;
            };
            for piece in &bundle.evidence {
                match report(&piece.bytes.0).filter(|_| piece.kind == KIND_ACI) {
                    Some(report) => reports.push((index, report)),
                    None => look(index, &piece.bytes.0, input::Role::Anything),
                }
            }
            for endorsement in &bundle.endorsements {
                look(index, &endorsement.0, input::Role::Endorsement);
            }
        }
        let (numbers, looked_at): (Vec<_>, Vec<_>) = looked_at.into_iter().unzip();
        let mut sorted = input::recognise(&looked_at, wanted);
        let number = |file: &mut usize| *file = numbers.get(*file).copied().unwrap_or(*file);
        sorted.evidence.iter_mut().for_each(|found| number(&mut found.file));
        sorted.endorsements.iter_mut().for_each(|found| number(&mut found.file));
        sorted.left_aside.iter_mut().for_each(|found| number(&mut found.file));
        Pile { reports, sorted }
    }

    /// What each file holds, in words.
    pub fn found(&self, files: &[Given<'_>]) -> Vec<Found> {
        let all = files.iter().enumerate();
        all.map(|(index, file)| Found {
            name: file.name.to_owned(),
            holds: self.holds(index),
            left_aside: self.left_aside(index),
        })
        .collect()
    }

    fn holds(&self, file: usize) -> Vec<String> {
        let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
        let reports = self.reports.iter().filter(|(of, _)| *of == file);
        let evidence = self.sorted.evidence.iter().filter(|found| found.file == file);
        let endorsements = self.sorted.endorsements.iter().filter(|found| found.file == file);
        let words = reports
            .map(|_| "attestation report (aci/1)")
            .chain(evidence.map(|found| tee_words(found.kind)))
            .chain(endorsements.map(|found| found.kind.words()));
        words.for_each(|word| *counted.entry(word).or_default() += 1);
        let words = counted.into_iter().map(|(word, count)| match count {
            1 => word.to_owned(),
            count => format!("{count} × {word}"),
        });
        words.collect()
    }

    fn left_aside(&self, file: usize) -> Vec<String> {
        let aside = self.sorted.left_aside.iter().filter(|found| found.file == file);
        aside.map(ToString::to_string).collect()
    }
}

fn bundle(file: &Given<'_>) -> Option<EvidenceBundle> {
    let is_likely = EvidenceBundle::is_likely(file.bytes);
    is_likely.then(|| EvidenceBundle::from_slice(file.bytes).ok()).flatten()
}

fn report(bytes: &[u8]) -> Option<AttestationReport> {
    AttestationReport::from_json(bytes).ok()
}

fn tee_words(kind: TeeKind) -> &'static str {
    match kind {
        TeeKind::Snp => "SEV-SNP report",
        TeeKind::Tdx => "TDX quote",
        TeeKind::Nvidia => "NVIDIA evidence",
        TeeKind::AzureSnp => "Azure evidence (SEV-SNP)",
        TeeKind::AzureTdx => "Azure evidence (TDX)",
        TeeKind::Csv => "CSV evidence",
        TeeKind::VtpmDev => "TPM quote without a TEE",
    }
}
