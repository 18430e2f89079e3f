//! Binary COPY turned into the COPY text that the server would have written.

mod array;
mod number;
mod time;
mod value;

use super::{HEADER, Layout, MOST_DIMENSIONS, NULL, Outcome, TRAILER, Unusual};
use std::sync::Arc;

/// A value that comes in pieces and cannot be written in pieces is held up to so many bytes.
const WIDEST_HELD: usize = 128 << 10;
/// What one piece, or one value that is written whole, may become; some values have a text far longer than themselves.
const WIDEST_TEXT: usize = 4 << 20;
/// A row whose text is longer is none that the server could write (`MaxAllocSize`, `memutils.h`): it says so better itself.
const LONGEST_ROW: u64 = 0x3fff_ffff;
/// What a field of another kind than text may need at most, nearly always.
const SHORT_FIELD: usize = 1024;

/// Converts the rows of one COPY, message by message.
#[derive(Debug)]
pub struct ToText {
    columns: Arc<[Layout]>,
    has_begun: bool,
    has_ended: bool,
    /// What the last message or piece means.
    text: Vec<u8>,
    /// A value before its escapes.
    scratch: Vec<u8>,
    /// The row that has begun and not ended.
    open: Option<Open>,
    /// What came of it and is not a whole field yet.
    held: Vec<u8>,
}

/// Where a row stands that comes in pieces.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// The number of the field that comes next, or has begun.
    field: usize,
    /// What is still to come of a field that is written piece by piece, and whether something has come already.
    flowing: Option<(usize, bool)>,
    /// Text of the row so far.
    written: u64,
}

impl ToText {
    /// For rows with these columns.
    pub fn new(columns: Arc<[Layout]>) -> Self {
        ToText {
            columns,
            has_begun: false,
            has_ended: false,
            text: Vec::new(),
            scratch: Vec::new(),
            open: None,
            held: Vec::new(),
        }
    }

    /// Takes a `CopyData` message, or the next piece of one, of which so many bytes are still to come. What it means is
    /// [`ToText::text`] then: nothing yet, or a row, or the next part of one. Gives how many bytes of the row may still come
    /// at most: none where it ends here, at least one otherwise.
    ///
    /// Errors: when something is not understood. Nothing more may be pushed then.
    pub fn push(&mut self, message: &[u8], left: usize) -> Result<Option<usize>, Unusual> {
        self.text.clear();
        if self.has_ended {
            return Err(Unusual);
        }
        if left > 0 || self.open.is_some() || !self.held.is_empty() {
            return self.piece(message, left);
        }
        let row = self.head(message)?;
        // The header comes with the first row, or with the trailer where there is none.
        if row.is_empty() {
            return Ok(None);
        }
        if row == TRAILER {
            self.has_ended = true;
            return Ok(None);
        }
        self.row(row)?;
        Ok(Some(0))
    }

    /// A whole row with its line end, or a part of one that came in pieces.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the rows have ended as the format wants it.
    pub fn is_whole(&self) -> bool {
        self.has_ended
    }

