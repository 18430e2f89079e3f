//! An age as people write it: `26h`, `30d`, `1y 6mo`.

use crate::error::{Error, Kind, Result};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp, Unit};
use std::fmt;
use std::str::FromStr;

/// A length of time in calendar units: a month is a month long, whichever it is, and a day may have 23 hours.
#[derive(Debug, Clone, Copy)]
pub struct Age(Span);

const FORMS: &str = "an age is written like 45m, 26h, 30d, 2w, 6mo or 1y";

impl Age {
    /// So many hours.
    pub fn hours(hours: i32) -> Self {
        Age(Span::new().hours(hours))
    }

    /// So many days.
    pub fn days(days: i32) -> Self {
        Age(Span::new().days(days))
    }

    /// The moment that is this much before another, in the calendar of a time zone; the beginning of time where there
    /// is none.
    pub fn before(&self, moment: Timestamp, zone: &TimeZone) -> Timestamp {
        moment.to_zoned_datetime(zone.clone()).checked_sub(self.0).map_or(Timestamp::MIN, |zoned| zoned.timestamp())
    }
}

impl FromStr for Age {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unusable = || Error::new(Kind::Usage, format!("{text:?} is not an age")).hint(FORMS);
        let span: Span = text.trim().parse().map_err(|error| unusable().because(error))?;
        // Months have no length of their own, but a sign can be told in any calendar.
        let days = span.total((Unit::Day, SpanRelativeTo::days_are_24_hours()));
        let positive = days.map_or(!span.is_negative(), |days| days > 0.0);
        if span.is_zero() || !positive {
            return Err(unusable());
        }
        Ok(Age(span))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl PartialEq for Age {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for Age {}

#[cfg(test)]
mod tests {
    use super::Age;
    use jiff::tz::TimeZone;

    #[test]
    fn an_age_reads_and_writes_the_same() {
        for text in ["45m", "26h", "30d", "2w", "6mo", "1y", "1y 6mo"] {
            let age: Age = text.parse().expect(text);
            assert_eq!((age.to_string().as_str(), age.to_string().parse::<Age>().expect("its own")), (text, age));
        }
        for text in ["", "30", "-3d", "0d", "soon", "3d ago"] {
            text.parse::<Age>().expect_err(text);
        }
    }

    #[test]
    fn months_end_where_the_calendar_says_and_days_may_be_short() {
        let before = |age: &str, moment: &str, zone: &str| {
            let age: Age = age.parse().expect("an age");
            let zone = TimeZone::get(zone).expect("a zone");
            age.before(moment.parse().expect("a moment"), &zone).to_string()
        };
        assert_eq!(before("1mo", "2026-03-31T00:00:00Z", "UTC"), "2026-02-28T00:00:00Z");
        assert_eq!(before("1y", "2028-02-29T12:00:00Z", "UTC"), "2027-02-28T12:00:00Z");
        // The clocks of Berlin went forward in the night to 29 March 2026.
        assert_eq!(before("1d", "2026-03-29T10:00:00Z", "Europe/Berlin"), "2026-03-28T11:00:00Z");
        assert_eq!(before("24h", "2026-03-29T10:00:00Z", "Europe/Berlin"), "2026-03-28T10:00:00Z");
    }
}
