//! Entry bundles: up to 256 leaves, each behind its length (C2SP tlog-tiles, "Log entries").

use super::TILE_WIDTH;

/// Bytes in one entry: its length is a `u16` (C2SP tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Why leaves fit no bundle, or bytes are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry is too long for its length prefix.
    #[error("entry {entry} has {got} bytes, at most {MAX_ENTRY_BYTES} are allowed")]
    EntryTooLong {
        /// Counted from 0 within the bundle.
        entry: usize,
        /// Bytes in it.
        got: usize,
    },
    /// More entries than a full bundle has.
    #[error("{got} entries are more than a bundle holds ({TILE_WIDTH})")]
    TooManyEntries {
        /// Entries given.
        got: usize,
    },
    /// The bytes end within an entry.
    #[error("the bundle ends within entry {entry}")]
    Truncated {
        /// Counted from 0 within the bundle.
        entry: usize,
    },
    /// Bytes follow the last entry.
    #[error("{got} bytes follow the {width} entries of the bundle")]
    Trailing {
        /// Entries wanted.
        width: u16,
        /// Bytes left over.
        got: usize,
    },
}

/// The bytes of a bundle.
///
/// # Errors
/// [`BundleError::EntryTooLong`], [`BundleError::TooManyEntries`].
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    if entries.len() > usize::from(TILE_WIDTH) {
        return Err(BundleError::TooManyEntries { got: entries.len() });
    }
    let mut bytes = Vec::new();
    for (entry, leaf) in entries.iter().enumerate() {
        let leaf = leaf.as_ref();
        let got = leaf.len();
        let length = u16::try_from(got).map_err(|_| BundleError::EntryTooLong { entry, got })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(leaf);
    }
    Ok(bytes)
}

/// The leaves in a bundle of `width` entries (1 to 256), in order.
///
/// # Errors
/// One variant per failed check.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    if width > TILE_WIDTH {
        return Err(BundleError::TooManyEntries { got: width.into() });
    }
    let mut rest = bytes;
    let mut leaves = Vec::with_capacity(width.into());
    for entry in 0..usize::from(width) {
        let split = rest.split_first_chunk().and_then(|(length, tail)| {
            tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let (leaf, tail) = split.ok_or(BundleError::Truncated { entry })?;
        leaves.push(leaf);
        rest = tail;
    }
    if !rest.is_empty() {
        let got = rest.len();
        return Err(BundleError::Trailing { width, got });
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let leaves = [b"one".to_vec(), Vec::new(), vec![7; MAX_ENTRY_BYTES]];
        let bytes = encode_bundle(&leaves).unwrap();
        assert_eq!(bytes.get(..7), Some(b"\0\x03one\0\0".as_slice()));
        assert_eq!(decode_bundle(&bytes, 3).unwrap(), leaves);
    }

    #[test]
    fn refuses_bundles_of_another_shape() {
        let bytes = encode_bundle(&["a", "bc"]).unwrap();
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(decode_bundle(cut, 2), Err(BundleError::Truncated { entry: 1 }));
        assert_eq!(decode_bundle(&bytes, 3), Err(BundleError::Truncated { entry: 2 }));
        assert_eq!(decode_bundle(&bytes, 1), Err(BundleError::Trailing { width: 1, got: 4 }));
        let (entry, got) = (0, MAX_ENTRY_BYTES + 1);
        let long = encode_bundle(&[vec![0; got]]);
        assert_eq!(long, Err(BundleError::EntryTooLong { entry, got }));
        let many = encode_bundle(&[""; 257]);
        assert_eq!(many, Err(BundleError::TooManyEntries { got: 257 }));
    }
}
