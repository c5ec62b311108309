//! Multipliers on prices, in parts per million: time of day in a named time zone, a spot multiplier
//! within bounds, accelerator class, tenant. All of them are folded into the rates of a signed price
//! book, so that orders, enclaves and receipts know nothing of them: what a request costs is fixed
//! by the book its order names.
//!
//! Time of day and spot change for everybody: at each change the next book takes effect. Classes and
//! tenants are variants beside the plain row of a model.

use bulla_attestation::hash::labelled;
use bulla_wire::ids::AccountHandle;
use bulla_wire::labels;
use bulla_wire::price::{MAX_RATE, PriceRow, PriceVariant, Rates};
use bulla_wire::units::UnixSeconds;
use serde::Deserialize;

use crate::calendar::{CalendarError, civil};
use crate::payable::WHOLE_PPM;
use crate::price::{PriceError, PricedModel, SourceBook};

/// Highest multiplier: a hundred times the price.
pub const MAX_PPM: u32 = 100 * WHOLE_PPM;
/// Most bands, classes or tenants of one source book.
pub const MAX_MULTIPLIERS: usize = 1_000;
/// How long before a change its book is signed, in seconds: every broker has to know it by then.
pub const NOTICE_SECONDS: u64 = 30;
/// Seconds of a minute: bands begin and end at whole ones.
const MINUTE_SECONDS: u64 = 60;
/// Minutes looked ahead for the next change: two days, clock changes included.
const HORIZON_MINUTES: u64 = 2 * 24 * 60;

/// Part of every day in which prices are multiplied.
///
/// ```toml
/// [[hours]]
/// zone = "Asia/Hong_Kong"
/// from = "23:00"
/// until = "07:00"          # past midnight
/// ppm = 500000
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The time zone (IANA).
    pub zone: String,
    /// First minute, `HH:MM`.
    pub from: String,
    /// The minute after the last, `HH:MM`.
    pub until: String,
    /// The multiplier.
    pub ppm: u32,
}

/// Prices on one class of accelerators: `[[class]] name = "gpu:h100"`, `ppm = 2000000`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The class, as receipts name it.
    pub name: String,
    /// The multiplier.
    pub ppm: u32,
}

/// Prices for one customer: `[[tenant]] handle = "…"`, `ppm = 900000`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Handle of its order key.
    pub handle: AccountHandle,
    /// The multiplier.
    pub ppm: u32,
}

/// A multiplier the operator moves within bounds it has stated: `[spot] least = 500000`,
/// `most = 2000000`, `now = 1200000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spot {
    /// Never below.
    pub least: u32,
    /// Never above.
    pub most: u32,
    /// Asked for now; kept within the bounds.
    pub now: u32,
}

impl Spot {
    /// What counts.
    pub fn ppm(&self) -> u32 {
        self.now.clamp(self.least.min(self.most), self.most)
    }
}

/// Rates times a multiplier, each rounded up to the next micro-unit.
pub fn fold(rates: &Rates, ppm: u32) -> Rates {
    let times = |rate: u64| {
        let product = u128::from(rate) * u128::from(ppm);
        u64::try_from(product.div_ceil(u128::from(WHOLE_PPM))).unwrap_or(u64::MAX)
    };
    Rates {
        input: times(rates.input),
        cached_input: times(rates.cached_input),
        output: times(rates.output),
        reasoning: times(rates.reasoning),
        per_request: times(rates.per_request),
    }
}

/// Minutes since midnight of `HH:MM`.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<u32>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

impl Hours {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: UnixSeconds) -> Result<bool, PriceError> {
        let refused = || PriceError::Hours { from: self.from.clone(), until: self.until.clone() };
        let (from, until) = minutes(&self.from).zip(minutes(&self.until)).ok_or_else(refused)?;
        let local = civil(now, &self.zone)?;
        let minute = local.hour() as u32 * 60 + local.minute() as u32;
        Ok(match from <= until {
            true => (from..until).contains(&minute),
            false => minute >= from || minute < until,
        })
    }
}

/// What a book says of its models at an instant: plain rows, and variants.
pub type Priced = (Vec<PriceRow>, Vec<PriceVariant>);

impl SourceBook {
    fn check(&self) -> Result<(), PriceError> {
        let counts = [self.hours.len(), self.class.len(), self.tenant.len()];
        let all = self.hours.iter().map(|h| h.ppm).chain(self.class.iter().map(|c| c.ppm));
        let spot = self.spot.map(|spot| spot.most);
        let mut all = all.chain(self.tenant.iter().map(|t| t.ppm)).chain(spot);
        match all.find(|ppm| *ppm > MAX_PPM) {
            Some(got) => Err(PriceError::Multiplier { got }),
            None if counts.iter().any(|count| *count > MAX_MULTIPLIERS) => {
                Err(PriceError::Syntax { reason: format!("at most {MAX_MULTIPLIERS} of a kind") })
            }
            None => Ok(()),
        }
    }

