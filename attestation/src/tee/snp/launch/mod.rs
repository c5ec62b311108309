//! The launch digest, recomputed from what a host puts into a guest before it starts: firmware,
//! what the firmware is to check (kernel, initial RAM disk, command line), virtual processors.
//!
//! AMD's firmware chains one SHA-384 step per page (AMD 56860, SNP_LAUNCH_UPDATE, PAGE_INFO): the
//! digest so far, the page's contents, its type and its guest address. Which pages there are, in
//! which order, is the hypervisor's business: QEMU, EC2 and Google's differ a little ([`Vmm`]).
//!
//! ```
//! use bulla_attestation::tee::snp::launch::{CpuSignature, DirectBoot, LaunchInputs, Vmm};
//!
//! # fn digest(firmware: &[u8], kernel: &[u8], initrd: &[u8])
//! # -> Result<[u8; 48], bulla_attestation::tee::snp::launch::LaunchError> {
//! let cpu = CpuSignature::of_qemu_type("EPYC-Genoa").expect("a type QEMU knows");
//! LaunchInputs {
//!     firmware,
//!     firmware_digest: None,
//!     boot: Some(DirectBoot::of(kernel, initrd, "console=ttyS0")),
//!     vcpus: 4,
//!     guest_features: 1,
//!     vmm: Vmm::Qemu { cpu },
//! }
//! .digest()
//! # }
//! # assert!(digest(b"too short", b"", b"").is_err());
//! ```
//!
//! The result is what [`Expectations::measurement`](crate::raw::Expectations) wants.
//!
//! Left out, visibly: IGVM files, and firmware behind an SVSM.

mod context;
mod cpu;
pub(in crate::tee) mod firmware;
mod hashes;
pub mod id_block;
mod vmsa;

pub use cpu::CpuSignature;
pub use hashes::DirectBoot;

use self::context::{Context, Page};
use self::firmware::{Firmware, Section, SectionKind};
use self::hashes::TABLE_BYTES;

/// Largest firmware in bytes (ours; OVMF is 2 to 16 MiB).
pub const MAX_FIRMWARE_BYTES: usize = 64 * 1024 * 1024;
/// Most virtual processors (Linux: KVM_MAX_VCPUS).
pub const MAX_VCPUS: u32 = 4096;
/// Most pages the firmware's sections may name together (ours; OVMF names under 64): 256 MiB.
pub const MAX_SECTION_PAGES: u64 = 65_536;

/// Size of a page.
const PAGE_BYTES: usize = 4096;

/// Why there is no launch digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The firmware is empty, no whole number of pages, or too large.
    #[error("firmware must be 1 page to {MAX_FIRMWARE_BYTES} bytes, in pages, got {got}")]
    FirmwareLength {
        /// Bytes given.
        got: usize,
    },
    /// A table in the firmware does not hold together.
    #[error("the firmware's {table} does not read")]
    FirmwareTable {
        /// Which.
        table: &'static str,
    },
    /// A table that is needed is not there.
    #[error("the firmware has no {table}")]
    MissingTable {
        /// Which.
        table: &'static str,
    },
    /// A section of a kind nobody taught us, so its page type is unknown.
    #[error("the firmware has a section of unknown kind {kind:#x}")]
    UnknownSection {
        /// As the firmware says.
        kind: u32,
    },
    /// A section that is not made of whole pages, or of too many.
    #[error("a section of {got} bytes: whole pages are wanted, {MAX_SECTION_PAGES} in all")]
    SectionLength {
        /// Bytes of the section.
        got: u32,
    },
    /// A kernel is given, but this firmware has no place to check its hash.
    #[error("a kernel is given, but the firmware has no section for its hashes")]
    NoKernelHashes,
    /// The hash table would not fit where the firmware wants it.
    #[error("the hash table does not fit at offset {offset:#x} of its page")]
    HashesBeyondPage {
        /// Where it would begin.
        offset: usize,
    },
    /// None, or too many.
    #[error("1 to {MAX_VCPUS} virtual processors, got {got}")]
    Vcpus {
        /// How many.
        got: u32,
    },
}

/// Which hypervisor lays out the guest: they set processor registers and order pages differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vmm {
    /// QEMU with KVM, which shows the guest this processor.
    Qemu {
        /// As CPUID says.
        cpu: CpuSignature,
    },
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
}

