//! A read-only file system for the model (EROFS, fs/erofs/erofs_fs.h in Linux): plain, without
//! compression, one block after the other. The same folder gives the same bytes, whatever the times
//! and owners of its files, and no tool's version has a say.
//!
//! Layout: a block with the super block, inodes of 64 bytes, folders, files.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Size of a block.
pub const BLOCK_BYTES: u64 = 4096;
/// Most files and folders (root_nid and our own patience; a model has a few hundred).
pub const MAX_ENTRIES: usize = 16_384;

const MAGIC: u32 = 0xe0f5_e1e2;
const SUPER_AT: usize = 1024;
const INODE_BYTES: u64 = 64;
/// Inodes are numbered in slots of 32 bytes.
const SLOTS_PER_INODE: u64 = 2;
const FIRST_META_BLOCK: u64 = 1;
/// Extended inode, data in whole blocks.
const FORMAT: u16 = 1;
const DIRENT_BYTES: usize = 12;
const FOLDER_MODE: u16 = 0o040_555;
const FILE_MODE: u16 = 0o100_444;
const FILE_TYPE: u8 = 1;
const FOLDER_TYPE: u8 = 2;

/// Why a folder does not become a volume.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    /// Nothing in it, or too much.
    #[error("a volume holds 1 to {MAX_ENTRIES} files and folders, got {got}")]
    Entries {
        /// How many.
        got: usize,
    },
    /// A name that cannot be written.
    #[error("{name:?} is no name of a file: parts of 1 to 255 bytes, no . and ..")]
    Name {
        /// The path.
        name: String,
    },
    /// A path under something that is a file.
    #[error("{name:?} is a file and a folder")]
    Clash {
        /// The path.
        name: String,
    },
    /// Too many blocks for their numbers (32 bits).
    #[error("the volume would have more than 2^32 blocks of {BLOCK_BYTES} bytes")]
    TooLarge,
    /// A file changed while it was written.
    #[error(
        "{name}: {expected} bytes expected, got {got}; do not change a model while it is packed"
    )]
    Changed {
        /// The path.
        name: String,
        /// Its length when planned.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// Reading or writing.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file to be: its path with `/` between the parts, and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Path below the root.
    pub path: String,
    /// Bytes.
    pub length: u64,
}

enum Node {
    Folder(BTreeMap<String, usize>),
    File { path: String, length: u64 },
}

struct Placed {
    node: Node,
    parent: usize,
    block: u64,
    bytes: u64,
}

/// Where everything goes.
pub struct Layout {
    nodes: Vec<Placed>,
    blocks: u64,
}

impl Layout {
    /// Plans a volume of `files`, in the order of their names.
    pub fn plan(mut files: Vec<Planned>) -> Result<Layout, ErofsError> {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let root = Placed { node: Node::Folder(BTreeMap::new()), parent: 0, block: 0, bytes: 0 };
        let mut layout = Layout { nodes: vec![root], blocks: 0 };
        for file in files {
            layout.add(&file)?;
        }
        let got = layout.nodes.len() - 1;
        if got == 0 || got > MAX_ENTRIES {
            return Err(ErofsError::Entries { got });
        }
        layout.place()?;
        Ok(layout)
    }

