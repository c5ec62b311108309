//! System calls std has no name for, and every `unsafe` of this crate. Each function takes only
//! values that make its call sound.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Flags of a mount.
pub mod flags {
    /// Nothing to run, no set-uid, no device files.
    pub const PLAIN: u64 = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    /// Read-only.
    pub const READ_ONLY: u64 = libc::MS_RDONLY;
    /// Change a mount that is there.
    pub const REMOUNT: u64 = libc::MS_REMOUNT;
}

fn text(value: &str) -> io::Result<CString> {
    CString::new(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Turns the return value of a system call into a result.
fn checked(returned: i64) -> io::Result<i64> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// mount(2).
pub fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> io::Result<()> {
    let (source, target, kind, data) = (text(source)?, text(target)?, text(kind)?, text(data)?);
    // SAFETY: four strings that end in zero and outlive the call.
    let returned = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    };
    checked(returned.into()).map(drop)
}

/// finit_module(2), without parameters.
pub fn load_module(module: &File) -> io::Result<()> {
    // SAFETY: an open file and an empty string that ends in zero.
    let returned =
        unsafe { libc::syscall(libc::SYS_finit_module, module.as_raw_fd(), c"".as_ptr(), 0) };
    checked(returned).map(drop)
}

/// ioctl(2) on a structure given as bytes.
///
/// # Safety
/// `request` must read and write at most `argument.len()` bytes at its argument, and take no
/// pointers in it.
unsafe fn ioctl(file: &impl AsRawFd, request: u64, argument: &mut [u8]) -> io::Result<()> {
    // musl and glibc disagree about the type of a request, so the number goes in as it is.
    // SAFETY: the caller vouches for request and length.
    let returned =
        unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), request, argument.as_mut_ptr()) };
    checked(returned).map(drop)
}

/// Size of `struct dm_ioctl`.
pub const DM_HEADER_BYTES: usize = 312;
/// Where `struct dm_ioctl` says how long the whole argument is.
pub const DM_DATA_SIZE_AT: usize = 12;

/// A device mapper command (linux/dm-ioctl.h). The length stands in the message and must be true.
pub fn device_mapper(control: &File, command: u8, message: &mut [u8]) -> io::Result<()> {
    let says = message.get(DM_DATA_SIZE_AT..DM_DATA_SIZE_AT + 4).map(<[u8]>::to_vec);
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if says.as_deref() != Some(&length.to_ne_bytes()[..]) || message.len() < DM_HEADER_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // _IOWR(0xfd, command, struct dm_ioctl)
    let request = 3 << 30 | (DM_HEADER_BYTES as u64) << 16 | 0xfd << 8 | u64::from(command);
    // SAFETY: the kernel reads and writes as many bytes as the message says, checked above.
    unsafe { ioctl(control, request, message) }
}

/// Size of `struct ifreq`.
pub const IFREQ_BYTES: usize = 40;
/// Size of `struct rtentry`, of which two fields are pointers.
const RTENTRY_BYTES: usize = 120;

/// Requests about an interface that take a `struct ifreq` without pointers.
#[derive(Debug, Clone, Copy)]
pub enum InterfaceRequest {
    /// SIOCSIFADDR.
    Address,
    /// SIOCSIFNETMASK.
    Netmask,
    /// SIOCSIFFLAGS.
    Flags,
}

/// Changes an interface.
pub fn interface(
    socket: &impl AsRawFd,
    request: InterfaceRequest,
    argument: &mut [u8; IFREQ_BYTES],
) -> io::Result<()> {
    let request = match request {
        InterfaceRequest::Address => 0x8916,
        InterfaceRequest::Netmask => 0x891c,
        InterfaceRequest::Flags => 0x8914,
    };
    // SAFETY: all three take a whole `struct ifreq` and no pointer in it.
    unsafe { ioctl(socket, request, argument) }
}

