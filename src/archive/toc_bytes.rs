//! The two primitives of a table of contents: signed integers and strings (`WriteInt`, `WriteStr` and their readers in
//! `pg_backup_archiver.c`).

use crate::error::{Error, Kind, Result};

/// How many bytes an integer takes after its sign byte; stock writes `sizeof(int)`, which is this everywhere.
pub(super) const INTEGER_BYTES: u8 = 4;

/// Appends primitives.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A sign byte (0 is plus), then the magnitude, least significant byte first.
    pub(super) fn integer(&mut self, value: i32) {
        self.byte(u8::from(value < 0));
        self.bytes.extend_from_slice(&value.unsigned_abs().to_le_bytes());
    }

    /// The length as an integer, then the bytes; `None` is the length -1. A NUL byte would end the string early in
    /// stock's eyes, so it is refused.
    pub(super) fn string(&mut self, text: Option<&str>) -> Result<()> {
        let Some(text) = text else {
            self.integer(-1);
            return Ok(());
        };
        if text.contains('\0') {
            return Err(Error::new(Kind::Internal, "a string of the table of contents holds a zero byte"));
        }
        let length = i32::try_from(text.len()).map_err(|error| {
            Error::new(Kind::Incomplete, "a string of the table of contents is longer than 2 GiB").because(error)
        })?;
        self.integer(length);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Takes primitives off untrusted bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn integer(&mut self) -> Result<i32> {
        let negative = self.byte()? != 0;
        let mut magnitude = [0; INTEGER_BYTES as usize];
        magnitude.copy_from_slice(self.take(usize::from(INTEGER_BYTES))?);
        let magnitude = i32::try_from(u32::from_le_bytes(magnitude));
        let value = magnitude.map_err(|error| damaged("an integer is out of range").because(error))?;
        Ok(if negative { -value } else { value })
    }

    /// The bytes of a string, not yet known to be text; `None` for -1.
    pub(super) fn string(&mut self) -> Result<Option<&'a [u8]>> {
        match self.integer()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length);
                Ok(Some(self.take(length.map_err(|error| damaged("a string has a negative length").because(error))?)?))
            }
        }
    }
}

/// The table of contents cannot be what its writer wrote.
pub(super) fn damaged(message: &str) -> Error {
    Error::new(Kind::Archive, format!("the table of contents is damaged: {message}"))
}

#[cfg(test)]
mod tests {
    use super::{Reader, Writer};

    #[test]
    fn integers_and_strings_have_stocks_bytes() {
        let mut writer = Writer::default();
        writer.integer(-1);
        writer.integer(258);
        writer.string(None).expect("writes");
        writer.string(Some("")).expect("writes");
        writer.string(Some("ab")).expect("writes");
        let expected = [1, 1, 0, 0, 0, 0, 2, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', b'b'];
        assert_eq!(writer.bytes, expected);
        assert!(writer.string(Some("a\0b")).is_err());
    }

    #[test]
    fn lengths_and_magnitudes_beyond_the_bytes_are_errors() {
        for bytes in [&[0, 255, 255, 255, 127][..], &[0, 0, 0, 0, 128], &[1, 2, 0, 0, 0], &[0, 1, 0, 0, 0], &[0, 1]] {
            assert!(Reader::new(bytes).string().is_err(), "{bytes:?}");
        }
    }
}