    fn add(&mut self, file: &Planned) -> Result<(), ErofsError> {
        let name_error = || ErofsError::Name { name: file.path.clone() };
        let clash = || ErofsError::Clash { name: file.path.clone() };
        let mut folder = 0;
        let (above, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        for part in above.split('/').filter(|part| !part.is_empty()).chain([name]) {
            if matches!(part, "." | ".." | "") || part.len() > 255 {
                return Err(name_error());
            }
        }
        for part in above.split('/').filter(|part| !part.is_empty()) {
            folder =
                self.child(folder, part, || Node::Folder(BTreeMap::new())).ok_or_else(clash)?;
        }
        let before = self.nodes.len();
        let node = || Node::File { path: file.path.clone(), length: file.length };
        match self.child(folder, name, node) {
            Some(_) if self.nodes.len() > before => Ok(()),
            _ => Err(clash()),
        }
    }

    /// The child of a folder called `name`, made if there is none; `None` under a file.
    fn child(&mut self, folder: usize, name: &str, node: impl FnOnce() -> Node) -> Option<usize> {
        let next = self.nodes.len();
        let Node::Folder(children) = &mut self.nodes.get_mut(folder)?.node else { return None };
        if let Some(there) = children.get(name) {
            return Some(*there);
        }
        children.insert(name.to_owned(), next);
        self.nodes.push(Placed { node: node(), parent: folder, block: 0, bytes: 0 });
        Some(next)
    }

    fn place(&mut self) -> Result<(), ErofsError> {
        let inodes = self.nodes.len() as u64 * INODE_BYTES;
        let mut next = FIRST_META_BLOCK + inodes.div_ceil(BLOCK_BYTES);
        for index in 0..self.nodes.len() {
            let bytes = match &self.nodes[index].node {
                Node::Folder(_) => self.folder_contents(index).len() as u64,
                Node::File { length, .. } => *length,
            };
            let placed = &mut self.nodes[index];
            (placed.block, placed.bytes) = (next, bytes);
            next = next.checked_add(bytes.div_ceil(BLOCK_BYTES)).ok_or(ErofsError::TooLarge)?;
        }
        self.blocks = next;
        u32::try_from(next).map(drop).map_err(|_| ErofsError::TooLarge)
    }

    /// Blocks of the whole.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Entries of a folder, block by block: fixed parts first, then the names they point to.
    fn folder_contents(&self, index: usize) -> Vec<u8> {
        let Node::Folder(children) = &self.nodes[index].node else { return Vec::new() };
        let parent = self.nodes[index].parent;
        let itself = [(".", index), ("..", parent)].into_iter();
        let mut entries: Vec<(&str, usize)> =
            itself.chain(children.iter().map(|(name, child)| (name.as_str(), *child))).collect();
        entries.sort_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
        let mut contents = Vec::new();
        while !entries.is_empty() {
            let mut bytes = 0;
            let fit = entries.iter().take_while(|(name, _)| {
                bytes += DIRENT_BYTES + name.len();
                bytes <= BLOCK_BYTES as usize
            });
            let rest = entries.split_off(fit.count());
            contents.resize(contents.len().next_multiple_of(BLOCK_BYTES as usize), 0);
            self.append_entries(&mut contents, &entries);
            entries = rest;
        }
        contents
    }

    fn append_entries(&self, contents: &mut Vec<u8>, entries: &[(&str, usize)]) {
        let mut name_at = (entries.len() * DIRENT_BYTES) as u16;
        for (name, child) in entries {
            let kind = match self.nodes[*child].node {
                Node::Folder(_) => FOLDER_TYPE,
                Node::File { .. } => FILE_TYPE,
            };
            contents.extend(number(*child).to_le_bytes());
            contents.extend(name_at.to_le_bytes());
            contents.extend([kind, 0]);
            name_at += name.len() as u16;
        }
        entries.iter().for_each(|(name, _)| contents.extend(name.bytes()));
    }

    fn super_block(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES as usize];
        let mut put = |at: usize, bytes: &[u8]| {
            block[SUPER_AT + at..SUPER_AT + at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &MAGIC.to_le_bytes());
        put(12, &[BLOCK_BYTES.trailing_zeros() as u8]);
        put(16, &(self.nodes.len() as u64).to_le_bytes());
        put(36, &(self.blocks as u32).to_le_bytes());
        put(40, &(FIRST_META_BLOCK as u32).to_le_bytes());
        block
    }

    fn inode(&self, index: usize) -> [u8; INODE_BYTES as usize] {
        let placed = &self.nodes[index];
        let (mode, links) = match &placed.node {
            Node::File { .. } => (FILE_MODE, 1),
            Node::Folder(children) => {
                let folders = children.values().filter(|child| self.is_folder(**child)).count();
                (FOLDER_MODE, 2 + folders as u32)
            }
        };
        let mut inode = [0; INODE_BYTES as usize];
        let mut put = |at: usize, bytes: &[u8]| inode[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &FORMAT.to_le_bytes());
        put(4, &mode.to_le_bytes());
        put(8, &placed.bytes.to_le_bytes());
        put(16, &(placed.block as u32).to_le_bytes());
        put(20, &(index as u32 + 1).to_le_bytes());
        put(44, &links.to_le_bytes());
        inode
    }

    fn is_folder(&self, index: usize) -> bool {
        matches!(self.nodes[index].node, Node::Folder(_))
    }

    /// Writes the volume; `open` gives the contents of a file by its path.
    pub fn write<R: io::Read>(
        &self,
        out: &mut impl Write,
        mut open: impl FnMut(&str) -> io::Result<R>,
    ) -> Result<(), ErofsError> {
        out.write_all(&self.super_block())?;
        let inodes: Vec<u8> = (0..self.nodes.len()).flat_map(|index| self.inode(index)).collect();
        out.write_all(&inodes)?;
        pad(out, inodes.len() as u64)?;
        for (index, placed) in self.nodes.iter().enumerate() {
            match &placed.node {
                Node::Folder(_) => out.write_all(&self.folder_contents(index))?,
                Node::File { path, length } => {
                    let mut limited = io::Read::take(open(path)?, length + 1);
                    let got = io::copy(&mut limited, out)?;
                    if got != *length {
                        let (name, expected) = (path.clone(), *length);
                        return Err(ErofsError::Changed { name, expected, got });
                    }
                }
            }
            pad(out, placed.bytes)?;
        }
        Ok(())
    }
}

/// The number of an inode, as folders refer to it.
fn number(index: usize) -> u64 {
    index as u64 * SLOTS_PER_INODE
}

fn pad(out: &mut impl Write, written: u64) -> io::Result<()> {
    let missing = written.next_multiple_of(BLOCK_BYTES) - written;
    out.write_all(&vec![0; missing as usize])
}

#[cfg(test)]
mod tests;
