//! Dates and times in ISO style with intervals in style `postgres`, which dumps ask for (`EncodeDateTime` and
//! `EncodeInterval` in `datetime.c`).

use super::Unusual;
use crate::stream::binary::layout::{DAY, EPOCH, HOUR, MINUTE, SECOND};

/// A year beyond this is left to the server; its last is 294276, or 5874897 in a date.
const LAST_YEAR: i64 = 6_000_000;

/// A text that is read from its front.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Takes a byte if it comes next.
    fn has(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unusual> {
        if self.has(byte) { Ok(()) } else { Err(Unusual) }
    }

    /// Takes all digits that come next, at least so many and at most ten.
    fn number(&mut self, least: usize) -> Result<i64, Unusual> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(least.max(1)..=10).contains(&length) {
            return Err(Unusual);
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    /// Takes exactly two digits, up to a limit.
    fn pair(&mut self, limit: i64) -> Result<i64, Unusual> {
        let (pair, rest) = self.0.split_first_chunk::<2>().ok_or(Unusual)?;
        if !pair.iter().all(u8::is_ascii_digit) {
            return Err(Unusual);
        }
        self.0 = rest;
        let value = i64::from(pair[0] - b'0') * 10 + i64::from(pair[1] - b'0');
        if value <= limit { Ok(value) } else { Err(Unusual) }
    }

    /// Takes a fraction of a second, if there is one; microseconds.
    fn fraction(&mut self) -> Result<i64, Unusual> {
        if !self.has(b'.') {
            return Ok(0);
        }
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length > 6 {
            return Err(Unusual);
        }
        let value = self.number(1)?;
        Ok((length..6).fold(value, |value, _| value * 10))
    }

    /// Takes `HH:MM:SS` with a fraction; microseconds.
    fn clock(&mut self) -> Result<i64, Unusual> {
        let hours = self.pair(24)?;
        self.expect(b':')?;
        let minutes = self.pair(59)?;
        self.expect(b':')?;
        let seconds = self.pair(59)?;
        Ok(hours * HOUR + minutes * MINUTE + seconds * SECOND + self.fraction()?)
    }

    /// Takes `YYYY-MM-DD`; year, month, day.
    fn calendar(&mut self) -> Result<(i64, i64, i64), Unusual> {
        let year = self.number(4)?;
        self.expect(b'-')?;
        let month = self.pair(12)?;
        self.expect(b'-')?;
        Ok((year, month, self.pair(31)?))
    }

    /// Takes the rest, which is nothing or says that the year is before Christ.
    fn is_before_christ(&self) -> Result<bool, Unusual> {
        match self.0 {
            b"" => Ok(false),
            b" BC" => Ok(true),
            _ => Err(Unusual),
        }
    }
}

/// Takes an offset from UTC; microseconds.
fn zone(cursor: &mut Cursor<'_>) -> Result<i64, Unusual> {
    let west = cursor.has(b'-');
    if !west {
        cursor.expect(b'+')?;
    }
    let mut offset = cursor.pair(15)? * HOUR;
    if cursor.has(b':') {
        offset += cursor.pair(59)? * MINUTE;
        if cursor.has(b':') {
            offset += cursor.pair(59)? * SECOND;
        }
    }
    Ok(if west { -offset } else { offset })
}

/// Days since the epoch of a day of the Gregorian calendar, by counting from March, so that a leap day is a year's last.
fn days((year, month, day): (i64, i64, i64), before_christ: bool) -> Result<i64, Unusual> {
    // There is no year 0.
    let year = if before_christ { 1 - year } else { year };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let in_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=in_month).contains(&day) || year.abs() > LAST_YEAR {
        return Err(Unusual);
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Ok(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - EPOCH)
}

/// Days since 2000-01-01.
pub(in crate::stream::binary) fn date(text: &[u8]) -> Result<i32, Unusual> {
    match text {
        b"infinity" => return Ok(i32::MAX),
        b"-infinity" => return Ok(i32::MIN),
        _ => {}
    }
    let mut cursor = Cursor(text);
    let calendar = cursor.calendar()?;
    let days = days(calendar, cursor.is_before_christ()?)?;
    i32::try_from(days).map_err(|_| Unusual)
}

/// Microseconds since midnight; `24:00:00` is one.
pub(super) fn time(text: &[u8]) -> Result<i64, Unusual> {
    let mut cursor = Cursor(text);
    let clock = cursor.clock()?;
    if cursor.0.is_empty() && clock <= DAY { Ok(clock) } else { Err(Unusual) }
}

/// Microseconds since 2000-01-01 00:00:00.
pub(in crate::stream::binary) fn timestamp(text: &[u8]) -> Result<i64, Unusual> {
    moment(text, |_| Ok(0))
}

/// Microseconds since 2000-01-01 00:00:00 UTC.
pub(in crate::stream::binary) fn timestamptz(text: &[u8]) -> Result<i64, Unusual> {
    moment(text, zone)
}

fn moment(text: &[u8], zone: impl FnOnce(&mut Cursor<'_>) -> Result<i64, Unusual>) -> Result<i64, Unusual> {
    match text {
        b"infinity" => return Ok(i64::MAX),
        b"-infinity" => return Ok(i64::MIN),
        _ => {}
    }
    let mut cursor = Cursor(text);
    let calendar = cursor.calendar()?;
    cursor.expect(b' ')?;
    let clock = cursor.clock()?;
    let zone = zone(&mut cursor)?;
    let days = days(calendar, cursor.is_before_christ()?)?;
    if clock >= DAY {
        return Err(Unusual);
    }
    days.checked_mul(DAY).and_then(|days| days.checked_add(clock - zone)).ok_or(Unusual)
}

/// Microseconds, days, months: `1 year 2 mons -3 days +04:05:06.7`, each of them optional but not all.
pub(in crate::stream::binary) fn interval(text: &[u8]) -> Result<(i64, i32, i32), Unusual> {
    let (mut months, mut days, mut clock) = (None, None, None);
    let mut years = None;
    for word in Words(text) {
        let (number, unit) = word?;
        let mut cursor = Cursor(number);
        let negative = cursor.has(b'-');
        if !negative {
            cursor.has(b'+');
        }
        let sign = if negative { -1 } else { 1 };
        let place = match unit {
            Some(b"year" | b"years") => &mut years,
            Some(b"mon" | b"mons") => &mut months,
            Some(b"day" | b"days") => &mut days,
            Some(_) => return Err(Unusual),
            None => &mut clock,
        };
        let value = if unit.is_none() {
            // Hours may be as many as there are.
            let hours = cursor.number(2)?;
            cursor.expect(b':')?;
            let minutes = cursor.pair(59)?;
            cursor.expect(b':')?;
            hours * HOUR + minutes * MINUTE + cursor.pair(59)? * SECOND + cursor.fraction()?
        } else {
            cursor.number(1)?
        };
        if !cursor.0.is_empty() || place.replace(value * sign).is_some() {
            return Err(Unusual);
        }
    }
    if [years, months, days, clock].iter().all(Option::is_none) {
        return Err(Unusual);
    }
    let narrow = |value: i64| i32::try_from(value).map_err(|_| Unusual);
    let months = narrow(years.unwrap_or(0) * 12 + months.unwrap_or(0))?;
    Ok((clock.unwrap_or(0), narrow(days.unwrap_or(0))?, months))
}

/// The parts of an interval: a number with its unit, or a time of day without one.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), Unusual>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut words = self.0.splitn(3, |&byte| byte == b' ');
        let first = words.next().unwrap_or_default();
        if first.contains(&b':') {
            let is_last = words.next().is_none();
            self.0 = &[];
            return Some(if is_last { Ok((first, None)) } else { Err(Unusual) });
        }
        let unit = words.next();
        let rest = words.next();
        self.0 = rest.unwrap_or_default();
        Some(if unit.is_some() && rest != Some(b"") { Ok((first, unit)) } else { Err(Unusual) })
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, HOUR, MINUTE, SECOND, date, interval, time, timestamp, timestamptz};
    use jiff::civil;
    use proptest::prelude::*;

    #[test]
    fn days_are_counted_from_the_epoch() {
        for (text, days) in [
            ("2000-01-01", 0),
            ("1999-12-31", -1),
            ("2000-02-29", 59),
            ("2000-03-01", 60),
            ("1970-01-01", -10_957),
            ("0001-01-01", -730_119),
            ("0001-12-31 BC", -730_120),
            ("4714-11-24 BC", -2_451_545),
            ("5874897-12-31", 2_145_031_948),
            ("infinity", i32::MAX),
            ("-infinity", i32::MIN),
        ] {
            assert_eq!(date(text.as_bytes()), Ok(days), "{text}");
        }
    }

    #[test]
    fn times_have_a_fraction_a_zone_and_an_era() {
        let second = HOUR + 2 * MINUTE + 3 * SECOND;
        assert_eq!(time(b"01:02:03"), Ok(second));
        assert_eq!(time(b"01:02:03.04"), Ok(second + 40_000));
        assert_eq!(time(b"24:00:00"), Ok(DAY));
        assert_eq!(timestamp(b"2000-01-02 01:02:03.000001"), Ok(DAY + second + 1));
        assert_eq!(timestamptz(b"2000-01-01 01:02:03+01"), Ok(second - HOUR));
        assert_eq!(timestamptz(b"2000-01-01 01:02:03-03:30"), Ok(second + 3 * HOUR + 30 * MINUTE));
        assert_eq!(timestamptz(b"2000-01-01 01:02:03+00:19:32"), Ok(second - 19 * MINUTE - 32 * SECOND));
        assert_eq!(timestamptz(b"0001-12-31 00:00:00+00 BC"), Ok(-730_120 * DAY));
        assert_eq!(timestamp(b"-infinity"), Ok(i64::MIN));
    }

    #[test]
    fn intervals_are_months_days_and_microseconds() {
        for (text, expected) in [
            ("00:00:00", (0, 0, 0)),
            ("1 year 2 mons 3 days 04:05:06.7", (4 * HOUR + 5 * MINUTE + 6_700_000, 3, 14)),
            ("-1 years -2 mons +3 days -04:05:06", (-(4 * HOUR + 5 * MINUTE + 6 * SECOND), 3, -14)),
            ("1 mon", (0, 0, 1)),
            ("-1 days +02:03:00", (2 * HOUR + 3 * MINUTE, -1, 0)),
            ("123456789:00:00", (123_456_789 * HOUR, 0, 0)),
            ("178000000 years", (0, 0, 2_136_000_000)),
        ] {
            assert_eq!(interval(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn whatever_is_written_otherwise_is_left_to_the_server() {
        for text in [
            "2000-1-1",
            "2000-02-30",
            "1900-02-29",
            "2000-13-01",
            "2000-00-10",
            "200-01-01",
            "20000101",
            "",
            "2000-01-01 AD",
        ] {
            assert!(date(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["1:02:03", "01:02", "01:02:60", "24:00:01", "01:02:03.", "01:02:03.1234567", "01:02:03+00"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            "2000-01-01",
            "2000-01-01T00:00:00",
            "2000-01-01 24:00:00",
            "2000-01-01 00:00:00+00",
            "01/02/2000 00:00:00",
        ] {
            assert!(timestamp(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["2000-01-01 00:00:00", "2000-01-01 00:00:00 CET", "2000-01-01 00:00:00Z", "2000-01-01 00:00:00+16"]
        {
            assert!(timestamptz(text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            "",
            "1",
            "1 week",
            "P1D",
            "1 day 2 days",
            "1 day ",
            "01:00:00 1 day",
            "1-2",
            "1 day 2",
            "infinity",
            "@ 1 day",
        ] {
            assert!(interval(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_is_the_one_that_another_calendar_counts(year in -9990i16..9990, day in 1i16..=365, second in 0i64..86_400) {
            let day = civil::Date::new(year, 1, 1).expect("a date").with().day_of_year(day).build().expect("a date");
            let epoch = civil::date(2000, 1, 1);
            let days = i64::from(epoch.until(day).expect("a span").get_days());
            let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
            let (month, in_month) = (day.month(), day.day());
            let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
            let text = format!("{shown:04}-{month:02}-{in_month:02} {clock}{era}");
            prop_assert_eq!(timestamp(text.as_bytes()), Ok(days * DAY + second * SECOND));
        }
    }
}
