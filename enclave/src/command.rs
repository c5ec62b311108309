//! `bulla enclave`, and the whole of the `bulla-enclave` binary that goes into the sealed image.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use bulla_engine::{
    AnyModel, BatchEngine, EmbeddingEngine, Engine, EngineLimits, LoadOptions, LoadProgress,
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{oneshot, watch};

use bulla_wire::evidence::TEE_VTPM_DEV;

use crate::config::{EnclaveConfig, MAX_CONFIG_BYTES, ModelConfig};
use crate::io::locked::{SealedModel, wait_for_key};
use crate::io::{Ready, run, stopwatch};
use crate::served::Engines;

/// Run one enclave: attests itself, opens sealed requests, signs usage receipts.
#[derive(Debug, Args)]
pub struct EnclaveArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs an enclave until `stop` turns true.
pub async fn execute(args: EnclaveArgs, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let config = read_config(&args.config)?;
    let base = args.config.parent().unwrap_or(Path::new(".")).to_owned();
    let Some(model) = open_model(&config, &base, stop.clone()).await? else { return Ok(()) };
    let engines = load_engines(&config, &base, &model.folder)?;
    model.forget()?;
    let (ready, is_ready) = oneshot::channel();
    let announced = tokio::spawn(async move {
        if let Ok(ready) = is_ready.await {
            announce(&ready);
        }
    });
    run(config, base, engines, ready, stop).await?;
    announced.abort();
    Ok(())
}

/// A model's folder, and what holds it only until it is loaded.
struct OpenModel {
    folder: PathBuf,
    opened: Option<PathBuf>,
}

impl OpenModel {
    /// Removes files that were opened for loading; they stood in memory.
    fn forget(self) -> anyhow::Result<()> {
        match self.opened {
            Some(folder) => std::fs::remove_dir_all(&folder)
                .with_context(|| format!("removing {}", folder.display())),
            None => Ok(()),
        }
    }
}

/// The model, opened with a released key where its files are encrypted; `None` where the enclave is
/// asked to stop before.
async fn open_model(
    config: &EnclaveConfig,
    base: &Path,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Option<OpenModel>> {
    let folder = base.join(&config.model);
    if !config.sealed_weights {
        return Ok(Some(OpenModel { folder, opened: None }));
    }
    let Some(key) = wait_for_key(config, base, stop).await? else { return Ok(None) };
    let opened = base.join(&config.data).join("weights");
    if opened.exists() {
        std::fs::remove_dir_all(&opened)?;
    }
    let to = opened.clone();
    let open = move || SealedModel::find(&folder)?.open_into(&key, &to);
    let folder = tokio::task::spawn_blocking(open).await?.context("opening the weights")?;
    Ok(Some(OpenModel { folder, opened: Some(opened) }))
}

/// Reads a configuration file, bounded.
pub fn read_config(path: &Path) -> anyhow::Result<EnclaveConfig> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("reading {shown}"))?.len();
    if size > MAX_CONFIG_BYTES {
        bail!("{shown} has {size} bytes, at most {MAX_CONFIG_BYTES} are allowed");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    EnclaveConfig::from_toml(&text).with_context(|| format!("in {shown}"))
}

/// Loads a model with a progress bar (on terminals) and makes an engine of it.
pub fn load_engine(path: &Path) -> anyhow::Result<Box<dyn Engine>> {
    load_engine_within(path, LoadOptions::default(), EngineLimits::default())
}

/// Loads every model of a configuration, the first from where it lies now.
fn load_engines(config: &EnclaveConfig, base: &Path, first: &Path) -> anyhow::Result<Engines> {
    let load = |(at, model): (usize, ModelConfig)| {
        let cache_mib = model.cache_mib.unwrap_or(config.cache_mib);
        let limits = EngineLimits { cache_bytes: cache_mib << 20, ..EngineLimits::default() };
        let options = LoadOptions { quantisation: model.quantisation, locked: config.lock_memory };
        let path = if at == 0 { first.to_owned() } else { base.join(&model.path) };
        load_engine_within(&path, options, limits)
    };
    let engines = config.all_models().into_iter().enumerate().map(load);
    Ok(Engines::new(engines.collect::<Result<_, _>>()?)?)
}

fn load_engine_within(
    path: &Path,
    options: LoadOptions,
    limits: EngineLimits,
) -> anyhow::Result<Box<dyn Engine>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let style = ProgressStyle::with_template("loading {msg} {bar:30} {bytes}/{total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message(name);
    let mut progress = |p: LoadProgress| {
        bar.set_length(p.total_bytes);
        bar.set_position(p.done_bytes);
    };
    let model = AnyModel::load(path, options, &mut progress)
        .with_context(|| format!("loading the model {}", path.display()))?;
    bar.finish_and_clear();
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| anyhow!("the kernel gave no randomness"))?;
    Ok(match model {
        AnyModel::Generates(model) => {
            let engine = BatchEngine::new(Arc::new(model), limits);
            Box::new(engine.with_clock(stopwatch()).with_secret(secret))
        }
        AnyModel::Embeds(model) => {
            Box::new(EmbeddingEngine::new(Arc::new(model), limits).with_clock(stopwatch()))
        }
    })
}

fn announce(ready: &Ready) {
    let identity = &ready.identity;
    let manifests: Vec<String> = ready.models.iter().map(ToString::to_string).collect();
    tracing::info!(
        address = %ready.address,
        instance = %identity.instance,
        keyset = %identity.keyset_digest,
        model_manifests = %manifests.join(", "),
        tee = identity.tee_type,
        security = %identity.security,
        "enclave is serving"
    );
    if identity.security == bulla_wire::receipt::SecurityMode::Simulated {
        let kind = match identity.tee_type {
            TEE_VTPM_DEV => "VTPM-DEV, a TPM without a TEE",
            _ => "SIMULATED TEE",
        };
        tracing::warn!("{kind}: this proves the protocol and protects nothing");
    }
}
