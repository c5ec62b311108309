//! System calls (seccomp). What is not on the list kills the process, and with it the machine.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{c_long, sock_filter};

/// AUDIT_ARCH_X86_64.
const X86_64: u32 = 0xc000_003e;
/// Numbers from here on are the x32 interface.
const X32: u32 = 0x4000_0000;

const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
/// "No such call": the C library then takes an older one, whose arguments can be looked at.
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;

/// `struct seccomp_data`: number, architecture, instruction pointer, six arguments of eight bytes.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;

/// Allowed whatever the arguments.
const ALLOWED: [c_long; 81] = [
    // files
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fcntl,
    libc::SYS_fadvise64,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_pipe2,
    libc::SYS_dup,
    // memory
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // threads and time
    libc::SYS_futex,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_arch_prctl,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_tkill, // of its own threads: landlock keeps signals inside
    libc::SYS_exit,
    libc::SYS_exit_group,
    // the one socket, and waiting for it
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_poll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
];

/// Answered with an error instead: harmless questions, and calls with a better-understood elder.
const ANSWERED: [(c_long, u32); 6] = [
    (libc::SYS_clone3, UNKNOWN),
    (libc::SYS_prctl, DENIED),
    (libc::SYS_prlimit64, DENIED),
    (libc::SYS_getrlimit, DENIED),
    (libc::SYS_tgkill, DENIED),
    (libc::SYS_io_uring_setup, UNKNOWN),
];

/// Makes a socket non-blocking; the number, because C libraries disagree about its type.
const FIONBIO: u32 = 0x5421;

const fn statement(code: u32, value: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

const fn load(place: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, place)
}

const fn answer(value: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, value)
}

/// Goes on `then` or `otherwise` statements further.
const fn jump(how: u32, value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt: then, jf: otherwise, k: value }
}

/// Low half of an argument.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// If the number is `call`: answers `denied` where the bits `mask` of an argument are not `wanted`.
fn when_argument(
    call: c_long,
    index: u32,
    mask: u32,
    wanted: u32,
    denied: u32,
) -> [sock_filter; 6] {
    [
        jump(BPF_JEQ, call as u32, 0, 5),
        load(argument(index)),
        statement(BPF_ALU | BPF_AND | BPF_K, mask),
        jump(BPF_JEQ, wanted, 0, 1),
        answer(ALLOW),
        answer(denied),
    ]
}

/// The filter.
pub fn filter() -> Vec<sock_filter> {
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u32;
    let mut filter = vec![
        load(ARCHITECTURE_AT),
        jump(BPF_JEQ, X86_64, 1, 0),
        answer(KILL),
        load(NUMBER_AT),
        jump(BPF_JGE, X32, 0, 1),
        answer(KILL),
    ];
    for call in ALLOWED {
        filter.extend([jump(BPF_JEQ, call as u32, 0, 1), answer(ALLOW)]);
    }
    for (call, error) in ANSWERED {
        filter.extend([jump(BPF_JEQ, call as u32, 0, 1), answer(error)]);
    }
    // landlock lets it execute the enclave and nothing else.
    filter.extend([jump(BPF_JEQ, libc::SYS_execve as u32, 0, 1), answer(ALLOW)]);
    // Threads, not processes; memory that is never executable; IPv4 alone.
    filter.extend(when_argument(libc::SYS_clone, 0, thread, thread, KILL));
    let executable = libc::PROT_EXEC as u32;
    filter.extend(when_argument(libc::SYS_mmap, 2, executable, 0, KILL));
    filter.extend(when_argument(libc::SYS_mprotect, 2, executable, 0, KILL));
    filter.extend(when_argument(libc::SYS_socket, 0, u32::MAX, libc::AF_INET as u32, DENIED));
    filter.extend(when_argument(libc::SYS_ioctl, 1, u32::MAX, FIONBIO, DENIED));
    filter.push(answer(KILL));
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types a character into a terminal.
    const TIOCSTI: u64 = 0x5412;

    /// What the filter answers, by the rules of classic BPF.
    fn run(number: c_long, arguments: [u64; 6]) -> u32 {
        let mut data = vec![];
        data.extend((number as u32).to_ne_bytes());
        data.extend(X86_64.to_ne_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let filter = filter();
        let (mut at, mut value) = (0, 0u32);
        loop {
            let sock_filter { code, jt, jf, k } = filter[at];
            let code = u32::from(code);
            at += 1;
            let chosen = |holds: bool| usize::from(if holds { jt } else { jf });
            match code {
                c if c == BPF_LD | BPF_W | BPF_ABS => {
                    let word = &data[k as usize..k as usize + 4];
                    value = u32::from_ne_bytes(word.try_into().unwrap());
                }
                c if c == BPF_ALU | BPF_AND | BPF_K => value &= k,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => at += chosen(value == k),
                c if c == BPF_JMP | BPF_JGE | BPF_K => at += chosen(value >= k),
                c if c == BPF_RET | BPF_K => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn allows_threads_and_refuses_processes() {
        let thread = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_FILES) as u64;
        assert_eq!(run(libc::SYS_clone, [thread, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), KILL);
        assert_eq!(run(libc::SYS_fork, [0; 6]), KILL);
        assert_eq!(run(libc::SYS_clone3, [0; 6]), UNKNOWN);
    }

    #[test]
    fn no_memory_becomes_executable() {
        let (read, execute) = (libc::PROT_READ as u64, libc::PROT_EXEC as u64);
        assert_eq!(run(libc::SYS_mmap, [0, 4096, read, 0, 0, 0]), ALLOW);
        assert_eq!(run(libc::SYS_mmap, [0, 4096, read | execute, 0, 0, 0]), KILL);
        assert_eq!(run(libc::SYS_mprotect, [0, 4096, execute, 0, 0, 0]), KILL);
    }

    #[test]
    fn opens_no_connection_loads_no_module_mounts_nothing() {
        for call in [
            libc::SYS_connect,
            libc::SYS_sendmmsg,
            libc::SYS_finit_module,
            libc::SYS_init_module,
            libc::SYS_mount,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_kexec_load,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_process_vm_readv,
            libc::SYS_perf_event_open,
            X32 as c_long,
        ] {
            assert_eq!(run(call, [0; 6]), KILL, "{call}");
        }
        assert_eq!(run(libc::SYS_socket, [libc::AF_INET as u64, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(libc::SYS_socket, [libc::AF_NETLINK as u64, 0, 0, 0, 0, 0]), DENIED);
        assert_eq!(run(libc::SYS_ioctl, [0, TIOCSTI, 0, 0, 0, 0]), DENIED);
        assert_eq!(run(libc::SYS_ioctl, [0, FIONBIO.into(), 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(libc::SYS_read, [0; 6]), ALLOW);
    }
}
