//! The hash tree over a volume (dm-verity, Documentation/admin-guide/device-mapper/verity.rst):
//! SHA-256, version 1, blocks of 4096 bytes, no superblock. The tree stands behind the data, its
//! top level first.

use std::io::{self, Read};

use crate::hash::{hex, sha256, sha256_of};

/// Size of data and hash blocks.
pub const BLOCK_BYTES: usize = 4096;
const HASH_BYTES: usize = 32;

/// Salt of our volumes. It is public; one word of it says that these trees are no one else's.
pub const SALT: &[u8] = b"bulla";

/// A tree: what the kernel is told, and the blocks that go behind the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Hash of the topmost block.
    pub root_hash: [u8; 32],
    /// Blocks of data.
    pub data_blocks: u64,
    /// The tree itself, top level first.
    pub blocks: Vec<u8>,
}

impl Tree {
    /// Hashes `data`, whose length must be whole blocks, at least one.
    pub fn over(mut data: impl Read) -> io::Result<Tree> {
        let mut hashes = Vec::new();
        let mut block = vec![0; BLOCK_BYTES];
        while read_block(&mut data, &mut block)? {
            hashes.extend(salted(&block));
        }
        if hashes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let data_blocks = (hashes.len() / HASH_BYTES) as u64;
        let mut levels = Vec::new();
        while hashes.len() > HASH_BYTES {
            hashes.resize(hashes.len().next_multiple_of(BLOCK_BYTES), 0);
            let above = hashes.chunks(BLOCK_BYTES).flat_map(salted).collect();
            levels.push(std::mem::replace(&mut hashes, above));
        }
        levels.reverse();
        let mut root_hash = [0; HASH_BYTES];
        root_hash.copy_from_slice(&hashes);
        Ok(Tree { root_hash, data_blocks, blocks: levels.concat() })
    }

    /// What the guest's command line says of it: `ROOT:BLOCKS:SALT`.
    pub fn command_line_value(&self) -> String {
        format!("{}:{}:{}", hex(&self.root_hash), self.data_blocks, hex(SALT))
    }
}

fn salted(block: &[u8]) -> [u8; HASH_BYTES] {
    sha256_of(&[SALT, block])
}

/// Fills `block`; `false` at the end.
fn read_block(data: &mut impl Read, block: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < block.len() {
        match data.read(&mut block[filled..])? {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(true)
}

/// A digest of a whole volume, for its list of artefacts.
pub fn volume_digest(data: &[u8], tree: &Tree) -> [u8; 32] {
    sha256(&[data, &tree.blocks].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flipped_bit_changes_the_root() {
        let data = vec![5u8; 300 * BLOCK_BYTES];
        let tree = Tree::over(&data[..]).unwrap();
        assert_eq!(tree.data_blocks, 300);
        assert_eq!(tree.blocks.len(), 4 * BLOCK_BYTES, "three blocks of hashes, one above");
        for at in [0, 77 * BLOCK_BYTES + 9, data.len() - 1] {
            let mut changed = data.clone();
            changed[at] ^= 1;
            assert_ne!(Tree::over(&changed[..]).unwrap().root_hash, tree.root_hash);
        }
    }

    #[test]
    fn half_a_block_is_refused() {
        assert!(Tree::over(&[0; BLOCK_BYTES + 1][..]).is_err());
        assert!(Tree::over(&[][..]).is_err());
    }

    /// cryptsetup's veritysetup as a second opinion, where it is installed.
    #[test]
    fn veritysetup_agrees_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let (data_file, tree_file) = (folder.path().join("data"), folder.path().join("tree"));
        let data: Vec<u8> =
            (0..20_000usize * 64).map(|n| (n * 31 % 251) as u8).take(200 * BLOCK_BYTES).collect();
        let tree = Tree::over(&data[..]).unwrap();
        std::fs::write(&data_file, &data).unwrap();
        let made = std::process::Command::new("/usr/sbin/veritysetup")
            .args(["format", "--no-superblock", "--hash=sha256"])
            .arg(format!("--salt={}", hex(SALT)))
            .args([&data_file, &tree_file])
            .output();
        let Ok(made) = made else {
            println!("skipped: no veritysetup here");
            return;
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text = String::from_utf8(made.stdout).unwrap();
        assert!(text.contains(&hex(&tree.root_hash)), "{text}");
        assert_eq!(std::fs::read(tree_file).unwrap(), tree.blocks);
    }
}
