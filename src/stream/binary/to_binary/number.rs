//! Numbers, as the server writes them.

use super::{Outcome, Unusual};
use crate::stream::binary::layout::{INFINITE, NEGATIVE, NEGATIVE_INFINITE, NOT_A_NUMBER, POSITIVE};
use bytes::BufMut;

/// Digits with an optional minus.
pub(super) fn integer(text: &[u8]) -> Result<i64, Unusual> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // Eighteen digits always fit; nineteen are rare enough for the careful way.
    if digits.is_empty() || digits.len() > 19 {
        return Err(Unusual);
    }
    let (mut value, mut is_usual) = (0i64, true);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        is_usual &= digit < 10;
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    match digits.len() {
        _ if !is_usual => Err(Unusual),
        19 => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Unusual),
        _ => Ok(if negative { -value } else { value }),
    }
}

macro_rules! float {
    ($name:ident, $float:ty) => {
        /// The shortest digits that mean the value, or a word.
        pub(super) fn $name(text: &[u8]) -> Result<$float, Unusual> {
            match text {
                b"NaN" => return Ok(<$float>::NAN),
                b"Infinity" => return Ok(<$float>::INFINITY),
                b"-Infinity" => return Ok(<$float>::NEG_INFINITY),
                _ => {}
            }
            let is_usual = |byte: &u8| byte.is_ascii_digit() || b"+-.e".contains(byte);
            let text = Some(text).filter(|text| text.iter().all(is_usual)).ok_or(Unusual)?;
            let text = std::str::from_utf8(text).map_err(|_| Unusual)?;
            let value: $float = text.parse().map_err(|_| Unusual)?;
            // The server refuses what does not fit, here it would become infinite or zero.
            let is_lost = || {
                let mantissa = text.split('e').next().unwrap_or_default();
                mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
            };
            if value.is_infinite() || (value == 0.0 && is_lost()) { Err(Unusual) } else { Ok(value) }
        }
    };
}

float!(float4, f32);
float!(float8, f64);

/// Decimal digits of one digit of `numeric`, whose base is 10,000.
const DIGITS: usize = 4;
/// More digits than this are left to the server, whose limits are somewhere behind.
const MOST_DIGITS: usize = 16_000;

