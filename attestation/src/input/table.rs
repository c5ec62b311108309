//! The certificate table a hypervisor hands an SEV-SNP guest (GHCB specification, MSG_REPORT_REQ;
//! configfs-tsm's `auxblob`): entries of GUID (16), offset (4), length (4), little-endian, ended by
//! an entry of zeros, and the certificates behind.

/// One entry, in bytes.
const ENTRY_BYTES: usize = 24;
/// Most entries (ours; hosts give three).
const MAX_ENTRIES: usize = 32;

/// The certificates of a table. What its GUIDs call them is not read: the verifier finds out by
/// content. A table that lies about its lengths gives what is readable.
pub fn certificate_table(table: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    for entry in table.chunks_exact(ENTRY_BYTES).take(MAX_ENTRIES) {
        if entry.iter().all(|byte| *byte == 0) {
            break;
        }
        let number = |at: usize| {
            let bytes = entry.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
        };
        let (offset, length) = (number(16), number(20));
        let certificate = table.get(offset..offset.saturating_add(length)).unwrap_or_default();
        if !certificate.is_empty() {
            found.push(certificate);
        }
    }
    found
}

/// Whether `bytes` are such a table: the first certificate begins behind the entries and is DER or
/// PEM.
pub(super) fn is_certificate_table(bytes: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let (Some(offset), Some(length)) = (number(16), number(20)) else { return false };
    let first = bytes.get(offset..offset.saturating_add(length)).unwrap_or_default();
    offset >= 2 * ENTRY_BYTES
        && (first.starts_with(&[0x30, 0x82]) || first.starts_with(b"-----BEGIN "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pieces: &[&[u8]]) -> Vec<u8> {
        let mut header = Vec::new();
        let mut offset = (pieces.len() + 1) * ENTRY_BYTES;
        for piece in pieces {
            header.extend([7; 16]);
            header.extend((offset as u32).to_le_bytes());
            header.extend((piece.len() as u32).to_le_bytes());
            offset += piece.len();
        }
        header.extend([0; ENTRY_BYTES]);
        [header, pieces.concat()].concat()
    }

    #[test]
    fn gives_the_pieces_and_survives_lies() {
        let pieces: [&[u8]; 2] = [&[0x30, 0x82, 1, 2], &[0x30, 0x82, 3]];
        let whole = table(&pieces);
        assert_eq!(certificate_table(&whole), pieces);
        assert!(is_certificate_table(&whole));
        for cut in 0..whole.len() {
            let _ = certificate_table(&whole[..cut]);
        }
        let mut lying = whole.clone();
        lying[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(certificate_table(&lying), pieces[1..]);
        assert!(!is_certificate_table(&lying));
        assert!(certificate_table(&[]).is_empty());
        // What lies behind the entry of zeros is no entry, though it reads like one.
        let like_an_entry = [&[7; 16][..], &0u32.to_le_bytes(), &4u32.to_le_bytes()].concat();
        assert_eq!(certificate_table(&table(&[&like_an_entry])), [like_an_entry]);
    }

    #[test]
    fn the_first_certificate_begins_behind_one_entry_and_the_zeros() {
        let begins_at = |offset: u32| {
            let mut table = [&[7; 16][..], &offset.to_le_bytes(), &4u32.to_le_bytes()].concat();
            table.resize(offset as usize, 0);
            table.extend([0x30, 0x82, 1, 2]);
            is_certificate_table(&table)
        };
        assert_eq!([24, 47, 48].map(begins_at), [false, false, true]);
    }
}
