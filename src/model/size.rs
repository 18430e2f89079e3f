//! Sizes and lengths of time as people write them.

use std::time::Duration;

/// Reads `268435456`, `64KiB`, `256MiB` or `2GiB`; `k`, `kB`, `M`, `MB` and the like mean the same, as in PostgreSQL's settings.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("{unit:?} is no unit: use KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|_| "a size is a number with KiB, MiB or GiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "there is no such amount".to_owned())
}

/// Reads `90s`, `10m`, `2h` or `1h 30m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let length: jiff::SignedDuration =
        text.parse().map_err(|error| format!("a time is written like 90s or 2h: {error}"))?;
    length.try_into().map_err(|_| "a time is not less than nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{duration, parse};
    use std::time::Duration;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("64KiB", 65_536), ("1 MB", 1 << 20), ("2g", 2 << 30), ("1TiB", 1 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "1 parsec", "99999999999TiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_and_without_units() {
        for (text, seconds) in [("0", 0), ("17", 17), ("90s", 90), ("10m", 600), ("1h 30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "-5s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
