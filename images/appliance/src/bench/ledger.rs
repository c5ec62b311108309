//! Rows of the ledger: holds and settlements on SQLite, as durable as the broker keeps them, beside
//! what the disk itself can do.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use bulla_broker::io::store::{SqliteStore, Store};
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::{Command, MAX_AMOUNT};
use bulla_wire::units::{MicroUnits, UnixMillis, UnixSeconds};

use super::row::{Row, Side};

/// Commands in one durable batch.
pub const BATCHES: [u64; 4] = [1, 8, 64, 512];
/// What one write of the anchor carries: a page.
const PAGE_BYTES: usize = 4096;
/// Set aside for a request, and the part of it that is spent.
const HELD: MicroUnits = MicroUnits(1_000_000);
const SPENT: MicroUnits = MicroUnits(400_000);

/// One row per size of batch; the databases are made in `folder`.
pub fn rows(folder: &Path, now: UnixSeconds) -> anyhow::Result<Vec<Row>> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    BATCHES
        .into_iter()
        .map(|batch| {
            let subject = hold_and_settle(&folder.join(format!("{batch}.sqlite")), batch, now)?;
            Ok(Row { subject, anchor: disk(&folder.join(format!("{batch}.sync")))? })
        })
        .collect()
}

/// A batch of holds, then the batch that settles them: two durable commits.
fn hold_and_settle(path: &Path, batch: u64, now: UnixSeconds) -> anyhow::Result<Side> {
    let mut store = SqliteStore::open(path)?;
    let now: UnixMillis = now.millis();
    let mut load = Workload::prepare(&mut store, "bench", 1, MAX_AMOUNT, now)?;
    let settle_by = UnixSeconds(now.seconds().0 + 3600);
    let mut done = 0;
    let work = match batch {
        1 => "hold and settle, one by one".to_owned(),
        _ => format!("hold and settle, batches of {batch}"),
    };
    Ok(Side::rated(work, "pairs", batch as f64, move || {
        let numbers = done..done + batch;
        done += batch;
        let holds: Vec<_> = numbers.clone().map(|n| load.hold(n, HELD, settle_by)).collect();
        let settlements: Vec<_> = numbers.map(|n| load.settle(n, SPENT)).collect();
        commit(&mut store, &holds, now)?;
        commit(&mut store, &settlements, now)
    }))
}

fn commit(store: &mut SqliteStore, commands: &[Command], now: UnixMillis) -> anyhow::Result<()> {
    for result in store.execute(commands, now)? {
        result?;
    }
    Ok(())
}

/// A page overwritten and made durable, again and again.
pub fn disk(path: &Path) -> anyhow::Result<Side> {
    let mut file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut byte = 0u8;
    Ok(Side::rated("write 4 KiB, fdatasync", "syncs", 1.0, move || {
        byte = byte.wrapping_add(1);
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[byte; PAGE_BYTES])?;
        Ok(file.sync_data()?)
    }))
}
