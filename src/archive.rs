//! What lies in the bucket: keys, the table of contents in `pg_dump`'s directory format, and the manifest.
//!
//! May import: error, model. Always true here: pure functions between bytes and values, no I/O; whatever is decoded is
//! untrusted, so nothing panics on it, nothing is allocated by a length that was not checked against the bytes at hand,
//! and no key that leaves its backup's folder gets through.
//!
//! A backup is a folder, `<database>/<backup id>/` ([`keys`], [`backup_id`]):
//!
//! | key | what |
//! | --- | --- |
//! | `toc.dat` | the table of contents, readable by stock `pg_restore` ([`toc`]) |
//! | `data_<n>.dat` + suffix | one object a table: concatenated frames |
//! | `blobs.toc`, `blob_<oid>.dat` + suffix | large objects ([`blobs`]) |
//! | `globals.sql` | what belongs to the server: roles, memberships, tablespaces ([`script`] takes it apart) |
//! | `manifest.json` | written last; without it there is no backup ([`manifest`]) |
//!
//! Architecture invariant: [`FORMAT`] changes only together with a new frozen fixture.

pub mod backup_id;
pub mod blobs;
pub mod charset;
pub mod keys;
pub mod manifest;
pub mod script;
mod seal;
pub mod toc;
mod toc_bytes;

pub use backup_id::BackupId;
pub use charset::Charset;
pub use manifest::{
    BlobEntry, CollationFacts, DatabaseFacts, ExtensionFacts, FORMAT, Frame, Globals, LargeObjects, Manifest, Options,
    Passwords, Selection, ServerFacts, Skipped, SnapshotFacts, StoredObject, TableEntry, Totals,
};
pub use toc::{Compression, Toc, TocEntry};
