//! From planned Items to the `toc.dat` that stock `pg_restore` reads.

use crate::archive::keys;
use crate::archive::toc::{Toc, TocEntry};
use crate::catalog::DatabaseRow;
use crate::error::Result;
use crate::model::{Payload, Section, ServerVersion, literal};
use crate::plan::Planned;
use crate::stream::codec::Codec;

/// `1.15` where frames need a codec that older readers lack, `1.14` otherwise, for `pg_restore` 12 and newer reads that.
pub(super) fn archive_version(codec: Codec) -> &'static str {
    match codec {
        Codec::Zstd(_) | Codec::Lz4 => "1.15",
        Codec::None | Codec::Gzip(_) => "1.14",
    }
}

/// The table of contents: three leading entries that set the reader up, then the plan as it is.
pub(super) fn table_of_contents(
    planned: &[Planned],
    codec: Codec,
    database: &DatabaseRow,
    server: ServerVersion,
) -> Result<Toc> {
    let next_id = planned.last().map_or(1, |entry| entry.id + 1);
    let mut entries = vec![
        setting(next_id, "ENCODING", format!("SET client_encoding = {};\n", literal(data_encoding(database)))),
        setting(next_id + 1, "STDSTRINGS", "SET standard_conforming_strings = 'on';\n".to_owned()),
        setting(
            next_id + 2,
            "SEARCHPATH",
            "SELECT pg_catalog.set_config('search_path', '', false);\n".to_owned(),
        ),
    ];
    entries.extend(planned.iter().map(entry));
    Ok(Toc {
        version: if archive_version(codec) == "1.15" { (1, 15, 0) } else { (1, 14, 0) },
        compression: codec,
        created: jiff::Zoned::now().datetime(),
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
    let item = &planned.item;
    let file = match &item.payload {
        Payload::None | Payload::Refresh => None,
        Payload::Table(_) => Some(keys::data_name(planned.id)),
        Payload::Blobs(_) => Some(keys::BLOBS_TOC.to_owned()),
    };
    TocEntry {
        id: planned.id,
        had_dumper: file.is_some(),
        table_oid: item.address.class.to_string(),
        oid: item.address.object.to_string(),
        tag: item.tag.clone(),
        desc: item.desc.to_owned(),
        section: item.section,
        // Never NULL: readers that filter or rewrite definitions do not expect it.
        create: Some(item.create.clone()),
        drop: Some(item.drop.clone()),
        copy: item.copy.clone(),
        schema: item.schema.clone(),
        tablespace: item.tablespace.clone(),
        access_method: item.access_method.clone(),
        relkind: item.relkind,
        owner: item.owner.clone(),
        needs: planned.needs.clone(),
        file,
    }
}
