//! `blobs.toc`: the list of large objects and their files, as archives up to 1.15 have it (`pg_backup_directory.c`).

use super::keys::{blob_name, check_relative};
use crate::error::{Error, Kind, Result};
use crate::model::Oid;
use std::fmt::Write;

/// One line a large object: `<oid> blob_<oid>.dat`, names without suffix.
pub fn encode(oids: &[Oid]) -> Vec<u8> {
    let mut text = String::new();
    for &oid in oids {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{oid} {}", blob_name(oid));
    }
    text.into_bytes()
}

/// Each large object with its file's name, which lacks the suffix.
pub fn decode(bytes: &[u8]) -> Result<Vec<(Oid, String)>> {
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(1).because(error))?;
    let mut entries = Vec::new();
    for (index, line) in text.split_terminator('\n').enumerate() {
        let (oid, name) = line.split_once(' ').ok_or_else(|| damaged(index + 1))?;
        let oid = oid.parse().map_err(|error: std::num::ParseIntError| damaged(index + 1).because(error))?;
        check_relative(name)?;
        entries.push((Oid(oid), name.to_owned()));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(damaged(entries.len()));
    }
    Ok(entries)
}

fn damaged(line: usize) -> Error {
    Error::new(Kind::Archive, format!("line {line} of the list of large objects is damaged")).on("blobs.toc")
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::model::Oid;

    #[test]
    fn the_list_of_large_objects_reads_as_stock_writes_it() {
        let text = b"16400 blob_16400.dat\n4294967295 blob_4294967295.dat\n";
        assert_eq!(encode(&[Oid(16_400), Oid(u32::MAX)]), text);
        let entries = decode(text).expect("a list");
        assert_eq!(entries[1], (Oid(u32::MAX), "blob_4294967295.dat".to_owned()));
        assert!(decode(b"").expect("an empty list").is_empty());
    }

    #[test]
    fn a_damaged_line_is_an_error() {
        for text in [&b"1 blob_1.dat"[..], b"1\n", b"x blob_1.dat\n", b"1 ../a\n", b"\n", b"1 \xff\n"] {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }
}
