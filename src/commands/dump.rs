//! `pgstow dump`: one database, at one moment, into the store.
//!
//! The order of things is the safety of a backup: locks, snapshot, catalogs, plan, rows, large objects, table of
//! contents, and last the manifest, whose appearance is the commit. Whatever fails before leaves no manifest.

mod again;
mod all;
mod begin;
mod columns;
mod contents;
mod globals;
mod large_objects;
mod origin;
mod pace;
mod queue;
mod ranges;
mod reader;
mod sections;
mod tables;
mod watch;
mod writer;

pub use all::{AllReport, dump_all, failed};
pub(crate) use sections::word as section_word;

use super::memory::{self, DEFAULT_MEMORY, DumpShares, Taken};
use super::transfer::{Destination, Parts, patience};
use super::{Progress, Stop};
use crate::archive::backup_id::BackupId;
use crate::archive::keys;
use crate::archive::manifest::{
    self, CollationFacts, DatabaseFacts, ExtensionFacts, FORMAT, LargeObjects, Manifest, Options, ServerFacts, Skipped,
    SnapshotFacts, TableEntry, Totals,
};
use crate::catalog::{Catalog, CollationRow, ExtensionRow, GlobalsWanted, Pattern, Selection};
use crate::error::{Error, Kind, Result};
use crate::model::{Item, Payload, ServerVersion};
use crate::plan::{Planned, plan};
use crate::postgres::{ConnectionSettings, Purpose, Session, Snapshot, import_snapshot};
use crate::store::{StorageClass, Store};
use crate::stream::codec::Codec;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Larger tables are read by several connections.
const SPLIT_ABOVE: u64 = 64 << 20;

/// What the server is told of a connection that reads rows.
const READING: &str = "pgstow dump: reading rows";

/// Maximum time to wait for one more connection: a pool that has none left says nothing for minutes.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(15);

/// How long the leader's session is silent at the most: proxies cut connections that are idle for as little as 30 seconds.
const QUIET: Duration = Duration::from_secs(8);

/// What to dump, where to, and how.
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// The source database.
    pub connection: ConnectionSettings,
    /// Where the backup goes.
    pub store: Arc<dyn Store>,
    /// How many connections read at once, at least 1.
    pub jobs: usize,
    /// How frames are compressed.
    pub codec: Codec,
    /// Which objects, and whether their definitions, their rows, or both.
    pub selection: Selection,
    /// What of the server's roles and tablespaces comes along; `None` is nothing.
    pub globals: Option<GlobalsWanted>,
    /// The storage class of data objects; the manifest is always in the store's default.
    pub storage_class: Option<StorageClass>,
    /// The memory that the dump may hold, in bytes; at least [`crate::commands::memory::least`].
    pub memory: u64,
    /// Tables with more bytes than this, TOAST included, are read in ranges by several connections (servers 14 and newer).
    pub split_above: u64,
    /// The size of every part of an upload but its last, in bytes, instead of one that grows with the table.
    pub part_size: Option<u64>,
    /// The most parts of one upload, for stores that take fewer than S3; what does not fit goes into a further object.
    pub max_parts: Option<u32>,
    /// What the source must not suffer.
    pub kindness: Kindness,
    /// Kinds that cannot be dumped become warnings that the manifest keeps, instead of an error.
    pub allow_incomplete: bool,
}

impl DumpOptions {
    /// A dump of everything, as `pgstow dump` makes it where nothing else is said; change what should differ.
    pub fn new(connection: ConnectionSettings, store: Arc<dyn Store>) -> Self {
        let selection = Selection::default();
        DumpOptions {
            connection,
            store,
            jobs: 4,
            codec: Codec::Zstd(3),
            globals: Some(GlobalsWanted::beside(&selection, true)),
            selection,
            storage_class: None,
            memory: DEFAULT_MEMORY,
            split_above: SPLIT_ABOVE,
            part_size: None,
            max_parts: None,
            kindness: Kindness::default(),
            allow_incomplete: false,
        }
    }
}

