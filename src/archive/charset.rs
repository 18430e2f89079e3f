//! Text of an archive in the encoding that its ENCODING entry names, as UTF-8.
//!
//! pgstow writes UTF-8 only. Stock `pg_dump` writes in the database's own encoding unless it is told otherwise, names and
//! rows alike; rows are left to the server, which converts them as it reads them.

use crate::error::{Error, Kind, Result};
use encoding_rs::Encoding;
use std::borrow::Cow;

/// An encoding of PostgreSQL's (documentation, "Character Set Support") as this room can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charset {
    name: String,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// UTF-8, or no encoding at all, where names happen to be UTF-8 or cannot be read.
    Utf8,
    /// Every byte is the character of that number.
    Latin1,
    /// By the tables of the WHATWG; they differ from PostgreSQL's in control characters only.
    Table(&'static Encoding),
    /// Only what is ASCII can be read.
    Unknown,
}

impl Default for Charset {
    fn default() -> Self {
        Charset { name: "UTF8".to_owned(), how: How::Utf8 }
    }
}

impl Charset {
    /// The encoding that PostgreSQL calls so.
    pub fn named(name: &str) -> Self {
        let label = match name {
            "UTF8" | "UNICODE" | "SQL_ASCII" => return Charset { name: name.to_owned(), how: How::Utf8 },
            "LATIN1" | "ISO88591" => return Charset { name: name.to_owned(), how: How::Latin1 },
            "LATIN2" => "iso-8859-2",
            "LATIN3" => "iso-8859-3",
            "LATIN4" => "iso-8859-4",
            "LATIN6" => "iso-8859-10",
            "LATIN7" => "iso-8859-13",
            "LATIN8" => "iso-8859-14",
            "LATIN9" => "iso-8859-15",
            "LATIN10" => "iso-8859-16",
            "ISO_8859_5" => "iso-8859-5",
            "ISO_8859_6" => "iso-8859-6",
            "ISO_8859_7" => "iso-8859-7",
            "ISO_8859_8" => "iso-8859-8",
            "KOI8R" | "KOI8" => "koi8-r",
            "KOI8U" => "koi8-u",
            "WIN866" | "ALT" => "ibm866",
            "WIN874" => "windows-874",
            "WIN1250" => "windows-1250",
            "WIN1251" | "WIN" => "windows-1251",
            "WIN1252" => "windows-1252",
            "WIN1253" => "windows-1253",
            "WIN1254" | "LATIN5" => "windows-1254",
            "WIN1255" => "windows-1255",
            "WIN1256" => "windows-1256",
            "WIN1257" => "windows-1257",
            "WIN1258" => "windows-1258",
            "EUC_JP" | "EUC_JIS_2004" => "euc-jp",
            "SJIS" | "SHIFT_JIS_2004" => "shift_jis",
            "EUC_KR" | "UHC" => "euc-kr",
            "EUC_CN" | "GBK" => "gbk",
            "GB18030" => "gb18030",
            "BIG5" => "big5",
            _ => "",
        };
        let how = Encoding::for_label(label.as_bytes()).map_or(How::Unknown, How::Table);
        Charset { name: name.to_owned(), how }
    }

    /// PostgreSQL's name of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the server has to be told, for its session speaks UTF-8 (or no encoding at all, for `SQL_ASCII`).
    pub fn needs_conversion(&self) -> bool {
        self.how != How::Utf8
    }

    /// The text as UTF-8.
    ///
    /// Errors: [`Kind::Archive`] for bytes that are no text in this encoding, or in one that only a server can read.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
        if bytes.is_ascii()
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return Ok(Cow::Borrowed(text));
        }
        let wrong = || Error::new(Kind::Archive, format!("is not text in {}", self.name));
        match self.how {
            How::Utf8 => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| wrong().because(error)),
            How::Latin1 => Ok(Cow::Owned(bytes.iter().copied().map(char::from).collect())),
            How::Table(encoding) => {
                encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or_else(wrong)
            }
            How::Unknown => {
                Err(Error::new(Kind::Archive, format!("the archive is in {}, which pgstow cannot read", self.name))
                    .hint("make the archive with `pg_dump -E UTF8`, or dump the database with pgstow"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Charset;

    #[test]
    fn text_in_an_encoding_of_its_own_reads_as_the_server_would_read_it() {
        for (name, bytes, text) in [
            ("UTF8", "naïve".as_bytes(), "naïve"),
            ("LATIN1", b"na\xefve \x85", "naïve \u{85}"),
            ("LATIN9", b"5 \xa4", "5 €"),
            ("WIN1252", b"5 \x80", "5 €"),
            ("KOI8R", b"\xc1", "а"),
            ("EUC_JP", b"\xc6\xfc", "日"),
            ("MULE_INTERNAL", b"plain", "plain"),
        ] {
            assert_eq!(Charset::named(name).decode(bytes).expect(name), text);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_a_replacement_character() {
        for (name, bytes) in
            [("UTF8", b"\xff".as_slice()), ("SQL_ASCII", b"\xe9"), ("EUC_JP", b"\xff"), ("EUC_TW", b"\xc4\xe3")]
        {
            assert!(Charset::named(name).decode(bytes).is_err(), "{name}");
        }
    }
}
