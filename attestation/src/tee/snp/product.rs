//! AMD products: the line decides chain and TCB layout, the part decides which version numbers
//! can be compared.

use serde::{Deserialize, Serialize};

/// A product line: one AMD root key, one layout of TCB bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProductLine {
    /// EPYC 7003 (Zen 3).
    Milan,
    /// EPYC 9004, 97x4, 8004 (Zen 4): Genoa, Bergamo, Siena.
    Genoa,
    /// EPYC 9005 (Zen 5).
    Turin,
}

impl ProductLine {
    /// All lines.
    pub const ALL: [ProductLine; 3] = [ProductLine::Milan, ProductLine::Genoa, ProductLine::Turin];

    /// The name as AMD writes it in certificates.
    pub fn amd_name(self) -> &'static str {
        match self {
            ProductLine::Milan => "Milan",
            ProductLine::Genoa => "Genoa",
            ProductLine::Turin => "Turin",
        }
    }

    /// The line a productName extension speaks of: the text before the stepping, as in
    /// `Milan-B0`. Bergamo and Siena share Genoa's keys.
    pub fn of_certificate_name(name: &str) -> Option<ProductLine> {
        match name.split('-').next() {
            Some("Milan") => Some(ProductLine::Milan),
            Some("Genoa" | "Bergamo" | "Siena") => Some(ProductLine::Genoa),
            Some("Turin") => Some(ProductLine::Turin),
            _ => None,
        }
    }

    /// The line whose intermediate has this common name: `SEV-Milan` for the ASK, `SEV-VLEK-Milan`
    /// for the ASVK.
    pub fn of_intermediate_name(common_name: &str) -> Option<ProductLine> {
        let name = common_name.strip_prefix("SEV-")?;
        let name = name.strip_prefix("VLEK-").unwrap_or(name);
        ProductLine::ALL.into_iter().find(|line| line.amd_name() == name)
    }
}

impl std::fmt::Display for ProductLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProductLine::Milan => "milan",
            ProductLine::Genoa => "genoa",
            ProductLine::Turin => "turin",
        })
    }
}

/// A processor as CPUID Fn8000_0001 names it, in a report since version 3 (offset 0x188):
/// extended and base values already combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Cpu {
    /// Family, e.g. 0x19.
    pub family: u8,
    /// Model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl Cpu {
    /// The product line, `None` for a processor this crate does not know.
    pub fn line(self) -> Option<ProductLine> {
        match (self.family, self.model) {
            (0x19, 0x00..=0x0f) => Some(ProductLine::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(ProductLine::Genoa),
            (0x1a, 0x00..=0x1f) => Some(ProductLine::Turin),
            _ => None,
        }
    }

    /// The part, `None` for a processor this crate does not know.
    pub fn part(self) -> Option<Part> {
        match (self.family, self.model, self.stepping) {
            (0x19, 0x01, 0..=1) => Some(Part::Milan),
            (0x19, 0x01, 2) => Some(Part::MilanX),
            (0x19, 0x11, 0..=1) => Some(Part::Genoa),
            (0x19, 0x11, 2) => Some(Part::GenoaX),
            (0x19, 0xa0..=0xaf, _) => Some(Part::BergamoSiena),
            (0x1a, 0x02, _) => Some(Part::Turin),
            (0x1a, 0x10..=0x1f, _) => Some(Part::TurinDense),
            _ => None,
        }
    }
}

impl std::fmt::Display for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "family {:#04x} model {:#04x} stepping {}",
            self.family, self.model, self.stepping
        )
    }
}

/// A part: processors whose microcode version numbers can be compared with each other. The TCB
/// carries only the low byte of a microcode revision, whose upper bytes name model and stepping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// 19h model 01h stepping 0, 1.
    Milan,
    /// 19h model 01h stepping 2 (3D V-Cache).
    MilanX,
    /// 19h model 11h stepping 0, 1.
    Genoa,
    /// 19h model 11h stepping 2 (3D V-Cache).
    GenoaX,
    /// 19h model A0h.
    BergamoSiena,
    /// 1Ah model 02h.
    Turin,
    /// 1Ah models 10h to 1Fh.
    TurinDense,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Milan => "milan",
            Part::MilanX => "milan-x",
            Part::Genoa => "genoa",
            Part::GenoaX => "genoa-x",
            Part::BergamoSiena => "bergamo-siena",
            Part::Turin => "turin",
            Part::TurinDense => "turin-dense",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_stepping() {
        let part = |model, stepping| Cpu { family: 0x19, model, stepping }.part();
        assert_eq!([1, 2, 3].map(|n| part(1, n)), [Some(Part::Milan), Some(Part::MilanX), None]);
        assert_eq!([1, 2, 3].map(|n| part(17, n)), [Some(Part::Genoa), Some(Part::GenoaX), None]);
    }

    #[test]
    fn tells_parts_apart_whose_microcode_must_not_be_compared() {
        let part = |family, model, stepping| Cpu { family, model, stepping }.part();
        assert_eq!(part(0x19, 0x11, 1), Some(Part::Genoa));
        assert_eq!(part(0x19, 0xa0, 2), Some(Part::BergamoSiena));
        assert_eq!(part(0x1a, 0x02, 1), Some(Part::Turin));
        assert_eq!(part(0x1a, 0x11, 0), Some(Part::TurinDense));
        assert_eq!(part(0x17, 0x31, 0), None);
    }

    #[test]
    fn reads_names_with_and_without_stepping() {
        assert_eq!(ProductLine::of_certificate_name("Milan-B0"), Some(ProductLine::Milan));
        assert_eq!(ProductLine::of_certificate_name("Turin"), Some(ProductLine::Turin));
        assert_eq!(ProductLine::of_certificate_name("Rome-B0"), None);
        assert_eq!(ProductLine::of_intermediate_name("SEV-VLEK-Genoa"), Some(ProductLine::Genoa));
        assert_eq!(ProductLine::of_intermediate_name("ARK-Genoa"), None);
    }
}
