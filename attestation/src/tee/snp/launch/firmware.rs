//! What OVMF says of itself at its end: a table of blocks, each found by a GUID (edk2,
//! OvmfPkg/ResetVector: the table is read backwards from 32 bytes before the end).

use super::{LaunchError, MAX_FIRMWARE_BYTES, MAX_SECTION_PAGES, PAGE_BYTES};

/// The end of the firmware in guest memory.
const END: u64 = 1 << 32;
/// Between the end of the table and the end of the firmware: the reset vector.
const AFTER_TABLE_BYTES: usize = 32;
/// Length and GUID behind each block.
const ENTRY_BYTES: usize = 18;
/// Most sections (ours; OVMF has 4 to 8).
const MAX_SECTIONS: usize = 64;

/// GUIDs as their bytes stand: the first three parts little-endian.
const TABLE: [u8; 16] = guid(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
const SEV_METADATA: [u8; 16] = guid(0xdc88_6566, 0x984a, 0x4798, 0xa75e_5585_a7bf_67cc);
const HASH_TABLE: [u8; 16] = guid(0x7255_371f, 0x3a3b, 0x4b04, 0x927b_1da6_efa8_d454);
const RESET_BLOCK: [u8; 16] = guid(0x00f7_71de, 0x1a7e, 0x4fcb, 0x890e_68c7_7e2f_b44e);

const METADATA_MAGIC: &[u8; 4] = b"ASEV";
const METADATA_HEADER_BYTES: usize = 16;
const SECTION_BYTES: usize = 12;

/// A GUID from its five parts, the last two as one number.
pub(in crate::tee) const fn guid(a: u32, b: u16, c: u16, rest: u64) -> [u8; 16] {
    let [a0, a1, a2, a3] = a.to_le_bytes();
    let ([b0, b1], [c0, c1]) = (b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest.to_be_bytes();
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// What a section of guest memory is for (edk2, OvmfSevMetadata.asm).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Memory the firmware uses before it has accepted any.
    Memory,
    /// The secrets page.
    Secrets,
    /// The CPUID page.
    Cpuid,
    /// Calling area of an SVSM.
    CallingArea,
    /// The page with hashes of kernel, initial RAM disk and command line.
    KernelHashes,
}

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    pub kind: SectionKind,
    /// Where it begins.
    pub address: u64,
    /// Its length, in whole pages.
    pub bytes: u32,
}

impl Section {
    /// Its length in pages.
    pub fn pages(self) -> u64 {
        u64::from(self.bytes) / PAGE_BYTES as u64
    }
}

/// Firmware, with the blocks of its table.
pub(in crate::tee) struct Firmware<'a> {
    bytes: &'a [u8],
    /// The table, without its own footer.
    table: &'a [u8],
}

impl<'a> Firmware<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Firmware<'a>, LaunchError> {
        let got = bytes.len();
        if got == 0 || got > MAX_FIRMWARE_BYTES || !got.is_multiple_of(PAGE_BYTES) {
            return Err(LaunchError::FirmwareLength { got });
        }
        let table = table(bytes).ok_or(LaunchError::MissingTable { table: "table of blocks" })?;
        Ok(Firmware { bytes, table })
    }

    /// Its pages and their addresses.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let addresses = (END - self.bytes.len() as u64..END).step_by(PAGE_BYTES);
        addresses.zip(self.bytes.chunks_exact(PAGE_BYTES))
    }

    /// Where processors but the first begin.
    pub fn reset_address(&self) -> Result<u32, LaunchError> {
        self.first_word(&RESET_BLOCK, "reset block")
    }

    /// Where the firmware looks for the hash table.
    pub fn hash_table_address(&self) -> Result<u32, LaunchError> {
        match self.first_word(&HASH_TABLE, "hash table block")? {
            0 => Err(LaunchError::NoKernelHashes),
            address => Ok(address),
        }
    }

    /// The sections it wants before it starts, in its order; none without metadata.
    pub(super) fn sections(&self) -> Result<Vec<Section>, LaunchError> {
        let broken = LaunchError::FirmwareTable { table: "SEV metadata" };
        let Some(block) = self.block(&SEV_METADATA)? else { return Ok(Vec::new()) };
        let from_end = first_word(block).and_then(|word| usize::try_from(word).ok());
        let metadata = from_end
            .and_then(|from_end| self.bytes.len().checked_sub(from_end))
            .and_then(|start| self.bytes.get(start..))
            .ok_or(broken.clone())?;
        let (header, rest) =
            metadata.split_first_chunk::<METADATA_HEADER_BYTES>().ok_or(broken.clone())?;
        let [magic, bytes, version, count] = words::<4>(header);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let length = count.saturating_mul(SECTION_BYTES);
        let fits = u64::from(bytes) >= (METADATA_HEADER_BYTES.saturating_add(length)) as u64;
        if magic != u32::from_le_bytes(*METADATA_MAGIC) || version != 1 || !fits {
            return Err(broken);
        }
        if count > MAX_SECTIONS {
            return Err(broken);
        }
        let descriptions = rest.get(..length).ok_or(broken)?.chunks_exact(SECTION_BYTES);
        let sections: Vec<Section> = descriptions.map(section).collect::<Result<_, _>>()?;
        let pages: u64 = sections.iter().map(|section| section.pages()).sum();
        match sections.iter().max_by_key(|section| section.bytes) {
            Some(largest) if pages > MAX_SECTION_PAGES => {
                Err(LaunchError::SectionLength { got: largest.bytes })
            }
            _ => Ok(sections),
        }
    }

    fn first_word(&self, guid: &[u8; 16], name: &'static str) -> Result<u32, LaunchError> {
        let block = self.block(guid)?.ok_or(LaunchError::MissingTable { table: name })?;
        first_word(block).ok_or(LaunchError::FirmwareTable { table: name })
    }

    /// The block called `guid`. Two of them are an error: hypervisors would differ in which counts.
    pub fn block(&self, guid: &[u8; 16]) -> Result<Option<&'a [u8]>, LaunchError> {
        let broken = LaunchError::FirmwareTable { table: "table of blocks" };
        let mut table = self.table;
        let mut found = None;
        while let Some((rest, entry)) = table.split_last_chunk::<ENTRY_BYTES>() {
            let (length, name) = entry_parts(entry);
            let data = length.checked_sub(ENTRY_BYTES).ok_or(broken.clone())?;
            let start = rest.len().checked_sub(data).ok_or(broken.clone())?;
            let (before, block) = rest.split_at_checked(start).ok_or(broken.clone())?;
            if name == guid && found.replace(block).is_some() {
                return Err(broken);
            }
            table = before;
        }
        Ok(found)
    }
}

