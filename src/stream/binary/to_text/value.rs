//! What a type's output function writes, by what its send function gives.

use super::super::{Layout, Outcome, Unusual};
use super::{array, escape, number, time};

impl Layout {
    /// Adds the field's COPY text.
    pub(super) fn write(&self, value: &[u8], text: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Outcome {
        match self {
            Layout::Text | Layout::Bytea | Layout::Jsonb => return self.write_piece(value, false, text),
            Layout::Array(element) => {
                scratch.clear();
                array::write(value, element, scratch)?;
                escape(scratch, text);
            }
            // None of these writes anything that has to be escaped.
            _ => return self.plain(value, text),
        }
        Ok(())
    }

    /// Whether a value can be written while it comes.
    pub(super) fn flows(&self) -> bool {
        matches!(self, Layout::Text | Layout::Bytea | Layout::Jsonb)
    }

    /// Adds the COPY text of a piece of a value that flows, the first one or a later one.
    pub(super) fn write_piece(&self, piece: &[u8], has_begun: bool, text: &mut Vec<u8>) -> Outcome {
        match self {
            Layout::Text => escape(piece, text),
            Layout::Bytea => {
                if !has_begun {
                    text.extend_from_slice(b"\\\\x");
                }
                return hexadecimal(piece, text);
            }
            Layout::Jsonb if has_begun => escape(piece, text),
            Layout::Jsonb => match piece.split_first() {
                Some((&JSONB_VERSION, json)) => escape(json, text),
                _ => return Err(Unusual),
            },
            _ => return Err(Unusual),
        }
        Ok(())
    }

    /// Adds the value's text, without any escapes.
    pub(super) fn plain(&self, value: &[u8], text: &mut Vec<u8>) -> Outcome {
        match self {
            Layout::Bool => text.push(match value {
                [1] => b't',
                [0] => b'f',
                _ => return Err(Unusual),
            }),
            Layout::Int2 => number::integer(i16::from_be_bytes(fixed(value)?), text),
            Layout::Int4 => number::integer(i32::from_be_bytes(fixed(value)?), text),
            Layout::Int8 => number::integer(i64::from_be_bytes(fixed(value)?), text),
            Layout::Oid => number::integer(u32::from_be_bytes(fixed(value)?), text),
            Layout::Float4 => return number::float4(f32::from_be_bytes(fixed(value)?), text),
            Layout::Float8 => return number::float8(f64::from_be_bytes(fixed(value)?), text),
            Layout::Numeric => return number::numeric(value, text),
            Layout::Text => text.extend_from_slice(value),
            Layout::Jsonb => match value.split_first() {
                Some((&JSONB_VERSION, json)) => text.extend_from_slice(json),
                _ => return Err(Unusual),
            },
            Layout::Bytea => {
                text.extend_from_slice(b"\\x");
                return hexadecimal(value, text);
            }
            Layout::Uuid => return uuid(fixed(value)?, text),
            Layout::Date => return time::date(i32::from_be_bytes(fixed(value)?), text),
            Layout::Time => return time::time(i64::from_be_bytes(fixed(value)?), text),
            Layout::Timestamp => return time::timestamp(i64::from_be_bytes(fixed(value)?), false, text),
            Layout::TimestampTz => return time::timestamp(i64::from_be_bytes(fixed(value)?), true, text),
            Layout::Interval => return time::interval(&fixed(value)?, text),
            Layout::Array(_) => return Err(Unusual),
        }
        Ok(())
    }
}

/// The version that `jsonb_send` says (`jsonb.c`).
const JSONB_VERSION: u8 = 1;

fn fixed<const LENGTH: usize>(value: &[u8]) -> Result<[u8; LENGTH], Unusual> {
    value.try_into().map_err(|_| Unusual)
}

fn hexadecimal(bytes: &[u8], text: &mut Vec<u8>) -> Outcome {
    let start = text.len();
    text.resize(start + 2 * bytes.len(), 0);
    faster_hex::hex_encode(bytes, &mut text[start..]).map(drop).map_err(|_| Unusual)
}

fn uuid(bytes: [u8; 16], text: &mut Vec<u8>) -> Outcome {
    let mut digits = [0; 32];
    faster_hex::hex_encode(&bytes, &mut digits).map_err(|_| Unusual)?;
    for (number, part) in
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].into_iter().enumerate()
    {
        if number > 0 {
            text.push(b'-');
        }
        text.extend_from_slice(part);
    }
    Ok(())
}
