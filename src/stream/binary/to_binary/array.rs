//! Arrays, as the server writes them (`array_out` in `arrayfuncs.c`): elements between braces, quoted where they need it.

use super::super::Element;
use super::{MOST_DIMENSIONS, NULL, Outcome, Unusual, with_length};
use bytes::BufMut;

/// Number of dimensions, whether there are nulls, the elements' type, length and lower bound of each dimension, elements.
pub(super) fn convert(text: &[u8], element: &Element, target: &mut Vec<u8>) -> Outcome {
    // Bounds that do not begin with 1 are said before the braces; they are rare.
    if text.first() != Some(&b'{') {
        return Err(Unusual);
    }
    if text == b"{}" {
        target.put_i32(0);
        target.put_i32(0);
        target.put_u32(element.oid);
        return Ok(());
    }
    let depth = text.iter().take_while(|&&byte| byte == b'{').count();
    if depth > MOST_DIMENSIONS {
        return Err(Unusual);
    }
    let at = target.len();
    target.put_i32(i32::try_from(depth).map_err(|_| Unusual)?);
    target.put_i32(0);
    target.put_u32(element.oid);
    target.put_bytes(0, depth * 8);
    let mut parser =
        Parser { rest: text, element, lengths: [None; MOST_DIMENSIONS], has_nulls: false, scratch: Vec::new() };
    parser.level(0, depth, target)?;
    if !parser.rest.is_empty() {
        return Err(Unusual);
    }
    target[at + 7] = u8::from(parser.has_nulls);
    let mut dimensions = &mut target[at + 12..at + 12 + depth * 8];
    for length in parser.lengths.iter().take(depth) {
        dimensions.put_i32(length.ok_or(Unusual)?);
        dimensions.put_i32(1);
    }
    Ok(())
}

struct Parser<'a> {
    rest: &'a [u8],
    element: &'a Element,
    /// How many elements each dimension has; all its arrays have as many.
    lengths: [Option<i32>; MOST_DIMENSIONS],
    has_nulls: bool,
    scratch: Vec<u8>,
}

impl Parser<'_> {
    fn take(&mut self) -> Result<u8, Unusual> {
        let (first, rest) = self.rest.split_first().ok_or(Unusual)?;
        self.rest = rest;
        Ok(*first)
    }

    fn level(&mut self, dimension: usize, depth: usize, target: &mut Vec<u8>) -> Outcome {
        if self.take()? != b'{' {
            return Err(Unusual);
        }
        let mut length = 0;
        loop {
            if dimension + 1 < depth {
                self.level(dimension + 1, depth, target)?;
            } else {
                self.value(target)?;
            }
            length += 1;
            match self.take()? {
                b',' => {}
                b'}' => break,
                _ => return Err(Unusual),
            }
        }
        if self.lengths[dimension].replace(length).is_some_and(|other| other != length) {
            return Err(Unusual);
        }
        Ok(())
    }

    fn value(&mut self, target: &mut Vec<u8>) -> Outcome {
        if self.rest.first() == Some(&b'"') {
            self.rest = &self.rest[1..];
            self.scratch.clear();
            loop {
                match self.take()? {
                    b'"' => break,
                    b'\\' => {
                        let escaped = self.take()?;
                        self.scratch.push(escaped);
                    }
                    byte => self.scratch.push(byte),
                }
            }
            return with_length(target, |target| self.element.layout.convert(&self.scratch, target));
        }
        let length = self.rest.iter().take_while(|byte| !b",}{\"\\ \t\n\r\x0b\x0c".contains(byte)).count();
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        match text {
            // What is empty is quoted.
            b"" => Err(Unusual),
            b"NULL" => {
                self.has_nulls = true;
                target.put_i32(NULL);
                Ok(())
            }
            // The server reads any case of it, and writes but one.
            text if text.eq_ignore_ascii_case(b"NULL") => Err(Unusual),
            text => with_length(target, |target| self.element.layout.convert(text, target)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Element, Layout};
    use super::convert;

    fn sent(layout: Layout, text: &str) -> Option<Vec<u8>> {
        let mut target = Vec::new();
        let element = Element { oid: 7, layout };
        convert(text.as_bytes(), &element, &mut target).ok().map(|()| target)
    }

    fn numbers(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn elements_follow_the_dimensions() {
        assert_eq!(sent(Layout::Int4, "{}"), Some(numbers(&[0, 0, 7])));
        assert_eq!(sent(Layout::Int4, "{5,NULL}"), Some(numbers(&[1, 1, 7, 2, 1, 4, 5, -1])));
        let square = numbers(&[2, 0, 7, 2, 1, 2, 1, 4, 1, 4, 2, 4, 3, 4, 4]);
        assert_eq!(sent(Layout::Int4, "{{1,2},{3,4}}"), Some(square));
        let quoted = [&numbers(&[1, 0, 7, 3, 1, 4])[..], b"a,\"}", &numbers(&[0, 4]), b"NULL"].concat();
        assert_eq!(sent(Layout::Text, r#"{"a,\"}","","NULL"}"#), Some(quoted));
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_the_server() {
        assert_eq!(sent(Layout::Text, "{null}"), None);
        for text in [
            "",
            "{",
            "{1",
            "{1,}",
            "{,1}",
            "{1}}",
            "{{1,2},{3}}",
            "{{1},2}",
            "[0:1]={1,2}",
            "{ 1}",
            "{1 }",
            "{x}",
            "{\"1}",
            "{{}}",
            "{{{{{{{1}}}}}}}",
        ] {
            assert_eq!(sent(Layout::Int4, text), None, "{text}");
        }
    }
}