/// What a source that others use must not suffer from a dump.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kindness {
    /// How long to wait for a lock that somebody else holds, instead of for ever.
    pub lock_timeout: Option<Duration>,
    /// How many bytes of rows a second to read, on all connections together.
    pub rate_limit: Option<u64>,
    /// How long the snapshot may be open before the dump fails: as long, vacuum keeps what it could still see.
    pub max_snapshot_age: Option<Duration>,
    /// How long others may wait for the dump's locks before it fails.
    pub max_blocking: Option<Duration>,
}

/// What was dumped.
#[derive(Debug, Clone)]
pub struct DumpReport {
    /// The manifest as written.
    pub manifest: Manifest,
    /// The folder in the store.
    pub folder: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Dumps the database. On any failure, a stop included, uploads are aborted, what was written is removed as far as that
/// is possible, and no manifest is left.
pub async fn dump(options: DumpOptions, progress: Arc<Progress>, stop: Stop) -> Result<DumpReport> {
    let options = DumpOptions { connection: options.connection.for_asking(), ..options };
    let id = BackupId::new(jiff::Timestamp::now());
    let work = stop.child();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shares = DumpShares::of(options.memory, options.jobs, options.codec, processors)?;
    memory::keep_freed(options.memory);
    let mut destination = Destination {
        store: Arc::clone(&options.store),
        folder: format!("{}/", keys::backup_folder(options.connection.database(), &id)),
        class: options.storage_class.clone(),
        parts: Parts::new(options.store.limits(), &shares, options.part_size, options.max_parts)?,
        progress: Arc::clone(&progress),
        stop: work.clone(),
    };
    match write_backup(&options, shares, &id, &mut destination, &work).await {
        Ok(manifest) => {
            progress.phase("done");
            Ok(DumpReport { manifest, folder: destination.folder, seconds: progress.seconds() })
        }
        Err(error) => {
            progress.phase("cleaning up");
            work.now();
            let cleaning = destination.sweep(patience(stop.is_asked()));
            let ((), left) = tokio::join!(options.connection.cancel_all(), cleaning);
            // A signal makes many things fail; the signal is what happened.
            let error = if stop.is_asked() { Stop::interrupted() } else { error };
            Err(left.into_iter().fold(error, |error, left| error.also(&left)))
        }
    }
}

/// Opens the leader's connection and dumps under the eyes of the watch.
async fn write_backup(
    options: &DumpOptions,
    shares: DumpShares,
    id: &BackupId,
    destination: &mut Destination,
    stop: &Stop,
) -> Result<Manifest> {
    destination.progress.phase("connecting");
    let leader = Arc::new(stop.unless(connect(options)).await?);
    // All others must reach the same server.
    let options = &DumpOptions { connection: leader.settings().clone(), ..options.clone() };
    let (seen, in_recovery) = (watch::Seen::default(), leader.in_recovery());
    let watched = watch::Watched { connection: &options.connection, leader: leader.backend_pid() };
    let mut work = std::pin::pin!(write_rows(options, shares, id, destination, stop, &leader, &seen));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        too_much = watch::watch(watched, &options.kindness, &seen) => {
            // The workers abort their uploads first.
            stop.now();
            let _interrupted = work.await;
            Err(too_much)
        }
    };
    outcome.map_err(|error| watch::explain(error, in_recovery))
}