/// Everything the launch digest depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchInputs<'a> {
    /// OVMF, as it is mapped to end at 4 GiB. Where [`Self::firmware_digest`] is given, its last
    /// pages are enough: those that hold its tables.
    pub firmware: &'a [u8],
    /// The digest after the firmware's own pages, where somebody computed it before.
    pub firmware_digest: Option<[u8; 48]>,
    /// What the firmware is to check and boot; `None` where it boots from a disk.
    pub boot: Option<DirectBoot>,
    /// Virtual processors.
    pub vcpus: u32,
    /// SEV_FEATURES of the guest: bit 0 is SNP.
    pub guest_features: u64,
    /// Who launches it.
    pub vmm: Vmm,
}

impl LaunchInputs<'_> {
    /// The launch digest, as MEASUREMENT of a report shows it.
    pub fn digest(&self) -> Result<[u8; 48], LaunchError> {
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return Err(LaunchError::Vcpus { got: self.vcpus });
        }
        let firmware = Firmware::parse(self.firmware)?;
        let mut context = match self.firmware_digest {
            Some(digest) => Context::from(digest),
            None => firmware_pages(&firmware),
        };
        self.sections(&firmware, &mut context)?;
        self.processors(&firmware, &mut context)?;
        Ok(context.digest())
    }

    fn sections(&self, firmware: &Firmware<'_>, context: &mut Context) -> Result<(), LaunchError> {
        let sections = firmware.sections()?;
        let has_hashes = sections.iter().any(|section| section.kind == SectionKind::KernelHashes);
        if self.boot.is_some() && !has_hashes {
            return Err(LaunchError::NoKernelHashes);
        }
        let is_late =
            |section: &&Section| self.vmm == Vmm::Ec2 && section.kind == SectionKind::Cpuid;
        for section in sections.iter().filter(|section| !is_late(section)) {
            self.section(firmware, *section, context)?;
        }
        for section in sections.iter().filter(is_late) {
            self.section(firmware, *section, context)?;
        }
        Ok(())
    }

    fn section(
        &self,
        firmware: &Firmware<'_>,
        section: Section,
        context: &mut Context,
    ) -> Result<(), LaunchError> {
        let memory = match self.vmm {
            Vmm::Gce => Page::Unmeasured,
            Vmm::Qemu { .. } | Vmm::Ec2 => Page::Zero,
        };
        match (section.kind, &self.boot) {
            (SectionKind::Memory, _) => context.add_pages(memory, section),
            (SectionKind::Secrets, _) => context.add(Page::Secrets, section.address),
            (SectionKind::Cpuid, _) => context.add(Page::Cpuid, section.address),
            (SectionKind::CallingArea, _) | (SectionKind::KernelHashes, None) => {
                context.add_pages(Page::Zero, section);
            }
            (SectionKind::KernelHashes, Some(boot)) => {
                let page = hashes_page(firmware, boot, section)?;
                context.add(Page::Normal(&page), section.address);
            }
        }
        Ok(())
    }

    fn processors(
        &self,
        firmware: &Firmware<'_>,
        context: &mut Context,
    ) -> Result<(), LaunchError> {
        let first = vmsa::page(vmsa::FIRST_RESET, self.guest_features, self.vmm);
        context.add(Page::Vmsa(&first), context::VMSA_ADDRESS);
        if self.vcpus == 1 {
            return Ok(());
        }
        let other = vmsa::page(firmware.reset_address()?, self.guest_features, self.vmm);
        let contents = context::contents(&other);
        for _ in 1..self.vcpus {
            context.add_hashed_vmsa(&contents);
        }
        Ok(())
    }
}

/// The digest after the firmware's own pages: what [`LaunchInputs::firmware_digest`] takes.
pub fn firmware_digest(firmware: &[u8]) -> Result<[u8; 48], LaunchError> {
    Ok(firmware_pages(&Firmware::parse(firmware)?).digest())
}

fn firmware_pages(firmware: &Firmware<'_>) -> Context {
    let mut context = Context::new();
    for (address, page) in firmware.pages() {
        context.add(Page::Normal(page), address);
    }
    context
}

/// The page with the hash table where the firmware looks for it.
fn hashes_page(
    firmware: &Firmware<'_>,
    boot: &DirectBoot,
    section: Section,
) -> Result<[u8; PAGE_BYTES], LaunchError> {
    if section.pages() != 1 {
        return Err(LaunchError::SectionLength { got: section.bytes });
    }
    let offset = firmware.hash_table_address()? as usize % PAGE_BYTES;
    let mut page = [0; PAGE_BYTES];
    let room = page.get_mut(offset..offset + TABLE_BYTES);
    room.ok_or(LaunchError::HashesBeyondPage { offset })?.copy_from_slice(&boot.table());
    Ok(page)
}
