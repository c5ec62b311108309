//! `bulla image volume`.

use std::path::PathBuf;

use clap::Args;

use crate::io::files;

/// Pack a model folder as a disk that is checked block by block.
#[derive(Debug, Args)]
pub struct VolumeArgs {
    /// The model: a Hugging Face folder.
    model: PathBuf,
    /// The disk to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl VolumeArgs {
    /// Runs it: what it prints is the `model` of a recipe.
    pub fn run(self) -> anyhow::Result<()> {
        let tree = files::write_volume(&self.model, &self.out)?;
        println!("{}", tree.command_line_value());
        Ok(())
    }
}
