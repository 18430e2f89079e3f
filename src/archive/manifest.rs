//! `manifest.json`: what a backup holds, of what and how it was made, and how to check it. Its presence is the commit.

mod layout;
mod source;

pub use source::{ServerFacts, SourceFacts, server_of_beginning};

use super::keys::check_relative;
use super::{BackupId, seal};
use crate::error::{Error, Kind, Result};
use crate::model::Oid;
use layout::Layout;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashSet;

/// The number of the format that this version writes and the newest it reads.
pub const FORMAT: u32 = 1;

/// A whole backup. Fields are written in this order; fields that a reader does not know are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`]; read before all else.
    pub format: u32,
    /// The backup's name, also its folder's.
    pub id: BackupId,
    /// The version of pgstow that wrote it.
    pub pgstow: String,
    /// When the dump began, RFC 3339 in UTC.
    pub created_at: String,
    /// When the dump ended, RFC 3339 in UTC.
    pub finished_at: String,
    /// The database that was dumped.
    pub database: DatabaseFacts,
    /// The server it was on.
    pub server: ServerFacts,
    /// The moment it was dumped at.
    pub snapshot: SnapshotFacts,
    /// How it was dumped.
    pub options: Options,
    /// The version of `toc.dat`, such as `1.15`.
    pub archive_version: String,
    /// `toc.dat` itself.
    pub toc: StoredObject,
    /// How many entries the table of contents has.
    pub items: u64,
    /// Every table whose rows are in the backup.
    pub tables: Vec<TableEntry>,
    /// The large objects; absent when none were dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<LargeObjects>,
    /// What belongs to the server; absent when it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub globals: Option<Globals>,
    /// Sums.
    pub totals: Totals,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// What the person who ran the dump was warned of.
    pub warnings: Vec<String>,
}

/// The database that was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// `datname`.
    pub name: String,
    /// The server-side encoding, such as `UTF8`.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`; absent where the server does not tell.
    pub locale_provider: Option<String>,
    /// The version of the library that sorts the database's text; absent where the server does not tell, and in the
    /// earliest backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
    /// The collations whose order depends on a library: those of the database, and those of the system that something of
    /// it uses; absent where there are none, and in earlier backups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collations: Vec<CollationFacts>,
    /// The extensions that it has; absent in earlier backups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtensionFacts>,
    /// `pg_database_size` in bytes; absent where it may not be asked.
    pub size_bytes: Option<u64>,
}

/// One collation, and how the source sorted by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollationFacts {
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// The version of the library that sorts by it, as `pg_collation_actual_version` has it.
    pub version: String,
}

/// One extension of the source. A restore takes the version that the target has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionFacts {
    /// Its name, unquoted.
    pub name: String,
    /// `extversion`, free text.
    pub version: String,
}

/// The moment that every row is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// What `pg_export_snapshot` returned.
    pub id: String,
    /// The write-ahead log's position at about that moment; absent where it may not be asked.
    pub lsn: Option<String>,
    /// RFC 3339.
    pub taken_at: String,
}

/// How the dump was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The codec of all data objects, such as `zstd:3`.
    pub codec: String,
    /// How many workers read.
    pub jobs: u32,
    /// What was selected.
    pub selection: Selection,
    /// Definitions only.
    pub schema_only: bool,
    /// Rows only.
    pub data_only: bool,
    /// The raw size at which a frame closes, in bytes.
    pub frame_bytes: u64,
}

/// The selection as it was given; all empty means everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Schemas to dump.
    pub schemas: Vec<String>,
    /// Schemas not to dump.
    pub exclude_schemas: Vec<String>,
    /// Tables to dump.
    pub tables: Vec<String>,
    /// Tables to dump with their children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables_and_children: Vec<String>,
    /// Tables not to dump.
    pub exclude_tables: Vec<String>,
    /// Tables not to dump, nor their children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_tables_and_children: Vec<String>,
    /// Tables to dump without their rows.
    pub exclude_table_data: Vec<String>,
    /// Tables to dump without their rows, and so their children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_table_data_and_children: Vec<String>,
    /// Foreign servers whose tables' rows to dump.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign_data: Vec<String>,
    /// Extensions to dump.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    /// Extensions not to dump.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_extensions: Vec<String>,
    /// Whether large objects were asked for, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<bool>,
    /// Sections to dump.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<String>,
    /// What was left out whatever its name, such as `comments`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// An object of the backup and how to check it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its key, relative to the backup's folder.
    pub key: String,
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// SHA-256 of what is stored, as 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The id of its TABLE DATA entry in the table of contents.
    pub toc_id: i32,
    /// The table's schema, unquoted.
    pub schema: String,
    /// The table's name, unquoted.
    pub name: String,
    /// Where its rows lie.
    pub object: StoredObject,
    /// How many rows.
    pub rows: u64,
    /// Their size as COPY text, in bytes, without the terminator.
    pub raw_bytes: u64,
    /// The order-independent digest of the rows, as 32 lower-case hexadecimal digits (`stream/rows.rs` says of what);
    /// absent in the earliest backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<String>,
    /// The frames of the object, in the order in which they lie there, the closing one last, which holds nothing but the
    /// terminator and no row. May be absent, or lack that last one.
    #[serde(serialize_with = "frames_as_arrays", deserialize_with = "frames_from_arrays")]
    pub frames: Vec<Frame>,
}

