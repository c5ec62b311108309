//! Files and ports (landlock, ABI 6, Linux 6.12).

use std::io;
use std::path::Path;

use crate::kernel;
use crate::{CONFIGURATION, ENCLAVE, PORT, machine, verity};

/// Rights over files (linux/landlock.h, LANDLOCK_ACCESS_FS_*).
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const TRUNCATE: u64 = 1 << 14;
/// All of them, up to IOCTL_DEV.
const ALL_FILES: u64 = (1 << 16) - 1;

const READ: u64 = READ_FILE | READ_DIR;
const KEEP: u64 = READ | WRITE_FILE | REMOVE_FILE | REMOVE_DIR | MAKE_REG | MAKE_DIR | TRUNCATE;

/// Rights over TCP.
const BIND: u64 = 1;
const ALL_TCP: u64 = 3;
/// Abstract sockets and signals to others.
const ALL_SCOPES: u64 = 3;

/// What may be done where. Paths that are not there (a machine without that device) are left out.
const PATHS: [(&str, u64); 8] = [
    ("/proc/self", READ),
    ("/proc/cpuinfo", READ_FILE),
    ("/sys/devices/system/cpu", READ),
    ("/sys/kernel/config/tsm/report", READ | WRITE_FILE | MAKE_DIR | REMOVE_DIR),
    ("/dev/tpmrm0", READ_FILE | WRITE_FILE),
    ("/dev/tpm0", READ_FILE | WRITE_FILE),
    ("/dev/null", READ_FILE | WRITE_FILE),
    ("/etc/bulla", READ),
];

/// Everything not allowed here is refused from now on: to execute anything but the enclave, to
/// write outside its folder, to bind another port, to connect to anything.
pub fn restrict() -> io::Result<()> {
    let ruleset = kernel::landlock_ruleset(ALL_FILES, ALL_TCP, ALL_SCOPES)?;
    kernel::landlock_path(&ruleset, Path::new(ENCLAVE), EXECUTE | READ_FILE)?;
    kernel::landlock_path(&ruleset, Path::new(CONFIGURATION), READ_FILE)?;
    kernel::landlock_path(&ruleset, verity::mount_point(), READ)?;
    kernel::landlock_path(&ruleset, Path::new(machine::DATA), KEEP)?;
    for (path, allowed) in PATHS {
        let path = Path::new(path);
        if path.exists() {
            kernel::landlock_path(&ruleset, path, allowed)?;
        }
    }
    kernel::landlock_port(&ruleset, PORT, BIND)?;
    kernel::landlock_restrict(&ruleset)
}
