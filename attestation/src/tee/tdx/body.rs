//! The body of a TD quote: what the TDX module reported of the TD (Intel TDX DCAP quoting library,
//! `sgx_report2_body_t` and `sgx_report2_body_v1_5_t`).

/// Length of a body in bytes.
pub const TD_1_0_BYTES: usize = 584;
/// The same since TDX 1.5, which adds the TCB that runs now and the service TD.
pub const TD_1_5_BYTES: usize = 648;

/// Which layout a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// TDX 1.0.
    Td10,
    /// TDX 1.5.
    Td15,
}

impl BodyKind {
    /// Length in bytes.
    pub fn bytes(self) -> usize {
        match self {
            BodyKind::Td10 => TD_1_0_BYTES,
            BodyKind::Td15 => TD_1_5_BYTES,
        }
    }

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            BodyKind::Td10 => "td1.0",
            BodyKind::Td15 => "td1.5",
        }
    }
}

/// Attributes of a TD (TDX module ABI, ATTRIBUTES).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdAttributes(pub [u8; 8]);

/// Bits that have a name.
const NAMES: [(u32, &str); 13] = [
    (0, "DEBUG"),
    (4, "HGS_PLUS_PROF"),
    (5, "PERF_PROF"),
    (6, "PMT_PROF"),
    (16, "ICSSD"),
    (17, "SERVTD_EXT"),
    (27, "LASS"),
    (28, "SEPT_VE_DISABLE"),
    (29, "MIGRATABLE"),
    (30, "PKS"),
    (31, "KL"),
    (62, "TPA"),
    (63, "PERFMON"),
];

impl TdAttributes {
    fn has(self, bit: u32) -> bool {
        u64::from_le_bytes(self.0) >> bit & 1 == 1
    }

    /// Bit 0: the host reads and writes the TD.
    pub fn debug(self) -> bool {
        self.has(0)
    }

    /// Bits 4 to 6: the host watches performance counters of the TD.
    pub fn profiling(self) -> bool {
        (4..=6).any(|bit| self.has(bit))
    }

    /// Bit 28: pages the host takes away raise no exception the TD might mishandle.
    pub fn sept_ve_disable(self) -> bool {
        self.has(28)
    }

    /// Bit 29: a service TD may move it to another platform.
    pub fn migratable(self) -> bool {
        self.has(29)
    }

    /// The bits that are set, in Intel's words; those without a name as `BIT_n`.
    pub fn words(self) -> Vec<String> {
        let name = |bit: u32| {
            let named = NAMES.iter().find(|(number, _)| *number == bit);
            named.map_or_else(|| format!("BIT_{bit}"), |(_, name)| (*name).to_owned())
        };
        (0..64).filter(|bit| self.has(*bit)).map(name).collect()
    }
}

/// What the TDX module reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Which layout.
    pub kind: BodyKind,
    /// Security versions of the TDX module and its parts when the TD was launched.
    pub tee_tcb_svn: [u8; 16],
    /// Measurement of the TDX module.
    pub mrseam: [u8; 48],
    /// Who signed the TDX module; zero means Intel.
    pub mrsignerseam: [u8; 48],
    /// Attributes of the TDX module.
    pub seam_attributes: [u8; 8],
    /// Attributes of the TD.
    pub td_attributes: TdAttributes,
    /// Extended processor features it may use.
    pub xfam: [u8; 8],
    /// Measurement of what the TD began with.
    pub mrtd: [u8; 48],
    /// Configuration the owner set.
    pub mrconfigid: [u8; 48],
    /// The owner.
    pub mrowner: [u8; 48],
    /// Configuration of the owner.
    pub mrownerconfig: [u8; 48],
    /// Measurements made at run time.
    pub rtmrs: [[u8; 48]; 4],
    /// What the TD had signed.
    pub report_data: [u8; 64],
    /// Security versions that run now; since TDX 1.5, where the module can be updated under a TD.
    pub tee_tcb_svn2: Option<[u8; 16]>,
    /// Measurement of the service TDs bound to it; since TDX 1.5.
    pub mrservicetd: Option<[u8; 48]>,
}

impl Body {
    /// Reads a body of exactly the length of its kind.
    pub(super) fn read(kind: BodyKind, bytes: &[u8]) -> Option<Body> {
        if bytes.len() != kind.bytes() {
            return None;
        }
        let since_1_5 = kind == BodyKind::Td15;
        Some(Body {
            kind,
            tee_tcb_svn: at(bytes, 0)?,
            mrseam: at(bytes, 16)?,
            mrsignerseam: at(bytes, 64)?,
            seam_attributes: at(bytes, 112)?,
            td_attributes: TdAttributes(at(bytes, 120)?),
            xfam: at(bytes, 128)?,
            mrtd: at(bytes, 136)?,
            mrconfigid: at(bytes, 184)?,
            mrowner: at(bytes, 232)?,
            mrownerconfig: at(bytes, 280)?,
            rtmrs: [at(bytes, 328)?, at(bytes, 376)?, at(bytes, 424)?, at(bytes, 472)?],
            report_data: at(bytes, 520)?,
            tee_tcb_svn2: if since_1_5 { Some(at(bytes, 584)?) } else { None },
            mrservicetd: if since_1_5 { Some(at(bytes, 600)?) } else { None },
        })
    }
}

/// `N` bytes at `offset`.
pub(super) fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_kinds_have_their_names() {
        let with = |bit: usize| {
            let mut bytes = [0; 8];
            bytes[bit / 8] = 1 << (bit % 8);
            TdAttributes(bytes)
        };
        assert!(with(28).sept_ve_disable() && !with(29).sept_ve_disable());
        assert!(with(29).migratable() && !with(28).migratable());
        assert_eq!([BodyKind::Td10, BodyKind::Td15].map(BodyKind::as_str), ["td1.0", "td1.5"]);
    }

    #[test]
    fn attributes_are_told_in_words() {
        let attributes = TdAttributes((1_u64 | 1 << 28 | 1 << 29 | 1 << 40).to_le_bytes());
        assert_eq!(attributes.words(), ["DEBUG", "SEPT_VE_DISABLE", "MIGRATABLE", "BIT_40"]);
        assert!(attributes.debug() && attributes.sept_ve_disable() && attributes.migratable());
        assert!(!attributes.profiling() && TdAttributes([0x20, 0, 0, 0, 0, 0, 0, 0]).profiling());
    }

    #[test]
    fn a_body_has_exactly_its_length() {
        assert!(Body::read(BodyKind::Td10, &[0; TD_1_0_BYTES]).is_some());
        for length in [0, TD_1_0_BYTES - 1, TD_1_0_BYTES + 1, TD_1_5_BYTES] {
            assert!(Body::read(BodyKind::Td10, &vec![0; length]).is_none());
        }
        let newer = Body::read(BodyKind::Td15, &[1; TD_1_5_BYTES]).unwrap();
        assert_eq!((newer.tee_tcb_svn2, newer.mrservicetd), (Some([1; 16]), Some([1; 48])));
    }
}