async fn write_rows(
    options: &DumpOptions,
    shares: DumpShares,
    id: &BackupId,
    destination: &mut Destination,
    stop: &Stop,
    leader: &Arc<Session>,
    seen: &watch::Seen,
) -> Result<Manifest> {
    let progress = Arc::clone(&destination.progress);
    let before = Taken::look();
    let begun = begin::begin(options, leader, (&progress, stop), seen).await?;
    let source = stop.unless(origin::ask(leader)).await?;
    let begin::Begun { snapshot, readers, catalog } = begun;
    let Catalog { objects, facets, depends, database, skipped, mut warnings } = catalog;
    // The plan takes a processor of its own for as long as the globals take.
    let planning = tokio::task::spawn_blocking(move || plan(objects, facets, &depends));
    let globals = async {
        let globals = globals::write(options, leader, destination).await?;
        let planned = planning.await.map_err(|error| Error::new(Kind::Internal, "the plan failed").because(error))?;
        Ok::<_, Error>((globals, planned?))
    };
    let ((globals, more_warnings), mut planned) = not_silent(leader, globals).await?;
    warnings.extend(more_warnings);
    let at_once = Taken::look().since(before);
    // What only holds a place in the order for its facets (the schema `public` as every database has it) is not written.
    planned.retain(|entry| !does_nothing(&entry.item));
    sections::keep(&mut planned, &options.selection.sections);
    let jobs = tables::jobs(&planned, snapshot.in_recovery);
    let definitions = contents::settle(&mut planned);
    tracing::info!(items = planned.len(), bytes = definitions, at_once, "planned");
    // Rows have what the definitions leave.
    let left = memory::beside(definitions, at_once, options.memory, options.jobs, options.codec);
    let shares = DumpShares::of(left, options.jobs, options.codec, shares.codecs)?;
    destination.parts = Parts::new(options.store.limits(), &shares, options.part_size, options.max_parts)?;
    let destination = &*destination;
    progress.expect(jobs.tables.len() as u64, jobs.estimated_bytes());
    progress.phase("dumping");
    let rows = tables::Rows { options, shares: &shares, snapshot: &snapshot, leader, destination, stop };
    let mut loaded = tables::copy_all(rows, readers, jobs).await?;
    // It held its locks until every row was read.
    stop.unless(leader.execute("SELECT 1"))
        .await
        .map_err(|error| watch::leader_lost(snapshot.in_recovery).because(error))?;
    let segments = contents::number_segments(&planned, &mut loaded.tables);
    let further = segments.len();
    progress.phase("finishing");
    let (items, codec) = (planned.len() as u64, options.codec);
    let (server, named) = (leader.version(), database.clone());
    let toc = contents::pieces(move |send| contents::write(planned, &segments, codec, &named, server, send));
    let toc = destination.write(keys::toc_key(), destination.part_size(definitions), toc).await?;
    let mut skipped: Vec<Skipped> = skipped.into_iter().map(|(object, reason)| Skipped { object, reason }).collect();
    skipped.extend(loaded.skipped);
    let small: Vec<u64> = std::iter::once(&toc).chain(globals.iter().map(|all| &all.object)).map(|o| o.bytes).collect();
    warnings.extend(seen.warnings());
    warnings.extend(
        stop.unless(async { Ok(origin::others(options.store.as_ref(), &database.name, id, &source).await) }).await?,
    );
    let manifest = Manifest {
        format: FORMAT,
        id: id.clone(),
        pgstow: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: snapshot.started_at.clone(),
        finished_at: jiff::Timestamp::now().to_string(),
        database: DatabaseFacts {
            name: database.name,
            encoding: database.encoding,
            collate: database.collate,
            ctype: database.ctype,
            locale_provider: database.locale_provider,
            collation_version: database.collation_version,
            collations: collations(database.collations.unwrap_or_default()),
            extensions: extensions(database.extensions.unwrap_or_default()),
            size_bytes: database.size_bytes,
        },
        server: ServerFacts {
            version: leader.version().to_string(),
            version_num: leader.version().0,
            in_recovery: snapshot.in_recovery,
            source: Some(source),
        },
        snapshot: SnapshotFacts { id: snapshot.id, lsn: snapshot.lsn, taken_at: snapshot.started_at },
        options: Options {
            codec: options.codec.to_string(),
            jobs: u32::try_from(options.jobs).unwrap_or(u32::MAX),
            selection: patterns(&options.selection),
            schema_only: !options.selection.rows(),
            data_only: !options.selection.definitions(),
            frame_bytes: shares.frame_bytes as u64,
        },
        archive_version: contents::archive_version(options.codec)?,
        items,
        totals: totals(&loaded.tables, further, loaded.large_objects.as_ref(), &small),
        toc,
        tables: loaded.tables,
        large_objects: loaded.large_objects,
        globals,
        skipped,
        warnings,
    };
    let manifest_key = format!("{}{}", destination.folder, keys::manifest_key());
    destination.soon(options.store.put_new(&manifest_key, Bytes::from(manifest.encode()))).await?;
    Ok(manifest)
}

/// The leader's connection, pinned.
async fn connect(options: &DumpOptions) -> Result<Session> {
    let leader = Session::connect(&options.connection, "pgstow dump: reading the catalogs", Purpose::Reads)
        .await
        .map_err(|error| if begin::is_full(&error) { error.hint(ONE_IS_ENOUGH) } else { error })?;
    let version = leader.version();
    if version.major() > ServerVersion::NEWEST {
        tracing::warn!(%version, "the server is newer than any that this pgstow knows; what is new in it may be missing");
    }
    Ok(leader)
}