    /// Rates as they are at `now`, for everybody, and by class and tenant.
    pub fn priced(&self, models: &[PricedModel], now: UnixSeconds) -> Result<Priced, PriceError> {
        self.check()?;
        let mut rows = self.rows(models)?;
        for row in &mut rows {
            for hours in &self.hours {
                if hours.holds(now)? {
                    row.rates = fold(&row.rates, hours.ppm);
                }
            }
            if let Some(spot) = &self.spot {
                row.rates = fold(&row.rates, spot.ppm());
            }
        }
        let variants: Vec<PriceVariant> = rows.iter().flat_map(|row| self.variants(row)).collect();
        let dear = variants.iter().map(|v| (&v.rates, &v.model));
        let dear = dear.chain(rows.iter().map(|row| (&row.rates, &row.model)));
        for (rates, model) in dear {
            let Rates { input, cached_input, output, reasoning, per_request } = *rates;
            let all = [input, cached_input, output, reasoning, per_request];
            if let Some(got) = all.into_iter().find(|rate| *rate > MAX_RATE) {
                return Err(PriceError::Rate { model: model.to_string(), got });
            }
        }
        Ok((rows, variants))
    }

    /// Every class, every tenant, and every tenant on every class.
    fn variants(&self, row: &PriceRow) -> Vec<PriceVariant> {
        let variant = |class: Option<&Class>, tenant: Option<&Tenant>| {
            let ppms = [class.map(|c| c.ppm), tenant.map(|t| t.ppm)];
            let fold_in = |rates, ppm| fold(&rates, ppm);
            PriceVariant {
                model: row.model,
                unit: row.unit.clone(),
                rates: ppms.into_iter().flatten().fold(row.rates, fold_in),
                class: class.map(|class| class.name.clone()),
                tenant: tenant.map(|tenant| labelled(labels::TENANT, &tenant.handle.0)),
            }
        };
        let mut variants: Vec<_> = self.class.iter().map(|c| variant(Some(c), None)).collect();
        for tenant in &self.tenant {
            variants.push(variant(None, Some(tenant)));
            variants.extend(self.class.iter().map(|class| variant(Some(class), Some(tenant))));
        }
        variants
    }

