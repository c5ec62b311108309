//! The data folder of `bulla up`: one folder per role, each made at the first start.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use bulla_broker::package::PackageCatalogue;
use bulla_broker::price::{PricedModel, SourceBook};
use bulla_broker::{BOOK_NOTICE_SECONDS, Setup};
use bulla_client::io::folder::Folder;
use bulla_client::io::system::now;
use bulla_wire::units::UnixSeconds;

/// The policy that takes a simulated TEE whose root is named.
pub const DEVELOPMENT_POLICY: &str =
    include_str!("../../../../policies/appraisal/development.toml");
/// The policy for hardware.
const STANDARD_POLICY: &str = include_str!("../../../../policies/appraisal/standard.toml");
const DEMO_PRICES: &str = include_str!("../../../../policies/price-books/demo.toml");
const DEMO_PACKAGES: &str = include_str!("../../../../policies/packages/demo.toml");
/// The customer of the story.
pub const DEMO_ACCOUNT: &str = "demo";
/// Who may export the whole log and ledger.
const OPERATOR_ACCOUNT: &str = "operator";

/// One folder per role.
pub struct Folders {
    root: PathBuf,
}

impl Folders {
    /// Opens or makes the data folder; absolute, so that every configuration in it is too.
    pub fn open(root: &Path) -> anyhow::Result<Folders> {
        for role in ["enclave", "broker", "client", "operator/client"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root.join(role))
                .with_context(|| format!("making {}", root.join(role).display()))?;
        }
        let root = root.canonicalize().with_context(|| format!("opening {}", root.display()))?;
        Ok(Folders { root })
    }

    /// The whole.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The enclave's.
    pub fn enclave(&self) -> PathBuf {
        self.root.join("enclave")
    }

    /// The broker's.
    pub fn broker(&self) -> PathBuf {
        self.root.join("broker")
    }

    /// The customer's.
    pub fn client(&self) -> PathBuf {
        self.root.join("client")
    }

    /// The auditor's: `bulla audit --full --data DATA/operator`.
    pub fn operator(&self) -> PathBuf {
        self.root.join("operator/client")
    }

    /// The root of the simulated TEE, where there is one.
    pub fn simulated_root(&self) -> PathBuf {
        self.enclave().join("simulated-tee/ark.der")
    }

    /// Writes the appraisal policy for what the enclave turned out to be.
    pub fn write_policy(&self, simulated: bool) -> anyhow::Result<PathBuf> {
        let path = self.root.join("appraisal.toml");
        let text = if simulated { DEVELOPMENT_POLICY } else { STANDARD_POLICY };
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// Accounts, packages, credentials and prices; what was there before stays.
pub fn set_up(folders: &Folders, models: &[PricedModel]) -> anyhow::Result<()> {
    let mut setup = Setup::open(&folders.broker())?;
    let packages = PackageCatalogue::from_toml(DEMO_PACKAGES).map_err(anyhow::Error::msg)?;
    let (demo, _) = setup.ensure_account(DEMO_ACCOUNT, false, &packages.package)?;
    let (operator, _) = setup.ensure_account(OPERATOR_ACCOUNT, true, &[])?;
    for (account, path) in [(demo, folders.client()), (operator, folders.operator())] {
        let folder = Folder::open(&path)?;
        if folder.credential().is_err() {
            let secret = setup.add_credential(account, "bulla up", None)?;
            folder.store_credential(secret.dangerous_text())?;
        }
    }
    let book = setup.put_price_book(&SourceBook::from_toml(DEMO_PRICES)?, models)?;
    wait_until(book.effective_from);
    Ok(())
}

/// Another model than last time means another price book, and that one holds a little later.
fn wait_until(effective_from: UnixSeconds) {
    let left_seconds = effective_from.saturating_sub(now().seconds()).0;
    // Never longer than the notice, should this machine's clock have been set back.
    thread::sleep(Duration::from_secs(left_seconds.min(BOOK_NOTICE_SECONDS)));
}
