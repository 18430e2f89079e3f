//! When a job runs: a cron expression in a time zone.
//!
//! Daylight saving, as Vixie cron has it: a fixed time that the clock skips runs right after the gap, one that comes twice
//! runs once, the first time; a job with wildcards (`*/15 * * * *`) runs by elapsed time.

use crate::error::{Error, Kind, Result};
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use std::cmp::Ordering;

/// A jitter longer than this would move a daily run to another day.
const LONGEST_JITTER: SignedDuration = SignedDuration::from_hours(12);

/// When a job runs.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: croner::Cron,
    zone: TimeZone,
    jitter: SignedDuration,
    catch_up: bool,
}

impl Schedule {
    /// Reads a cron expression of five fields (or `@daily` and its like), the name of a time zone (the machine's, if
    /// none), and the longest delay.
    ///
    /// Errors: [`Kind::Usage`] for what is neither, and for an expression whose time never comes.
    pub fn parse(text: &str, zone: Option<&str>, jitter: Option<&str>, catch_up: bool) -> Result<Schedule> {
        let usage = |message: String| Error::new(Kind::Usage, message);
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(text)
            .map_err(|error| {
                usage(format!("{text:?} is not a cron expression")).because(error.to_string()).hint(
                    "five fields: minute, hour, day of month, month, day of week; `30 2 * * *` is half past two every day",
                )
            })?;
        let zone = time_zone(zone)?;
        let jitter = match jitter {
            None => SignedDuration::ZERO,
            Some(text) => duration(text)?,
        };
        if jitter > LONGEST_JITTER {
            return Err(usage("a jitter of more than 12 hours is too long".into()));
        }
        let schedule = Schedule { text: text.to_owned(), cron, zone, jitter, catch_up };
        if schedule.next_after(Timestamp::from_second(1_700_000_000).unwrap_or_default()).is_none() {
            return Err(usage(format!("the time of {text:?} never comes")));
        }
        Ok(schedule)
    }

    /// The first time after this one; nothing beyond the end of the calendar.
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = Moment(now.to_zoned_datetime(self.zone.clone()));
        self.cron.find_next_occurrence(&now, false).ok().map(|found| found.0.timestamp())
    }

    /// The last time that is not after this one.
    pub fn last_until(&self, now: Timestamp) -> Option<Timestamp> {
        let now = Moment(now.to_zoned_datetime(self.zone.clone()));
        self.cron.find_previous_occurrence(&now, true).ok().map(|found| found.0.timestamp())
    }

    /// The longest delay behind the scheduled time.
    pub fn jitter(&self) -> SignedDuration {
        self.jitter
    }

    /// Whether a run that was missed since the last backup is made up for.
    pub fn catches_up(&self) -> bool {
        self.catch_up
    }

    /// A moment as people in the schedule's time zone write it, such as `2026-11-25 02:30 CET`.
    pub fn show(&self, moment: Timestamp) -> String {
        moment.to_zoned_datetime(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    /// The expression, its meaning in words, and the zone.
    pub fn describe(&self) -> String {
        let zone = self.zone.iana_name().unwrap_or("the machine's time zone");
        let words = self.cron.describe();
        let words = words.trim_end_matches('.');
        format!("{} ({}, {zone})", self.text, words[..1].to_lowercase() + &words[1..])
    }
}

/// The time zone of this name; the machine's, if none is named.
pub(super) fn time_zone(name: Option<&str>) -> Result<TimeZone> {
    let Some(name) = name else { return Ok(TimeZone::system()) };
    TimeZone::get(name).map_err(|error| {
        Error::new(Kind::Usage, format!("{name:?} is not the name of a time zone"))
            .hint("names look like Europe/Madrid or UTC")
            .because(error)
    })
}

/// A length of time such as `10m`, `26h` or `1h 30m`; a day is 24 hours.
pub(super) fn duration(text: &str) -> Result<SignedDuration> {
    let usage = || {
        Error::new(Kind::Usage, format!("{text:?} is not a length of time")).hint("write it as 90s, 10m, 26h or 1h 30m")
    };
    let span: jiff::Span = text.parse().map_err(|error: jiff::Error| usage().because(error))?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| usage().because(error))?;
    if length.is_negative() { Err(usage()) } else { Ok(length) }
}

