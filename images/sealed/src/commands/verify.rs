//! `bulla image verify`.

use std::path::PathBuf;

use clap::Args;

use super::build::{BuildArgs, assemble};
use super::measure::read_image;
use crate::difference::{of_archives, of_descriptions};

/// Build again and name every difference from a published image.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder with the published image.
    published: PathBuf,
    /// How it is built.
    #[command(flatten)]
    build: BuildArgs,
}

impl VerifyArgs {
    /// Runs it: whether both are the same. The rebuilt image is left in the folder for it.
    pub fn run(self) -> anyhow::Result<bool> {
        let (description, _, initramfs) = read_image(&self.published)?;
        let built = assemble(&self.build)?;
        crate::io::files::make_folder(&self.build.out)?;
        built.write(&self.build.out)?;
        let mut differences = of_descriptions(&description, &built.description);
        differences.extend(of_archives(&initramfs, &built.initramfs));
        for difference in &differences {
            println!("differs  {difference}");
        }
        match differences.is_empty() {
            true => println!("the same image: {} {}", description.name, description.version),
            false => println!("{} differences", differences.len()),
        }
        Ok(differences.is_empty())
    }
}
