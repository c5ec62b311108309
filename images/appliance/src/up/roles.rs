//! Starts enclave, broker and local endpoint in the right order, and stops them in the reverse.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bulla_broker::Setup;
use bulla_broker::anonymous::{AnonymousConfig, Denominations};
use bulla_broker::commands::ensure_user;
use bulla_broker::config::{Config as BrokerConfig, EnclaveConfig as BrokerEnclave, PagesConfig};
use bulla_broker::people::Role;
use bulla_broker::price::PricedModel;
use bulla_client::config::{
    AppraisalConfig, BrokerConfig as ClientBroker, ClientConfig, PrivacyConfig, ProxyConfig,
    SpendingConfig,
};
use bulla_client::io::client::Client;
use bulla_client::io::folder::{Folder, FolderError};
use bulla_client::io::proxy;
use bulla_enclave::command::load_engine;
use bulla_enclave::config::EnclaveConfig;
use bulla_enclave::io::Ready as EnclaveReady;
use bulla_enclave::served::Engines;
use bulla_engine::Engine;
use bulla_wire::ids::{Digest, InstanceId};
use bulla_wire::receipt::SecurityMode;
use bulla_wire::units::{MicroUnits, Unit};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::folders::{DEMO_ACCOUNT, Folders, set_up};
use super::paper::Paper;

/// How long the broker may take to appraise the enclave and open its epoch.
const ROUTABLE_WITHIN: Duration = Duration::from_secs(60);
/// Name of the one enclave.
pub const INSTANCE: &str = "enclave-1";

/// Where the enclave lives.
pub enum Home {
    /// In this process.
    Here,
    /// In this process, with an engine that stands already.
    With(Box<dyn Engine>),
    /// In a machine of its own, which serves already; how it is judged, where that is not by what
    /// it turned out to be.
    Machine(Box<Enclave>, Option<Rules>),
}

/// By what broker and client judge the enclave.
pub struct Rules {
    /// The broker's policy: whom it routes to.
    pub broker: PathBuf,
    /// The client's policy: whom it trusts.
    pub client: PathBuf,
    /// Simulated roots named; the vendors' count where there is none.
    pub simulated_roots: Vec<PathBuf>,
    /// Whether the client's manifests must be in the log.
    pub published: bool,
}

impl Rules {
    /// What suits an enclave under these folders' simulated TEE, or hardware.
    fn of(folders: &Folders, security: SecurityMode) -> anyhow::Result<Rules> {
        let simulated = security == SecurityMode::Simulated;
        let policy = folders.write_policy(simulated)?;
        let simulated_roots = match simulated {
            true => vec![folders.simulated_root()],
            false => Vec::new(),
        };
        Ok(Rules { broker: policy.clone(), client: policy, simulated_roots, published: false })
    }
}

/// The enclave, as the others know it.
pub struct Enclave {
    /// Its name.
    pub instance: InstanceId,
    /// What stands behind its evidence.
    pub security: SecurityMode,
    /// The keyset it made, where that is known from the enclave itself.
    pub keyset_digest: Option<Digest>,
    /// Manifest digest of its model.
    pub model: Digest,
    /// Name of its model.
    pub model_name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How the roles serve.
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// Port of the local endpoint.
    pub port: u16,
    /// Whether any free port does, and no pages are wanted.
    pub any_port: bool,
    /// Whether the broker sells blind tokens (docs/anonymous.md).
    pub anonymous: bool,
}

impl Serving {
    /// On any free port, for a while.
    pub fn anywhere() -> Serving {
        Serving { port: 0, any_port: true, anonymous: false }
    }
}

/// Everything that runs.
pub struct Roles {
    /// The customer.
    pub client: Arc<Client>,
    /// Sees the whole log and ledger.
    pub operator: Client,
    /// The enclave.
    pub enclave: Enclave,
    /// Name of the model.
    pub model: String,
    endpoint: SocketAddr,
    stop_enclave: watch::Sender<bool>,
    stop_rest: watch::Sender<bool>,
    /// Where it lives here.
    enclave_task: Option<JoinHandle<anyhow::Result<()>>>,
    broker_task: JoinHandle<anyhow::Result<()>>,
    proxy_task: JoinHandle<anyhow::Result<()>>,
}

