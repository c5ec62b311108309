//! TCB versions: eight bytes whose meaning depends on the product (AMD 56860, TCB_VERSION).
//!
//! | byte | Milan, Genoa | Turin |
//! |---|---|---|
//! | 0 | boot loader | FMC |
//! | 1 | TEE | boot loader |
//! | 2 | reserved | TEE |
//! | 3 | reserved | SNP |
//! | 4, 5 | reserved | reserved |
//! | 6 | SNP | reserved |
//! | 7 | microcode | microcode |
//!
//! Read in the other layout a value looks like an older or newer firmware, silently; so the raw
//! bytes are kept and only a product line can decode them.

use data_encoding::HEXLOWER;
use serde::{Serialize, Serializer};

use super::product::ProductLine;

/// A TCB version as it stands in a report.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawTcb(pub [u8; 8]);

impl std::fmt::Display for RawTcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl std::fmt::Debug for RawTcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawTcb({self})")
    }
}

impl Serialize for RawTcb {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A TCB version, decoded: one security version number per firmware component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tcb {
    /// Firmware of the microcontroller in front of the boot loader; Turin only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fmc: Option<u8>,
    /// Boot loader of the secure processor.
    pub bootloader: u8,
    /// Operating system of the secure processor.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Low byte of the lowest microcode revision of all cores.
    pub microcode: u8,
}

impl RawTcb {
    /// Decodes in the layout of `line`.
    pub fn decode(self, line: ProductLine) -> Tcb {
        let [b0, b1, b2, b3, _, _, b6, b7] = self.0;
        match line {
            ProductLine::Milan | ProductLine::Genoa => {
                Tcb { fmc: None, bootloader: b0, tee: b1, snp: b6, microcode: b7 }
            }
            ProductLine::Turin => {
                Tcb { fmc: Some(b0), bootloader: b1, tee: b2, snp: b3, microcode: b7 }
            }
        }
    }
}

impl Tcb {
    /// Encodes in the layout of `line`, reserved bytes zero. An FMC version is dropped where the
    /// layout has none.
    pub fn encode(self, line: ProductLine) -> RawTcb {
        RawTcb(match line {
            ProductLine::Milan | ProductLine::Genoa => {
                [self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode]
            }
            ProductLine::Turin => [
                self.fmc.unwrap_or(0),
                self.bootloader,
                self.tee,
                self.snp,
                0,
                0,
                0,
                self.microcode,
            ],
        })
    }

    /// The components in which `self` is below `floor`, named. A floor for FMC counts only where
    /// there is one.
    pub fn below(&self, floor: &Tcb) -> Vec<&'static str> {
        let fmc_below = match (self.fmc, floor.fmc) {
            (Some(got), Some(floor)) => got < floor,
            (None, Some(_)) | (_, None) => false,
        };
        [
            ("fmc", fmc_below),
            ("bootloader", self.bootloader < floor.bootloader),
            ("tee", self.tee < floor.tee),
            ("snp", self.snp < floor.snp),
            ("microcode", self.microcode < floor.microcode),
        ]
        .into_iter()
        .filter_map(|(name, is_below)| is_below.then_some(name))
        .collect()
    }
}

impl std::fmt::Display for Tcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc {fmc} ")?;
        }
        let Tcb { bootloader, tee, snp, microcode, .. } = self;
        write!(f, "bootloader {bootloader} tee {tee} snp {snp} microcode {microcode:#04x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_layouts_differ_and_come_back() {
        let raw = RawTcb([0, 1, 0, 2, 0, 0, 0, 0x47]);
        let turin = raw.decode(ProductLine::Turin);
        assert_eq!((turin.bootloader, turin.snp, turin.microcode), (1, 2, 0x47));
        assert_eq!(turin.encode(ProductLine::Turin), raw);
        assert_ne!(raw.decode(ProductLine::Genoa).snp, turin.snp);
    }

    #[test]
    fn names_each_component_below_its_floor() {
        let floor = Tcb { fmc: Some(1), bootloader: 4, tee: 1, snp: 24, microcode: 9 };
        let got = Tcb { fmc: Some(0), bootloader: 3, tee: 0, snp: 23, microcode: 8 };
        assert_eq!(got.below(&floor), ["fmc", "bootloader", "tee", "snp", "microcode"]);
        assert!(floor.below(&floor).is_empty());
        let milan = Tcb { fmc: None, ..floor };
        assert!(milan.below(&floor).is_empty());
    }
}
