//! `bulla image`: what builds, measures and compares sealed images.

mod build;
mod host;
mod lock;
mod measure;
mod verify;
mod volume;

use clap::Subcommand;

pub use build::{BuildArgs, Built, assemble};
pub use lock::packages;

/// Build, measure and compare sealed images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Show, renew or fetch what an image is made of beside this repository
    Lock(lock::LockArgs),
    /// Pack a model folder as a disk that is checked block by block
    Volume(volume::VolumeArgs),
    /// Compile the two programs of an image, without packing them
    Programs(build::ProgramsArgs),
    /// Build an image from a recipe, the same bytes every time
    Build(BuildArgs),
    /// Compute what hardware will measure, as a manifest of reference values
    Measure(measure::MeasureArgs),
    /// Build again and name every difference from a published image
    Verify(verify::VerifyArgs),
    /// Print the commands that start an image on an SEV-SNP or TDX host
    Host(host::HostArgs),
}

impl ImageCommand {
    /// Runs it. `false` is a verdict: the image differs.
    pub fn run(self) -> anyhow::Result<bool> {
        match self {
            ImageCommand::Lock(args) => args.run().map(|()| true),
            ImageCommand::Volume(args) => args.run().map(|()| true),
            ImageCommand::Programs(args) => args.run().map(|()| true),
            ImageCommand::Build(args) => args.run().map(|()| true),
            ImageCommand::Measure(args) => args.run().map(|()| true),
            ImageCommand::Verify(args) => args.run(),
            ImageCommand::Host(args) => args.run().map(|()| true),
        }
    }
}
