//! Periods of a calendar in a named time zone. Money has days, months and years, not multiples of
//! 86,400 seconds: a month's grant begins at the same local time every month, whatever the clocks
//! do meanwhile, and what begins on the 31st begins on the last day of shorter months.

use bulla_wire::units::UnixSeconds;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest name of a time zone, in bytes (IANA's longest has 32).
pub const MAX_ZONE_BYTES: usize = 64;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// From a local time to the same on the next day.
    Day,
    /// Seven days.
    Week,
    /// To the same day of the next month, or its last.
    Month,
    /// To the same day of the next year; the 29th of February yields to the 28th.
    Year,
}

/// Why an instant cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Not in the IANA time zone database this program carries.
    #[error("no time zone {zone:?}: use an IANA name such as \"Asia/Hong_Kong\"")]
    Zone {
        /// The name, cut.
        zone: String,
    },
    /// Before 1970 or beyond the year 9999.
    #[error("period {round} after second {anchor} is beyond the calendar")]
    Range {
        /// Where counting began.
        anchor: UnixSeconds,
        /// How many periods on.
        round: u32,
    },
}

/// The instant `round` periods after `anchor`. Always counted from the anchor, so that the 31st of
/// January leads to the 28th of February and on to the 31st of March.
pub fn boundary(
    anchor: UnixSeconds,
    period: Period,
    round: u32,
    zone: &str,
) -> Result<UnixSeconds, CalendarError> {
    let unknown = || CalendarError::Zone { zone: zone.chars().take(MAX_ZONE_BYTES).collect() };
    if zone.len() > MAX_ZONE_BYTES {
        return Err(unknown());
    }
    let zone = TimeZone::get(zone).map_err(|_| unknown())?;
    let range = || CalendarError::Range { anchor, round };
    let seconds = i64::try_from(anchor.0).map_err(|_| range())?;
    let from = Timestamp::from_second(seconds).map_err(|_| range())?.to_zoned(zone);
    let rounds = i64::from(round);
    let span = match period {
        Period::Day => Span::new().try_days(rounds),
        Period::Week => Span::new().try_weeks(rounds),
        Period::Month => Span::new().try_months(rounds),
        Period::Year => Span::new().try_years(rounds),
    };
    let to = from.checked_add(span.map_err(|_| range())?).map_err(|_| range())?;
    u64::try_from(to.timestamp().as_second()).map(UnixSeconds).map_err(|_| range())
}

/// The period of the calendar that holds `now`: begin and end. Days, weeks (from Monday), months and
/// years of the named time zone.
pub fn window(
    now: UnixSeconds,
    period: Period,
    zone: &str,
) -> Result<(UnixSeconds, UnixSeconds), CalendarError> {
    let range = || CalendarError::Range { anchor: now, round: 0 };
    let local = civil(now, zone)?;
    let day = local.date();
    let first = match period {
        Period::Day => day,
        Period::Week => {
            let back = i64::from(day.weekday().to_monday_zero_offset());
            let back = Span::new().try_days(back).map_err(|_| range())?;
            day.checked_sub(back).map_err(|_| range())?
        }
        Period::Month => day.first_of_month(),
        Period::Year => day.first_of_year(),
    };
    let last = match period {
        Period::Day => first.tomorrow(),
        Period::Week => first.checked_add(Span::new().days(7)),
        Period::Month => first.checked_add(Span::new().months(1)),
        Period::Year => first.checked_add(Span::new().years(1)),
    };
    let begin = |date: jiff::civil::Date| {
        let zoned = date.to_zoned(local.time_zone().clone()).map_err(|_| range())?;
        u64::try_from(zoned.timestamp().as_second()).map(UnixSeconds).map_err(|_| range())
    };
    Ok((begin(first)?, begin(last.map_err(|_| range())?)?))
}

