//! Policy for accelerators: by class, by product, and by who stands behind them.
//!
//! A device is *attested* when evidence signed under its vendor's root was judged genuine, and
//! *asserted* when only the measured guest names it. Vendors without attestation (Ascend,
//! Cambricon, …) can only be asserted, and the verdict says so. A vendor that does attest its
//! devices is never taken at the guest's word.

use serde::{Deserialize, Serialize};

use bulla_wire::accelerator::Accelerator;

use super::{Accept, Tolerance};
use crate::result::{Check, CheckName};

/// Makers of the domestic class (mainland China), by the name a keyset's subject uses.
const DOMESTIC_VENDORS: [&str; 11] = [
    "biren",
    "cambricon",
    "denglin",
    "enflame",
    "huawei",
    "hygon",
    "iluvatar",
    "kunlunxin",
    "metax",
    "moore-threads",
    "t-head",
];
/// The maker whose devices sign evidence that this crate judges.
const NVIDIA: &str = "nvidia";

/// A class of accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceleratorClass {
    /// No accelerator: the CPU's own TEE computes.
    None,
    /// NVIDIA: the device signs evidence of its own.
    Nvidia,
    /// A maker of the domestic list.
    Domestic,
    /// Any other maker.
    Other,
}

impl AcceleratorClass {
    /// The class of a maker.
    pub fn of_vendor(vendor: &str) -> AcceleratorClass {
        match vendor {
            NVIDIA => AcceleratorClass::Nvidia,
            vendor if DOMESTIC_VENDORS.contains(&vendor) => AcceleratorClass::Domestic,
            _ => AcceleratorClass::Other,
        }
    }

    fn vendor_attests(self) -> bool {
        self == AcceleratorClass::Nvidia
    }
}

impl std::fmt::Display for AcceleratorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            AcceleratorClass::None => "none",
            AcceleratorClass::Nvidia => "nvidia",
            AcceleratorClass::Domestic => "domestic",
            AcceleratorClass::Other => "other",
        })
    }
}

/// Who stands behind a claim about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its vendor: evidence under the vendor's root was judged genuine.
    Attested,
    /// The measured guest alone.
    Asserted,
}

/// One device the work may run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceleratorClaim {
    /// Its class; follows from the vendor.
    pub class: AcceleratorClass,
    /// Who makes it.
    pub vendor: String,
    /// Which one.
    pub product: String,
    /// Who says so.
    pub standing: Standing,
}

impl AcceleratorClaim {
    /// A device the guest names.
    pub fn asserted(named: &Accelerator) -> AcceleratorClaim {
        AcceleratorClaim::new(&named.vendor, &named.product, Standing::Asserted)
    }

    /// A device whose own evidence was judged genuine.
    pub(crate) fn attested(vendor: &str, product: &str) -> AcceleratorClaim {
        AcceleratorClaim::new(vendor, product, Standing::Attested)
    }

    fn new(vendor: &str, product: &str, standing: Standing) -> AcceleratorClaim {
        AcceleratorClaim {
            class: AcceleratorClass::of_vendor(vendor),
            vendor: vendor.to_owned(),
            product: product.to_owned(),
            standing,
        }
    }
}

impl std::fmt::Display for AcceleratorClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let AcceleratorClaim { class, vendor, product, standing } = self;
        let standing = match standing {
            Standing::Attested => "attested by its vendor",
            Standing::Asserted => "asserted by the measured guest, not attested by its vendor",
        };
        write!(f, "{vendor} {product} ({class}): {standing}")
    }
}

/// Which accelerators the work may run on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceleratorRule {
    /// Classes taken.
    pub classes: Accept<AcceleratorClass>,
    /// Products taken, as `VENDOR/PRODUCT`.
    pub products: Accept<String>,
    /// Devices that only the measured guest speaks for.
    pub asserted: Tolerance,
}

impl AcceleratorRule {
    /// Judges the devices a keyset names; `None` where it does not tell, `Err` where it cannot be
    /// read.
    pub(crate) fn judge(&self, devices: Result<Option<&[AcceleratorClaim]>, String>) -> Check {
        let name = CheckName::Accelerator;
        let expected = self.words();
        match devices {
            Err(reason) => Check::judge(name, false, expected, reason),
            Ok(None) if self.asks_nothing() => Check::not_required(name, "not told"),
            Ok(None) => Check::judge(name, false, expected, "not told: a subject of another form"),
            Ok(Some([])) => {
                let passes = self.classes.accepts(&AcceleratorClass::None);
                Check::judge(name, passes, expected, "none: the CPU computes")
            }
            Ok(Some(devices)) => match devices.iter().find_map(|device| self.refusal(device)) {
                Some(refusal) => Check::judge(name, false, expected, refusal),
                None => Check::judge(name, true, expected, list(devices)),
            },
        }
    }

    /// Why `device` is not taken.
    fn refusal(&self, device: &AcceleratorClaim) -> Option<String> {
        let product = format!("{}/{}", device.vendor, device.product);
        let is_asserted = device.standing == Standing::Asserted;
        if is_asserted && device.class.vendor_attests() {
            return Some(format!(
                "{device}; its vendor attests devices, and no evidence was given"
            ));
        }
        let is_taken = self.classes.accepts(&device.class)
            && self.products.accepts(&product)
            && (!is_asserted || self.asserted == Tolerance::Allowed);
        (!is_taken).then(|| device.to_string())
    }

    fn asks_nothing(&self) -> bool {
        self.classes == Accept::Any
            && self.products == Accept::Any
            && self.asserted == Tolerance::Allowed
    }