/// One frame, or a run of several: whole rows that can be read alone. Written as `[bytes, raw_bytes, rows, "checksum"]`, the checksum
/// as 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the object: the sum of the `bytes` of the frames before it.
    pub offset: u64,
    /// Its size as stored.
    pub bytes: u64,
    /// Its size as COPY text.
    pub raw_bytes: u64,
    /// How many rows it holds.
    pub rows: u64,
    /// XXH3 with 64 bits of the frame as stored; absent in the earliest backups.
    pub checksum: Option<u64>,
}

/// The large objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many.
    pub count: u64,
    /// Their size together, in bytes, before compression.
    pub bytes: u64,
    /// `blobs.toc`.
    pub toc: StoredObject,
    /// Each of them.
    pub objects: Vec<BlobEntry>,
}

/// One large object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its oid.
    pub oid: Oid,
    /// Its size in bytes, before compression.
    pub size: u64,
    /// Where its content lies.
    pub object: StoredObject,
}

/// What belongs to the server and not to the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Globals {
    /// `globals.sql`.
    pub object: StoredObject,
    /// How many roles.
    pub roles: u64,
    /// How many tablespaces.
    pub tablespaces: u64,
    /// Whether the roles have their passwords.
    pub passwords: Passwords,
}

/// Whether `globals.sql` holds the hashes of passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passwords {
    /// It does.
    Included,
    /// The server did not let them be read.
    NotReadable,
    /// They were not wanted.
    LeftOut,
}

/// Sums over the backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Tables with rows in the backup, empty ones included.
    pub tables: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes in the store, without the manifest.
    pub stored_bytes: u64,
    /// Objects in the store, without the manifest.
    pub objects: u64,
}

/// Something that the database holds and the backup does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its label, such as `table public.t`.
    pub object: String,
    /// Why.
    pub reason: String,
}

impl Manifest {
    /// The manifest as indented JSON, one line a frame, its own digest last.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Layout::default());
        self.serialize(&mut serializer).expect("a manifest has string keys only and memory takes every byte");
        seal::put(bytes)
    }

    /// Reads and checks a manifest: the format's number first, then its seal, that every key stays in the backup's folder
    /// and is named once, that digests are digests, and that the frames of each table fit its object and make up its rows.
    pub fn decode(bytes: &[u8]) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct FormatAlone {
            format: u32,
        }
        let FormatAlone { format } = serde_json::from_slice(bytes).map_err(damaged_because)?;
        if format > FORMAT {
            let message = format!("the backup has format {format}, and this pgstow reads formats up to {FORMAT}");
            return Err(Error::new(Kind::Archive, message).on("manifest.json").hint("use a newer pgstow"));
        }
        if format == 0 {
            return Err(damaged("it has no format that ever was"));
        }
        seal::check(bytes).map_err(|error| error.on("manifest.json"))?;
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(damaged_because)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Every object of the backup but the manifest itself.
    pub fn stored_objects(&self) -> impl Iterator<Item = &StoredObject> {
        let large = self.large_objects.iter();
        let large = large.flat_map(|all| std::iter::once(&all.toc).chain(all.objects.iter().map(|blob| &blob.object)));
        let globals = self.globals.iter().map(|globals| &globals.object);
        std::iter::once(&self.toc).chain(self.tables.iter().map(|table| &table.object)).chain(large).chain(globals)
    }

    fn check(&self) -> Result<()> {
        let mut keys = HashSet::new();
        for object in self.stored_objects() {
            check_relative(&object.key)?;
            if !keys.insert(object.key.as_str()) {
                return Err(damaged(format!("it names the object {:?} twice", object.key)));
            }
            if !is_hexadecimal(&object.sha256, 64) {
                return Err(damaged(format!("the digest of {:?} is none", object.key)));
            }
        }
        for table in &self.tables {
            table.check()?;
        }
        Ok(())
    }
}

