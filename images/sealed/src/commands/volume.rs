//! `bulla image volume`.

use std::path::PathBuf;

use clap::Args;

use crate::io::{encrypted, files};

/// Pack a model folder as a disk that is checked block by block.
#[derive(Debug, Args)]
pub struct VolumeArgs {
    /// The model: a Hugging Face folder.
    model: PathBuf,
    /// The disk to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Encrypt every file under this key (32 bytes): the enclave then waits until it is released
    /// (`bulla key-broker`).
    #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
    key: Option<PathBuf>,
    /// The same, with a key made now and written to this file.
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
}

impl VolumeArgs {
    /// Runs it: what it prints is the `model` of a recipe.
    pub fn run(self) -> anyhow::Result<()> {
        let key = match (&self.key, &self.new_key) {
            (Some(path), _) => Some(encrypted::read_key(path)?),
            (None, Some(path)) => Some(encrypted::make_key(path)?),
            (None, None) => None,
        };
        let tree = files::write_volume(&self.model, &self.out, key.as_ref())?;
        println!("{}", tree.command_line_value());
        Ok(())
    }
}