impl Roles {
    /// Starts all roles here, and the enclave first.
    pub async fn start(
        folders: &Folders,
        model: &Path,
        serving: Serving,
        paper: &mut Paper,
    ) -> anyhow::Result<Roles> {
        Roles::start_with(folders, model, Home::Here, serving, paper).await
    }

    /// Starts all roles; the enclave first, because its keys are what the others look for.
    pub async fn start_with(
        folders: &Folders,
        model: &Path,
        home: Home,
        serving: Serving,
        paper: &mut Paper,
    ) -> anyhow::Result<Roles> {
        let Serving { port, any_port, anonymous } = serving;
        let (stop_enclave, enclave_stopped) = watch::channel(false);
        let (stop_rest, rest_stopped) = watch::channel(false);
        let (enclave, rules, enclave_task) = match home {
            Home::Machine(enclave, rules) => (*enclave, rules, None),
            here => {
                paper.step("Boot: the enclave makes its keys and asks its TEE to sign them");
                let path = model.to_owned();
                let engine = match here {
                    Home::With(engine) => engine,
                    _ => tokio::task::spawn_blocking(move || load_engine(&path)).await??,
                };
                let (enclave, task) =
                    start_enclave(folders, model, engine, enclave_stopped, paper).await?;
                (enclave, None, Some(task))
            }
        };
        let rules = rules.map_or_else(|| Rules::of(folders, enclave.security), Ok)?;
        let (roots, vendor_roots) =
            (rules.simulated_roots.clone(), rules.simulated_roots.is_empty());

        paper.step("Publish: the broker appraises the enclave, opens its epoch and logs it");
        let priced = PricedModel { name: enclave.model_name.clone(), manifest: enclave.model };
        set_up(folders, &[priced])?;
        let pages = (!any_port).then(|| pages_beside(port));
        let broker_config = BrokerConfig {
            log: Default::default(),
            prices: None,
            data: folders.broker(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            policy: rules.broker,
            vendor_roots,
            simulated_roots: roots.clone(),
            enclaves: vec![BrokerEnclave {
                instance: enclave.instance.clone(),
                url: format!("https://{}", enclave.address),
            }],
            tls: Default::default(),
            store: Default::default(),
            pages,
            oidc: None,
            webhooks: Default::default(),
            anonymous: anonymous.then(blind_tokens),
            compute: Default::default(),
            limits: Default::default(),
            times: Default::default(),
        };
        let (broker, broker_task) = start_broker(broker_config, rest_stopped.clone()).await?;
        let setup = Setup::open(&folders.broker())?;
        let listen = match any_port {
            true => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            false => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        let config = ClientConfig {
            log: Default::default(),
            broker: ClientBroker {
                url: format!("https://{}", broker.address),
                spki_sha256: Some(broker.spki_sha256),
                ca_file: None,
                root_key: setup.root_public_key(),
                log_key: Some(setup.log_verifier().to_string()),
                earlier_log_keys: Vec::new(),
                pages_url: broker.pages.map(|pages| format!("http://{pages}")),
            },
            appraisal: AppraisalConfig {
                policy: rules.client,
                vendor_roots,
                simulated_roots: roots,
                published_reference_values: rules.published,
            },
            spending: SpendingConfig::default(),
            privacy: PrivacyConfig::default(),
            disputes: Default::default(),
            proxy: ProxyConfig { listen, local_credential: None },
            models: Default::default(),
        };
        let client = Arc::new(open_client(&folders.client(), &config)?);
        let operator = open_client(&folders.operator(), &config)?;
        wait_until_routable(&client).await?;
        client.ensure_registered().await.context("registering the order key")?;
        paper.fact("broker", format!("https://{}", broker.address));
        if let Some(pages) = broker.pages {
            paper.fact("pages", format!("http://{pages}"));
            for (name, password) in first_users(&setup)? {
                // To standard output alone: it is kept as a hash.
                paper.fact(&format!("password of {name}"), format!("{password} (shown once)"));
            }
        }
        paper.fact("log", setup.log_verifier().name());

        let (endpoint, proxy_task) = start_proxy(Arc::clone(&client), rest_stopped).await?;
        Ok(Roles {
            client,
            operator,
            model: enclave.model_name.clone(),
            enclave,
            endpoint,
            stop_enclave,
            stop_rest,
            enclave_task,
            broker_task,
            proxy_task,
        })
    }

    /// Base address of the local endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1", self.endpoint)
    }

    /// Stops all roles: the enclave first, so that the broker still fetches its last records.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop_enclave.send_replace(true);
        if let Some(task) = &mut self.enclave_task {
            task.await.context("enclave")??;
        }
        self.stop_rest.send_replace(true);
        (&mut self.proxy_task).await.context("local endpoint")??;
        (&mut self.broker_task).await.context("broker")??;
        Ok(())
    }
}

