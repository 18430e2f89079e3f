//! From planned Items to the `toc.dat` that stock `pg_restore` reads.

use crate::archive::keys;
use crate::archive::manifest::TableEntry;
use crate::archive::toc::{Compression, Toc, TocEntry, created_fields};
use crate::catalog::DatabaseRow;
use crate::commands::memory::held;
use crate::error::{Error, Kind, Result};
use crate::model::{Item, Oid, Payload, Section, ServerVersion, literal};
use crate::plan::Planned;
use crate::stream::codec::Codec;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use std::collections::{BTreeSet, HashMap};
use tokio::sync::mpsc;

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

/// A further object of a table whose rows do not fit in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    id: i32,
    /// The id of the table's first TABLE DATA entry.
    first: i32,
    number: usize,
}

/// Gives the further segments their ids, which follow those of everything else, and sorts all tables by id.
pub(super) fn number_segments(planned: &[Planned], tables: &mut [TableEntry]) -> Vec<Segment> {
    let mut next_id = planned.last().map_or(1, |entry| entry.id + 1) + SETTINGS;
    let mut segments: Vec<Segment> = Vec::new();
    // The segments of one table follow its first entry, in order.
    let mut first = 0;
    let mut number = 0;
    for table in tables.iter_mut() {
        if table.toc_id != 0 {
            (first, number) = (table.toc_id, 0);
            continue;
        }
        number += 1;
        table.toc_id = next_id;
        segments.push(Segment { id: next_id, first, number });
        next_id += 1;
    }
    tables.sort_by_key(|table| table.toc_id);
    segments
}

/// Lets the Items go of what only the plan asks, and gives the bytes that they hold.
pub(super) fn settle(planned: &mut Vec<Planned>) -> u64 {
    let mut bytes = (planned.capacity() * size_of::<Planned>()) as u64;
    for Planned { item, needs, .. } in planned {
        (item.provides, item.needs, item.ignores) = (Vec::new(), Vec::new(), Vec::new());
        let texts = [&mut item.tag, &mut item.create, &mut item.drop].into_iter();
        let names = [&mut item.schema, &mut item.owner, &mut item.tablespace, &mut item.access_method, &mut item.copy];
        let texts = texts.chain(names.into_iter().flatten());
        let texts = texts.map(|text| {
            text.shrink_to_fit();
            text.capacity()
        });
        bytes += held(texts.chain([size_of::<Item>(), needs.capacity() * size_of::<i32>()]));
        bytes += match &item.payload {
            // The queue of rows has them, too.
            Payload::Table(data) => 2 * held([data.copy_out.capacity(), data.select.capacity()]),
            Payload::Blobs(data) => held([data.oids.capacity() * size_of::<Oid>()]),
            Payload::None | Payload::Refresh => 0,
        };
    }
    bytes
}

/// The table of contents is sent on in pieces of so many bytes.
const PIECE: usize = 256 << 10;
/// How many entries set the reader up.
const SETTINGS: i32 = 3;

/// The table of contents, in pieces for [`pieces`]: three leading entries that set the reader up, then the plan as it is. Each
/// entry is let go of when it is written.
pub(super) fn write(
    planned: Vec<Planned>,
    segments: &[Segment],
    codec: Codec,
    database: &DatabaseRow,
    server: ServerVersion,
    mut send: impl FnMut(Vec<u8>),
) -> Result<()> {
    let compression = compression(codec)?;
    let next_id = planned.last().map_or(1, |entry| entry.id + 1);
    let settings = [
        setting(next_id, "ENCODING", format!("SET client_encoding = {};\n", literal(data_encoding(database)))),
        setting(next_id + 1, "STDSTRINGS", "SET standard_conforming_strings = 'on';\n".to_owned()),
        setting(next_id + 2, "SEARCHPATH", "SELECT pg_catalog.set_config('search_path', '', false);\n".to_owned()),
    ];
    let further = Further::of(&planned, segments);
    let header = Toc {
        version: compression.version(),
        compression,
        created: created_fields(jiff::Timestamp::now()),
        database: database.name.clone(),
        server_version: server.to_string(),
        dumper_version: format!("pgstow {}", env!("CARGO_PKG_VERSION")),
        entries: Vec::new(),
    };
    let mut encoder = header.encoder(settings.len() + planned.len() + segments.len())?;
    for setting in &settings {
        encoder.add(setting)?;
    }
    for planned in planned {
        let first = entry(planned);
        let segments = further.segments_of(&first);
        encoder.add(&further.waiting(first))?;
        for segment in &segments {
            encoder.add(segment)?;
        }
        if encoder.waiting() >= PIECE {
            send(encoder.take());
        }
    }
    send(encoder.finish()?);
    Ok(())
}

