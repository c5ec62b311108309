//! What touches the world: files, apt, the compiler, QEMU.

pub mod apt;
pub mod compiler;
pub mod encrypted;
pub mod files;
pub mod qemu;
pub mod tpm;
