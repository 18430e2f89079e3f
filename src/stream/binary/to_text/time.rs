//! Dates and times in ISO style, moments in UTC, intervals in style `postgres`, as a dump's sessions are set (`EncodeDateTime`
//! and `EncodeInterval` in `datetime.c`).

use super::number::integer;
use super::{Outcome, Unusual};
use crate::stream::binary::layout::{DAY, EPOCH, HOUR, MINUTE, SECOND};

/// Days of 400 years, after which the calendar begins again.
const ERA: u32 = 146_097;
/// Days are counted from twelve eras before the year 0, so that there are no negative ones.
const SHIFT: i64 = EPOCH + 12 * ERA as i64;
/// The first day that the server knows, 4714-11-24 BC.
const FIRST_DAY: i64 = -2_451_545;

/// Adds a date, given in days since 2000-01-01.
pub(super) fn date(days: i32, text: &mut Vec<u8>) -> Outcome {
    if write_infinity(days == i32::MAX, days == i32::MIN, text) {
        return Ok(());
    }
    let is_before_christ = calendar(days.into(), text)?;
    text.extend_from_slice(era(is_before_christ));
    Ok(())
}

/// Adds a time of day, given in microseconds.
pub(super) fn time(microseconds: i64, text: &mut Vec<u8>) -> Outcome {
    if !(0..=DAY).contains(&microseconds) {
        return Err(Unusual);
    }
    clock(microseconds, text);
    Ok(())
}

/// Adds a moment, given in microseconds since 2000-01-01, in UTC where it has a zone.
pub(super) fn timestamp(microseconds: i64, has_zone: bool, text: &mut Vec<u8>) -> Outcome {
    if write_infinity(microseconds == i64::MAX, microseconds == i64::MIN, text) {
        return Ok(());
    }
    let is_before_christ = calendar(microseconds.div_euclid(DAY), text)?;
    text.push(b' ');
    clock(microseconds.rem_euclid(DAY), text);
    if has_zone {
        text.extend_from_slice(b"+00");
    }
    text.extend_from_slice(era(is_before_christ));
    Ok(())
}

/// Adds an interval: eight bytes of microseconds, four of days, four of months.
pub(super) fn interval(value: &[u8; 16], text: &mut Vec<u8>) -> Outcome {
    let value = i128::from_be_bytes(*value);
    let part = |shift: u32| i64::try_from((value << (96 - shift)) >> 96).map_err(|_| Unusual);
    let microseconds = i64::try_from(value >> 64).map_err(|_| Unusual)?;
    let (days, months) = (part(32)?, part(0)?);
    let is_extreme = |value: i64| value == i64::from(i32::MAX) || value == i64::from(i32::MIN);
    // From 17 on all extremes together are infinite, before that they are a number, and hours had a limit before 15.
    if is_extreme(days) && is_extreme(months) || microseconds.unsigned_abs() / HOUR.unsigned_abs() > 0x7fff_ffff {
        return Err(Unusual);
    }
    let (mut is_first, mut is_before) = (true, false);
    for (number, unit) in [(months / 12, " year"), (months % 12, " mon"), (days, " day")] {
        if number == 0 {
            continue;
        }
        if !is_first {
            text.push(b' ');
        }
        if is_before && number > 0 {
            text.push(b'+');
        }
        integer(number, text);
        text.extend_from_slice(unit.as_bytes());
        if number != 1 {
            text.push(b's');
        }
        (is_first, is_before) = (false, number < 0);
    }
    if is_first || microseconds != 0 {
        if !is_first {
            text.push(b' ');
        }
        if microseconds < 0 {
            text.push(b'-');
        } else if is_before {
            text.push(b'+');
        }
        clock(i64::try_from(microseconds.unsigned_abs()).map_err(|_| Unusual)?, text);
    }
    Ok(())
}

fn write_infinity(is_last: bool, is_first: bool, text: &mut Vec<u8>) -> bool {
    if is_first {
        text.push(b'-');
    }
    if is_first || is_last {
        text.extend_from_slice(b"infinity");
    }
    is_first || is_last
}

fn era(is_before_christ: bool) -> &'static [u8] {
    if is_before_christ { b" BC" } else { b"" }
}

/// Adds `YYYY-MM-DD`; whether it is before Christ. Years are counted from March, so that a leap day is a year's last.
fn calendar(days: i64, text: &mut Vec<u8>) -> Result<bool, Unusual> {
    if days < FIRST_DAY {
        return Err(Unusual);
    }
    // No day is beyond the last date, of the year 5874897, and small numbers are divided faster.
    let days = u32::try_from(days + SHIFT).map_err(|_| Unusual)?;
    let day = days % ERA;
    // The day of the era without the leap days before it, to the last of 400 years.
    let year_of_era = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = i64::from(days / ERA * 400 + year_of_era + later) - 4800;
    let is_before_christ = year <= 0;
    // There is no year 0.
    let year = if is_before_christ { 1 - year } else { year };
    if year < 10_000 {
        text.extend_from_slice(&two(year / 100));
        text.extend_from_slice(&two(year % 100));
    } else {
        integer(year, text);
    }
    text.push(b'-');
    text.extend_from_slice(&two(month.into()));
    text.push(b'-');
    text.extend_from_slice(&two(day.into()));
    Ok(is_before_christ)
}

