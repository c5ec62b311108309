//! The "newc" archive Linux unpacks as its first root (Documentation/driver-api/early-userspace/
//! buffer-format.rst). Everything a build could vary is fixed: times and owners are zero, numbers
//! count up, members come in the order of their names.

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with its contents.
    File(Vec<u8>),
    /// A character device.
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path without a leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const DEVICE: u32 = 0o020_000;
const TRAILER: &str = "TRAILER!!!";
/// QEMU and boot loaders pass it on in sectors.
const ALIGNMENT: usize = 512;

/// Writes an archive of `members`. Folders that members stand in must be among them.
pub fn write(mut members: Vec<Member>) -> Vec<u8> {
    members.sort_by(|one, other| one.path.cmp(&other.path));
    let mut archive = Vec::new();
    for (number, member) in (1..).zip(&members) {
        let (kind, device, contents) = match &member.kind {
            Kind::Folder => (FOLDER, (0, 0), &[][..]),
            Kind::File(contents) => (FILE, (0, 0), &contents[..]),
            Kind::Device { major, minor } => (DEVICE, (*major, *minor), &[][..]),
        };
        let links = if kind == FOLDER { 2 } else { 1 };
        append(&mut archive, number, kind | member.mode, links, device, &member.path, contents);
    }
    append(&mut archive, 0, 0, 1, (0, 0), TRAILER, &[]);
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
    archive
}

fn append(
    archive: &mut Vec<u8>,
    number: u32,
    mode: u32,
    links: u32,
    device: (u32, u32),
    path: &str,
    contents: &[u8],
) {
    let name_bytes = path.len() + 1;
    let fields = [
        number,
        mode,
        0, // owner
        0, // group
        links,
        0, // time
        contents.len() as u32,
        0, // device it stood on
        0,
        device.0,
        device.1,
        name_bytes as u32,
        0, // check sum, of another variant
    ];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(path.bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(contents);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Members of an archive written here, by path, with a digest of mode, kind and contents: what two
/// archives are compared by. `None` where it is no such archive.
pub fn digests(archive: &[u8]) -> Option<Vec<(String, [u8; 32])>> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let header = archive.get(at..at + 110)?;
        let field = |index: usize| {
            let text = std::str::from_utf8(&header[6 + 8 * index..14 + 8 * index]).ok()?;
            u32::from_str_radix(text, 16).ok()
        };
        let (mode, length, name_bytes) = (field(1)?, field(6)? as usize, field(11)? as usize);
        let name = archive.get(at + 110..(at + 110 + name_bytes).checked_sub(1)?)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let begin = (at + 110 + name_bytes).next_multiple_of(4);
        let contents = archive.get(begin..begin + length)?;
        if !header.starts_with(b"070701") {
            return None;
        }
        if name == TRAILER {
            return Some(found);
        }
        let device = [field(9)?, field(10)?].map(u32::to_be_bytes).concat();
        let digest = crate::hash::sha256_of(&[&mode.to_be_bytes(), &device, contents]);
        found.push((name, digest));
        at = (begin + length).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<Member> {
        let file = |path: &str, bytes: &[u8]| Member {
            path: path.into(),
            mode: 0o644,
            kind: Kind::File(bytes.to_vec()),
        };
        vec![
            file("etc/b", b"12345"),
            Member { path: "etc".into(), mode: 0o755, kind: Kind::Folder },
            Member {
                path: "console".into(),
                mode: 0o600,
                kind: Kind::Device { major: 5, minor: 1 },
            },
        ]
    }

    #[test]
    fn the_order_given_does_not_matter() {
        let mut turned = members();
        turned.reverse();
        assert_eq!(write(members()), write(turned));
        assert_eq!(write(members()).len() % ALIGNMENT, 0);
    }

    #[test]
    fn members_are_found_again_and_each_change_is_named() {
        let names = |archive: &[u8]| -> Vec<String> {
            digests(archive).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        let archive = write(members());
        assert_eq!(names(&archive), ["console", "etc", "etc/b"]);
        let mut changed = members();
        changed[0].mode = 0o600;
        let (one, other) = (digests(&archive).unwrap(), digests(&write(changed)).unwrap());
        assert_eq!(one[..2], other[..2]);
        assert_ne!(one[2], other[2]);
        assert_eq!(digests(b"no archive"), None);
    }

    #[test]
    fn cpio_reads_it_where_there_is_one() {
        use std::io::Write;
        let mut command = std::process::Command::new("cpio");
        let command = command.arg("-tv").stdin(std::process::Stdio::piped());
        let Ok(mut child) = command.stdout(std::process::Stdio::piped()).spawn() else {
            println!("skipped: no cpio here");
            return;
        };
        child.stdin.take().unwrap().write_all(&write(members())).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().next().unwrap().starts_with("crw-------"), "{text}");
    }
}