    /// What follows the header, if that is still to come.
    fn head<'a>(&mut self, message: &'a [u8]) -> Result<&'a [u8], Unusual> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(message);
        }
        message.strip_prefix(HEADER).ok_or(Unusual)
    }

    /// A whole row.
    fn row(&mut self, row: &[u8]) -> Outcome {
        let mut rest = self.count(row)?;
        for (number, column) in self.columns.iter().enumerate() {
            if number > 0 {
                self.text.push(b'\t');
            }
            let length;
            (length, rest) = take_length(rest).ok_or(Unusual)?;
            let Some(length) = length? else {
                self.text.extend_from_slice(b"\\N");
                continue;
            };
            let (value, after) = rest.split_at_checked(length).ok_or(Unusual)?;
            rest = after;
            column.write(value, &mut self.text, &mut self.scratch)?;
            if self.text.len() > WIDEST_TEXT {
                return Err(Unusual);
            }
        }
        self.text.push(b'\n');
        if rest.is_empty() { Ok(()) } else { Err(Unusual) }
    }

    /// What follows the number of fields, which must be that of the columns.
    fn count<'a>(&self, row: &'a [u8]) -> Result<&'a [u8], Unusual> {
        let (count, rest) = row.split_first_chunk::<2>().ok_or(Unusual)?;
        if usize::from(u16::from_be_bytes(*count)) == self.columns.len() { Ok(rest) } else { Err(Unusual) }
    }

    /// A piece of a message that is too wide to come whole.
    fn piece(&mut self, message: &[u8], left: usize) -> Result<Option<usize>, Unusual> {
        let mut held = std::mem::take(&mut self.held);
        let mut rest = message;
        if !held.is_empty() {
            held.extend_from_slice(message);
            rest = &held;
        }
        if self.open.is_none() {
            let head = if self.has_begun { 0 } else { HEADER.len() };
            if rest.len() < head + 2 {
                self.held = rest.to_vec();
                return if left > 0 { Ok(None) } else { Err(Unusual) };
            }
            let row = self.head(rest)?;
            rest = self.count(row)?;
            self.open = Some(Open { field: 0, flowing: None, written: 0 });
        }
        let mut open = self.open.ok_or(Unusual)?;
        let rest = self.fields(rest, &mut open)?;
        if rest.len() > WIDEST_HELD {
            return Err(Unusual);
        }
        self.held = rest.to_vec();
        open.written += self.text.len() as u64;
        let fields_left = self.columns.len() - open.field;
        if open.written > LONGEST_ROW || (left == 0) != (fields_left == 0) || (left == 0 && !self.held.is_empty()) {
            return Err(Unusual);
        }
        if left == 0 {
            self.open = None;
            self.text.push(b'\n');
            return Ok(Some(0));
        }
        self.open = Some(open);
        let left = left.saturating_add(self.held.len()).saturating_mul(2).saturating_add(SHORT_FIELD * fields_left);
        Ok((!self.text.is_empty()).then_some(left))
    }

    /// Writes what there is of the fields; gives what is too little to be written.
    fn fields<'a>(&mut self, mut rest: &'a [u8], open: &mut Open) -> Result<&'a [u8], Unusual> {
        while let Some(column) = self.columns.get(open.field) {
            if let Some((missing, has_begun)) = open.flowing {
                let (now, after) = rest.split_at(missing.min(rest.len()));
                if !now.is_empty() {
                    column.write_piece(now, has_begun, &mut self.text)?;
                }
                rest = after;
                if now.len() < missing {
                    open.flowing = Some((missing - now.len(), has_begun || !now.is_empty()));
                    return Ok(rest);
                }
                open.flowing = None;
                open.field += 1;
                continue;
            }
            let Some((length, after)) = take_length(rest) else { return Ok(rest) };
            let length = length?;
            let whole = length.map(|length| after.get(..length));
            if whole == Some(None) && !column.flows() {
                return Ok(rest);
            }
            if open.field > 0 {
                self.text.push(b'\t');
            }
            rest = after;
            match (length, whole.flatten()) {
                (Some(length), Some(value)) => {
                    rest = &rest[length..];
                    column.write(value, &mut self.text, &mut self.scratch)?;
                }
                (Some(length), None) => {
                    open.flowing = Some((length, false));
                    continue;
                }
                (None, _) => self.text.extend_from_slice(b"\\N"),
            }
            open.field += 1;
            if self.text.len() > WIDEST_TEXT {
                return Err(Unusual);
            }
        }
        Ok(rest)
    }
}

/// Takes a value's length, nothing for a null, if it is there.
#[expect(clippy::type_complexity, reason = "there is one such answer, read at once")]
fn take_length(bytes: &[u8]) -> Option<(Result<Option<usize>, Unusual>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = match i32::from_be_bytes(*length) {
        NULL => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Unusual),
    };
    Some((length, rest))
}

/// Writes a value as COPY text, with a backslash before what would be misunderstood (`CopyAttributeOutText`, `copyto.c`).
fn escape(value: &[u8], text: &mut Vec<u8>) {
    const AT_ONCE: usize = 32;
    let (chunks, end) = value.as_chunks::<AT_ONCE>();
    text.reserve(value.len());
    for chunk in chunks {
        // Without a branch, so that the compiler looks at many bytes in one step.
        if chunk.iter().fold(false, |found, &byte| found | is_special(byte)) {
            escape_slowly(chunk, text);
        } else {
            text.extend_from_slice(chunk);
        }
    }
    escape_slowly(end, text);
}

/// Backspace, tab, line feed, vertical tab, form feed, carriage return, backslash.
fn is_special(byte: u8) -> bool {
    byte.wrapping_sub(8) < 6 || byte == b'\\'
}