/// Adds `HH:MM:SS` with as many digits of a fraction as there are; hours may be as many as there are.
fn clock(microseconds: i64, text: &mut Vec<u8>) {
    let hours = microseconds / HOUR;
    if hours < 100 {
        text.extend_from_slice(&two(hours));
    } else {
        integer(hours, text);
    }
    text.push(b':');
    text.extend_from_slice(&two(microseconds / MINUTE % 60));
    text.push(b':');
    text.extend_from_slice(&two(microseconds / SECOND % 60));
    let fraction = microseconds % SECOND;
    if fraction != 0 {
        text.push(b'.');
        for pair in [fraction / 10_000, fraction / 100, fraction] {
            text.extend_from_slice(&two(pair % 100));
        }
        let zeros = text.iter().rev().take_while(|&&digit| digit == b'0').count();
        text.truncate(text.len() - zeros);
    }
}

/// Two digits of a number below 100.
fn two(number: i64) -> [u8; 2] {
    let digit = |value: i64| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [digit(number / 10), digit(number)]
}

#[cfg(test)]
mod tests {
    use super::super::Unusual;
    use super::{DAY, date, interval, time, timestamp};
    use crate::stream::binary::to_binary;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unusual>) -> Option<String> {
        let mut text = Vec::new();
        write(&mut text).ok().map(|()| String::from_utf8(text).expect("text"))
    }

    fn interval_of(microseconds: i64, days: i32, months: i32) -> Option<String> {
        let bytes = [&microseconds.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat();
        written(|target| interval(&bytes.try_into().expect("16 bytes"), target))
    }

    #[test]
    fn days_times_and_eras_are_the_servers() {
        for (days, text) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-2_451_545, "4714-11-24 BC"),
            (2_145_031_948, "5874897-12-31"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(written(|target| date(days, target)).as_deref(), Some(text));
        }
        assert_eq!(written(|target| date(-2_451_546, target)), None);
        assert_eq!(written(|target| time(DAY, target)).as_deref(), Some("24:00:00"));
        assert_eq!(written(|target| time(1_500_000, target)).as_deref(), Some("00:00:01.5"));
        assert_eq!(written(|target| time(DAY + 1, target)), None);
        assert_eq!(written(|target| timestamp(-1, true, target)).as_deref(), Some("1999-12-31 23:59:59.999999+00"));
        let before = -730_120 * DAY;
        assert_eq!(written(|target| timestamp(before, true, target)).as_deref(), Some("0001-12-31 00:00:00+00 BC"));
        assert_eq!(written(|target| timestamp(i64::MIN, false, target)).as_deref(), Some("-infinity"));
    }

    #[test]
    fn intervals_have_the_signs_and_units_of_the_server() {
        let second = 1_000_000;
        for (parts, text) in [
            ((0, 0, 0), "00:00:00"),
            ((4 * 3600 * second + 5 * 60 * second + 6_700_000, 3, 14), "1 year 2 mons 3 days 04:05:06.7"),
            ((-second, 3, -14), "-1 years -2 mons +3 days -00:00:01"),
            ((second, -1, 0), "-1 days +00:00:01"),
            ((0, 0, 1), "1 mon"),
            ((360_000 * 1000 * second, 0, 0), "100000:00:00"),
        ] {
            assert_eq!(interval_of(parts.0, parts.1, parts.2).as_deref(), Some(text));
        }
        assert_eq!(interval_of(i64::MAX, i32::MAX, i32::MAX), None, "infinite, on some servers");
        assert_eq!(interval_of(i64::MIN, 0, 0), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            days in -2_451_545i32..=2_145_031_948, moment in -210_866_803_200_000_000i64..9_223_371_331_200_000_000,
            (microseconds, more_days, months) in (-7_000_000_000_000_000i64..7_000_000_000_000_000, -9_999_999i32..9_999_999, any::<i32>()),
        ) {
            let text = written(|target| date(days, target)).expect("a date");
            prop_assert_eq!(to_binary::date(text.as_bytes()), Ok(days));
            let text = written(|target| timestamp(moment, false, target)).expect("a moment");
            prop_assert_eq!(to_binary::timestamp(text.as_bytes()), Ok(moment));
            let text = written(|target| timestamp(moment, true, target)).expect("a moment");
            prop_assert_eq!(to_binary::timestamptz(text.as_bytes()), Ok(moment));
            let text = interval_of(microseconds, more_days, months).expect("an interval");
            prop_assert_eq!(to_binary::interval(text.as_bytes()), Ok((microseconds, more_days, months)));
        }
    }
}