/// A moment in a time zone, as the search for occurrences wants it.
#[derive(Clone)]
struct Moment(ZonedDateTime);

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let at = self.0.datetime();
        let part = |value: i8| value.unsigned_abs().into();
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(at.year().into(), part(at.month()), part(at.day())),
            CivilTime::from_parts_unchecked(part(at.hour()), part(at.minute()), part(at.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(self.0.weekday().to_sunday_zero_offset().unsigned_abs().into())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |value: u32| i8::try_from(value).map_err(|_| CronError::InvalidDate);
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let at = DateTime::new(
            year,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        )
        .map_err(|_| CronError::InvalidDate)?;
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(at);
        let found = |zoned: Result<ZonedDateTime, jiff::Error>| zoned.map(Moment).map_err(|_| CronError::InvalidTime);
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(found(ambiguous.unambiguous())?),
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(found(ambiguous.clone().earlier())?, found(ambiguous.later())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Moment)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::{Schedule, duration};
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    fn schedule(text: &str, zone: &str) -> Schedule {
        Schedule::parse(text, Some(zone), None, true).expect(text)
    }

    /// The runs after a moment, as people in the zone see them.
    fn runs(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(text, zone);
        let mut now: Timestamp = after.parse().expect("a moment");
        let mut shown = Vec::new();
        for _ in 0..count {
            now = schedule.next_after(now).expect("a next one");
            shown.push(schedule.show(now));
        }
        shown
    }

    #[test]
    fn a_daily_run_in_the_hour_that_is_skipped_runs_right_after_it() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Madrid", "2026-03-28T00:00:00Z", 3),
            ["Sat 2026-03-28 02:30 CET", "Sun 2026-03-29 03:00 CEST", "Mon 2026-03-30 02:30 CEST"]
        );
    }

    #[test]
    fn a_daily_run_in_the_hour_that_comes_twice_runs_once() {
        assert_eq!(
            runs("30 2 * * *", "Europe/Madrid", "2026-10-24T00:00:00Z", 3),
            ["Sat 2026-10-24 02:30 CEST", "Sun 2026-10-25 02:30 CEST", "Mon 2026-10-26 02:30 CET"]
        );
        // Also when the search begins between the two.
        assert_eq!(runs("30 2 * * *", "Europe/Madrid", "2026-10-25T00:45:00Z", 1), ["Mon 2026-10-26 02:30 CET"]);
    }

    #[test]
    fn a_run_every_half_hour_goes_on_by_elapsed_time() {
        assert_eq!(
            runs("*/30 * * * *", "America/New_York", "2026-11-01T05:15:00Z", 4),
            [
                "Sun 2026-11-01 01:30 EDT",
                "Sun 2026-11-01 01:00 EST",
                "Sun 2026-11-01 01:30 EST",
                "Sun 2026-11-01 02:00 EST"
            ]
        );
        assert_eq!(
            runs("*/30 * * * *", "America/New_York", "2026-03-08T06:15:00Z", 3),
            ["Sun 2026-03-08 01:30 EST", "Sun 2026-03-08 03:00 EDT", "Sun 2026-03-08 03:30 EDT"]
        );
    }

    #[test]
    fn leap_days_and_ends_of_months_come_when_they_exist() {
        assert_eq!(
            runs("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
            ["Tue 2028-02-29 00:00 UTC", "Sun 2032-02-29 00:00 UTC"]
        );
        assert_eq!(
            runs("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", 2),
            ["Tue 2026-03-31 00:00 UTC", "Sun 2026-05-31 00:00 UTC"]
        );
        assert_eq!(runs("0 0 L 2 *", "UTC", "2027-03-01T00:00:00Z", 1), ["Tue 2028-02-29 00:00 UTC"]);
        assert_eq!(runs("@daily", "Asia/Kathmandu", "2026-01-01T00:00:00Z", 1).len(), 1);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["", "* * * *", "61 * * * *", "* * * * * *", "every day", "0 0 30 2 *", "0 2 * * * 2027"] {
            Schedule::parse(text, Some("UTC"), None, true).expect_err(text);
        }
        Schedule::parse("@daily", Some("Europe/Atlantis"), None, true).expect_err("no such zone");
        Schedule::parse("@daily", Some("UTC"), Some("13h"), true).expect_err("too long");
    }

    #[test]
    fn lengths_of_time_are_read() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("26h", 93_600), ("1d", 86_400), ("1h 30m", 5400)] {
            assert_eq!(duration(text).expect(text), SignedDuration::from_secs(seconds));
        }
        for text in ["", "10", "-5m", "soon"] {
            duration(text).expect_err(text);
        }
    }

    proptest! {
        /// Forward and backward agree, and a daily run comes once a day, whatever the zone does to its clocks.
        #[test]
        fn every_day_has_one_daily_run(
            minute in 0..60u32, hour in 0..24u32, day in 0..20_000i64,
            zone in prop::sample::select(vec!["Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC"]),
        ) {
            let schedule = schedule(&format!("{minute} {hour} * * *"), zone);
            let from = Timestamp::from_second(day * 86_400).expect("a moment");
            let first = schedule.next_after(from).expect("one");
            let second = schedule.next_after(first).expect("another");
            let hours = second.duration_since(first).as_secs();
            prop_assert!((22 * 3600..=26 * 3600).contains(&hours), "{first} {second}");
            let date = |at: Timestamp| at.to_zoned_datetime(schedule.zone.clone()).date();
            prop_assert_eq!(date(first).tomorrow().expect("a day"), date(second));
            prop_assert_eq!(schedule.last_until(first), Some(first));
            prop_assert_eq!(schedule.last_until(second - SignedDuration::from_secs(1)), Some(first));
        }
    }
}
