//! The model's disk: every block that is read is checked against the root hash of the measured
//! command line (dm-verity). A wrong block is a panic, not an error the enclave would see.
//!
//! No superblock is read: where the tree begins and how it is salted was measured too.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cmdline::ModelVolume;
use crate::kernel::{self, DM_DATA_SIZE_AT, DM_HEADER_BYTES, flags};
use crate::{BootError, system};

/// The first disk.
const DISK: &str = "/dev/vda";
/// The checked view of it.
const CHECKED: &str = "/dev/dm-0";
/// Name of that view.
const NAME: &[u8] = b"model";
/// Where the model is found.
const MOUNT: &str = "/model";
/// How long a disk may take to appear.
const APPEARS_WITHIN: Duration = Duration::from_secs(20);
/// Sectors of 512 bytes in a block of 4096.
const SECTORS_PER_BLOCK: u64 = 8;

/// DM_DEV_CREATE, DM_TABLE_LOAD, DM_DEV_SUSPEND (which also resumes).
const CREATE: u8 = 3;
const LOAD: u8 = 9;
const RESUME: u8 = 6;
/// DM_READONLY_FLAG.
const READ_ONLY: u32 = 1;
/// Length of `struct dm_target_spec`.
const TARGET_BYTES: usize = 40;

/// Mounts the model, checked block by block.
pub fn mount_model(volume: &ModelVolume) -> Result<(), BootError> {
    wait_for(DISK)?;
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/mapper/control")
        .map_err(system("opening the device mapper"))?;
    command(&control, CREATE, 0, &[], 0, "making the checked disk")?;
    let target = target(volume);
    command(&control, LOAD, READ_ONLY, &target, 1, "describing the checked disk")?;
    command(&control, RESUME, 0, &[], 0, "starting the checked disk")?;
    wait_for(CHECKED)?;
    let flags = flags::PLAIN | flags::READ_ONLY;
    kernel::mount(CHECKED, MOUNT, "erofs", flags, "")
        .map_err(system("mounting the model (is the root hash this disk's?)"))
}

fn wait_for(device: &str) -> Result<(), BootError> {
    let begun = Instant::now();
    while !Path::new(device).exists() {
        if begun.elapsed() > APPEARS_WITHIN {
            return Err(system(format!("waiting for {device}"))(
                std::io::ErrorKind::NotFound.into(),
            ));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn command(
    control: &File,
    number: u8,
    flags: u32,
    payload: &[u8],
    targets: u32,
    what: &str,
) -> Result<(), BootError> {
    let mut message = header(flags, payload.len(), targets);
    message.extend(payload);
    kernel::device_mapper(control, number, &mut message).map_err(system(what))
}

/// `struct dm_ioctl`, version 4.0.0.
fn header(flags: u32, payload_bytes: usize, targets: u32) -> Vec<u8> {
    let mut header = vec![0; DM_HEADER_BYTES];
    let total = u32::try_from(DM_HEADER_BYTES + payload_bytes).unwrap_or(u32::MAX);
    let words = [
        (0, 4),
        (DM_DATA_SIZE_AT, total),
        (16, DM_HEADER_BYTES as u32),
        (20, targets),
        (28, flags),
    ];
    for (place, word) in words {
        header[place..place + 4].copy_from_slice(&word.to_ne_bytes());
    }
    header[48..48 + NAME.len()].copy_from_slice(NAME);
    header
}

/// `struct dm_target_spec` with its parameters, padded to eight bytes.
fn target(volume: &ModelVolume) -> Vec<u8> {
    let ModelVolume { root_hash, data_blocks, salt } = volume;
    // One tree after the data, version 1, blocks of 4096 bytes on both sides.
    let parameters = format!(
        "1 {DISK} {DISK} 4096 4096 {data_blocks} {data_blocks} sha256 {root_hash} {salt} 1 \
         panic_on_corruption"
    );
    let mut target = vec![0; TARGET_BYTES];
    let sectors = data_blocks * SECTORS_PER_BLOCK;
    target[8..16].copy_from_slice(&sectors.to_ne_bytes());
    target[24..30].copy_from_slice(b"verity");
    target.extend(parameters.as_bytes());
    target.push(0);
    target.resize(target.len().next_multiple_of(8), 0);
    target
}

/// What the model's folder holds, for the enclave's rules of access.
pub fn mount_point() -> &'static Path {
    Path::new(MOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_its_own_length_and_the_table_names_the_root() {
        let volume =
            ModelVolume { root_hash: "ab".repeat(32), data_blocks: 3, salt: "00".repeat(32) };
        let target = target(&volume);
        assert_eq!(target.len() % 8, 0);
        assert_eq!(&target[8..16], &24u64.to_ne_bytes());
        let text = String::from_utf8_lossy(&target[TARGET_BYTES..]);
        assert!(text.starts_with("1 /dev/vda /dev/vda 4096 4096 3 3 sha256 abab"), "{text}");
        assert!(text.trim_end_matches('\0').ends_with(" 1 panic_on_corruption"), "{text}");
        let header = header(READ_ONLY, target.len(), 1);
        let total = (DM_HEADER_BYTES + target.len()) as u32;
        assert_eq!(&header[DM_DATA_SIZE_AT..16], &total.to_ne_bytes());
        assert_eq!(&header[48..54], b"model\0");
    }
}
