//! COPY text turned into binary COPY, row by row.

mod array;
mod number;
mod time;
mod value;

use super::{HEADER, Layout, MOST_DIMENSIONS, NULL, Outcome, TRAILER, Unusual};
use bytes::{BufMut, Bytes};
use std::sync::Arc;
#[cfg(test)]
pub(super) use {
    number::numeric,
    time::{date, interval, timestamp, timestamptz},
};

/// A row wider than this, in bytes of COPY text, goes as text, for in binary it would have to be held as a whole.
const WIDEST_ROW: usize = 1 << 20;

/// Converts the rows of one COPY.
#[derive(Debug)]
pub struct ToBinary {
    columns: Arc<[Layout]>,
    /// The beginning of a row.
    begun: Vec<u8>,
    has_begun: bool,
    /// A field without its escapes.
    scratch: Vec<u8>,
}

impl ToBinary {
    /// For rows with these columns.
    pub fn new(columns: Arc<[Layout]>) -> Self {
        ToBinary { columns, begun: Vec::new(), has_begun: false, scratch: Vec::new() }
    }

    /// Takes the next text, cut anywhere, and adds what it means to the target; the beginning of a row is kept for the next
    /// time.
    ///
    /// Text that comes back begins with the first row that is not understood. The converter is done then, and the target ends
    /// as the format wants it.
    pub fn push(&mut self, text: &Bytes, target: &mut Vec<u8>) -> Option<Bytes> {
        self.begin(target);
        let mut at = 0;
        if !self.begun.is_empty() {
            let Some(end) = memchr::memchr(b'\n', text) else { return self.keep(text, target) };
            at = end + 1;
            let mut row = std::mem::take(&mut self.begun);
            row.extend_from_slice(&text[..end]);
            if self.row(&row, true, target).is_err() {
                target.put_slice(TRAILER);
                row.extend_from_slice(&text[end..]);
                return Some(row.into());
            }
            row.clear();
            self.begun = row;
        }
        // Escapes are rare: where the next one is tells of many rows at once that they have none.
        let escape_from = |at: usize| memchr::memchr(b'\\', &text[at..]).map_or(text.len(), |ahead| at + ahead);
        let mut escape = escape_from(at);
        while let Some(length) = memchr::memchr(b'\n', &text[at..]) {
            let end = at + length;
            if escape < at {
                escape = escape_from(at);
            }
            if self.row(&text[at..end], escape < end, target).is_err() {
                target.put_slice(TRAILER);
                return Some(text.slice(at..));
            }
            at = end + 1;
        }
        self.keep(&text[at..], target)
    }

    /// The end of the rows. Text that comes back is no whole row.
    pub fn finish(mut self, target: &mut Vec<u8>) -> Bytes {
        self.begin(target);
        target.put_slice(TRAILER);
        self.begun.into()
    }

    fn begin(&mut self, target: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            target.put_slice(HEADER);
        }
    }

    /// Keeps the beginning of a row, unless it is too wide.
    fn keep(&mut self, text: &[u8], target: &mut Vec<u8>) -> Option<Bytes> {
        self.begun.extend_from_slice(text);
        (self.begun.len() > WIDEST_ROW).then(|| {
            target.put_slice(TRAILER);
            std::mem::take(&mut self.begun).into()
        })
    }

    /// Adds one row, given without its line end, in which escapes may or cannot be; on failure nothing is added.
    fn row(&mut self, row: &[u8], may_escape: bool, target: &mut Vec<u8>) -> Outcome {
        let before = target.len();
        let outcome = self.fields(row, may_escape, target);
        if outcome.is_err() {
            target.truncate(before);
        }
        outcome
    }

    fn fields(&mut self, row: &[u8], may_escape: bool, target: &mut Vec<u8>) -> Outcome {
        target.put_i16(i16::try_from(self.columns.len()).map_err(|_| Unusual)?);
        let mut rest = Some(row);
        for column in self.columns.iter() {
            // Too few fields.
            let fields = rest.ok_or(Unusual)?;
            let field = match tab(fields) {
                Some(end) => {
                    rest = Some(&fields[end + 1..]);
                    &fields[..end]
                }
                None => {
                    rest = None;
                    fields
                }
            };
            if !may_escape || memchr::memchr(b'\\', field).is_none() {
                with_length(target, |target| column.convert(field, target))?;
            } else if field == b"\\N" {
                target.put_i32(NULL);
            } else {
                unescape(field, &mut self.scratch)?;
                with_length(target, |target| column.convert(&self.scratch, target))?;
            }
        }
        // Too many fields.
        if rest.is_none() { Ok(()) } else { Err(Unusual) }
    }
}