fn escape_slowly(value: &[u8], text: &mut Vec<u8>) {
    for &byte in value {
        if !is_special(byte) {
            text.push(byte);
            continue;
        }
        let letter = match byte {
            8..=13 => b"btnvfr"[usize::from(byte - 8)],
            other => other,
        };
        text.extend_from_slice(&[b'\\', letter]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Element, HEADER, Layout, TRAILER, ToBinary, Unusual};
    use super::{ToText, escape};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn columns() -> Arc<[Layout]> {
        let element = Element { oid: 7, layout: Layout::Int4 };
        [Layout::Int2, Layout::Text, Layout::Bytea, Layout::Jsonb, Layout::Array(Box::new(element))].into()
    }

    fn field(value: Option<&[u8]>) -> Vec<u8> {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("short"));
        [&length.to_be_bytes(), value.unwrap_or_default()].concat()
    }

    fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let count = u16::try_from(fields.len()).expect("few").to_be_bytes().to_vec();
        fields.iter().fold(count, |row, value| [row, field(*value)].concat())
    }

    /// The text of these messages; each but the trailer comes in pieces of at most so many bytes.
    fn text(messages: &[Vec<u8>], length: usize) -> Result<String, Unusual> {
        let (mut converter, mut found) = (ToText::new(columns()), Vec::new());
        for message in messages {
            let mut left = message.len();
            // Where the row's text has to end at the latest, as every piece of it says.
            let (begin, mut ends) = (found.len(), Vec::new());
            for piece in message.chunks(if message == TRAILER { TRAILER.len() } else { length }) {
                left -= piece.len();
                if let Some(more) = converter.push(piece, left)? {
                    found.extend_from_slice(converter.text());
                    assert_eq!(more == 0, found.ends_with(b"\n"));
                    ends.push(found.len() + more);
                }
            }
            assert!(begin == found.len() || ends.iter().all(|end| found.len() <= *end));
        }
        if converter.is_whole() { Ok(String::from_utf8(found).expect("text")) } else { Err(Unusual) }
    }

    fn numbers(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn rows_are_the_same_text_whole_and_in_pieces() {
        let array = numbers(&[1, 1, 7, 3, 0, 4, 5, -1, 4, -6]);
        let rows = [
            row(&[
                Some(b"\xff\xfe"),
                Some("tab\tand ä\\".as_bytes()),
                Some(&[0, 0xfe]),
                Some(b"\x01{\"a\": \"\\n\"}"),
                Some(&array),
            ]),
            row(&[None; 5]),
            row(&[Some(&[0, 7]), Some(b""), Some(b""), Some(b"\x01"), Some(&numbers(&[0, 0, 7]))]),
        ];
        let first = [HEADER, &rows[0]].concat();
        let messages = [first, rows[1].clone(), rows[2].clone(), TRAILER.to_vec()];
        let expected = "-2\ttab\\tand ä\\\\\t\\\\x00fe\t{\"a\": \"\\\\n\"}\t[0:2]={5,NULL,-6}\n\\N\t\\N\t\\N\t\\N\t\\N\n7\t\t\\\\x\t\t{}\n";
        for length in 1..200 {
            assert_eq!(text(&messages, length).as_deref(), Ok(expected), "by {length}");
            assert_eq!(text(&messages[..3], length), Err(Unusual), "the trailer is missing");
        }
        let empty = [HEADER, TRAILER].concat();
        assert_eq!(text(&[empty], usize::MAX), Ok(String::new()));
    }

    #[test]
    fn what_is_not_as_it_should_be_is_not_converted() {
        let good = row(&[Some(&[0, 7]), Some(b"x"), None, None, None]);
        let whole = |row: &[u8]| text(&[[HEADER, row].concat(), TRAILER.to_vec()], usize::MAX);
        whole(&good).expect("as it should be");
        let mut long = good.clone();
        long.push(0);
        let wrong = [
            long,
            good[..good.len() - 1].to_vec(),
            row(&[Some(&[0, 7]), None, None, None]),
            row(&[Some(&[7]), None, None, None, None]),
            row(&[None, None, None, Some(b"\x02{}"), None]),
            row(&[None, None, None, Some(b""), None]),
            row(&[None, None, None, None, Some(&numbers(&[1, 0, 8, 1, 1, 4, 5]))]),
            row(&[None, None, None, None, Some(&numbers(&[1, 0, 7, 2, 1, 4, 5]))]),
            row(&[None, None, None, None, Some(&numbers(&[1, 0, 7, 0, 1]))]),
            row(&[None, None, None, None, Some(&numbers(&[7, 0, 7]))]),
        ];
        for row in wrong {
            assert_eq!(whole(&row), Err(Unusual), "{row:?}");
            let messages = [[HEADER, &row].concat()];
            for length in 1..40 {
                assert_eq!(text(&messages, length), Err(Unusual), "{row:?} by {length}");
            }
        }
        assert_eq!(text(&[b"PGCOPX".to_vec()], usize::MAX), Err(Unusual));
        assert_eq!(text(&[[HEADER, TRAILER].concat(), good], usize::MAX), Err(Unusual), "a row behind the trailer");
    }

    proptest! {
        #[test]
        fn text_in_binary_is_the_same_text_again(
            values in proptest::collection::vec((any::<i16>(), "[a\\\\\n\t\r\u{8}\u{b}\u{c}é\u{7f}]{0,90}"), 0..20),
        ) {
            let columns: Arc<[Layout]> = [Layout::Int2, Layout::Text].into();
            let mut text = Vec::new();
            for (number, value) in &values {
                text.extend_from_slice(format!("{number}\t").as_bytes());
                escape(value.as_bytes(), &mut text);
                text.push(b'\n');
            }
            let (mut converter, mut binary) = (ToBinary::new(Arc::clone(&columns)), Vec::new());
            prop_assert_eq!(converter.push(&Bytes::from(text.clone()), &mut binary), None);
            converter.finish(&mut binary);
            let (mut back, mut found, mut rest) = (ToText::new(columns), Vec::new(), &binary[..]);
            // A message a row; the header goes with the first one.
            let mut head = HEADER.len();
            for (_, value) in &values {
                let (message, after) = rest.split_at(head + 2 + 4 + 2 + 4 + value.len());
                prop_assert_eq!(back.push(message, 0), Ok(Some(0)));
                found.extend_from_slice(back.text());
                (rest, head) = (after, 0);
            }
            prop_assert_eq!(back.push(rest, 0), Ok(None));
            prop_assert!(back.is_whole());
            prop_assert_eq!(found, text);
        }
    }
}