/// SIOCADDRT: a route for everything by way of `gateway`, given as a `struct sockaddr`.
pub fn default_route(socket: &impl AsRawFd, gateway: [u8; 16]) -> io::Result<()> {
    const SIOCADDRT: u64 = 0x890b;
    const UP_BY_GATEWAY: u16 = 1 | 2;
    let mut route = [0u8; RTENTRY_BYTES];
    let anywhere = (libc::AF_INET as u16).to_ne_bytes();
    route[8..10].copy_from_slice(&anywhere); // rt_dst
    route[24..40].copy_from_slice(&gateway); // rt_gateway
    route[40..42].copy_from_slice(&anywhere); // rt_genmask
    route[56..58].copy_from_slice(&UP_BY_GATEWAY.to_ne_bytes()); // rt_flags
    // SAFETY: a whole `struct rtentry` whose pointer fields (rt_dev, rt_pad4) are zero.
    unsafe { ioctl(socket, SIOCADDRT, &mut route) }
}

/// Turns the machine off; comes back only where that is refused.
pub fn power_off() {
    // SAFETY: sync and reboot take no memory.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
}

/// No core dumps for this process and what it starts.
pub fn no_core_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit that outlives the call.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }.into()).map(drop)
}

/// Nothing this process starts can gain a privilege.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: numbers only.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Takes capability number `capability` out of the bounding set.
pub fn drop_from_bounding_set(capability: u8) -> io::Result<()> {
    let number = libc::c_ulong::from(capability);
    // SAFETY: numbers only.
    checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }.into()).map(drop)
}

/// No capabilities: effective, permitted, inheritable (capset, version 3).
pub fn drop_capabilities() -> io::Result<()> {
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0u32; 6];
    // SAFETY: a header of version 3 and its two sets of three words.
    let returned = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    checked(returned).map(drop)
}

/// landlock_create_ruleset(2) with the attributes of ABI 6: files, TCP, scopes.
pub fn landlock_ruleset(files: u64, tcp: u64, scopes: u64) -> io::Result<OwnedFd> {
    let attributes = [files, tcp, scopes];
    // SAFETY: `struct landlock_ruleset_attr` is these three words.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            attributes.as_ptr(),
            size_of_val(&attributes),
            0,
        )
    };
    let fd = i32::try_from(checked(returned)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: a descriptor the kernel just gave us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// landlock_add_rule(2): `allowed` under `path`.
pub fn landlock_path(ruleset: &OwnedFd, path: &Path, allowed: u64) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let open = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    // `struct landlock_path_beneath_attr` is packed: eight bytes, then four.
    let mut rule = [0u8; 12];
    rule[..8].copy_from_slice(&allowed.to_ne_bytes());
    rule[8..].copy_from_slice(&open.as_raw_fd().to_ne_bytes());
    landlock_rule(ruleset, 1, &rule)
}

/// landlock_add_rule(2): `allowed` on a TCP port.
pub fn landlock_port(ruleset: &OwnedFd, port: u16, allowed: u64) -> io::Result<()> {
    let mut rule = [0u8; 16];
    rule[..8].copy_from_slice(&allowed.to_ne_bytes());
    rule[8..].copy_from_slice(&u64::from(port).to_ne_bytes());
    landlock_rule(ruleset, 2, &rule)
}

fn landlock_rule(ruleset: &OwnedFd, kind: u32, rule: &[u8]) -> io::Result<()> {
    // SAFETY: the two callers pass the structure of their kind.
    let returned = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), kind, rule.as_ptr(), 0)
    };
    checked(returned).map(drop)
}

/// landlock_restrict_self(2).
pub fn landlock_restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: an open ruleset and a number.
    let returned =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    checked(returned).map(drop)
}

/// Installs a seccomp filter for this process and what it becomes.
pub fn seccomp(filter: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program during the call and writes nothing to it.
    let returned = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
    };
    checked(returned.into()).map(drop)
}
