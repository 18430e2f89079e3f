//! From planned Items to the `toc.dat` that stock `pg_restore` reads.

use crate::archive::keys;
use crate::archive::toc::{Compression, Toc, TocEntry, created_fields};
use crate::catalog::DatabaseRow;
use crate::error::{Error, Kind, Result};
use crate::model::{Payload, Section, ServerVersion, literal};
use crate::plan::Planned;
use crate::stream::codec::Codec;

/// The version of the archive: `1.15` where frames need a codec that older readers lack, `1.14` otherwise, for
/// `pg_restore` 12 and newer reads that.
pub(super) fn archive_version(codec: Codec) -> Result<String> {
    let (major, minor, _) = compression(codec)?.version();
    Ok(format!("{major}.{minor}"))
}

fn compression(codec: Codec) -> Result<Compression> {
    Compression::from_byte(codec.archive_byte()).ok_or_else(|| {
        Error::new(Kind::Internal, "the archive format has no number for this codec").on(codec.to_string())
    })
}

/// The table of contents: three leading entries that set the reader up, then the plan as it is.
pub(super) fn table_of_contents(
    planned: &[Planned],
    codec: Codec,
    database: &DatabaseRow,
    server: ServerVersion,
) -> Result<Toc> {
    let compression = compression(codec)?;
    let next_id = planned.last().map_or(1, |entry| entry.id + 1);
    let mut entries = vec![
        setting(next_id, "ENCODING", format!("SET client_encoding = {};\n", literal(data_encoding(database)))),
        setting(next_id + 1, "STDSTRINGS", "SET standard_conforming_strings = 'on';\n".to_owned()),
        setting(next_id + 2, "SEARCHPATH", "SELECT pg_catalog.set_config('search_path', '', false);\n".to_owned()),
    ];
    entries.extend(planned.iter().map(entry));
    Ok(Toc {
        version: compression.version(),
        compression,
        created: created_fields(jiff::Timestamp::now()),
        database: database.name.clone(),
        server_version: server.to_string(),
        dumper_version: format!("pgstow {}", env!("CARGO_PKG_VERSION")),
        entries,
    })
}

/// The encoding of every name and row in the archive: UTF-8, which the server converts to, except where the source
/// has no encoding that it could convert from.
fn data_encoding(database: &DatabaseRow) -> &'static str {
    if database.encoding == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" }
}

fn setting(id: i32, desc: &str, create: String) -> TocEntry {
    TocEntry {
        id,
        had_dumper: false,
        table_oid: "0".to_owned(),
        oid: "0".to_owned(),
        tag: desc.to_owned(),
        desc: desc.to_owned(),
        section: Section::PreData,
        create: Some(create),
        drop: None,
        copy: None,
        schema: None,
        tablespace: None,
        access_method: None,
        relkind: None,
        owner: None,
        needs: Vec::new(),
        file: None,
    }
}

fn entry(planned: &Planned) -> TocEntry {
    let file = match &planned.item.payload {
        Payload::None | Payload::Refresh => None,
        Payload::Table(_) => Some(keys::data_name(u64::from(planned.id.unsigned_abs()))),
        Payload::Blobs(_) => Some(keys::blobs_toc_key().to_owned()),
    };
    TocEntry::of_item(&planned.item, planned.id, planned.needs.clone(), file)
}
