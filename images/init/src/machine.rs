//! The machine around the enclave: the kernel's own trees, modules, switches of the kernel.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::cmdline::MAX_COMMAND_LINE_BYTES;
use crate::kernel::{self, flags};
use crate::{BootError, system};

/// The modules to load, one file name per line, in order; `-` in front of those that may find no
/// device here.
const MODULES: &str = "/lib/modules/order";
/// The enclave's folder: its outbox, and a simulated TEE's keys.
pub const DATA: &str = "/run/bulla";
/// Keys of a simulated TEE, in development images only.
const SIMULATED_TEE: &str = "/etc/bulla/simulated-tee";
/// Where the enclave looks for them.
const SIMULATED_TEE_IN_DATA: &str = "/run/bulla/simulated-tee";

/// Memory /run may take, in MiB: the outbox.
const RUN_MIB: u64 = 64;

/// Switches of the kernel that are thrown before the enclave starts.
const SWITCHES: [(&str, &str); 10] = [
    ("kernel/core_pattern", ""),
    ("fs/suid_dumpable", "0"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("kernel/yama/ptrace_scope", "3"),
    ("kernel/sysrq", "0"),
    ("kernel/kexec_load_disabled", "1"),
    ("kernel/io_uring_disabled", "2"),
    ("user/max_user_namespaces", "0"),
    // Last: from here on nothing enters the kernel.
    ("kernel/modules_disabled", "1"),
];

/// Mounts what the kernel has to show, and memory to write to.
pub fn mount_kernel_trees() -> Result<(), BootError> {
    let strict = flags::PLAIN;
    let device = libc::MS_NOSUID | libc::MS_NOEXEC;
    let run = run_options(0);
    for (kind, target, flags, data) in [
        ("proc", "/proc", strict, "hidepid=2"),
        ("sysfs", "/sys", strict, ""),
        ("devtmpfs", "/dev", device, "mode=0755"),
        ("tmpfs", "/run", strict, run.as_str()),
    ] {
        kernel::mount(kind, target, kind, flags, data)
            .map_err(system(format!("mounting {target}")))?;
    }
    Ok(())
}

/// How /run is mounted: room for the outbox, and so much more.
fn run_options(more_mib: u64) -> String {
    format!("mode=0755,size={}m", RUN_MIB + more_mib)
}

/// Makes room in memory for weights that are opened there.
pub fn make_room(weights_mib: u64) -> Result<(), BootError> {
    let how = flags::REMOUNT | flags::PLAIN;
    kernel::mount("tmpfs", "/run", "tmpfs", how, &run_options(weights_mib))
        .map_err(system("making room for the weights"))
}

/// The kernel's command line.
pub fn command_line() -> Result<String, BootError> {
    let mut line = String::new();
    let mut file = File::open("/proc/cmdline").map_err(system("reading /proc/cmdline"))?;
    file.by_ref()
        .take(2 * MAX_COMMAND_LINE_BYTES)
        .read_to_string(&mut line)
        .map_err(system("reading /proc/cmdline"))?;
    Ok(line)
}

/// Loads the modules of the list, in its order.
pub fn load_modules() -> Result<(), BootError> {
    let order = fs::read_to_string(MODULES).map_err(system(format!("reading {MODULES}")))?;
    for line in order.lines() {
        let (name, may_lack_its_device) = match line.strip_prefix('-') {
            Some(name) => (name, true),
            None => (line, false),
        };
        let path = Path::new("/lib/modules").join(name);
        let loaded = File::open(&path).and_then(|module| kernel::load_module(&module));
        match loaded {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) if may_lack_its_device && error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(system(format!("loading module {name}"))(error)),
        }
    }
    Ok(())
}

/// Mounts configfs, where TEE reports come from; its module must be loaded.
pub fn mount_configfs() -> Result<(), BootError> {
    kernel::mount("configfs", "/sys/kernel/config", "configfs", flags::PLAIN, "")
        .map_err(system("mounting /sys/kernel/config"))
}

/// Makes the enclave's folder in memory. A development image may bring a simulated TEE's keys.
pub fn prepare_data(development: bool) -> Result<(), BootError> {
    let mut private = fs::DirBuilder::new();
    private.mode(0o700);
    private.create(DATA).map_err(system(format!("making {DATA}")))?;
    let simulated = Path::new(SIMULATED_TEE);
    if !development || !simulated.is_dir() {
        return Ok(());
    }
    private.create(SIMULATED_TEE_IN_DATA).map_err(system("making the simulated TEE's folder"))?;
    let entries = fs::read_dir(simulated).map_err(system(format!("reading {SIMULATED_TEE}")))?;
    for entry in entries.flatten() {
        let to = Path::new(SIMULATED_TEE_IN_DATA).join(entry.file_name());
        // Modes are copied too: the keys stay for the owner's eyes only.
        fs::copy(entry.path(), to).map_err(system("copying the simulated TEE"))?;
    }
    Ok(())
}

/// No core dumps, no more modules, no way into the kernel, nothing to write on the root.
pub fn harden() -> Result<(), BootError> {
    kernel::no_core_dumps().map_err(system("forbidding core dumps"))?;
    for (name, value) in SWITCHES {
        let path = Path::new("/proc/sys").join(name);
        // A switch this kernel does not have guards something it does not have.
        if path.exists() {
            fs::write(&path, value).map_err(system(format!("setting {name}")))?;
        }
    }
    let modules = fs::read_to_string("/proc/sys/kernel/modules_disabled");
    match modules.map_err(system("reading kernel/modules_disabled"))?.trim() {
        "1" => {}
        _ => return Err(system("forbidding modules")(std::io::ErrorKind::Other.into())),
    }
    kernel::mount("", "/", "", flags::REMOUNT | flags::READ_ONLY, "")
        .map_err(system("making the root read-only"))
}

/// Turns the machine off. Where even that is refused, process 1 ends, and the kernel panics.
pub fn power_off() {
    kernel::power_off();
}
