//! `bulla image build`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::lock;
use crate::deb::{self, MAX_PACKAGE_BYTES};
use crate::description::{Artefact, Description, FILE, INITRAMFS, Input, KERNEL};
use crate::initramfs::{self, Contents};
use crate::io::compiler::{self, Programs};
use crate::io::files;
use crate::modules::{self, WANTED};
use crate::recipe::{MAX_RECIPE_BYTES, Recipe};

/// Where the programs are compiled, in a checkout.
const TARGET: &str = "target/image";
/// Largest file of a simulated TEE.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Build an image from a recipe, the same bytes every time.
#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    /// The recipe (TOML).
    pub recipe: PathBuf,
    /// Folder for the image.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder with the locked packages; what is missing is fetched by this machine's apt.
    #[arg(long, value_name = "DIR")]
    pub packages: PathBuf,
    /// The checkout it is built from.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub source: PathBuf,
    /// Take `bulla-init` and `bulla-enclave` from this folder instead of compiling them.
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
}

/// Compile the two programs of an image, without packing them.
#[derive(Debug, Clone, Args)]
pub struct ProgramsArgs {
    /// The checkout; the programs end up in its `target/image`.
    #[arg(long, value_name = "DIR", default_value = ".")]
    source: PathBuf,
}

impl ProgramsArgs {
    /// Runs it: prints the folder they are in.
    pub fn run(self) -> anyhow::Result<()> {
        lock::read(&self.source)?.check_compiler(&compiler::toolchain(&self.source)?.rustc)?;
        println!("{}", compiler::compile(&self.source, &self.source.join(TARGET))?.display());
        Ok(())
    }
}

/// An image in memory.
pub struct Built {
    /// What it is.
    pub description: Description,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initial RAM disk.
    pub initramfs: Vec<u8>,
}

impl BuildArgs {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<()> {
        let built = assemble(&self)?;
        files::make_folder(&self.out)?;
        built.write(&self.out)?;
        for artefact in &built.description.artefacts {
            println!("{}  {:>10}  {}", artefact.sha256, artefact.bytes, artefact.name);
        }
        Ok(())
    }
}

impl Built {
    /// Writes kernel, RAM disk and description.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        files::write(&folder.join(KERNEL), &self.kernel)?;
        files::write(&folder.join(INITRAMFS), &self.initramfs)?;
        files::write(&folder.join(FILE), self.description.to_json().as_bytes())
    }
}

/// Builds an image without writing it.
pub fn assemble(args: &BuildArgs) -> anyhow::Result<Built> {
    let recipe = Recipe::from_toml(&files::read_text(&args.recipe, MAX_RECIPE_BYTES)?)
        .with_context(|| format!("in {}", args.recipe.display()))?;
    let beside = args.recipe.parent().unwrap_or(Path::new("."));
    let configuration = files::read_text(&beside.join(&recipe.enclave), MAX_RECIPE_BYTES)?;
    recipe.check_enclave(&configuration)?;
    let simulated_tee = match &recipe.simulated_tee {
        Some(folder) => files::folder(&beside.join(folder), MAX_KEY_BYTES)?,
        None => Vec::new(),
    };
    let lock = lock::read(&args.source)?;
    let toolchain = compiler::toolchain(&args.source)?;
    lock.check_compiler(&toolchain.rustc)?;
    let [package, _] = lock::packages(&lock, &args.packages)?;
    let package = files::read(&package, MAX_PACKAGE_BYTES)?;
    lock.kernel.check(crate::hash::sha256(&package))?;
    let (kernel, modules) = kernel(&package)?;
    let programs = programs(args)?;
    let initramfs = initramfs::pack(&Contents {
        init: &programs.init,
        enclave: &programs.enclave,
        configuration: configuration.as_bytes(),
        modules: &modules,
        simulated_tee: &simulated_tee,
    });
    let mut inputs = vec![
        Input { name: lock.kernel.file_name(), sha256: lock.kernel.sha256.clone() },
        Input::of("enclave configuration", configuration.as_bytes()),
        Input::of("bulla-init", &programs.init),
        Input::of("bulla-enclave", &programs.enclave),
    ];
    inputs.extend(
        simulated_tee.iter().map(|(name, bytes)| Input::of(format!("simulated {name}"), bytes)),
    );
    let description = Description {
        format: 1,
        name: recipe.name.clone(),
        version: recipe.version.clone(),
        development: recipe.development,
        toolchain,
        inputs,
        artefacts: vec![Artefact::of(KERNEL, &kernel), Artefact::of(INITRAMFS, &initramfs)],
        modules: modules.iter().map(|module| module.file.clone()).collect(),
        command_line: recipe.command_line(),
    };
    Ok(Built { description, kernel, initramfs })
}

fn programs(args: &BuildArgs) -> anyhow::Result<Programs> {
    match &args.programs {
        Some(folder) => Programs::read(folder),
        None => Programs::read(&compiler::compile(&args.source, &args.source.join(TARGET))?),
    }
}

/// The kernel of a package, and the modules an image loads.
fn kernel(package: &[u8]) -> anyhow::Result<(Vec<u8>, Vec<modules::Module>)> {
    let mut kernel = None;
    let mut all = BTreeMap::new();
    let is_module = |path: &str| path.contains("lib/modules/") && modules::name_of(path).is_some();
    let wanted = |path: &str| path.starts_with("boot/vmlinuz-") || is_module(path);
    for (path, contents) in deb::files(package, wanted)? {
        match modules::name_of(&path) {
            None => kernel = Some(contents),
            Some(name) => drop(all.insert(name, (path, contents))),
        }
    }
    let Some(kernel) = kernel else { bail!("the kernel package has no boot/vmlinuz") };
    // Only what is asked for is unpacked, so names come first.
    let unpacked = modules::with_dependencies(&WANTED, |name| {
        let (path, contents) = all.get(name)?;
        Some(if path.ends_with(".xz") { deb::unxz(contents).ok()? } else { contents.clone() })
    })?;
    Ok((kernel, unpacked))
}
