//! Where each thing lies, as keys relative to the store's prefix or to the backup's folder.

use super::BackupId;
use crate::error::{Error, Kind, Result};
use crate::model::Oid;
use std::fmt::Write;

/// The table of contents, in the backup's folder. Never compressed, for stock `pg_restore` opens exactly this name.
pub fn toc_key() -> &'static str {
    "toc.dat"
}

/// The manifest, in the backup's folder: the last object written, and the mark that the backup is whole.
pub fn manifest_key() -> &'static str {
    "manifest.json"
}

/// The list of large objects, in the backup's folder. Stock `pg_restore` opens exactly this name up to archive 1.15.
pub fn blobs_toc_key() -> &'static str {
    "blobs.toc"
}

/// Roles, tablespaces and the like as a script, in the backup's folder.
pub fn globals_key() -> &'static str {
    "globals.sql"
}

/// Whether a key in the backup's folder is one of its many and large objects, rows and large objects, and not of the few
/// and small ones that tell about them.
pub fn is_data(key: &str) -> bool {
    ![toc_key(), manifest_key(), blobs_toc_key(), globals_key()].contains(&key)
}

/// A database's folder below the store's prefix: its name, with every byte but `A-Za-z0-9._-` written as `%XX`.
/// Different names have different folders, and none is `.` or `..`.
pub fn database_folder(database: &str) -> String {
    let mut folder = String::with_capacity(database.len());
    let dots_only = matches!(database, "." | "..");
    for byte in database.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && !dots_only) {
            folder.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(folder, "%{byte:02X}");
        }
    }
    folder
}

/// The database whose folder this is; `None` if no database has it.
pub fn database_of_folder(folder: &str) -> Option<String> {
    let mut name = Vec::with_capacity(folder.len());
    let mut rest = folder.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            name.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    // Escapes that were not needed, or in lower case, are not ours.
    String::from_utf8(name).ok().filter(|name| !name.is_empty() && database_folder(name) == folder)
}

/// A backup's folder below the store's prefix: `<database>/<backup id>`.
pub fn backup_folder(database: &str, id: &BackupId) -> String {
    format!("{}/{id}", database_folder(database))
}

/// A table's data as the table of contents names it, without suffix: `data_<n>.dat`. What does not fit in one object goes
/// into further segments, counted from 0: `data_<n>-<segment>.dat`.
///
/// No name has a slash, for `pg_restore` refuses such archives since its minor releases of November 2026. Backups from before
/// have a folder `data/`; readers take the names from the archive, so they read those, too.
pub fn data_name(number: u64, segment: usize) -> String {
    match segment {
        0 => format!("data_{number}.dat"),
        further => format!("data_{number}-{further}.dat"),
    }
}

/// A table's data in the backup's folder: `data_<n>.dat.zst`, with the codec's suffix.
pub fn data_key(number: u64, segment: usize, suffix: &str) -> String {
    format!("{}{suffix}", data_name(number, segment))
}

/// A large object as `blobs.toc` names it, without suffix: `blob_<oid>.dat`.
pub fn blob_name(oid: Oid) -> String {
    format!("blob_{oid}.dat")
}

/// A large object in the backup's folder: `blob_<oid>.dat.zst`, with the codec's suffix.
pub fn blob_key(oid: Oid, suffix: &str) -> String {
    format!("{}{suffix}", blob_name(oid))
}

/// Checks that a key from an archive stays in the backup's folder: segments between single slashes, none of them empty,
/// `.` or `..`, without backslashes and control characters, and shorter than 1,024 bytes (S3 and `pg_restore` both end
/// there).
pub fn check_relative(key: &str) -> Result<()> {
    let harmless = !key.is_empty()
        && key.len() < 1024
        && key.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        && !key.chars().any(|character| character == '\\' || character.is_control());
    if harmless {
        return Ok(());
    }
    Err(Error::new(Kind::Archive, "a key in the archive does not stay in the backup's folder")
        .on(format!("key {key:?}")))
}

#[cfg(test)]
mod tests {
    use super::{backup_folder, blob_key, check_relative, data_key, database_folder, database_of_folder};
    use crate::archive::BackupId;
    use crate::model::Oid;
    use proptest::prelude::*;

    #[test]
    fn keys_look_as_documented() {
        let id = BackupId::parse("20261123T234711Z-4f7a2c").expect("an id");
        assert_eq!(backup_folder("my shop/ü", &id), "my%20shop%2F%C3%BC/20261123T234711Z-4f7a2c");
        assert_eq!(data_key(7, 0, ".zst"), "data_7.dat.zst");
        assert_eq!(data_key(7, 2, ""), "data_7-2.dat");
        assert_eq!(blob_key(Oid(16_400), ""), "blob_16400.dat");
        assert_eq!((database_folder("."), database_folder("..")), ("%2E".to_owned(), "%2E%2E".to_owned()));
    }

    #[test]
    fn a_folder_that_no_database_has_is_none() {
        for folder in ["", "%", "%4", "%zz", "%41", "%c3%bc", "%FF", ".", "..", "a b", "%+1"] {
            assert_eq!(database_of_folder(folder), None, "{folder:?}");
        }
    }

    #[test]
    fn a_key_that_leaves_the_folder_is_refused() {
        for key in ["", "/etc/passwd", "a//b", "a/", "../b", "a/../b", "./a", "a\\b", "a\nb", "a\0b", &"x".repeat(1024)]
        {
            assert!(check_relative(key).is_err(), "{key:?}");
        }
        for key in ["toc.dat", "data/1.dat.zst", "a..b", "..."] {
            check_relative(key).expect(key);
        }
    }

    proptest! {
        #[test]
        fn a_database_folder_is_reversible_and_one_plain_segment(name in any::<String>().prop_filter("", |n| !n.is_empty())) {
            let folder = database_folder(&name);
            check_relative(&folder[..folder.len().min(1000)]).expect("one segment");
            prop_assert!(!folder.contains('/'));
            prop_assert_eq!(database_of_folder(&folder), Some(name));
        }
    }
}
