//! Follows prices that change by the hour or at the spot: reads the source, signs the next book when
//! one is due. The source may be edited while the broker runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clock;
use super::driver::Driver;
use crate::broker::{Broker, Event};
use crate::price::{SourceBook, sign_priced};

/// How often the source is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Follows the source for as long as the broker runs.
pub(super) async fn follow(driver: Driver, source: PathBuf) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    loop {
        interval.tick().await;
        if let Err(reason) = look(&driver, &source).await {
            tracing::error!(source = %source.display(), reason, "prices are not followed");
        }
    }
}

async fn look(driver: &Driver, path: &Path) -> Result<(), String> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string())?;
    let source = SourceBook::from_toml(&text).map_err(|error| error.to_string())?;
    let due = driver.ask(move |broker, _| due(broker, &source)).await;
    match due.map_err(|refusal| refusal.message)? {
        Ok(Some(book)) => {
            driver.tell(Event::PriceBookSigned { book });
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(reason) => Err(reason),
    }
}

/// The next book, signed, when it is due. Before the first there is nothing to go on from.
fn due(broker: &Broker, source: &SourceBook) -> Result<Option<Vec<u8>>, String> {
    let now = clock::now().seconds();
    let Some(newest) = broker.newest_price_book() else { return Ok(None) };
    let due = source.due(newest, now).map_err(|error| error.to_string())?;
    let Some((priced, from)) = due else { return Ok(None) };
    let version = newest.version + 1;
    let book = sign_priced(broker.keys().root(), version, now, from, priced);
    book.map(|book| Some(book.bytes().to_vec())).map_err(|error| error.to_string())
}
