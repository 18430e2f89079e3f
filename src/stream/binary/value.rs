//! What a type's receive function takes, by the text that its output function writes.

use super::{Outcome, Unusual, array, number, time};
use bytes::BufMut;

/// How a column's values are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// `boolrecv`: a byte.
    Bool,
    /// `int2recv`.
    Int2,
    /// `int4recv`.
    Int4,
    /// `int8recv`.
    Int8,
    /// `oidrecv`.
    Oid,
    /// `float4recv`.
    Float4,
    /// `float8recv`.
    Float8,
    /// `numeric_recv`.
    Numeric,
    /// `textrecv` and others that take the text as it is.
    Text,
    /// `jsonb_recv`: a version, and the text.
    Jsonb,
    /// `bytearecv`.
    Bytea,
    /// `uuid_recv`.
    Uuid,
    /// `date_recv`: days since 2000-01-01.
    Date,
    /// `time_recv`: microseconds.
    Time,
    /// `timestamp_recv`: microseconds since 2000-01-01.
    Timestamp,
    /// `timestamptz_recv`: microseconds since 2000-01-01 in UTC.
    TimestampTz,
    /// `interval_recv`: microseconds, days, months.
    Interval,
    /// `array_recv`.
    Array(Box<Element>),
}

/// What an array holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The elements' type in the server that receives.
    pub oid: u32,
    /// How they are sent.
    pub receiver: Receiver,
}

impl Receiver {
    /// The receiver of a base type, by the C functions of its input and its receive function, both of the server itself;
    /// `None` for those that have to be sent as text. Whose types they are does not matter: citext, say, is received by
    /// `textrecv`.
    pub fn of(input: &str, receive: &str) -> Option<Self> {
        Some(match (input, receive) {
            ("boolin", "boolrecv") => Receiver::Bool,
            ("int2in", "int2recv") => Receiver::Int2,
            ("int4in", "int4recv") => Receiver::Int4,
            ("int8in", "int8recv") => Receiver::Int8,
            ("oidin", "oidrecv") => Receiver::Oid,
            ("float4in", "float4recv") => Receiver::Float4,
            ("float8in", "float8recv") => Receiver::Float8,
            ("numeric_in", "numeric_recv") => Receiver::Numeric,
            ("textin", "textrecv")
            | ("varcharin", "varcharrecv")
            | ("bpcharin", "bpcharrecv")
            | ("json_in", "json_recv")
            | ("enum_in", "enum_recv") => Receiver::Text,
            ("jsonb_in", "jsonb_recv") => Receiver::Jsonb,
            ("byteain", "bytearecv") => Receiver::Bytea,
            ("uuid_in", "uuid_recv") => Receiver::Uuid,
            ("date_in", "date_recv") => Receiver::Date,
            ("time_in", "time_recv") => Receiver::Time,
            ("timestamp_in", "timestamp_recv") => Receiver::Timestamp,
            ("timestamptz_in", "timestamptz_recv") => Receiver::TimestampTz,
            ("interval_in", "interval_recv") => Receiver::Interval,
            _ => return None,
        })
    }