/// Whole tokens, and powers of two of them.
fn blind_tokens() -> AnonymousConfig {
    let smallest = MicroUnits(1_000_000);
    AnonymousConfig {
        denominations: vec![Denominations { unit: Unit::tokens(), smallest, count: 20 }],
        ..AnonymousConfig::default()
    }
}

/// Pages without TLS on the port after the endpoint's: browsers trust no certificate of our own.
fn pages_beside(port: u16) -> PagesConfig {
    let port = if port == 0 { 0 } else { port.wrapping_add(1) };
    PagesConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        plain: true,
        origin: None,
        zone: "UTC".to_owned(),
    }
}

/// An operator and a customer who may sign in, with their passwords where they are new.
fn first_users(setup: &Setup) -> anyhow::Result<Vec<(&'static str, String)>> {
    let demo = setup.find_account(DEMO_ACCOUNT)?;
    let users =
        [("admin", Role::OperatorAdmin, None), (DEMO_ACCOUNT, Role::CustomerAdmin, Some(demo))];
    let mut made = Vec::new();
    for (name, role, account) in users {
        if let Some(password) = ensure_user(setup, name, role, account)? {
            made.push((name, password.to_string()));
        }
    }
    Ok(made)
}

async fn start_enclave(
    folders: &Folders,
    model: &Path,
    engine: Box<dyn Engine>,
    stop: watch::Receiver<bool>,
    paper: &mut Paper,
) -> anyhow::Result<(Enclave, JoinHandle<anyhow::Result<()>>)> {
    let setup = Setup::open(&folders.broker())?;
    let config = EnclaveConfig::local(
        INSTANCE.parse()?,
        folders.enclave(),
        model.to_owned(),
        setup.root_public_key(),
        setup.log_verifier().to_string(),
    );
    let name = engine.info().model;
    let (ready, is_ready) = oneshot::channel();
    let base = folders.root().to_owned();
    let task = tokio::spawn(async move {
        bulla_enclave::io::run(config, base, Engines::one(engine), ready, stop)
            .await
            .map_err(Into::into)
    });
    match is_ready.await {
        Ok(ready) => {
            tell_boot(&ready, &name, paper);
            let enclave = Enclave {
                instance: ready.identity.instance.clone(),
                security: ready.identity.security,
                keyset_digest: Some(ready.identity.keyset_digest),
                model: ready.models[0],
                model_name: name,
                address: ready.address,
            };
            Ok((enclave, task))
        }
        Err(_) => {
            task.await??;
            bail!("the enclave ended before it served")
        }
    }
}