/// Number of digits to the base of 10,000, weight of the first, sign, scale, digits; what is before and behind without zeros.
pub(in crate::stream::binary) fn numeric(text: &[u8], target: &mut Vec<u8>) -> Outcome {
    let special = match text {
        b"NaN" => Some(NOT_A_NUMBER),
        b"Infinity" => Some(INFINITE),
        b"-Infinity" => Some(NEGATIVE_INFINITE),
        _ => None,
    };
    if let Some(sign) = special {
        target.put_slice(&[0; 4]);
        target.put_u16(sign);
        target.put_u16(0);
        return Ok(());
    }
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (NEGATIVE, digits),
        digits => (POSITIVE, digits),
    };
    let (whole, fraction) = match memchr::memchr(b'.', digits) {
        Some(point) if point + 1 < digits.len() => (&digits[..point], &digits[point + 1..]),
        Some(_) => return Err(Unusual),
        None => (digits, &[][..]),
    };
    let are_digits = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || digits.len() > MOST_DIGITS || !are_digits(whole) || !are_digits(fraction) {
        return Err(Unusual);
    }
    let at = target.len();
    target.put_slice(&[0; 8]);
    let (mut count, mut zeros_at_end, mut weight) = (0u16, 0u16, whole.len().div_ceil(DIGITS));
    let mut put = |digit: u16, target: &mut Vec<u8>| {
        if count == 0 && digit == 0 {
            weight -= usize::from(weight > 0);
            return;
        }
        target.put_u16(digit);
        count += 1;
        zeros_at_end = if digit == 0 { zeros_at_end + 1 } else { 0 };
    };
    let decimal = |digits: &[u8]| digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let (odd, groups) = whole.split_at(whole.len() % DIGITS);
    if !odd.is_empty() {
        put(decimal(odd), target);
    }
    for group in groups.chunks(DIGITS) {
        put(decimal(group), target);
    }
    // Of the weight only what is before the point was counted; leading zeros behind it lower it further.
    let mut leading = 0i16;
    for group in fraction.chunks(DIGITS) {
        let digit = decimal(group) * 10u16.pow(u32::try_from(DIGITS - group.len()).unwrap_or(0));
        if target.len() == at + 8 && digit == 0 {
            leading += 1;
            continue;
        }
        put(digit, target);
    }
    target.truncate(target.len() - 2 * usize::from(zeros_at_end));
    count -= zeros_at_end;
    let weight = i16::try_from(weight).map_err(|_| Unusual)? - 1 - leading;
    let (weight, sign) = if count == 0 { (0, POSITIVE) } else { (weight, sign) };
    let mut head = &mut target[at..at + 8];
    head.put_u16(count);
    head.put_i16(weight);
    head.put_u16(sign);
    head.put_u16(u16::try_from(fraction.len()).map_err(|_| Unusual)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{float4, float8, integer, numeric};
    use bytes::Buf;
    use proptest::prelude::*;

    #[test]
    fn integers_are_digits_and_nothing_else() {
        for value in [0, 7, -7, 999_999_999_999_999_999, i64::MAX, i64::MIN] {
            assert_eq!(integer(value.to_string().as_bytes()), Ok(value));
        }
        for text in ["", "-", "+1", " 1", "1_000", "0x10", "9223372036854775808", "1.0", "--1"] {
            assert!(integer(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn floats_that_do_not_fit_are_left_to_the_server() {
        assert_eq!(float8(b"-0").map(f64::to_bits), Ok((-0.0f64).to_bits()));
        assert_eq!(float8(b"1e+300"), Ok(1e300));
        assert_eq!(float8(b"5e-324"), Ok(5e-324));
        assert_eq!(float8(b"NaN").map(f64::to_bits), Ok(0x7ff8_0000_0000_0000));
        assert_eq!(float4(b"-Infinity"), Ok(f32::NEG_INFINITY));
        for text in ["1e400", "1e-400", "inf", "nan", "infinity", "", " 1", "1_0", "0x1p3"] {
            assert!(float8(text.as_bytes()).is_err(), "{text}");
        }
        assert!(float4(b"1e39").is_err() && float4(b"1e-60").is_err());
    }

    /// The value as `numeric_out` would write it, from what was sent.
    fn written(text: &str) -> Option<String> {
        let mut bytes = Vec::new();
        numeric(text.as_bytes(), &mut bytes).ok()?;
        let mut sent = &bytes[..];
        let (count, weight) = (sent.get_u16(), i32::from(sent.get_i16()));
        let (sign, scale) = (sent.get_u16(), usize::from(sent.get_u16()));
        let digits: Vec<u16> = (0..count).map(|_| sent.get_u16()).collect();
        assert!(sent.is_empty() && digits.first() != Some(&0) && digits.last() != Some(&0), "{text}: {digits:?}");
        let digit = |place: i32| {
            let index = usize::try_from(weight - place).ok();
            index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
        };
        let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
        let whole = whole.trim_start_matches('0');
        let places = i32::try_from(scale.div_ceil(4)).expect("small");
        let fraction: String = (1..=places).map(|place| format!("{:04}", digit(-place))).collect();
        let sign = if sign == 0x4000 { "-" } else { "" };
        let point = if scale > 0 { format!(".{}", &fraction[..scale]) } else { String::new() };
        Some(format!("{sign}{}{point}", if whole.is_empty() { "0" } else { whole }))
    }

    #[test]
    fn unusual_numerics_are_left_to_the_server() {
        for text in ["", "-", ".5", "1.", "1e5", "+1", "1..2", "1.2.3", "nan", "0x1", "1_0"] {
            assert_eq!(written(text), None, "{text}");
        }
        let long = "9".repeat(16_001);
        assert_eq!(written(&long), None);
        assert_eq!(written(&long[..15_999]).as_deref(), Some(&long[..15_999]));
    }

    #[test]
    fn zero_has_no_digits_and_no_sign_but_its_scale() {
        for (text, scale) in [("0", 0), ("0.000", 3), ("0.00000", 5)] {
            let mut sent = Vec::new();
            assert_eq!(numeric(text.as_bytes(), &mut sent), Ok(()));
            assert_eq!(&sent[..], [0, 0, 0, 0, 0, 0, 0, scale]);
        }
    }

    proptest! {
        #[test]
        fn a_numeric_is_the_number_it_was(text in "-?(0|[1-9][0-9]{0,22}|[1-9]0{0,30}[1-9]?0{0,9})(\\.(0{0,13}[0-9]{1,17}))?") {
            let is_zero = !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
            let expected = if is_zero { text.trim_start_matches('-') } else { &text };
            let found = written(&text);
            prop_assert_eq!(found.as_deref(), Some(expected));
        }

        #[test]
        fn a_float_is_the_number_it_was(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(float8(format!("{value:e}").as_bytes()).map(f64::to_bits), Ok(bits));
        }
    }
}