    fn words(&self) -> String {
        let classes = match &self.classes {
            Accept::Any => "any class".to_owned(),
            Accept::Only(classes) => {
                let names: Vec<_> = classes.iter().map(|class| class.to_string()).collect();
                format!(
                    "class {}",
                    if names.is_empty() { "(no class)".to_owned() } else { names.join(" or ") }
                )
            }
        };
        let products = if self.products == Accept::Any { "" } else { ", a listed product" };
        let standing = match self.asserted {
            Tolerance::Refused => ", attested by its vendor",
            Tolerance::Allowed => ", attested or asserted",
        };
        format!("{classes}{products}{standing}")
    }
}

/// All devices in words, each kind once.
fn list(devices: &[AcceleratorClaim]) -> String {
    let mut kinds: Vec<String> = devices.iter().map(AcceleratorClaim::to_string).collect();
    kinds.sort();
    kinds.dedup();
    let count = devices.len();
    let kinds = kinds.join("; ");
    if count == 1 { kinds } else { format!("{count} devices: {kinds}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::CheckResult::{self, Fail, NotRequired, Pass};

    fn rule(classes: &[AcceleratorClass], asserted: Tolerance) -> AcceleratorRule {
        let classes = Accept::Only(classes.to_vec());
        AcceleratorRule { classes, products: Accept::Any, asserted }
    }

    fn said(vendor: &str, product: &str) -> AcceleratorClaim {
        let (vendor, product) = (vendor.to_owned(), product.to_owned());
        AcceleratorClaim::asserted(&Accelerator { vendor, product })
    }

    fn judged(rule: &AcceleratorRule, devices: &[AcceleratorClaim]) -> (CheckResult, String) {
        let check = rule.judge(Ok(Some(devices)));
        (check.result, check.got)
    }

    #[test]
    fn a_domestic_only_policy_passes_and_says_who_stands_behind_it() {
        let domestic = rule(&[AcceleratorClass::Domestic], Tolerance::Allowed);
        let (result, got) = judged(&domestic, &[said("huawei", "ascend-910b")]);
        assert_eq!(result, Pass);
        assert_eq!(
            got,
            "huawei ascend-910b (domestic): asserted by the measured guest, not attested by its vendor"
        );
        assert_eq!(judged(&domestic, &[said("amd", "mi300x")]).0, Fail);
        assert_eq!(judged(&domestic, &[]).0, Fail);
        let mixed = [said("cambricon", "mlu590"), AcceleratorClaim::attested("nvidia", "h100")];
        assert_eq!(judged(&domestic, &mixed).0, Fail);
    }

    #[test]
    fn a_vendor_that_attests_is_never_taken_at_the_guests_word() {
        let any = AcceleratorRule {
            classes: Accept::Any,
            products: Accept::Any,
            asserted: Tolerance::Allowed,
        };
        assert_eq!(judged(&any, &[said("nvidia", "h100")]).0, Fail);
        assert_eq!(judged(&any, &[AcceleratorClaim::attested("nvidia", "h100")]).0, Pass);
        assert_eq!(any.judge(Ok(None)).result, NotRequired);
        assert_eq!(any.judge(Err("malformed".to_owned())).result, Fail);
    }

    #[test]
    fn asserted_devices_products_and_silence_are_refused_where_the_policy_says_so() {
        let attested = rule(&[AcceleratorClass::Domestic], Tolerance::Refused);
        assert_eq!(judged(&attested, &[said("huawei", "ascend-910b")]).0, Fail);
        assert_eq!(attested.judge(Ok(None)).result, Fail);
        let mut listed = rule(&[AcceleratorClass::Domestic], Tolerance::Allowed);
        listed.products = Accept::Only(vec!["huawei/ascend-910c".to_owned()]);
        assert_eq!(judged(&listed, &[said("huawei", "ascend-910b")]).0, Fail);
        assert_eq!(judged(&listed, &[said("huawei", "ascend-910c")]).0, Pass);
    }

    #[test]
    fn whoever_asks_anything_is_not_answered_by_silence() {
        let any = AcceleratorRule {
            classes: Accept::Any,
            products: Accept::Any,
            asserted: Tolerance::Allowed,
        };
        let products = Accept::Only(vec!["nvidia/h100".to_owned()]);
        let asks = [
            AcceleratorRule { products, ..any.clone() },
            AcceleratorRule { asserted: Tolerance::Refused, ..any.clone() },
            AcceleratorRule { classes: Accept::Only(Vec::new()), ..any.clone() },
        ];
        for rule in asks {
            assert_eq!(rule.judge(Ok(None)).result, Fail, "{}", rule.words());
        }
        assert_eq!(any.judge(Ok(None)).result, NotRequired);
    }

    #[test]
    fn a_check_says_in_words_what_was_asked() {
        let mut asked = rule(&[AcceleratorClass::Domestic], Tolerance::Refused);
        assert_eq!(asked.words(), "class domestic, attested by its vendor");
        asked.products = Accept::Only(vec!["huawei/ascend-910c".to_owned()]);
        asked.asserted = Tolerance::Allowed;
        let words = "class domestic, a listed product, attested or asserted";
        assert_eq!(asked.words(), words);
        assert_eq!(asked.judge(Ok(Some(&[said("amd", "mi300x")]))).expected, words);
        asked.classes = Accept::Any;
        assert!(asked.words().starts_with("any class, "));
    }

    #[test]
    fn vendors_are_in_order_so_that_a_reader_finds_them() {
        assert!(DOMESTIC_VENDORS.is_sorted());
    }
}