    /// When prices change next because of the time of day, within two days.
    pub fn next_change(&self, now: UnixSeconds) -> Result<Option<UnixSeconds>, PriceError> {
        let holding = |at: UnixSeconds| -> Result<Vec<bool>, PriceError> {
            self.hours.iter().map(|hours| hours.holds(at)).collect()
        };
        if self.hours.is_empty() {
            return Ok(None);
        }
        let present = holding(now)?;
        let first = now.0 / MINUTE_SECONDS + 1;
        for minute in first..first + HORIZON_MINUTES {
            let at = UnixSeconds(minute * MINUTE_SECONDS);
            if holding(at)? != present {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The book that has to be signed at `now`, and when it takes effect: prices that changed, or
    /// the ones of a change that is near. Nothing while the newest book has yet to take effect.
    pub fn due(
        &self,
        newest: &bulla_wire::price::PriceBook,
        now: UnixSeconds,
    ) -> Result<Option<(Priced, UnixSeconds)>, PriceError> {
        if newest.effective_from > now {
            return Ok(None);
        }
        let mut models: Vec<PricedModel> = Vec::new();
        for row in &newest.rows {
            let model = PricedModel { name: row.name.clone(), manifest: row.model };
            if !models.contains(&model) {
                models.push(model);
            }
        }
        let same = |(rows, variants): &Priced| {
            newest.rows == *rows && newest.variants.as_deref().unwrap_or_default() == *variants
        };
        let present = self.priced(&models, now)?;
        if !same(&present) {
            let soon = now.saturating_add(UnixSeconds(crate::BOOK_NOTICE_SECONDS));
            return Ok(Some((present, soon)));
        }
        let Some(next) = self.next_change(now)? else { return Ok(None) };
        if next.0.saturating_sub(now.0) > NOTICE_SECONDS {
            return Ok(None);
        }
        let coming = self.priced(&models, next)?;
        Ok((!same(&coming)).then_some((coming, next)))
    }
}

impl From<CalendarError> for PriceError {
    fn from(error: CalendarError) -> PriceError {
        PriceError::Syntax { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulla_wire::ids::Digest;
    use bulla_wire::price::PriceBook;

    const TEXT: &str = "
        [[price]]
        model = \"*\"
        unit = \"HKD\"
        input = \"2.12\"
        output = \"8.44\"
        [[hours]]
        zone = \"Asia/Hong_Kong\"
        from = \"23:00\"
        until = \"07:00\"
        ppm = 500000
        [[class]]
        name = \"gpu:h100\"
        ppm = 2000000
        [[tenant]]
        handle = \"0707070707070707070707070707070707070707070707070707070707070707\"
        ppm = 900001
        [spot]
        least = 500000
        most = 1500000
        now = 9000000
    ";

    fn at(text: &str) -> UnixSeconds {
        UnixSeconds(text.parse::<jiff::Timestamp>().unwrap().as_second() as u64)
    }

    fn models() -> Vec<PricedModel> {
        vec![PricedModel { name: "m".into(), manifest: Digest([1; 32]) }]
    }

    #[test]
    fn multipliers_fold_into_rates_as_integers_rounded_up() {
        let book = SourceBook::from_toml(TEXT).unwrap();
        let (rows, variants) = book.priced(&models(), at("2026-11-21T12:00:00+08:00")).unwrap();
        let day = rows[0].rates;
        assert_eq!((day.input, day.output), (3_180_000, 12_660_000), "spot is kept within 1.5");
        let (rows, _) = book.priced(&models(), at("2026-11-21T23:00:00+08:00")).unwrap();
        assert_eq!(rows[0].rates.input, 1_590_000);
        let of = |class: &str, tenant: u8| {
            let tenant = labelled(labels::TENANT, &[tenant; 32]);
            let base = PriceBook {
                issued_at: UnixSeconds(0),
                version: 1,
                effective_from: UnixSeconds(0),
                rows: rows.clone(),
                variants: Some(variants.clone()),
            };
            base.rates(&Digest([1; 32]), &"HKD".parse().unwrap(), class, &tenant).unwrap().input
        };
        assert_eq!(of("cpu:x86_64", 8), 1_590_000, "nobody's variant: the plain row");
        assert_eq!(of("gpu:h100", 8), 6_360_000);
        assert_eq!(of("cpu:x86_64", 7), 2_862_004, "2862003.18 rounded up");
        assert_eq!(of("gpu:h100", 7), 5_724_007, "the tenant's price on that class");
    }

    #[test]
    fn the_next_book_is_signed_shortly_before_its_hour_and_once() {
        let mut source = SourceBook::from_toml(TEXT).unwrap();
        let noon = at("2026-11-21T12:00:00+08:00");
        let (rows, variants) = source.priced(&models(), noon).unwrap();
        let (issued_at, effective_from) = (noon, noon);
        let variants = Some(variants);
        let mut book = PriceBook { issued_at, version: 1, effective_from, rows, variants };
        let eleven = at("2026-11-21T23:00:00+08:00");
        assert_eq!(source.next_change(noon), Ok(Some(eleven)));
        assert_eq!(source.due(&book, UnixSeconds(eleven.0 - 31)), Ok(None));
        let ((rows, _), from) = source.due(&book, UnixSeconds(eleven.0 - 30)).unwrap().unwrap();
        assert_eq!((from, rows[0].rates.input), (eleven, 1_590_000));
        (book.rows, book.effective_from) = (rows, from);
        book.variants = Some(source.priced(&models(), eleven).unwrap().1);
        assert_eq!(source.due(&book, UnixSeconds(eleven.0 - 20)), Ok(None), "it is on its way");
        assert_eq!(source.due(&book, eleven), Ok(None));
        // The operator moves the spot price: at once, but with notice.
        source.spot = Some(Spot { least: 500_000, most: 1_500_000, now: 1 });
        let ((rows, _), from) = source.due(&book, eleven).unwrap().unwrap();
        assert_eq!((from.0, rows[0].rates.input), (eleven.0 + 5, 530_000));
    }

    #[test]
    fn refuses_hours_that_are_none_and_multipliers_beyond_reason() {
        for (good, bad) in [("23:00", "24:00"), ("07:00", "7"), ("Asia/Hong_Kong", "Asia/Nowhere")]
        {
            let book = SourceBook::from_toml(&TEXT.replace(good, bad)).unwrap();
            assert!(book.priced(&models(), UnixSeconds(0)).is_err(), "{bad}");
        }
        let dear = TEXT.replace("ppm = 2000000", "ppm = 100000001");
        let got = SourceBook::from_toml(&dear).unwrap().priced(&models(), UnixSeconds(0));
        assert_eq!(got, Err(PriceError::Multiplier { got: 100_000_001 }));
    }
}
