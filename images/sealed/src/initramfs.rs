//! The contents of the initial RAM disk: two programs, a configuration, a list of modules. No
//! shell, no other program, no library.

use crate::cpio::{self, Kind, Member};
use crate::modules::Module;

/// What is packed.
pub struct Contents<'a> {
    /// Process 1.
    pub init: &'a [u8],
    /// The enclave.
    pub enclave: &'a [u8],
    /// Its configuration.
    pub configuration: &'a [u8],
    /// Kernel modules, in the order they are loaded.
    pub modules: &'a [Module],
    /// A simulated TEE's keys by file name, in development images.
    pub simulated_tee: &'a [(String, Vec<u8>)],
}

/// Folders, empty until something is mounted on them or a member stands in them.
const FOLDERS: [&str; 9] =
    ["dev", "etc", "etc/bulla", "lib", "lib/modules", "model", "proc", "run", "sys"];
const SIMULATED_TEE: &str = "etc/bulla/simulated-tee";

/// Packs it, the same bytes for the same contents.
pub fn pack(contents: &Contents<'_>) -> Vec<u8> {
    let file = |path: String, mode: u32, bytes: &[u8]| Member {
        path,
        mode,
        kind: Kind::File(bytes.to_vec()),
    };
    let device = |path: &str, major, minor| Member {
        path: path.to_owned(),
        mode: 0o600,
        kind: Kind::Device { major, minor },
    };
    let folder = |path: &str| Member { path: path.to_owned(), mode: 0o755, kind: Kind::Folder };
    let mut members: Vec<Member> = FOLDERS.into_iter().map(folder).collect();
    members.extend([
        // The kernel opens its console, and Rust's runtime /dev/null, before anything is mounted.
        device("dev/console", 5, 1),
        device("dev/null", 1, 3),
        file("init".into(), 0o755, contents.init),
        file("bulla-enclave".into(), 0o755, contents.enclave),
        file("etc/bulla/enclave.toml".into(), 0o644, contents.configuration),
        file("lib/modules/order".into(), 0o644, order(contents.modules).as_bytes()),
    ]);
    for module in contents.modules {
        members.push(file(format!("lib/modules/{}", module.file), 0o644, &module.contents));
    }
    if !contents.simulated_tee.is_empty() {
        members.push(folder(SIMULATED_TEE));
    }
    for (name, bytes) in contents.simulated_tee {
        members.push(file(format!("{SIMULATED_TEE}/{name}"), 0o600, bytes));
    }
    cpio::write(members)
}

/// One file name per line; `-` before those that may find no device.
fn order(modules: &[Module]) -> String {
    let line = |module: &Module| {
        let mark = if module.may_lack_its_device { "-" } else { "" };
        format!("{mark}{}\n", module.file)
    };
    modules.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_two_programs_and_nothing_else_to_run() {
        let module = |file: &str, may_lack_its_device| Module {
            file: file.into(),
            contents: vec![1],
            may_lack_its_device,
        };
        let modules = [module("tsm.ko", false), module("sev_guest.ko", true)];
        assert_eq!(order(&modules), "tsm.ko\n-sev_guest.ko\n");
        let contents = Contents {
            init: b"init",
            enclave: b"enclave",
            configuration: b"c",
            modules: &modules,
            simulated_tee: &[],
        };
        let names = |archive: &[u8]| -> Vec<String> {
            cpio::digests(archive).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        let found = names(&pack(&contents));
        assert_eq!(found.len(), FOLDERS.len() + 8);
        assert!(!found.iter().any(|name| name.contains("simulated") || name.contains("bin/")));
        let keys = [("ark.key".to_owned(), vec![1])];
        let development = names(&pack(&Contents { simulated_tee: &keys, ..contents }));
        assert!(development.contains(&"etc/bulla/simulated-tee/ark.key".to_owned()));
    }
}
