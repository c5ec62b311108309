//! Model files encrypted on their way into a volume, and the key they are encrypted under.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use bulla_attestation::weights::{CHUNK_BYTES, ChunkSealer, WeightsKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Length of a key file.
const KEY_BYTES: u64 = 32;

/// Reads a key file: 32 bytes.
pub fn read_key(path: &Path) -> anyhow::Result<WeightsKey> {
    let bytes = Zeroizing::new(super::files::read(path, KEY_BYTES)?);
    let Ok(bytes) = <[u8; 32]>::try_from(bytes.as_slice()) else {
        bail!("{} has {} bytes, a weights key has {KEY_BYTES}", path.display(), bytes.len())
    };
    Ok(WeightsKey::from_bytes(bytes))
}

/// Makes a key file for its owner's eyes only; one that is there stays.
pub fn make_key(path: &Path) -> anyhow::Result<WeightsKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    let drawn = SystemRandom::new().fill(bytes.as_mut());
    drawn.map_err(|_| anyhow::anyhow!("the kernel gave no randomness"))?;
    let shown = path.display();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("making {shown}"))?;
    file.write_all(bytes.as_ref())
        .and_then(|()| file.sync_all())
        .with_context(|| shown.to_string())?;
    Ok(WeightsKey::from_bytes(*bytes))
}

/// A file as it is encrypted: its header, then its chunks.
pub struct Encrypted {
    file: File,
    sealer: ChunkSealer,
    /// Read ahead, so that the last chunk is known to be the last.
    next: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    is_done: bool,
}

impl Encrypted {
    /// Opens a file of a volume under its name there, without the suffix. It is read twice.
    pub fn open(path: &Path, name: &str, key: &WeightsKey) -> io::Result<Encrypted> {
        let mut salter = key.salter(name);
        let mut file = File::open(path)?;
        loop {
            let chunk = chunk_of(&mut file)?;
            if chunk.is_empty() {
                break;
            }
            salter.update(&chunk);
        }
        let (header, sealer) = key.sealer(name, salter.finish());
        let mut file = File::open(path)?;
        let next = chunk_of(&mut file)?;
        Ok(Encrypted { file, sealer, next, ready: header.to_vec(), at: 0, is_done: false })
    }

    fn advance(&mut self) -> io::Result<()> {
        let mut chunk = std::mem::replace(&mut self.next, chunk_of(&mut self.file)?);
        self.is_done = self.next.is_empty();
        self.sealer.seal(&mut chunk, self.is_done).map_err(io::Error::other)?;
        (self.ready, self.at) = (chunk, 0);
        Ok(())
    }
}

/// The next chunk, whole where the file has so much.
fn chunk_of(file: &mut File) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

impl Read for Encrypted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() && !self.is_done {
            self.advance()?;
        }
        let count = (self.ready.len() - self.at).min(buffer.len());
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use bulla_attestation::weights::sealed_length;

    use super::*;

    #[test]
    fn a_file_becomes_as_long_as_was_planned_and_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let key = make_key(&folder.path().join("key")).unwrap();
        assert!(make_key(&folder.path().join("key")).is_err(), "a key is never written over");
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            let path = folder.path().join("file");
            fs::write(&path, vec![3; length]).unwrap();
            let read = || {
                let mut bytes = Vec::new();
                Encrypted::open(&path, "m/file", &key).unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            };
            assert_eq!(read().len() as u64, sealed_length(length as u64));
            assert_eq!(read(), read());
        }
        let again = read_key(&folder.path().join("key")).unwrap();
        assert_eq!(again.id(), key.id());
    }
}
