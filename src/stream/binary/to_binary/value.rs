//! What a type's receive function takes, by the text that its output function writes.

use super::super::{Layout, Outcome, Unusual};
use super::{array, number, time};
use bytes::BufMut;

impl Layout {
    /// Adds the value that this text means.
    pub(super) fn convert(&self, text: &[u8], target: &mut Vec<u8>) -> Outcome {
        match self {
            Layout::Bool => match text {
                b"t" => target.put_u8(1),
                b"f" => target.put_u8(0),
                _ => return Err(Unusual),
            },
            Layout::Int2 => target.put_i16(narrow(number::integer(text)?)?),
            Layout::Int4 => target.put_i32(narrow(number::integer(text)?)?),
            Layout::Int8 => target.put_i64(number::integer(text)?),
            Layout::Oid => target.put_u32(narrow(number::integer(text)?)?),
            Layout::Float4 => target.put_f32(number::float4(text)?),
            Layout::Float8 => target.put_f64(number::float8(text)?),
            Layout::Numeric => return number::numeric(text, target),
            Layout::Text => target.put_slice(text),
            Layout::Jsonb => {
                target.put_u8(1);
                target.put_slice(text);
            }
            Layout::Bytea => return bytea(text, target),
            Layout::Uuid => return uuid(text, target),
            Layout::Date => target.put_i32(time::date(text)?),
            Layout::Time => target.put_i64(time::time(text)?),
            Layout::Timestamp => target.put_i64(time::timestamp(text)?),
            Layout::TimestampTz => target.put_i64(time::timestamptz(text)?),
            Layout::Interval => {
                let (microseconds, days, months) = time::interval(text)?;
                target.put_i64(microseconds);
                target.put_i32(days);
                target.put_i32(months);
            }
            Layout::Array(element) => return array::convert(text, element, target),
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
    let start = target.len();
    target.resize(start + digits.len() / 2, 0);
    faster_hex::hex_decode(digits, &mut target[start..]).map(drop).map_err(|_| Unusual)
}

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
    let bytes: [u8; 16] = faster_hex::hex_decode_array(&digits).map_err(|_| Unusual)?;
    target.put_slice(&bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Layout, Unusual};

    fn sent(layout: &Layout, text: &str) -> Result<Vec<u8>, Unusual> {
        let mut target = Vec::new();
        layout.convert(text.as_bytes(), &mut target).map(|()| target)
    }

    #[test]
    fn values_are_sent_as_the_server_receives_them() {
        assert_eq!(sent(&Layout::Bool, "t"), Ok(vec![1]));
        assert_eq!(sent(&Layout::Int2, "-2"), Ok(vec![0xff, 0xfe]));
        assert_eq!(sent(&Layout::Oid, "4294967295"), Ok(vec![0xff; 4]));
        assert_eq!(sent(&Layout::Jsonb, "{}"), Ok(b"\x01{}".to_vec()));
        assert_eq!(sent(&Layout::Bytea, "\\x00fF"), Ok(vec![0, 255]));
        assert_eq!(sent(&Layout::Bytea, "\\x"), Ok(vec![]));
        let uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        assert_eq!(sent(&Layout::Uuid, uuid), Ok((0..16).collect::<Vec<u8>>()));
    }

    #[test]
    fn what_is_unusual_is_left_to_the_server() {
        for (layout, text) in [
            (Layout::Bool, "true"),
            (Layout::Int2, "40000"),
            (Layout::Int4, "2147483648"),
            (Layout::Oid, "-1"),
            (Layout::Bytea, "abc"),
            (Layout::Bytea, "\\x0"),
            (Layout::Bytea, "\\x0g"),
            (Layout::Uuid, "{00010203-0405-0607-0809-0a0b0c0d0e0f}"),
            (Layout::Uuid, "00010203-0405-0607-0809-0a0b0c0d0e0g"),
            (Layout::Uuid, "00010203x0405-0607-0809-0a0b0c0d0e0f"),
        ] {
            assert_eq!(sent(&layout, text), Err(Unusual), "{layout:?} {text}");
        }
    }
}
