//! Arrays, as the server writes them (`array_out` in `arrayfuncs.c`).

use super::super::{Element, Layout};
use super::{MOST_DIMENSIONS, Outcome, Unusual, WIDEST_TEXT, number, take_length};

/// Adds the text of an array, without COPY's escapes.
pub(super) fn write(value: &[u8], element: &Element, text: &mut Vec<u8>) -> Outcome {
    let mut reader = Reader { rest: value };
    let (dimensions, _nulls, oid) = (reader.number()?, reader.number()?, reader.number()?);
    let depth = usize::try_from(dimensions).map_err(|_| Unusual)?;
    if oid.cast_unsigned() != element.oid || depth > MOST_DIMENSIONS {
        return Err(Unusual);
    }
    let mut lengths = [0; MOST_DIMENSIONS];
    let (mut bounds, mut are_usual) = (Vec::new(), true);
    for length in lengths.iter_mut().take(depth) {
        let (count, lower) = (reader.number()?, reader.number()?);
        *length = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(Unusual)?;
        are_usual &= lower == 1;
        bounds.push(b'[');
        number::integer(lower, &mut bounds);
        bounds.push(b':');
        number::integer(i64::from(lower) + i64::from(count) - 1, &mut bounds);
        bounds.push(b']');
    }
    if depth == 0 {
        text.extend_from_slice(b"{}");
    } else {
        if !are_usual {
            text.extend_from_slice(&bounds);
            text.push(b'=');
        }
        reader.level(&lengths[..depth], &element.layout, text)?;
    }
    if reader.rest.is_empty() { Ok(()) } else { Err(Unusual) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self) -> Result<i32, Unusual> {
        let (number, rest) = self.rest.split_first_chunk::<4>().ok_or(Unusual)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*number))
    }

    fn level(&mut self, lengths: &[usize], layout: &Layout, text: &mut Vec<u8>) -> Outcome {
        let (&length, inner) = lengths.split_first().ok_or(Unusual)?;
        text.push(b'{');
        for index in 0..length {
            if index > 0 {
                text.push(b',');
            }
            if inner.is_empty() {
                self.value(layout, text)?;
            } else {
                self.level(inner, layout, text)?;
            }
        }
        text.push(b'}');
        Ok(())
    }

    fn value(&mut self, layout: &Layout, text: &mut Vec<u8>) -> Outcome {
        let (length, rest) = take_length(self.rest).ok_or(Unusual)?;
        self.rest = rest;
        let Some(length) = length? else {
            text.extend_from_slice(b"NULL");
            return Ok(());
        };
        let (value, rest) = self.rest.split_at_checked(length).ok_or(Unusual)?;
        self.rest = rest;
        let start = text.len();
        layout.plain(value, text)?;
        quote(start, text);
        if text.len() > WIDEST_TEXT { Err(Unusual) } else { Ok(()) }
    }
}

/// Quotes the element that begins there, if it needs that.
fn quote(start: usize, text: &mut Vec<u8>) {
    let element = &text[start..];
    let is_escaped = |byte: u8| byte == b'"' || byte == b'\\';
    let needs = element.is_empty()
        || element.eq_ignore_ascii_case(b"NULL")
        || element.iter().any(|&byte| is_escaped(byte) || b"{}, \t\n\r\x0b\x0c".contains(&byte));
    if !needs {
        return;
    }
    let element = element.to_vec();
    text.truncate(start);
    text.push(b'"');
    for byte in element {
        if is_escaped(byte) {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}