    /// Adds the value that this text means.
    pub(super) fn convert(&self, text: &[u8], target: &mut Vec<u8>) -> Outcome {
        match self {
            Receiver::Bool => match text {
                b"t" => target.put_u8(1),
                b"f" => target.put_u8(0),
                _ => return Err(Unusual),
            },
            Receiver::Int2 => target.put_i16(narrow(number::integer(text)?)?),
            Receiver::Int4 => target.put_i32(narrow(number::integer(text)?)?),
            Receiver::Int8 => target.put_i64(number::integer(text)?),
            Receiver::Oid => target.put_u32(narrow(number::integer(text)?)?),
            Receiver::Float4 => target.put_f32(number::float4(text)?),
            Receiver::Float8 => target.put_f64(number::float8(text)?),
            Receiver::Numeric => return number::numeric(text, target),
            Receiver::Text => target.put_slice(text),
            Receiver::Jsonb => {
                target.put_u8(1);
                target.put_slice(text);
            }
            Receiver::Bytea => return bytea(text, target),
            Receiver::Uuid => return uuid(text, target),
            Receiver::Date => target.put_i32(time::date(text)?),
            Receiver::Time => target.put_i64(time::time(text)?),
            Receiver::Timestamp => target.put_i64(time::timestamp(text)?),
            Receiver::TimestampTz => target.put_i64(time::timestamptz(text)?),
            Receiver::Interval => {
                let (microseconds, days, months) = time::interval(text)?;
                target.put_i64(microseconds);
                target.put_i32(days);
                target.put_i32(months);
            }
            Receiver::Array(element) => return array::convert(text, element, target),
        }
        Ok(())
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Unusual> {
    T::try_from(value).map_err(|_| Unusual)
}

/// `\x` and hexadecimal digits, as `bytea_output = hex` writes it.
fn bytea(text: &[u8], target: &mut Vec<u8>) -> Outcome {
    let digits = text.strip_prefix(b"\\x").ok_or(Unusual)?;
    let (pairs, odd) = digits.as_chunks::<2>();
    // Wrong digits are looked for once, at the end: half of the time of large values is spent here.
    let mut seen = 0;
    target.extend(pairs.iter().map(|&[high, low]| {
        let (high, low) = (NIBBLES[usize::from(high)], NIBBLES[usize::from(low)]);
        seen |= high | low;
        high << 4 | low & 0xf
    }));
    if seen < NO_DIGIT && odd.is_empty() { Ok(()) } else { Err(Unusual) }
}

/// What [`NIBBLES`] has for whatever is no digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

fn uuid(text: &[u8], target: &mut Vec<u8>) -> Outcome {
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return Err(Unusual);
    }
    let mut digits = [0; 32];
    let parts = [0..8, 9..13, 14..18, 19..23, 24..36];
    let mut at = 0;
    for part in parts {
        digits[at..at + part.len()].copy_from_slice(&text[part.clone()]);
        at += part.len();
    }
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| Unusual)?;
    target.put_slice(&bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Receiver, Unusual};

    fn sent(receiver: &Receiver, text: &str) -> Result<Vec<u8>, Unusual> {
        let mut target = Vec::new();
        receiver.convert(text.as_bytes(), &mut target).map(|()| target)
    }

    #[test]
    fn a_type_is_known_by_both_of_its_functions() {
        assert_eq!(Receiver::of("textin", "textrecv"), Some(Receiver::Text));
        assert_eq!(Receiver::of("textin", "bytearecv"), None);
        assert_eq!(Receiver::of("tsvectorin", "tsvectorrecv"), None);
    }

    #[test]
    fn values_are_sent_as_the_server_receives_them() {
        assert_eq!(sent(&Receiver::Bool, "t"), Ok(vec![1]));
        assert_eq!(sent(&Receiver::Int2, "-2"), Ok(vec![0xff, 0xfe]));
        assert_eq!(sent(&Receiver::Oid, "4294967295"), Ok(vec![0xff; 4]));
        assert_eq!(sent(&Receiver::Jsonb, "{}"), Ok(b"\x01{}".to_vec()));
        assert_eq!(sent(&Receiver::Bytea, "\\x00fF"), Ok(vec![0, 255]));
        assert_eq!(sent(&Receiver::Bytea, "\\x"), Ok(vec![]));
        let uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        assert_eq!(sent(&Receiver::Uuid, uuid), Ok((0..16).collect::<Vec<u8>>()));
    }

    #[test]
    fn what_is_unusual_is_left_to_the_server() {
        for (receiver, text) in [
            (Receiver::Bool, "true"),
            (Receiver::Int2, "40000"),
            (Receiver::Int4, "2147483648"),
            (Receiver::Oid, "-1"),
            (Receiver::Bytea, "abc"),
            (Receiver::Bytea, "\\x0"),
            (Receiver::Bytea, "\\x0g"),
            (Receiver::Uuid, "{00010203-0405-0607-0809-0a0b0c0d0e0f}"),
            (Receiver::Uuid, "00010203-0405-0607-0809-0a0b0c0d0e0g"),
            (Receiver::Uuid, "00010203x0405-0607-0809-0a0b0c0d0e0f"),
        ] {
            assert_eq!(sent(&receiver, text), Err(Unusual), "{receiver:?} {text}");
        }
    }
}