/// Where the next tab is. Most fields are a few bytes, for which a search made for long texts takes longer than they do.
fn tab(text: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let (words, _) = text.as_chunks::<8>();
    for (number, word) in words.iter().take(NEAR).enumerate() {
        // A byte of zero is the lowest whose highest bit this sets (Hacker's Delight, 6-1).
        let other = u64::from_le_bytes(*word) ^ (LOW * u64::from(b'\t'));
        let zeros = other.wrapping_sub(LOW) & !other & (LOW << 7);
        if zeros != 0 {
            return Some(number * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let seen = words.len().min(NEAR) * 8;
    memchr::memchr(b'\t', &text[seen..]).map(|ahead| seen + ahead)
}

/// So many words of eight bytes are looked through before the search for long texts begins.
const NEAR: usize = 4;

/// Adds a value with its length before it.
fn with_length(target: &mut Vec<u8>, add: impl FnOnce(&mut Vec<u8>) -> Outcome) -> Outcome {
    let at = target.len();
    target.put_i32(0);
    add(target)?;
    let length = i32::try_from(target.len() - at - 4).map_err(|_| Unusual)?;
    target[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Takes away the escapes that the server writes (`CopyAttributeOutText` in `copyto.c`); other ones are left to the server.
fn unescape(field: &[u8], target: &mut Vec<u8>) -> Outcome {
    target.clear();
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        target.extend_from_slice(&rest[..at]);
        target.push(match rest.get(at + 1) {
            Some(b'\\') => b'\\',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'v') => 11,
            _ => return Err(Unusual),
        });
        rest = &rest[at + 2..];
    }
    target.extend_from_slice(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Layout, TRAILER, ToBinary, WIDEST_ROW, tab, unescape};
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Feeds the text in pieces; the binary and the text that is left.
    fn convert(text: &[u8], length: usize) -> (Vec<u8>, Vec<u8>) {
        let mut converter = ToBinary::new([Layout::Int2, Layout::Text].into());
        let mut binary = Vec::new();
        let mut pieces = text.chunks(length.max(1));
        for piece in pieces.by_ref() {
            if let Some(rest) = converter.push(&Bytes::copy_from_slice(piece), &mut binary) {
                let rest = [&rest[..], &pieces.collect::<Vec<_>>().concat()].concat();
                return (binary, rest);
            }
        }
        let rest = converter.finish(&mut binary);
        (binary, rest.to_vec())
    }

    fn binary(rows: &[&[u8]]) -> Vec<u8> {
        [&[HEADER], rows, &[TRAILER]].concat().concat()
    }

    #[test]
    fn rows_become_fields_with_lengths_and_escapes_go() {
        let text = b"7\ta\\tb\n\\N\t\\N\n-1\t\n";
        let rows: [&[u8]; 3] = [
            b"\0\x02\0\0\0\x02\0\x07\0\0\0\x03a\tb",
            b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\x02\0\0\0\x02\xff\xff\0\0\0\0",
        ];
        for length in 1..=text.len() {
            assert_eq!(convert(text, length), (binary(&rows), Vec::new()), "by {length}");
        }
        assert_eq!(convert(b"", 1), (binary(&[]), Vec::new()));
    }

    #[test]
    fn from_the_first_unusual_row_on_everything_is_left_as_text() {
        let good = b"7\tx\n";
        let row: &[u8] = b"\0\x02\0\0\0\x02\0\x07\0\0\0\x01x";
        let unusual: [&[u8]; 9] = [
            b"7\n7\tx\n",
            b"7\tx\ty\n",
            b"\n7\tx\n",
            b"32768\tx\n7\tx\n",
            b"seven\tx\n",
            b"7\t\\001\n",
            b"7\tx\\\n",
            b"7\t\\Nx\n",
            b"7\tx",
        ];
        for rest in unusual {
            let text = [&good[..], rest].concat();
            for length in 1..=text.len() {
                assert_eq!(convert(&text, length), (binary(&[row]), rest.to_vec()), "{rest:?} by {length}");
            }
        }
    }

    #[test]
    fn a_wide_row_is_left_as_text_and_no_more_of_it_is_held_than_that() {
        let text = [&b"7\tx\n8\t"[..], &vec![b'y'; 2 * WIDEST_ROW], b"\n9\tz\n"].concat();
        let (found, rest) = convert(&text, 4096);
        assert_eq!(found, binary(&[b"\0\x02\0\0\0\x02\0\x07\0\0\0\x01x"]));
        assert_eq!(rest, text[4..]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_either_converted_or_comes_back(
            text in proptest::collection::vec("(7|x|\\\\N|\\\\\\\\|\\\\|\t|\n|y\n|7\tx\n){0,4}", 0..30),
            length in 1usize..40,
        ) {
            let text = text.concat().into_bytes();
            let (binary, rest) = convert(&text, length);
            prop_assert!(text.ends_with(&rest));
            prop_assert_eq!(&binary[..HEADER.len()], HEADER);
            prop_assert_eq!(&binary[binary.len() - 2..], TRAILER);
            let converted = &text[..text.len() - rest.len()];
            prop_assert!(converted.is_empty() || converted.ends_with(b"\n"));
            prop_assert_eq!(convert(converted, text.len().max(1)).0, binary);
        }

        #[test]
        fn the_next_tab_is_found_wherever_it_is(text in "[\u{8}-\u{b}a\u{1}\u{89}]{0,60}") {
            prop_assert_eq!(tab(text.as_bytes()), text.bytes().position(|byte| byte == b'\t'));
        }

        #[test]
        fn escapes_are_taken_away_as_the_server_writes_them(value in "[a\\\\\n\t\r\u{8}\u{b}\u{c}é]{0,20}") {
            let mut escaped = String::new();
            for c in value.chars() {
                match c {
                    '\\' => escaped += "\\\\",
                    '\n' => escaped += "\\n",
                    '\t' => escaped += "\\t",
                    '\r' => escaped += "\\r",
                    '\u{8}' => escaped += "\\b",
                    '\u{b}' => escaped += "\\v",
                    '\u{c}' => escaped += "\\f",
                    c => escaped.push(c),
                }
            }
            let mut found = Vec::new();
            prop_assert_eq!(unescape(escaped.as_bytes(), &mut found), Ok(()));
            prop_assert_eq!(found, value.into_bytes());
        }
    }
}
