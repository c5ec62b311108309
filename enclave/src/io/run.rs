//! Boots an epoch, serves it, and boots the next one when its keys have lived long enough.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsConfig;
use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::hash::labelled;
use bulla_attestation::policy::Policy;
use bulla_engine::EngineInfo;
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use bulla_wire::receipt::SecurityMode;
use bulla_wire::units::UnixSeconds;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{oneshot, watch};

use super::attester::{
    Attester, AttesterError, CONFIGFS_TSM_REPORT, ConfigfsTsm, SimulatedTee, TPM_DEVICES, VtpmDev,
    detect,
};
use super::clock::Clock;
use super::gpu::{Accompanied, GpuError, Gpus, Helper};
use super::outbox_file::{OutboxFile, OutboxFileError};
use super::server::{self, routes};
use super::shell::{Shell, keep_outbox};
use super::tls;
use super::worker::{Board, Command, work};
use crate::config::{ConfigError, EnclaveConfig, GpuConfig, TeeChoice};
use crate::identity::{EpochKeys, Identity, IdentityFacts};
use crate::served::{Engines, ServedModel};
use crate::{Enclave, EnclaveSettings, Event};

/// How often the core is told the time.
const TICK: Duration = Duration::from_millis(250);
/// How long a closed epoch keeps serving its outbox before the process ends.
const DRAIN: Duration = Duration::from_secs(5);

/// Where an enclave listens and what it is.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its address.
    pub address: SocketAddr,
    /// The epoch's public side.
    pub identity: Identity,
    /// Manifest digests of the models, in the order configured; at least one.
    pub models: Vec<Digest>,
}

/// Why the enclave stopped serving an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Somebody asked it to stop.
    Stopped,
    /// The keyset came to its end.
    EpochEnded,
}

/// Why an enclave does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The TEE.
    #[error(transparent)]
    Attester(#[from] AttesterError),
    /// The durable outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxFileError),
    /// The GPUs.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A socket, a folder or a thread.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        reason: String,
    },
}

pub(super) fn system<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> RunError {
    let what = what.into();
    move |e| RunError::System { what, reason: e.to_string() }
}

/// Runs an enclave until `stop` turns true. Relative paths in `config` are resolved against
/// `base`. `ready` hears of the first epoch.
pub async fn run(
    config: EnclaveConfig,
    base: PathBuf,
    engines: Engines,
    ready: oneshot::Sender<Ready>,
    stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let mut engines = engines;
    let mut ready = Some(ready);
    let data = base.join(&config.data);
    std::fs::create_dir_all(&data).map_err(system(format!("making {}", data.display())))?;
    let attester = attester(&config, &base, &data)?;
    let mut gpus = config.gpu.as_ref().map(|gpu| gpus(gpu, &base)).transpose()?;
    let mut address: Option<SocketAddr> = None;
    loop {
        let listener = listen(&config.listen, address)?;
        address = Some(listener.local_addr().map_err(system("reading the bound address"))?);
        let cpu = Arc::clone(&attester);
        let boot = boot(&config, &data, cpu, gpus.as_mut(), &engines.infos())?;
        let (served, returned) = serve(boot, listener, engines, ready.take(), stop.clone()).await?;
        if served == Served::Stopped {
            return Ok(());
        }
        tracing::info!("keyset has come to its end; opening a new epoch");
        engines = returned;
    }
}

pub(super) fn listen(configured: &str, bound: Option<SocketAddr>) -> Result<TcpListener, RunError> {
    let address = bound.map_or_else(|| configured.to_owned(), |a| a.to_string());
    let listener =
        TcpListener::bind(&address).map_err(system(format!("listening on {address}")))?;
    listener.set_nonblocking(true).map_err(system("preparing the listener"))?;
    Ok(listener)
}

/// Largest endorsement or policy, in bytes (NVIDIA's manifests are near 1 MiB).
const MAX_SMALL_FILE_BYTES: u64 = 2 << 20;

