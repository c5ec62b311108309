//! What a TPM's register 9 holds after Linux was started by UEFI firmware with command line and
//! initial RAM disk in hand (QEMU's `-kernel`, `-initrd`, `-append`).
//!
//! Linux's EFI stub measures both into register 9 before it leaves the firmware
//! (drivers/firmware/efi/libstub/efi-stub-helper.c): the command line as the UTF-16 text it came
//! in, with the 16-bit zero at its end, then the RAM disk.

use crate::hash::{sha256, sha256_of};

/// What QEMU appends so that the stub finds the RAM disk (hw/i386/x86.c of OVMF's loader).
const INITRD: &str = " initrd=initrd";

/// The command line as Linux is loaded with it.
pub fn loaded_with(command_line: &str) -> String {
    format!("{command_line}{INITRD}")
}

/// Register 9 of the SHA-256 bank.
pub fn register_9(command_line: &str, initramfs: &[u8]) -> [u8; 32] {
    let text = format!("{}\0", loaded_with(command_line));
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    extend(extend([0; 32], sha256(&utf16)), sha256(initramfs))
}

/// TPM2_PCR_Extend.
fn extend(register: [u8; 32], digest: [u8; 32]) -> [u8; 32] {
    sha256_of(&[&register, &digest])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_or_one_byte_changes_it() {
        let value = register_9("quiet", b"initrd");
        assert_ne!(value, register_9("quiet bulla.development=1", b"initrd"));
        assert_ne!(value, register_9("quiet", b"Initrd"));
        assert_eq!(value, register_9("quiet", b"initrd"));
    }
}