impl TableEntry {
    fn check(&self) -> Result<()> {
        if self.rows_digest.as_deref().is_some_and(|digest| !is_hexadecimal(digest, 32)) {
            return Err(damaged(format!("the digest of the rows of {:?} is none", self.object.key)));
        }
        let Some(last) = self.frames.last() else { return Ok(()) };
        let sum =
            |part: fn(&Frame) -> u64| self.frames.iter().try_fold(0u64, |sum, frame| sum.checked_add(part(frame)));
        let fits = last.offset.checked_add(last.bytes).is_some_and(|end| end <= self.object.bytes);
        if fits && sum(|frame| frame.rows) == Some(self.rows) && sum(|frame| frame.raw_bytes).is_some() {
            return Ok(());
        }
        Err(damaged(format!("the frames of {:?} do not make up its size and rows", self.object.key)))
    }
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn damaged(message: impl std::fmt::Display) -> Error {
    Error::new(Kind::Archive, format!("the manifest is damaged: {message}")).on("manifest.json")
}

fn damaged_because(error: serde_json::Error) -> Error {
    Error::new(Kind::Archive, "the manifest is damaged").on("manifest.json").because(error)
}

/// A frame as it is written.
#[derive(Serialize, Deserialize)]
struct FrameArray(u64, u64, u64, #[serde(default, skip_serializing_if = "Option::is_none")] Option<String>);

fn frames_as_arrays<S: Serializer>(frames: &[Frame], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(frames.iter().map(|frame| {
        let checksum = frame.checksum.map(|checksum| format!("{checksum:016x}"));
        FrameArray(frame.bytes, frame.raw_bytes, frame.rows, checksum)
    }))
}

fn frames_from_arrays<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Frame>, D::Error> {
    use serde::de::Error as _;
    let mut offset = 0u64;
    let arrays = Vec::<FrameArray>::deserialize(deserializer)?;
    arrays
        .into_iter()
        .map(|FrameArray(bytes, raw_bytes, rows, checksum)| {
            let checksum = match checksum {
                Some(text) if is_hexadecimal(&text, 16) => {
                    Some(u64::from_str_radix(&text, 16).map_err(D::Error::custom)?)
                }
                Some(_) => return Err(D::Error::custom("the checksum of a frame is none")),
                None => None,
            };
            let frame = Frame { offset, bytes, raw_bytes, rows, checksum };
            offset = offset.checked_add(bytes).ok_or_else(|| D::Error::custom("frames beyond all sizes"))?;
            Ok(frame)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        BlobEntry, CollationFacts, DatabaseFacts, ExtensionFacts, FORMAT, Frame, Globals, LargeObjects, Manifest,
        Options, Passwords, Selection, ServerFacts, Skipped, SnapshotFacts, StoredObject, TableEntry, Totals, seal,
    };
    use crate::archive::BackupId;
    use crate::error::Kind;
    use crate::model::Oid;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn stored(key: &str, bytes: u64) -> StoredObject {
        StoredObject { key: key.to_owned(), bytes, sha256: "0123456789abcdef".repeat(4) }
    }

    fn sample() -> Manifest {
        Manifest {
            format: FORMAT,
            id: BackupId::parse("20261123T234711Z-4f7a2c").expect("an id"),
            pgstow: "0.1.0".to_owned(),
            created_at: "2026-11-23T23:47:11Z".to_owned(),
            finished_at: "2026-11-23T23:48:00Z".to_owned(),
            database: DatabaseFacts {
                name: "shop\n\"x\"".to_owned(),
                encoding: "UTF8".to_owned(),
                collate: "C".to_owned(),
                ctype: "C".to_owned(),
                locale_provider: Some("libc".to_owned()),
                collation_version: Some("2.36".to_owned()),
                collations: vec![CollationFacts { schema: "s".into(), name: "de".into(), version: "153.120".into() }],
                extensions: vec![ExtensionFacts { name: "hstore".to_owned(), version: "1.8".to_owned() }],
                size_bytes: None,
            },
            server: ServerFacts { version: "18.4".to_owned(), version_num: 180_004, in_recovery: false, source: None },
            snapshot: SnapshotFacts {
                id: "00000003-0000001B-1".to_owned(),
                lsn: Some("0/15D68A0".to_owned()),
                taken_at: "2026-11-23T23:47:12Z".to_owned(),
            },
            options: Options {
                codec: "zstd:3".to_owned(),
                jobs: 4,
                selection: Selection { schemas: vec!["app*".to_owned()], ..Selection::default() },
                schema_only: false,
                data_only: false,
                frame_bytes: 4_194_304,
            },
            archive_version: "1.15".to_owned(),
            toc: stored("toc.dat", 900),
            items: 12,
            tables: vec![TableEntry {
                toc_id: 7,
                schema: "public".to_owned(),
                name: "t".to_owned(),
                object: stored("data_7.dat.zst", 60),
                rows: 5,
                raw_bytes: 100,
                rows_digest: Some("0123456789abcdef".repeat(2)),
                frames: vec![
                    Frame { offset: 0, bytes: 30, raw_bytes: 70, rows: 3, checksum: Some(0xab) },
                    Frame { offset: 30, bytes: 20, raw_bytes: 30, rows: 2, checksum: None },
                ],
            }],
            globals: Some(Globals {
                object: stored("globals.sql", 300),
                roles: 2,
                tablespaces: 1,
                passwords: Passwords::NotReadable,
            }),
            large_objects: Some(LargeObjects {
                count: 1,
                bytes: 9,
                toc: stored("blobs.toc", 21),
                objects: vec![BlobEntry { oid: Oid(16_400), size: 9, object: stored("blob_16400.dat.zst", 22) }],
            }),
            totals: Totals { tables: 1, rows: 5, raw_bytes: 109, stored_bytes: 1003, objects: 4 },
            skipped: vec![Skipped { object: "table public.u".to_owned(), reason: "unlogged, on a standby".to_owned() }],
            warnings: Vec::new(),
        }
    }

    /// The sample as JSON, changed by the case, and read back.
    fn decode_changed(change: impl FnOnce(&mut Value)) -> crate::error::Result<Manifest> {
        let mut value: Value = serde_json::from_slice(&sample().encode()).expect("json");
        value.as_object_mut().expect("an object").remove("sha256");
        change(&mut value);
        Manifest::decode(&seal::put(serde_json::to_vec_pretty(&value).expect("json")))
    }

    #[test]
    fn a_manifest_reads_back_as_written() {
        assert_eq!(Manifest::decode(&sample().encode()).expect("reads"), sample());
        let without = Manifest { large_objects: None, globals: None, tables: Vec::new(), ..sample() };
        assert_eq!(Manifest::decode(&without.encode()).expect("reads"), without);
    }

    #[test]
    fn the_format_comes_first_and_each_frame_has_one_line() {
        let text = String::from_utf8(sample().encode()).expect("text");
        assert!(text.starts_with("{\n  \"format\": 1,\n  \"id\": \"20261123T234711Z-4f7a2c\",\n"), "{text}");
        assert!(
            text.contains("\"frames\": [\n        [30, 70, 3, \"00000000000000ab\"],\n        [20, 30, 2]\n      ]\n"),
            "{text}"
        );
        assert!(text.contains("\"warnings\": [],\n  \"sha256\": \""), "{text}");
        assert!(text.ends_with("\"\n}\n"), "{text}");
    }

    #[test]
    fn a_bit_flipped_anywhere_in_a_manifest_is_found() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let error = Manifest::decode(&damaged).expect_err("a flipped bit");
            assert_eq!(error.kind(), Kind::Archive, "byte {at}: {error}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_with_a_hint_even_if_all_else_changed() {
        let error = Manifest::decode(b"{\"format\": 2, \"id\": {}}").expect_err("newer");
        assert_eq!((error.kind(), error.hint_text()), (Kind::Archive, Some("use a newer pgstow")));
        assert!(Manifest::decode(b"{\"id\": 1}").is_err());
        assert!(decode_changed(|value| value["format"] = json!(0)).is_err());
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let manifest = decode_changed(|value| {
            value["hereafter"] = json!([1]);
            value["tables"][0]["object"]["colour"] = json!("red");
            value["options"]["selection"] = json!({"kinds": []});
        });
        assert_eq!(manifest.expect("reads").tables, sample().tables);
    }

    #[test]
    fn a_manifest_that_contradicts_itself_or_leaves_its_folder_is_refused() {
        let changes: [fn(&mut Value); 11] = [
            |value| value["toc"]["key"] = json!("../toc.dat"),
            |value| value["tables"][0]["object"]["key"] = json!("/data_7.dat"),
            |value| value["large_objects"]["objects"][0]["object"]["key"] = json!("a/../../b"),
            |value| value["tables"][0]["object"]["key"] = json!("toc.dat"),
            |value| value["toc"]["sha256"] = json!("00"),
            |value| value["tables"][0]["frames"][1][0] = json!(31),
            |value| value["tables"][0]["frames"][1][2] = json!(3),
            |value| value["tables"][0]["frames"][0] = json!([u64::MAX, 0, 0]),
            |value| value["tables"][0]["frames"][0][3] = json!("ab"),
            |value| value["tables"][0]["rows_digest"] = json!("ab"),
            |value| value["id"] = json!("latest"),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let error = decode_changed(change).expect_err(&format!("change {index}"));
            assert_eq!(error.kind(), Kind::Archive, "change {index}");
        }
    }

    proptest! {
        #[test]
        fn a_manifest_cut_anywhere_is_an_error_and_no_panic(cut in 0usize..10_000) {
            let bytes = sample().encode();
            let cut = cut % bytes.len();
            prop_assert!(Manifest::decode(&bytes[..cut]).is_err());
        }
    }
}