pub(super) fn attester(
    config: &EnclaveConfig,
    base: &Path,
    data: &Path,
) -> Result<Arc<dyn Attester>, RunError> {
    let now = Clock::start().now().seconds();
    let tsm = Path::new(CONFIGFS_TSM_REPORT);
    let simulated = data.join("simulated-tee");
    let mut rng = fresh_rng()?;
    let endorsements = || small_files(&config.endorsements, base);
    let attester: Box<dyn Attester> = match config.tee {
        TeeChoice::Auto => detect(tsm, endorsements()?, &simulated, now, &mut rng)?,
        TeeChoice::Hardware => Box::new(ConfigfsTsm::open(tsm)?.with_endorsements(endorsements()?)),
        TeeChoice::VtpmDev => Box::new(VtpmDev::open(&TPM_DEVICES.map(Path::new))?),
        TeeChoice::Simulated => {
            Box::new(SimulatedTee::open(&simulated, now, &mut rng).map_err(AttesterError::from)?)
        }
    };
    Ok(Arc::from(attester))
}

/// The GPUs' helper, started, and what they are judged by.
fn gpus(config: &GpuConfig, base: &Path) -> Result<Gpus, RunError> {
    let policy = small_files(std::slice::from_ref(&config.policy), base)?.concat();
    let policy = std::str::from_utf8(&policy).map_err(system("reading the GPUs' policy"))?;
    Ok(Gpus {
        collector: Box::new(Helper::start(&base.join(&config.collector))?),
        policy: Policy::from_toml(policy).map_err(system("reading the GPUs' policy"))?,
        anchors: TrustAnchors::vendors(),
        endorsements: small_files(&config.endorsements, base)?,
    })
}

fn small_files(paths: &[PathBuf], base: &Path) -> Result<Vec<Vec<u8>>, RunError> {
    let read = |path: &PathBuf| {
        let path = base.join(path);
        let shown = path.display().to_string();
        let size = std::fs::metadata(&path).map_err(system(format!("reading {shown}")))?.len();
        if size > MAX_SMALL_FILE_BYTES {
            let reason = format!("{size} bytes, at most {MAX_SMALL_FILE_BYTES} are allowed");
            return Err(RunError::System { what: format!("reading {shown}"), reason });
        }
        std::fs::read(&path).map_err(system(format!("reading {shown}")))
    };
    paths.iter().map(read).collect()
}

/// A generator seeded by the kernel, which in a TEE guest mixes the processor's own entropy.
pub(super) fn fresh_rng() -> Result<ChaCha20Rng, RunError> {
    let mut seed = [0u8; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| system::<&str>("asking the kernel for randomness")("no answer"))?;
    Ok(ChaCha20Rng::from_seed(seed))
}

/// An epoch, ready to be served.
struct Boot {
    core: Enclave,
    tls: tls::EpochTls,
    attester: Arc<dyn Attester>,
    passport: Vec<u8>,
    outbox: OutboxFile,
    clock: Clock,
}

fn boot(
    config: &EnclaveConfig,
    data: &Path,
    cpu: Arc<dyn Attester>,
    gpus: Option<&mut Gpus>,
    infos: &[EngineInfo],
) -> Result<Boot, RunError> {
    let mut rng = fresh_rng()?;
    let clock = Clock::start();
    let tls = tls::fresh(config.instance.as_str()).map_err(system("making the TLS key"))?;
    let keys = EpochKeys::generate(&mut rng);
    let now = clock.now().seconds();
    let not_after = UnixSeconds(now.0 + config.keyset_hours * 3600);
    let identity = Identity::new(&keys, facts(config, &*cpu, tls.spki, not_after));
    let attester = match gpus {
        None => cpu,
        Some(gpus) => {
            let statement = identity.statement_digest(None);
            let pieces = gpus.admit(statement, cpu.chip_id(), &keys.receipt, now)?;
            Arc::new(Accompanied { cpu, pieces })
        }
    };
    let evidence = attester.report(&identity.report_data(None))?;
    let passport = identity.report(None, evidence).to_json();
    let models: Vec<ServedModel> = infos.iter().cloned().map(ServedModel::from).collect();
    let manifests: Vec<Digest> = models.iter().map(|model| model.manifest).collect();
    let (outbox, backlog) = OutboxFile::open(&data.join("outbox.cbor"))?;
    let settings = EnclaveSettings {
        broker_root: config.broker_root_key,
        log_key: config.log_verifier()?,
        witnesses: config.witness_quorum()?,
        models,
        configuration: config.measured_digest(&manifests),
        evidence: labelled(labels::EVIDENCE, &passport),
        limits: config.limits(),
    };
    let core = Enclave::new(settings, identity, keys, backlog, Box::new(rng));
    Ok(Boot { core, tls, attester, passport, outbox, clock })
}