/// The local time of an instant.
pub fn civil(now: UnixSeconds, zone: &str) -> Result<jiff::Zoned, CalendarError> {
    let unknown = || CalendarError::Zone { zone: zone.chars().take(MAX_ZONE_BYTES).collect() };
    if zone.len() > MAX_ZONE_BYTES {
        return Err(unknown());
    }
    let zone = TimeZone::get(zone).map_err(|_| unknown())?;
    let range = || CalendarError::Range { anchor: now, round: 0 };
    let seconds = i64::try_from(now.0).map_err(|_| range())?;
    Ok(Timestamp::from_second(seconds).map_err(|_| range())?.to_zoned(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixSeconds {
        UnixSeconds(text.parse::<Timestamp>().unwrap().as_second() as u64)
    }

    #[test]
    fn what_begins_on_the_31st_comes_back_to_the_31st() {
        let anchor = at("2027-01-31T00:00:00+08:00");
        let ends = [
            "2027-01-31T00:00:00+08:00",
            "2027-02-28T00:00:00+08:00",
            "2027-03-31T00:00:00+08:00",
            "2027-04-30T00:00:00+08:00",
        ];
        for (round, end) in (0..).zip(ends) {
            assert_eq!(boundary(anchor, Period::Month, round, "Asia/Hong_Kong"), Ok(at(end)));
        }
        let leap = at("2028-02-29T12:00:00Z");
        assert_eq!(boundary(leap, Period::Year, 1, "UTC"), Ok(at("2029-02-28T12:00:00Z")));
        assert_eq!(boundary(leap, Period::Year, 4, "UTC"), Ok(at("2032-02-29T12:00:00Z")));
    }

    #[test]
    fn a_local_time_stays_where_clocks_are_changed() {
        let anchor = at("2027-03-13T09:00:00-05:00");
        let next = boundary(anchor, Period::Day, 1, "America/New_York").unwrap();
        assert_eq!(next, at("2027-03-14T09:00:00-04:00"));
        assert_eq!(next.0 - anchor.0, 23 * 3600, "the day had 23 hours");
        // A local time that is skipped moves on by the gap.
        let skipped = at("2027-03-13T02:30:00-05:00");
        let next = boundary(skipped, Period::Day, 1, "America/New_York").unwrap();
        assert_eq!(next, at("2027-03-14T03:30:00-04:00"));
    }

    #[test]
    fn boundaries_rise_and_meet_without_gap_or_overlap() {
        let zones =
            ["UTC", "Asia/Hong_Kong", "America/New_York", "Europe/London", "Asia/Kathmandu"];
        let mut seconds = 1_700_000_000u64;
        for (turn, zone) in (0..400).zip(zones.iter().cycle()) {
            // A walk over hours, days and years that repeats in no zone's rhythm.
            seconds += 86_413 * (turn % 37 + 1) + 3_607;
            let anchor = UnixSeconds(seconds);
            for (period, days) in
                [(Period::Day, 1), (Period::Week, 7), (Period::Month, 31), (Period::Year, 366)]
            {
                let mut last = boundary(anchor, period, 0, zone).unwrap();
                assert_eq!(last, anchor, "a period begins at its anchor");
                for round in 1..15 {
                    let next = boundary(anchor, period, round, zone).unwrap();
                    let most = days * 86_400 + 2 * 3600;
                    assert!(last < next && next.0 - last.0 <= most, "{zone} {period:?} {round}");
                    last = next;
                }
            }
        }
    }

    #[test]
    fn windows_meet_without_gap_or_overlap_where_clocks_change_too() {
        for zone in ["UTC", "Asia/Hong_Kong", "America/New_York", "America/Sao_Paulo"] {
            for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
                let mut now = at("2026-01-01T00:00:00Z");
                for _ in 0..500 {
                    let (from, until) = window(now, period, zone).unwrap();
                    assert!(from <= now && now < until, "{zone} {period:?} {now}");
                    assert_eq!(window(from, period, zone).unwrap(), (from, until));
                    let (next, _) = window(until, period, zone).unwrap();
                    assert_eq!(next, until, "{zone} {period:?}: the next begins where one ends");
                    now = UnixSeconds(now.0 + 3 * 3600 + 17);
                }
            }
        }
        let (from, until) =
            window(at("2026-11-21T09:00:00Z"), Period::Month, "Asia/Hong_Kong").unwrap();
        assert_eq!(from, at("2026-11-01T00:00:00+08:00"));
        assert_eq!(until, at("2026-12-01T00:00:00+08:00"));
        let (monday, _) = window(at("2026-11-21T09:00:00Z"), Period::Week, "UTC").unwrap();
        assert_eq!(monday, at("2026-11-16T00:00:00Z"));
    }

    #[test]
    fn refuses_zones_nobody_knows_and_dates_beyond_the_calendar() {
        let now = UnixSeconds(1_800_000_000);
        let nowhere = boundary(now, Period::Day, 1, "Asia/Nowhere");
        assert_eq!(nowhere, Err(CalendarError::Zone { zone: "Asia/Nowhere".into() }));
        let long = "x".repeat(1000);
        assert!(matches!(boundary(now, Period::Day, 1, &long), Err(CalendarError::Zone { .. })));
        let (anchor, round) = (now, u32::MAX);
        let late = boundary(now, Period::Year, u32::MAX, "UTC");
        assert_eq!(late, Err(CalendarError::Range { anchor, round }));
    }
}
