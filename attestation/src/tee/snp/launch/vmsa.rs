//! The register state a virtual processor starts with (VMSA; AMD 24593, APM volume 2, table B-4),
//! as each hypervisor sets it. Offsets are of that table; what is not set is zero.

use super::{CpuSignature, PAGE_BYTES, Vmm};

/// Where the first processor begins: 16 bytes below 4 GiB.
pub(super) const FIRST_RESET: u32 = 0xffff_fff0;

/// Segment registers: selector, attributes, limit, base; 16 bytes each from offset 0.
const SEGMENTS: [&str; 10] = ["es", "cs", "ss", "ds", "fs", "gs", "gdtr", "ldtr", "idtr", "tr"];
const SEGMENT_BYTES: usize = 16;
const SEGMENT_LIMIT: u32 = 0xffff;

/// Processor model QEMU does not get to say: what EC2 and GCE leave in RDX.
const RDX_WITHOUT_CPU: u64 = 0x600;

/// The page of a processor that begins at `reset`.
pub(super) fn page(reset: u32, sev_features: u64, vmm: Vmm) -> [u8; PAGE_BYTES] {
    let state = State::of(vmm, reset);
    let mut page = [0; PAGE_BYTES];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(room) = page.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    };
    for (index, name) in SEGMENTS.into_iter().enumerate() {
        let (selector, base) = match name {
            "cs" => (0xf000u16, u64::from(reset & 0xffff_0000)),
            _ => (0, 0),
        };
        let at = index * SEGMENT_BYTES;
        put(at, &selector.to_le_bytes());
        put(at + 2, &state.attributes(name).to_le_bytes());
        put(at + 4, &SEGMENT_LIMIT.to_le_bytes());
        put(at + 8, &base.to_le_bytes());
    }
    let registers: [(usize, u64); 11] = [
        (0x0d0, 0x1000),                    // EFER: SVME
        (0x148, 0x40),                      // CR4: MCE
        (0x158, 0x10),                      // CR0: ET
        (0x160, 0x400),                     // DR7
        (0x168, 0xffff_0ff0),               // DR6
        (0x170, 0x2),                       // RFLAGS
        (0x178, u64::from(reset & 0xffff)), // RIP
        (0x268, state.pat),                 // G_PAT
        (0x310, state.rdx),                 // RDX
        (0x3b0, sev_features),              // SEV_FEATURES
        (0x3e8, 0x1),                       // XCR0: x87
    ];
    for (at, value) in registers {
        put(at, &value.to_le_bytes());
    }
    put(0x408, &state.mxcsr.to_le_bytes());
    put(0x410, &state.x87_control.to_le_bytes());
    page
}

/// In what hypervisors differ.
struct State {
    cs: u16,
    ss: u16,
    tr: u16,
    pat: u64,
    rdx: u64,
    mxcsr: u32,
    x87_control: u16,
}

impl State {
    fn of(vmm: Vmm, reset: u32) -> State {
        /// APM volume 2, §7.8: PAT after reset.
        const PAT: u64 = 0x0007_0406_0007_0406;
        let common =
            State { cs: 0x9b, ss: 0x93, tr: 0x8b, pat: PAT, rdx: 0, mxcsr: 0, x87_control: 0 };
        match vmm {
            Vmm::Qemu { cpu: CpuSignature(signature) } => {
                let rdx = signature.into();
                State { rdx, mxcsr: 0x1f80, x87_control: 0x37f, ..common }
            }
            Vmm::Ec2 => {
                let cs = if reset == FIRST_RESET { 0x9a } else { 0x9b };
                State { cs, ss: 0x92, tr: 0x83, rdx: RDX_WITHOUT_CPU, ..common }
            }
            Vmm::Gce => State { pat: 0x0007_0106, rdx: RDX_WITHOUT_CPU, ..common },
        }
    }

    fn attributes(&self, segment: &str) -> u16 {
        match segment {
            "cs" => self.cs,
            "ss" => self.ss,
            "tr" => self.tr,
            "gdtr" | "idtr" => 0,
            "ldtr" => 0x82,
            _ => 0x93,
        }
    }
}