pub(super) fn facts(
    config: &EnclaveConfig,
    attester: &dyn Attester,
    tls_spki: Digest,
    not_after: UnixSeconds,
) -> IdentityFacts {
    let simulated = attester.is_simulated();
    IdentityFacts {
        instance: config.instance.clone(),
        chip_id: attester.chip_id().to_owned(),
        tls_spki,
        not_after,
        security: if simulated { SecurityMode::Simulated } else { SecurityMode::Hardware },
        tee_type: attester.tee_type(),
    }
}

/// Serves one epoch to its end; gives the engines back.
async fn serve(
    boot: Boot,
    listener: TcpListener,
    engines: Engines,
    ready: Option<oneshot::Sender<Ready>>,
    stop: watch::Receiver<bool>,
) -> Result<(Served, Engines), RunError> {
    let address = listener.local_addr().map_err(system("reading the bound address"))?;
    let infos = engines.infos();
    let (commands, command_queue) = mpsc::channel();
    let (persist, persist_queue) = mpsc::channel();
    let identity = boot.core.identity().clone();
    let shell = Shell::new(boot.core, commands.clone(), persist, boot.clock);

    let for_outbox = Arc::clone(&shell);
    let outbox = boot.outbox;
    named("outbox", move || keep_outbox(&for_outbox, outbox, &persist_queue))?;
    let for_worker = Arc::clone(&shell);
    let board = Arc::new(Board::new(&engines));
    let for_engine = Arc::clone(&board);
    let worker = named("engine", move || {
        work(engines, &command_queue, &for_engine, |event| for_worker.dispatch(event))
    })?;

    let served = Arc::new(server::Served {
        shell: Arc::clone(&shell),
        attester: boot.attester,
        passport: boot.passport,
        infos: infos.clone(),
        board,
    });
    let handle = Handle::new();
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(boot.tls.server))
        .map_err(system("starting the listener"))?
        // A sealed chunk leaves when it is written, not when the last one was acknowledged.
        .map(|tls| tls.acceptor(NoDelayAcceptor::new()))
        .handle(handle.clone());
    let serving = tokio::spawn(server.serve(routes(served).into_make_service()));
    if let Some(ready) = ready {
        let models = infos.iter().map(|info| Digest(info.manifest_digest)).collect();
        // Nobody waiting is no reason not to serve.
        let _ = ready.send(Ready { address, identity, models });
    }
    let ended = until_closed(&shell, stop).await;
    handle.graceful_shutdown(Some(Duration::from_secs(1)));
    // The listener's own result says nothing after a shutdown.
    let _ = serving.await;
    let _ = commands.send(Command::Stop);
    let engines = tokio::task::spawn_blocking(move || worker.join())
        .await
        .map_err(system("ending the engine thread"))?
        .map_err(|_| system::<&str>("ending the engine thread")("it panicked"))?;
    Ok((ended, engines))
}

/// A thread of its own, under a name that the system's tools show.
fn named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RunError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(system(format!("starting the {name} thread")))
}

/// Ticks until the epoch is closed and, as far as time allows, its outbox delivered.
async fn until_closed(shell: &Arc<Shell>, mut stop: watch::Receiver<bool>) -> Served {
    let mut ticks = tokio::time::interval(TICK);
    let mut ended = Served::EpochEnded;
    let mut asked = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => shell.dispatch(Event::Tick),
            () = shell.epoch_closed() => break,
            changed = stop.wait_for(|stop| *stop), if !asked => {
                asked = true;
                ended = Served::Stopped;
                let never_opened = shell.look(|core| !core.is_open());
                if changed.is_err() || never_opened {
                    return ended;
                }
                shell.dispatch(Event::Close);
            }
        }
    }
    let drained = async {
        while shell.look(|core| core.undelivered()) > 0 {
            tokio::time::sleep(TICK).await;
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some receipts are not delivered yet; they wait in the outbox file");
    }
    ended
}
