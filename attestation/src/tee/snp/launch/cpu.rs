//! The processor QEMU shows a guest: part of the register state at reset, so of the digest.

/// A processor as CPUID Fn0000_0001 EAX names it (AMD 25481).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuSignature(pub u32);

/// Family, model and stepping of the types QEMU knows (target/i386/cpu.c). All versions of a type
/// (`-v1`, …) share them.
const QEMU_TYPES: [(&str, [u8; 3]); 6] = [
    ("EPYC", [23, 1, 2]),
    ("EPYC-IBPB", [23, 1, 2]),
    ("EPYC-Rome", [23, 49, 0]),
    ("EPYC-Milan", [25, 1, 1]),
    ("EPYC-Genoa", [25, 17, 0]),
    ("EPYC-Turin", [26, 0, 0]),
];

impl CpuSignature {
    /// The signature of family, model and stepping.
    pub fn of(family: u8, model: u8, stepping: u8) -> CpuSignature {
        let [family, model, stepping] = [family, model, stepping].map(u32::from);
        let (base, extended) = (family.min(0xf), family.saturating_sub(0xf));
        let model = (model >> 4) << 16 | (model & 0xf) << 4;
        CpuSignature(extended << 20 | model | base << 8 | stepping & 0xf)
    }

    /// The signature of a type as QEMU calls it, such as `EPYC-Milan` or `EPYC-v4`.
    pub fn of_qemu_type(name: &str) -> Option<CpuSignature> {
        let is_version = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let stem = match name.rsplit_once("-v") {
            Some((stem, version)) if is_version(version) => stem,
            _ => name,
        };
        let (_, [family, model, stepping]) = QEMU_TYPES.iter().find(|(known, _)| *known == stem)?;
        Some(CpuSignature::of(*family, *model, *stepping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_processors_as_cpuid_does() {
        assert_eq!(CpuSignature::of(23, 1, 2), CpuSignature(0x0080_0f12));
        assert_eq!(CpuSignature::of_qemu_type("EPYC-v4"), Some(CpuSignature(8_392_466)));
        assert_eq!(CpuSignature::of_qemu_type("EPYC-Rome-v2"), Some(CpuSignature(0x0083_0f10)));
        assert_eq!(CpuSignature::of_qemu_type("EPYC-Genoa"), Some(CpuSignature(0x00a1_0f10)));
        for unknown in ["EPYC-v", "EPYC-vx", "epyc", "Skylake", "EPYC-Genoa-v1-v2"] {
            assert_eq!(CpuSignature::of_qemu_type(unknown), None, "{unknown}");
        }
    }
}