/// The blocks in front of the table's footer; `None` where there is no such footer.
fn table(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.len().checked_sub(AFTER_TABLE_BYTES)?;
    let (before, footer) = bytes.get(..end)?.split_last_chunk::<ENTRY_BYTES>()?;
    let (length, name) = entry_parts(footer);
    let start = before.len().checked_sub(length.checked_sub(ENTRY_BYTES)?)?;
    (*name == TABLE).then_some(before.get(start..)?)
}

/// Length and name of an entry.
fn entry_parts(entry: &[u8; ENTRY_BYTES]) -> (usize, &[u8]) {
    let [low, high, name @ ..] = entry;
    (usize::from(u16::from_le_bytes([*low, *high])), name)
}

fn first_word(block: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*block.first_chunk()?))
}

fn section(description: &[u8]) -> Result<Section, LaunchError> {
    let [address, bytes, kind] = words::<3>(description);
    let kind = match kind {
        1 => SectionKind::Memory,
        2 => SectionKind::Secrets,
        3 => SectionKind::Cpuid,
        4 => SectionKind::CallingArea,
        0x10 => SectionKind::KernelHashes,
        kind => return Err(LaunchError::UnknownSection { kind }),
    };
    if !bytes.is_multiple_of(PAGE_BYTES as u32) {
        return Err(LaunchError::SectionLength { got: bytes });
    }
    Ok(Section { kind, address: address.into(), bytes })
}

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One page: metadata at its beginning, the table at its end.
    fn firmware(sections: &[[u32; 3]], blocks: &[(&[u8; 16], &[u8])]) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        let count = sections.len() as u32;
        let header = [u32::from_le_bytes(*METADATA_MAGIC), 16 + 12 * count, 1, count];
        let words: Vec<u8> =
            header.iter().chain(sections.as_flattened()).flat_map(|w| w.to_le_bytes()).collect();
        page[..words.len()].copy_from_slice(&words);
        let mut table = Vec::new();
        for (name, data) in blocks {
            table.extend(*data);
            table.extend(((data.len() + ENTRY_BYTES) as u16).to_le_bytes());
            table.extend(*name);
        }
        table.extend(((table.len() + ENTRY_BYTES) as u16).to_le_bytes());
        table.extend(TABLE);
        let end = PAGE_BYTES - AFTER_TABLE_BYTES;
        page[end - table.len()..end].copy_from_slice(&table);
        page
    }

    const WHOLE: [u8; 4] = (PAGE_BYTES as u32).to_le_bytes();

    #[test]
    fn finds_blocks_and_sections() {
        let blocks: [(&[u8; 16], &[u8]); 2] =
            [(&RESET_BLOCK, &[4, 3, 2, 1]), (&SEV_METADATA, &WHOLE)];
        let bytes = firmware(&[[0x1000, 0x2000, 1], [0x3000, 0x1000, 0x10]], &blocks);
        let firmware = Firmware::parse(&bytes).unwrap();
        assert_eq!(firmware.reset_address(), Ok(0x0102_0304));
        let sections = firmware.sections().unwrap();
        assert_eq!(sections[0].pages(), 2);
        assert_eq!(sections[1].kind, SectionKind::KernelHashes);
        let missing = LaunchError::MissingTable { table: "hash table block" };
        assert_eq!(firmware.hash_table_address(), Err(missing));
    }

    #[test]
    fn refuses_lengths_that_are_no_pages_and_firmware_without_a_table() {
        for got in [0, 1, PAGE_BYTES - 1, PAGE_BYTES + 1] {
            let error = Firmware::parse(&vec![0; got]).err();
            assert_eq!(error, Some(LaunchError::FirmwareLength { got }));
        }
        let none = Some(LaunchError::MissingTable { table: "table of blocks" });
        assert_eq!(Firmware::parse(&[0; PAGE_BYTES]).err(), none);
    }

    #[test]
    fn refuses_a_block_given_twice() {
        let blocks: [(&[u8; 16], &[u8]); 2] = [(&RESET_BLOCK, &WHOLE), (&RESET_BLOCK, &WHOLE)];
        let bytes = firmware(&[], &blocks);
        let broken = LaunchError::FirmwareTable { table: "table of blocks" };
        assert_eq!(Firmware::parse(&bytes).unwrap().reset_address(), Err(broken));
    }

    #[test]
    fn refuses_sections_of_unknown_kind_odd_length_or_without_bound() {
        let judge = |section: [u32; 3]| {
            let bytes = firmware(&[section], &[(&SEV_METADATA, &WHOLE)]);
            Firmware::parse(&bytes).unwrap().sections().unwrap_err()
        };
        assert_eq!(judge([0, 0x1000, 5]), LaunchError::UnknownSection { kind: 5 });
        assert_eq!(judge([0, 0x1001, 1]), LaunchError::SectionLength { got: 0x1001 });
        assert_eq!(judge([0, 0xffff_f000, 1]), LaunchError::SectionLength { got: 0xffff_f000 });
    }

    #[test]
    fn refuses_metadata_of_another_kind_and_without_room_for_their_sections() {
        let broken = LaunchError::FirmwareTable { table: "SEV metadata" };
        let one = firmware(&[[0, 0x1000, 1]], &[(&SEV_METADATA, &WHOLE)]);
        // Magic, length, version, number of sections.
        for (at, value) in [(0, 2), (4, 16 + 11), (8, 2), (12, 2)] {
            let mut bytes = one.clone();
            bytes[at] = value;
            let got = Firmware::parse(&bytes).unwrap().sections().err();
            assert_eq!(got, Some(broken.clone()), "{at}");
        }
        assert!(Firmware::parse(&one).unwrap().sections().is_ok());
    }

    #[test]
    fn limits_hold() {
        let sections = |sections: &[[u32; 3]]| {
            let bytes = firmware(sections, &[(&SEV_METADATA, &WHOLE)]);
            Firmware::parse(&bytes).unwrap().sections().map(|sections| sections.len())
        };
        let broken = LaunchError::FirmwareTable { table: "SEV metadata" };
        assert_eq!(sections(&[[0, 0x1000, 1]; MAX_SECTIONS]), Ok(MAX_SECTIONS));
        assert_eq!(sections(&[[0, 0x1000, 1]; MAX_SECTIONS + 1]), Err(broken));
        let largest = MAX_SECTION_PAGES as u32 * PAGE_BYTES as u32;
        assert_eq!(sections(&[[0, largest, 1]]), Ok(1));
        let got = largest + PAGE_BYTES as u32;
        assert_eq!(sections(&[[0, got, 1]]), Err(LaunchError::SectionLength { got }));
        let length = |got: usize| Firmware::parse(&vec![0; got]).err().unwrap();
        let none = LaunchError::MissingTable { table: "table of blocks" };
        assert_eq!(length(64 * 1024 * 1024), none);
        let got = 64 * 1024 * 1024 + PAGE_BYTES;
        assert_eq!(length(got), LaunchError::FirmwareLength { got });
    }

    #[test]
    fn no_flipped_byte_panics() {
        let blocks: [(&[u8; 16], &[u8]); 2] =
            [(&RESET_BLOCK, &[4, 3, 2, 1]), (&SEV_METADATA, &WHOLE)];
        let good = firmware(&[[0x1000, 0x2000, 1]], &blocks);
        for at in (0..64).chain(PAGE_BYTES - 128..PAGE_BYTES) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                if let Ok(firmware) = Firmware::parse(&bytes) {
                    let _ = (firmware.sections(), firmware.reset_address());
                }
            }
        }
    }
}
