//! Numbers, as the server writes them with `extra_float_digits` above zero.

use super::{Outcome, Unusual};
use crate::stream::binary::layout::{INFINITE, NEGATIVE, NEGATIVE_INFINITE, NOT_A_NUMBER, POSITIVE};

/// Adds an integer's digits.
pub(super) fn integer(value: impl itoa::Integer, text: &mut Vec<u8>) {
    text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Where the server's digits are certain to be the shortest ones that mean the value, of which there is but one nearest to it.
///
/// The server looks for them strictly between the middles to the neighbours, others at the middles too (`acceptBounds` in
/// `d2s.c`); and where two are equally near, the choices differ. Middles have so few digits only where their power of two is
/// large, and a value lies between two such candidates only if it has a fraction of exactly two bits: neither happens to
/// normal numbers below `fraction`, to integers below `integer`, which are written out, nor from `large` on, whose middles are
/// multiples of too large a power of two.
struct Certain {
    fraction: f64,
    integer: f64,
    large: f64,
}

/// 53 bits of digits, of which 17 decimal ones tell all values apart: 2 to the 50, the 53, the 134.
const CERTAIN_8: Certain =
    Certain { fraction: 1_125_899_906_842_624.0, integer: 9_007_199_254_740_992.0, large: 2.177_807_148_294_006_2e40 };
/// 24 bits, 9 decimal digits: 2 to the 21, the 24, the 66.
const CERTAIN_4: Certain =
    Certain { fraction: 2_097_152.0, integer: 16_777_216.0, large: 73_786_976_294_838_206_464.0 };

impl Certain {
    fn covers(&self, value: f64) -> bool {
        let size = value.abs();
        size < self.fraction || size >= self.large || (size < self.integer && size.fract() == 0.0)
    }
}

/// Adds the text of `float8out`.
pub(super) fn float8(value: f64, text: &mut Vec<u8>) -> Outcome {
    if let Some(word) = word(value) {
        text.extend_from_slice(word);
        return Ok(());
    }
    if !value.is_normal() || !CERTAIN_8.covers(value) {
        return Err(Unusual);
    }
    digits(ryu::Buffer::new().format_finite(value).as_bytes(), 15, text)
}

/// Adds the text of `float4out`.
pub(super) fn float4(value: f32, text: &mut Vec<u8>) -> Outcome {
    if let Some(word) = word(value.into()) {
        text.extend_from_slice(word);
        return Ok(());
    }
    if !value.is_normal() || !CERTAIN_4.covers(value.into()) {
        return Err(Unusual);
    }
    digits(ryu::Buffer::new().format_finite(value).as_bytes(), 6, text)
}

/// What has no digits, or no other than zero.
fn word(value: f64) -> Option<&'static [u8]> {
    Some(match value {
        _ if value.is_nan() => b"NaN",
        _ if value.is_infinite() => {
            if value > 0.0 {
                &b"Infinity"[..]
            } else {
                b"-Infinity"
            }
        }
        0.0 => {
            if value.is_sign_positive() {
                &b"0"[..]
            } else {
                b"-0"
            }
        }
        _ => return None,
    })
}

/// Writes shortest digits as the server does (`to_chars` in `d2s.c` and `f2s.c`): with an exponent below a ten-thousandth, and
/// from ten to this power on.
fn digits(shortest: &[u8], exponent_from: i32, text: &mut Vec<u8>) -> Outcome {
    let (negative, shortest) = match shortest {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match memchr::memchr(b'e', shortest) {
        Some(at) => (&shortest[..at], signed(&shortest[at + 1..])?),
        None => (shortest, 0),
    };
    let point = memchr::memchr(b'.', mantissa).unwrap_or(mantissa.len());
    let mut buffer = [0; 32];
    let mut count = 0;
    for &digit in mantissa.iter().filter(|&&byte| byte != b'.') {
        *buffer.get_mut(count).ok_or(Unusual)? = digit;
        count += 1;
    }
    let leading = buffer[..count].iter().take_while(|&&digit| digit == b'0').count();
    let digits = &buffer[leading..count];
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    let digits = &digits[..digits.len() - zeros];
    let [first, others @ ..] = digits else { return Err(Unusual) };
    // The power of ten of the first digit.
    let small = |length: usize| i32::try_from(length).map_err(|_| Unusual);
    let power = small(point)? - small(leading)? - 1 + exponent;
    if negative {
        text.push(b'-');
    }
    if power < -4 || power >= exponent_from {
        text.push(*first);
        if !others.is_empty() {
            text.push(b'.');
            text.extend_from_slice(others);
        }
        text.extend_from_slice(if power < 0 { b"e-" } else { b"e+" });
        if power.abs() < 10 {
            text.push(b'0');
        }
        integer(power.abs(), text);
    } else if power < 0 {
        text.extend_from_slice(&b"0.0000"[..usize::try_from(1 - power).map_err(|_| Unusual)?]);
        text.extend_from_slice(digits);
    } else {
        let whole = usize::try_from(power + 1).map_err(|_| Unusual)?;
        match digits.split_at_checked(whole) {
            Some((digits, fraction)) => {
                text.extend_from_slice(digits);
                if !fraction.is_empty() {
                    text.push(b'.');
                    text.extend_from_slice(fraction);
                }
            }
            None => {
                text.extend_from_slice(digits);
                text.resize(text.len() + whole - digits.len(), b'0');
            }
        }
    }
    Ok(())
}

fn signed(digits: &[u8]) -> Result<i32, Unusual> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Unusual)
}

