//! Kernel modules: which ones an image needs, with everything they depend on, in an order in which
//! each finds what it needs already loaded.

/// Modules an image asks for. Those behind a device that may be missing are allowed to find none.
pub const WANTED: [Wanted; 8] = [
    Wanted { name: "configfs", may_lack_its_device: false },
    Wanted { name: "tsm", may_lack_its_device: false },
    Wanted { name: "sev-guest", may_lack_its_device: true },
    Wanted { name: "tdx-guest", may_lack_its_device: true },
    Wanted { name: "dm-verity", may_lack_its_device: false },
    Wanted { name: "erofs", may_lack_its_device: false },
    Wanted { name: "virtio_blk", may_lack_its_device: false },
    Wanted { name: "virtio_net", may_lack_its_device: false },
];

/// A module by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// As in its file name, without the ending.
    pub name: &'static str,
    /// Whether loading may end in "no such device".
    pub may_lack_its_device: bool,
}

/// Why there is no list of modules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// The package has no such module.
    #[error("module {name} is not in the kernel package")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A module whose own description cannot be found.
    #[error("module {name} has no .modinfo section: {reason}")]
    Info {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Modules that wait for each other.
    #[error("module {name} depends on itself")]
    Circle {
        /// One of them.
        name: String,
    },
}

/// A module to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// File name in the image.
    pub file: String,
    /// Its code.
    pub contents: Vec<u8>,
    /// Whether loading may end in "no such device".
    pub may_lack_its_device: bool,
}

/// Name of a module from the path of its file; hyphens and underscores are the same to the kernel.
pub fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = file.strip_suffix(".ko.xz").or_else(|| file.strip_suffix(".ko"))?;
    Some(stem.replace('-', "_"))
}

/// `wanted` and all they depend on, dependencies first. `unpacked` gives a module's file by name.
pub fn with_dependencies(
    wanted: &[Wanted],
    unpacked: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<Module>, ModuleError> {
    let mut search = Search { unpacked, open: Vec::new(), order: Vec::new() };
    for module in wanted {
        search.visit(&module.name.replace('-', "_"), module.may_lack_its_device)?;
    }
    Ok(search.order)
}

struct Search<F> {
    unpacked: F,
    /// Modules whose dependencies are being looked for.
    open: Vec<String>,
    order: Vec<Module>,
}

impl<F: FnMut(&str) -> Option<Vec<u8>>> Search<F> {
    fn visit(&mut self, name: &str, may_lack_its_device: bool) -> Result<(), ModuleError> {
        let file = format!("{name}.ko");
        if self.order.iter().any(|module| module.file == file) {
            return Ok(());
        }
        if self.open.iter().any(|waiting| waiting == name) {
            return Err(ModuleError::Circle { name: name.to_owned() });
        }
        let missing = || ModuleError::Missing { name: name.to_owned() };
        let contents = (self.unpacked)(name).ok_or_else(missing)?;
        self.open.push(name.to_owned());
        for needed in dependencies(name, &contents)? {
            self.visit(&needed, false)?;
        }
        self.open.pop();
        self.order.push(Module { file, contents, may_lack_its_device });
        Ok(())
    }
}

/// Names in `depends=` of a module's `.modinfo` section.
fn dependencies(name: &str, module: &[u8]) -> Result<Vec<String>, ModuleError> {
    let info = section(module, b".modinfo")
        .map_err(|reason| ModuleError::Info { name: name.to_owned(), reason })?;
    let names = info.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(names.unwrap_or_default()).into_owned();
    let names = names.split(',').filter(|name| !name.is_empty());
    Ok(names.map(|name| name.replace('-', "_")).collect())
}

/// A section of an ELF file (64 bits, little-endian) by name.
fn section<'a>(elf: &'a [u8], wanted: &[u8]) -> Result<&'a [u8], &'static str> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err("it is no 64-bit ELF file");
    }
    let cut = "the file is cut off";
    let table = word(elf, 0x28, 8).ok_or(cut)?;
    let [size, count, names] = [0x3a, 0x3c, 0x3e].map(|at| word(elf, at, 2));
    let (size, count, names) = (size.ok_or(cut)?, count.ok_or(cut)?, names.ok_or(cut)?);
    let bounds = |index: usize| {
        let header = table.checked_add(index.checked_mul(size)?)?;
        Some((word(elf, header, 4)?, word(elf, header + 0x18, 8)?, word(elf, header + 0x20, 8)?))
    };
    let contents = |index: usize| {
        let (_, at, length) = bounds(index)?;
        elf.get(at..at.checked_add(length)?)
    };
    let strings = contents(names).ok_or(cut)?;
    for index in 0..count {
        let (name_at, ..) = bounds(index).ok_or(cut)?;
        let name = strings.get(name_at..).ok_or(cut)?;
        if name.strip_prefix(wanted).is_some_and(|rest| rest.first() == Some(&0)) {
            return contents(index).ok_or(cut);
        }
    }
    Err("there is none")
}

fn word(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let slice = bytes.get(at..at.checked_add(length)?)?;
    let value = slice.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn in_order(
        wanted: &[Wanted],
        all: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Vec<Module>, ModuleError> {
        with_dependencies(wanted, |name| all.get(name).cloned())
    }

    /// An ELF file with two sections: names and .modinfo.
    fn module(depends: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0";
        let info = format!("license=GPL\0depends={depends}\0name=x\0");
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let (names_at, info_at) = (64, 64 + names.len());
        elf.extend(names);
        elf.extend(info.bytes());
        let table = elf.len();
        for (name, at, length) in [(0u32, names_at, names.len()), (1, info_at, info.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
            elf.extend(header);
        }
        elf[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        elf[0x3a..0x3c].copy_from_slice(&64u16.to_le_bytes());
        elf[0x3c..0x3e].copy_from_slice(&2u16.to_le_bytes());
        elf
    }

    fn kernel(modules: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        modules.iter().map(|(name, depends)| ((*name).to_owned(), module(depends))).collect()
    }

    const DM: [Wanted; 1] = [Wanted { name: "dm-verity", may_lack_its_device: false }];

    #[test]
    fn dependencies_come_first_and_once() {
        let all = kernel(&[
            ("dm_verity", "dm-bufio,dm-mod"),
            ("dm_bufio", "dm-mod"),
            ("dm_mod", ""),
            ("unrelated", ""),
        ]);
        let order = in_order(&DM, &all).unwrap();
        let files: Vec<_> = order.iter().map(|module| module.file.as_str()).collect();
        assert_eq!(files, ["dm_mod.ko", "dm_bufio.ko", "dm_verity.ko"]);
    }

    #[test]
    fn says_what_is_missing_and_what_goes_in_circles() {
        let got = in_order(&DM, &kernel(&[("dm_verity", "dm-mod")]));
        assert_eq!(got, Err(ModuleError::Missing { name: "dm_mod".into() }));
        let got = in_order(&DM, &kernel(&[("dm_verity", "a"), ("a", "dm_verity")]));
        assert_eq!(got, Err(ModuleError::Circle { name: "dm_verity".into() }));
        let mut all = kernel(&[]);
        all.insert("dm_verity".into(), b"text".to_vec());
        assert!(matches!(in_order(&DM, &all), Err(ModuleError::Info { .. })));
        let whole = module("a");
        for length in 0..whole.len() - 24 {
            assert!(dependencies("x", &whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn names_come_from_files() {
        assert_eq!(name_of("usr/lib/modules/6/kernel/dm-verity.ko.xz").unwrap(), "dm_verity");
        assert_eq!(name_of("modules.order"), None);
    }
}