/// What `write` sends, as it comes, while a thread of its own writes on. An error of `write` is the last that comes.
pub(super) fn pieces(
    write: impl FnOnce(&mut dyn FnMut(Vec<u8>)) -> Result<()> + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let (sender, mut receiver) = mpsc::channel(4);
    let writing = tokio::task::spawn_blocking(move || {
        // Who listens no more has an error of his own.
        let send = |piece| drop(sender.blocking_send(piece));
        if let Err(error) = write(&mut |bytes| send(Ok(Bytes::from(bytes)))) {
            send(Err(error));
        }
    });
    // Without this look, a thread that broke off would pass for one that wrote everything.
    let end = async move {
        let broken = |panic| Error::new(Kind::Internal, "the table of contents broke off").because(panic);
        writing.await.err().map(|panic| Err(broken(panic)))
    };
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
        .chain(futures::stream::once(end).filter_map(std::future::ready))
}

/// Further segments of tables' rows, by what has to do with them.
///
/// Stock `pg_restore` keeps one TABLE DATA entry a table in mind (`tableDataId`, `pg_backup_archiver.c`) and truncates the table
/// before that one, so only the first entry may hang on the table first of all. The others hang on the first, and what
/// comes after the rows names all of them.
struct Further<'a> {
    /// By the id of the first entry.
    by_first: HashMap<i32, Vec<&'a Segment>>,
    /// The ids of further segments, by the id of what their rows belong to.
    by_table: HashMap<i32, Vec<i32>>,
}

impl<'a> Further<'a> {
    fn of(planned: &[Planned], segments: &'a [Segment]) -> Self {
        let mut further = Further { by_first: HashMap::new(), by_table: HashMap::new() };
        for segment in segments {
            further.by_first.entry(segment.first).or_default().push(segment);
        }
        for planned in planned {
            for segment in further.by_first.get(&planned.id).into_iter().flatten() {
                for &table in planned.needs.iter().chain([&planned.id]) {
                    further.by_table.entry(table).or_default().push(segment.id);
                }
            }
        }
        further
    }

    /// The entries of the further segments of a TABLE DATA entry.
    fn segments_of(&self, first: &TocEntry) -> Vec<TocEntry> {
        let segments = self.by_first.get(&first.id).into_iter().flatten();
        segments
            .map(|segment| TocEntry {
                id: segment.id,
                needs: std::iter::once(first.id).chain(first.needs.iter().copied()).collect(),
                file: Some(keys::data_name(u64::from(first.id.unsigned_abs()), segment.number)),
                ..first.clone()
            })
            .collect()
    }

    /// The entry, waiting for the further segments of whatever it needs if it comes after the rows.
    fn waiting(&self, mut entry: TocEntry) -> TocEntry {
        if entry.section == Section::PostData {
            let ids = entry.needs.iter().filter_map(|need| self.by_table.get(need)).flatten();
            let ids: BTreeSet<i32> = ids.copied().collect();
            entry.needs.extend(ids);
        }
        entry
    }
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

fn entry(planned: Planned) -> TocEntry {
    let file = match &planned.item.payload {
        Payload::None | Payload::Refresh => None,
        Payload::Table(_) => Some(keys::data_name(u64::from(planned.id.unsigned_abs()), 0)),
        Payload::Blobs(_) => Some(keys::blobs_toc_key().to_owned()),
    };
    TocEntry::of_item(*planned.item, planned.id, planned.needs, file)
}

#[cfg(test)]
mod tests {
    use super::pieces;
    use crate::error::{Error, Kind};
    use futures::StreamExt as _;

    #[tokio::test]
    async fn a_table_of_contents_that_breaks_off_never_passes_for_a_whole_one() {
        let whole = pieces(|send| {
            send(b"PG".to_vec());
            send(b"DMP".to_vec());
            Ok(())
        });
        let whole: Vec<_> = whole.map(|piece| piece.expect("a piece")).collect().await;
        assert_eq!(whole.concat(), b"PGDMP");
        let failing = pieces(|send| {
            send(b"PG".to_vec());
            Err(Error::new(Kind::Incomplete, "too long"))
        });
        let failing: Vec<_> = failing.collect().await;
        assert_eq!(failing.last().and_then(|last| last.as_ref().err()).map(Error::kind), Some(Kind::Incomplete));
        let broken = pieces(|send| {
            send(b"PG".to_vec());
            panic!("as a defect would");
        });
        let broken: Vec<_> = broken.collect().await;
        assert_eq!(broken.last().and_then(|last| last.as_ref().err()).map(Error::kind), Some(Kind::Internal));
    }
}