/// The greatest scale that a column can be declared with; a longer tail of zeros is left to the server, for it makes a long
/// text of few bytes.
const LARGEST_SCALE: u16 = 1000;
/// The same for zeros before the point.
const LARGEST_WEIGHT: i16 = 1000;

/// Adds the text of `numeric_out` (`get_str_from_var` in `numeric.c`): digits to the base of 10,000, each written as four.
pub(super) fn numeric(value: &[u8], text: &mut Vec<u8>) -> Outcome {
    let (head, digits) = value.split_first_chunk::<8>().ok_or(Unusual)?;
    let (digits, odd) = digits.as_chunks::<2>();
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign, scale) = (word(0), word(2).cast_signed(), word(4), word(6));
    if usize::from(count) != digits.len() || !odd.is_empty() || scale > LARGEST_SCALE {
        return Err(Unusual);
    }
    match sign {
        POSITIVE => {}
        NEGATIVE => text.push(b'-'),
        NOT_A_NUMBER | INFINITE | NEGATIVE_INFINITE if count == 0 => {
            text.extend_from_slice(match sign {
                NOT_A_NUMBER => &b"NaN"[..],
                INFINITE => b"Infinity",
                _ => b"-Infinity",
            });
            return Ok(());
        }
        _ => return Err(Unusual),
    }
    if weight > LARGEST_WEIGHT || digits.iter().any(|&digit| u16::from_be_bytes(digit) > 9999) {
        return Err(Unusual);
    }
    // The digit of a power of 10,000; what is not stored is zero.
    let digit = |power: i32| {
        let index = usize::try_from(i32::from(weight) - power).ok();
        index.and_then(|index| digits.get(index)).map_or(0, |&digit| u16::from_be_bytes(digit))
    };
    if weight < 0 {
        text.push(b'0');
    } else {
        integer(digit(weight.into()), text);
        for power in (0..i32::from(weight)).rev() {
            text.extend_from_slice(&four(digit(power)));
        }
    }
    if scale > 0 {
        text.push(b'.');
        let end = text.len() + usize::from(scale);
        let mut power = -1;
        while text.len() < end {
            text.extend_from_slice(&four(digit(power)));
            power -= 1;
        }
        text.truncate(end);
    }
    Ok(())
}

fn four(digit: u16) -> [u8; 4] {
    let decimal = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [decimal(digit / 1000), decimal(digit / 100), decimal(digit / 10), decimal(digit)]
}

#[cfg(test)]
mod tests {
    use super::super::Unusual;
    use super::{float4, float8, integer, numeric};
    use crate::stream::binary::to_binary;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unusual>) -> Option<String> {
        let mut text = Vec::new();
        write(&mut text).ok().map(|()| String::from_utf8(text).expect("digits"))
    }

    #[test]
    fn floats_have_an_exponent_where_the_server_gives_them_one() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-120.0, "-120"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (0.0001, "0.0001"),
            (0.000_12, "0.00012"),
            (0.000_01, "1e-05"),
            (123_456.75, "123456.75"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1e+15"),
            (1_234_567_890_123_456.0, "1.234567890123456e+15"),
            (-1.5e-9, "-1.5e-09"),
            (1e100, "1e+100"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(written(|target| float8(value, target)).as_deref(), Some(text));
        }
        for (value, text) in [(123_456.0, "123456"), (1_234_567.0, "1.234567e+06"), (0.1, "0.1"), (1e20, "1e+20")] {
            assert_eq!(written(|target| float4(value, target)).as_deref(), Some(text));
        }
    }

    #[test]
    fn floats_whose_digits_are_a_matter_of_taste_are_left_to_the_server() {
        for value in [5e-324, 1_125_899_906_842_624.0 + 0.25, 9_007_199_254_740_992.0, 1e22, -1e40] {
            assert_eq!(written(|target| float8(value, target)), None, "{value}");
        }
        for value in [1e-45, 2_097_153.5, 16_777_216.0, 1e19] {
            assert_eq!(written(|target| float4(value, target)), None, "{value}");
        }
    }

    #[test]
    fn long_tails_of_zeros_and_damaged_numerics_are_left_to_the_server() {
        for value in [
            &[0, 1, 3, 0xe9, 0, 0, 0, 0, 0, 1][..],
            &[0, 0, 0, 0, 0, 0, 4, 0],
            &[0, 1, 0, 0, 0, 0, 0, 0],
            &[0; 7],
            &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
            &[0, 0, 0, 0, 0x80, 0, 0, 0],
        ] {
            assert_eq!(written(|target| numeric(value, target)), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_their_digits(value: i64) {
            prop_assert_eq!(written(|target| { integer(value, target); Ok(()) }), Some(value.to_string()));
        }

        #[test]
        fn a_numeric_is_the_text_that_it_was_made_of(text in "-?(0|[1-9][0-9]{0,22}|[1-9]0{0,30}[1-9]?0{0,9})(\\.(0{0,13}[0-9]{1,17}))?") {
            let is_zero = !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
            let expected = if is_zero { text.trim_start_matches('-') } else { &text };
            let mut binary = Vec::new();
            prop_assert!(to_binary::numeric(text.as_bytes(), &mut binary).is_ok());
            let found = written(|target| numeric(&binary, target));
            prop_assert_eq!(found.as_deref(), Some(expected));
        }

        #[test]
        fn a_float_means_the_value_that_it_was(bits: u64) {
            let value = f64::from_bits(bits);
            if let Some(text) = written(|target| float8(value, target)) {
                let text = text.replace("Infinity", "inf");
                let back: f64 = text.parse().expect("a number");
                prop_assert!(back.to_bits() == bits || back.is_nan() && value.is_nan(), "{text}");
            }
        }
    }
}