async fn start_broker(
    config: BrokerConfig,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<(bulla_broker::Ready, JoinHandle<anyhow::Result<()>>)> {
    let (ready, is_ready) = oneshot::channel();
    let task = tokio::spawn(async move {
        bulla_broker::run(config, ready, turned_true(stop)).await.map_err(Into::into)
    });
    match is_ready.await {
        Ok(ready) => Ok((ready, task)),
        Err(_) => {
            task.await??;
            bail!("the broker ended before it served")
        }
    }
}

async fn start_proxy(
    client: Arc<Client>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<(SocketAddr, JoinHandle<anyhow::Result<()>>)> {
    let (ready, is_ready) = oneshot::channel();
    let task = tokio::spawn(async move {
        proxy::serve(client, ready, turned_true(stop)).await.map_err(Into::into)
    });
    match is_ready.await {
        Ok(address) => Ok((address, task)),
        Err(_) => {
            task.await??;
            bail!("the local endpoint ended before it served")
        }
    }
}

async fn turned_true(mut stop: watch::Receiver<bool>) {
    // A dropped sender means that nobody can ask any more: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn open_client(path: &Path, config: &ClientConfig) -> anyhow::Result<Client> {
    let folder = Folder::open(path)?;
    let config = settle_config(&folder, config)?;
    Ok(Client::new(folder, config)?)
}

/// `config`, and what the customer set in the file of an earlier start. Written, so that `bulla chat`,
/// `bulla audit` and the others find it.
fn settle_config(folder: &Folder, config: &ClientConfig) -> anyhow::Result<ClientConfig> {
    let file = folder.config_path();
    let config = match folder.config(&file) {
        Err(FolderError::NoConfig { .. }) => config.clone(),
        kept => with_own(config, kept?),
    };
    std::fs::write(&file, format!("{WHOSE_SETTINGS}{}", toml::to_string(&config)?))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(config)
}

/// The first line of a client's configuration.
const WHOSE_SETTINGS: &str = "# Of [broker], [appraisal] and [proxy] listen, `bulla up` knows better \
     and writes them anew; the rest is yours.\n\n";

/// Where this start's roles are and what they run in, from `start`; everything else from `own`.
fn with_own(start: &ClientConfig, own: ClientConfig) -> ClientConfig {
    let ClientConfig { broker, appraisal, proxy, .. } = start.clone();
    ClientConfig {
        broker: ClientBroker { earlier_log_keys: own.broker.earlier_log_keys, ..broker },
        appraisal,
        proxy: ProxyConfig { listen: proxy.listen, ..own.proxy },
        ..own
    }
}

async fn wait_until_routable(client: &Client) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let problem = match client.broker().enclaves().await {
            Ok(catalogue) if !catalogue.enclaves.is_empty() => return Ok(()),
            Ok(_) => "the broker routes to no enclave yet".to_owned(),
            Err(error) => error.to_string(),
        };
        if started.elapsed() > ROUTABLE_WITHIN {
            bail!("{problem}; run with BULLA_LOG=info to see why");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn tell_boot(enclave: &EnclaveReady, model: &str, paper: &mut Paper) {
    let identity = &enclave.identity;
    if identity.security == SecurityMode::Simulated {
        paper.warning("SIMULATED TEE: no hardware protects anything here. For development only.");
    }
    paper.fact("instance", &identity.instance);
    paper.fact("security", identity.security);
    paper.fact("keyset digest", identity.keyset_digest);
    paper.fact("epoch", identity.epoch);
    paper.fact("model", format!("{model}, manifest {}", enclave.models[0]));
    paper.fact("address", format!("https://{}", enclave.address));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_customer_set_is_kept_and_addresses_are_of_this_start() {
        let key = "07".repeat(32);
        let text = |port: u16, own: &str| {
            format!(
                "[broker]\nurl = \"https://127.0.0.1:{port}\"\nspki_sha256 = \"{key}\"\n\
                 root_key = \"{key}\"\n[appraisal]\npolicy = \"/{port}.toml\"\n\
                 vendor_roots = true\n[proxy]\nlisten = \"127.0.0.1:{port}\"\n{own}"
            )
        };
        let own = "local_credential = \"a-word-of-one-s-own\"\n[spending]\nunit = \"GPU\"\n";
        let config = |text: &str| ClientConfig::from_toml(text).unwrap();
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        for (port, kept) in [(8001, ""), (8002, own)] {
            let settled = settle_config(&folder, &config(&text(port, ""))).unwrap();
            assert_eq!(settled, config(&text(port, kept)));
            let written = std::fs::read_to_string(folder.config_path()).unwrap();
            assert!(written.starts_with("# Of [broker]"), "{written}");
            assert_eq!(config(&written), settled);
            std::fs::write(folder.config_path(), text(1, own)).unwrap();
        }
        let mistyped = text(1, "") + "[spendings]\n";
        std::fs::write(folder.config_path(), &mistyped).unwrap();
        let error = settle_config(&folder, &config(&text(8003, ""))).unwrap_err();
        assert!(format!("{error:#}").contains("spendings"), "{error:#}");
        assert_eq!(std::fs::read_to_string(folder.config_path()).unwrap(), mistyped);
    }
}