const ONE_IS_ENOUGH: &str = "a dump needs one connection, and uses up to two more than -j says where it can have them; free one, or \
                             raise the limit of the server, the database or the role";

/// Does something while the leader's session has nothing to do, and has that say a word now and then.
async fn not_silent<T>(leader: &Session, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            // That it is lost shows when it is needed.
            () = tokio::time::sleep(QUIET) => drop(leader.execute("").await),
        }
    }
}

/// One more connection that sees what the leader sees. It waits for nothing for long, for others may wait for the leader.
async fn follow_snapshot(options: &DumpOptions, snapshot: &Snapshot, name: &str) -> Result<Session> {
    let following = async {
        let session = Session::connect(&options.connection, name, Purpose::Reads).await?;
        session.execute("SET lock_timeout = '1s'").await?;
        import_snapshot(&session, snapshot).await?;
        Ok(session)
    };
    let too_long = |_| {
        Error::new(Kind::Connection, format!("no further connection within {} s", FOLLOWS_WITHIN.as_secs()))
            .on(options.connection.describe())
            .hint("a connection pool may have fewer connections than -j says")
    };
    tokio::time::timeout(FOLLOWS_WITHIN, following).await.map_err(too_long)?
}

/// What sorts without a library has no version.
fn collations(rows: Vec<CollationRow>) -> Vec<CollationFacts> {
    let known = |row: CollationRow| Some(CollationFacts { schema: row.schema, name: row.name, version: row.version? });
    rows.into_iter().filter_map(known).collect()
}

fn extensions(rows: Vec<ExtensionRow>) -> Vec<ExtensionFacts> {
    rows.into_iter().map(|row| ExtensionFacts { name: row.name, version: row.version }).collect()
}

/// Sums; `others` are the sizes of objects that hold no rows.
fn totals(
    tables: &[TableEntry],
    further_segments: usize,
    large_objects: Option<&LargeObjects>,
    others: &[u64],
) -> Totals {
    let blobs = large_objects.map_or((0, 0, 0), |large| {
        let stored: u64 = large.objects.iter().map(|blob| blob.object.bytes).sum();
        (large.bytes, stored + large.toc.bytes, large.count + 1)
    });
    Totals {
        tables: (tables.len() - further_segments) as u64,
        rows: tables.iter().map(|table| table.rows).sum(),
        raw_bytes: tables.iter().map(|table| table.raw_bytes).sum::<u64>() + blobs.0,
        stored_bytes: tables.iter().map(|table| table.object.bytes).sum::<u64>() + blobs.1 + others.iter().sum::<u64>(),
        // The manifest cannot count itself.
        objects: (tables.len() + others.len()) as u64 + blobs.2,
    }
}

/// The selection as it was typed, for the manifest.
fn patterns(selection: &Selection) -> manifest::Selection {
    let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect();
    manifest::Selection {
        schemas: texts(&selection.schemas),
        exclude_schemas: texts(&selection.exclude_schemas),
        tables: texts(&selection.tables),
        tables_and_children: texts(&selection.tables_and_children),
        exclude_tables: texts(&selection.exclude_tables),
        exclude_tables_and_children: texts(&selection.exclude_tables_and_children),
        exclude_table_data: texts(&selection.exclude_table_data),
        exclude_table_data_and_children: texts(&selection.exclude_table_data_and_children),
        foreign_data: texts(&selection.foreign_data),
        extensions: texts(&selection.extensions),
        exclude_extensions: texts(&selection.exclude_extensions),
        large_objects: selection.large_objects,
        sections: selection.sections.iter().map(|section| sections::word(*section).to_owned()).collect(),
        without: selection.words_without().into_iter().map(str::to_owned).collect(),
    }
}

fn does_nothing(item: &Item) -> bool {
    item.payload == Payload::None && item.owner.is_none() && item.create.lines().all(|line| line.starts_with("--"))
}

/// Whether this Item has an object of its own in the store.
fn has_data(entry: &Planned) -> bool {
    !matches!(entry.item.payload, Payload::None | Payload::Refresh)
}
