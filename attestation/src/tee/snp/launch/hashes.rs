//! The hashes of kernel, initial RAM disk and command line, as QEMU writes them for OVMF to check
//! (QEMU, target/i386/sev.c: SEV hash table).

use super::firmware::guid;

const HEADER: [u8; 16] = guid(0x9438_d606, 0x4f22, 0x4cc9, 0xb479_a793_d411_fd21);
const KERNEL: [u8; 16] = guid(0x4de7_9437, 0xabd2, 0x427f, 0xb835_d5b1_72d2_045b);
const INITRD: [u8; 16] = guid(0x44ba_f731, 0x3a2f, 0x4bd7, 0x9af1_41e2_9169_781d);
const COMMAND_LINE: [u8; 16] = guid(0x97d0_2dd8, 0xbd20, 0x4c94, 0xaa78_e771_4d36_ab2a);

/// GUID, length, SHA-256.
const ENTRY_BYTES: u16 = 16 + 2 + 32;
/// GUID, length, three entries.
const USED_BYTES: u16 = 16 + 2 + 3 * ENTRY_BYTES;
/// Padded to 16 bytes.
pub(super) const TABLE_BYTES: usize = USED_BYTES.next_multiple_of(16) as usize;

/// What the firmware boots directly, by SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectBoot {
    /// Of the kernel image.
    pub kernel_sha256: [u8; 32],
    /// Of the initial RAM disk; of nothing where there is none.
    pub initrd_sha256: [u8; 32],
    /// Of the command line with the zero byte that ends it.
    pub command_line_sha256: [u8; 32],
}

impl DirectBoot {
    /// The hashes of these; `initrd` is empty where there is none.
    pub fn of(kernel: &[u8], initrd: &[u8], command_line: &str) -> DirectBoot {
        DirectBoot {
            kernel_sha256: sha256(kernel),
            initrd_sha256: sha256(initrd),
            command_line_sha256: sha256(&[command_line.as_bytes(), &[0]].concat()),
        }
    }

    /// The table.
    pub(super) fn table(&self) -> [u8; TABLE_BYTES] {
        let entries = [
            (COMMAND_LINE, &self.command_line_sha256),
            (INITRD, &self.initrd_sha256),
            (KERNEL, &self.kernel_sha256),
        ];
        let mut bytes = [&HEADER[..], &USED_BYTES.to_le_bytes()].concat();
        for (name, hash) in entries {
            bytes.extend(name);
            bytes.extend(ENTRY_BYTES.to_le_bytes());
            bytes.extend(hash);
        }
        let mut table = [0; TABLE_BYTES];
        for (to, from) in table.iter_mut().zip(bytes) {
            *to = from;
        }
        table
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    crate::hash::sha256(bytes).0
}
