//! What `restore` and `export` read: a backup, which its manifest vouches for, or a stock archive, which nothing does.

use super::backups;
use super::frozen;
use super::memory::held;
use super::transfer::{ArchiveObject, Origin};
use crate::archive::manifest::{LargeObjects, Manifest, TableEntry};
use crate::archive::toc::{Toc, TocEntry};
use crate::archive::{blobs, keys};
use crate::error::{Error, Kind, Result};
use crate::model::Oid;
use crate::store::Store;
use crate::stream::codec::Codec;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A table of contents, or a list of large objects, larger than this is not one that can be used.
const TOC_LIMIT: u64 = 4 << 30;

/// What to read from a store.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A backup: `ID`, `latest`, `DATABASE/ID` or `DATABASE/latest`.
    Backup(String),
    /// The store's own folder, which is one directory archive: of stock `pg_dump`, or a backup that was copied there.
    Archive {
        /// Take what pgstow wrote even though its manifest is missing.
        without_manifest: bool,
    },
}

/// The rows of a table as the archive holds them.
#[derive(Debug, Clone)]
pub struct TableObject {
    /// Where they lie.
    pub object: ArchiveObject,
    /// How many; a stock archive does not tell.
    pub rows: Option<u64>,
    /// Their size as text in bytes; for a stock archive as stored, for nothing better is known.
    pub raw_bytes: u64,
    /// What the object consists of, each part of which can be read and checked alone, the terminator last. Empty when the
    /// archive does not tell.
    pub runs: Vec<RunOfRows>,
}

/// Of these entries, each of which brings rows, those that bring more of a table than an entry before them: what did not fit in
/// one object lies in further ones, which are no further tables.
pub(crate) fn further_segments<'a>(entries: impl Iterator<Item = &'a TocEntry>) -> HashSet<i32> {
    let mut seen = HashSet::new();
    let further = entries.filter(|entry| !seen.insert((entry.schema.as_deref(), entry.tag.as_str())));
    further.map(|entry| entry.id).collect()
}

impl TableObject {
    /// The memory that it takes beside itself, in bytes.
    pub(crate) fn held(&self) -> u64 {
        self.object.held() + held([self.runs.capacity() * size_of::<RunOfRows>()])
    }
}

/// A part of a table's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOfRows {
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// Its size as text, in bytes.
    pub raw_bytes: u64,
    /// How many rows it holds.
    pub rows: u64,
    /// Its checksum ([`crate::stream::frame_checksum`]).
    pub checksum: u64,
}

/// One large object as the archive holds it.
#[derive(Debug, Clone)]
pub struct BlobObject {
    /// Its oid.
    pub oid: Oid,
    /// Its size in bytes; a stock archive does not tell.
    pub size: Option<u64>,
    /// Where its content lies.
    pub object: ArchiveObject,
}

/// An archive that was opened.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Where its objects lie.
    pub(crate) origin: Origin,
    /// Its table of contents.
    pub(crate) toc: Toc,
    /// The object of the table of contents.
    pub(crate) toc_object: ArchiveObject,
    /// Every other object but the manifest.
    pub(crate) objects: Vec<ArchiveObject>,
    /// Its manifest; a stock archive has none.
    pub(crate) manifest: Option<Manifest>,
    /// Table data by the id of its entry.
    pub(crate) tables: HashMap<i32, Arc<TableObject>>,
    /// The contents of large objects by the id of their entry.
    pub(crate) large_objects: HashMap<i32, Vec<BlobObject>>,
}

impl Source {
    /// The entries of rows that [`further_segments`] means.
    pub(crate) fn further_segments(&self) -> HashSet<i32> {
        further_segments(
            self.toc.entries.iter().filter(|entry| self.tables.contains_key(&entry.id)).map(|entry| &**entry),
        )
    }

    /// Opens what is wanted.
    ///
    /// Errors: [`Kind::Archive`] when it is missing, incomplete, damaged or newer, or when a folder without manifest was
    /// written by pgstow and thus never finished.
    pub(crate) async fn open(store: &Arc<dyn Store>, wanted: &Wanted) -> Result<Source> {
        match wanted {
            Wanted::Backup(name) => {
                let (place, manifest) = backups::find(store.as_ref(), name).await?;
                let origin = Origin { store: Arc::clone(store), folder: place.folder };
                backup(origin, manifest).await
            }
            Wanted::Archive { without_manifest } => {
                let origin = Origin { store: Arc::clone(store), folder: String::new() };
                match backups::manifest_in(store.as_ref(), "").await? {
                    Some(manifest) => backup(origin, manifest).await,
                    None => stock(origin, *without_manifest).await,
                }
            }
        }
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn held(&self) -> u64 {
        let entries = &self.toc.entries;
        let shared = |capacities| held([size_of::<TocEntry>()]) + capacities;
        let contents = entries.iter().map(|entry| shared(held(entry.capacities()))).sum::<u64>();
        let tables = self.tables.values().map(|table| size_of::<TableObject>() as u64 + table.held()).sum::<u64>();
        let blob = |blob: &BlobObject| size_of::<BlobObject>() as u64 + blob.object.held();
        let blobs = self.large_objects.values().flatten().map(blob).sum::<u64>();
        let objects = self.objects.iter().map(|object| size_of::<ArchiveObject>() as u64 + object.held()).sum::<u64>();
        // The manifest says again what the objects of tables and large objects say.
        let manifest = if self.manifest.is_some() { tables + blobs } else { 0 };
        (entries.capacity() * size_of::<Arc<TocEntry>>()) as u64 + contents + tables + blobs + objects + manifest
    }

    /// For messages: `backup 20261124T010203Z-4f7a2c`, `archive s3://bucket/folder`.
    pub(crate) fn name(&self) -> String {
        match &self.manifest {
            Some(manifest) => format!("backup {}", manifest.id),
            None => format!("archive {}", self.origin.store.describe()),
        }
    }

    /// The database's name.
    pub(crate) fn database(&self) -> &str {
        self.manifest.as_ref().map_or(&self.toc.database, |manifest| &manifest.database.name)
    }

    /// The major version of the server that was dumped, as far as that is known.
    pub(crate) fn server_major(&self) -> Option<u32> {
        match &self.manifest {
            Some(manifest) => Some(manifest.server.version_num / 10_000),
            None => {
                let digits = self.toc.server_version.split(|c: char| !c.is_ascii_digit()).next()?;
                digits.parse().ok()
            }
        }
    }

    /// Refuses an archive whose objects lie frozen in an archive class.
    pub(crate) async fn refuse_frozen(&self) -> Result<()> {
        let objects = std::iter::once(&self.toc_object).chain(&self.objects);
        let keys: HashSet<&str> = objects.map(|object| object.key.as_str()).collect();
        let name = match &self.manifest {
            Some(manifest) => format!("{}/{}", manifest.database.name, manifest.id),
            None => self.name(),
        };
        frozen::refuse(self.origin.store.as_ref(), &self.origin.folder, &keys, &name).await
    }

    /// What the reader should know about how far the archive can be trusted.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let Some(manifest) = &self.manifest else {
            return vec![
                "not verified: this is a stock archive, which holds no sizes and digests; only the ends of its table \
                 data were checked"
                    .to_owned(),
            ];
        };
        let skipped = manifest.skipped.iter();
        skipped.map(|skipped| format!("not in the backup: {} ({})", skipped.object, skipped.reason)).collect()
    }
}

/// Opens a backup by its manifest: whatever it promises is there under the promised name.
async fn backup(origin: Origin, manifest: Manifest) -> Result<Source> {
    let toc_object = ArchiveObject::from(&manifest.toc);
    let toc = read_toc(&origin, &toc_object).await?;
    let others = manifest.stored_objects().filter(|object| object.key != toc_object.key);
    let objects = others.map(ArchiveObject::from).collect();
    let tables = manifest.tables.iter().map(|table| (table.toc_id, Arc::new(TableObject::from(table)))).collect();
    let mut large_objects = HashMap::new();
    if let Some(large) = &manifest.large_objects {
        let entry = toc.entries.iter().find(|entry| entry.desc == "BLOBS").ok_or_else(|| {
            Error::new(Kind::Archive, "the table of contents lacks the large objects of the manifest")
        })?;
        large_objects.insert(entry.id, blob_objects(large));
    }
    Ok(Source { origin, toc, toc_object, objects, manifest: Some(manifest), tables, large_objects })
}

impl From<&TableEntry> for TableObject {
    fn from(table: &TableEntry) -> Self {
        let runs: Option<Vec<RunOfRows>> = table
            .frames
            .iter()
            .map(|frame| {
                let (bytes, raw_bytes, rows) = (frame.bytes, frame.raw_bytes, frame.rows);
                frame.checksum.map(|checksum| RunOfRows { bytes, raw_bytes, rows, checksum })
            })
            .collect();
        // Parts can be read alone only if they are all of it.
        let runs = runs.filter(|runs| runs.iter().map(|run| run.bytes).sum::<u64>() == table.object.bytes);
        let ends = |runs: &Vec<RunOfRows>| runs.last().is_some_and(|last| last.rows == 0);
        TableObject {
            object: (&table.object).into(),
            rows: Some(table.rows),
            raw_bytes: table.raw_bytes,
            runs: runs.filter(ends).unwrap_or_default(),
        }
    }
}

fn blob_objects(large: &LargeObjects) -> Vec<BlobObject> {
    let of = |blob: &crate::archive::BlobEntry| BlobObject {
        oid: blob.oid,
        size: Some(blob.size),
        object: (&blob.object).into(),
    };
    large.objects.iter().map(of).collect()
}

async fn read_toc(origin: &Origin, object: &ArchiveObject) -> Result<Toc> {
    let bytes = origin.read_whole(object, TOC_LIMIT).await?;
    Toc::decode(&bytes).map_err(|error| error.on(format!("{}{}", origin.folder, keys::toc_key())))
}

/// Opens an archive of stock `pg_dump` by what lies in its folder.
async fn stock(origin: Origin, without_manifest: bool) -> Result<Source> {
    let files = Files::list(&origin).await?;
    let Some(toc_object) = files.exactly(keys::toc_key()) else {
        return Err(Error::new(Kind::Archive, "there is no archive in this folder, for it has no toc.dat")
            .on(origin.store.describe())
            .hint("name the folder that holds toc.dat itself; only pg_dump's directory format (-F d) can be read"));
    };
    let mut toc = read_toc(&origin, &toc_object).await?;
    if toc.dumper_version.starts_with("pgstow") && !without_manifest {
        return Err(Error::new(Kind::Archive, "pgstow wrote this and there is no manifest, so it was never finished")
            .on(origin.store.describe())
            .hint("choose a complete backup; or take what is there, unverified, with --without-manifest"));
    }
    let (mut tables, mut large_objects, mut objects) = (HashMap::new(), HashMap::new(), Vec::new());
    for entry in toc.entries.iter().filter(|entry| entry.had_dumper) {
        let missing = || Error::new(Kind::Archive, "its data file is missing").on(entry.label());
        match entry.desc.as_str() {
            "TABLE DATA" => {
                let object =
                    entry.file.as_deref().and_then(|name| files.compressed_or_not(name)).ok_or_else(missing)?;
                let raw_bytes = object.bytes;
                objects.push(object.clone());
                tables.insert(entry.id, Arc::new(TableObject { object, rows: None, raw_bytes, runs: Vec::new() }));
            }
            "BLOBS" => {
                let list = entry.file.as_deref().and_then(|name| files.exactly(name));
                let list = list.or_else(|| files.exactly(keys::blobs_toc_key())).ok_or_else(missing)?;
                let blobs = files.large_objects(&origin, &list).await?;
                objects.extend(blobs.iter().map(|blob| blob.object.clone()).chain([list]));
                large_objects.insert(entry.id, blobs);
            }
            _ => {
                return Err(
                    Error::new(Kind::Archive, "it has data of a kind that cannot be restored").on(entry.label())
                );
            }
        }
    }
    spell_out_privileges(&mut toc)?;
    tell_encoding(&mut toc);
    Ok(Source { origin, toc, toc_object, objects, manifest: None, tables, large_objects })
}

/// What lies in an archive's folder.
struct Files(HashMap<String, u64>);

impl Files {
    async fn list(origin: &Origin) -> Result<Self> {
        let entries = origin.store.list(&origin.folder).await?;
        let relative = entries.into_iter().map(|entry| (entry.key[origin.folder.len()..].to_owned(), entry.size));
        Ok(Files(relative.collect()))
    }

    fn exactly(&self, name: &str) -> Option<ArchiveObject> {
        let bytes = *self.0.get(name)?;
        Some(ArchiveObject { key: name.to_owned(), bytes, sha256: None })
    }

    /// A file by the name that the table of contents has, which may lack its suffix.
    fn compressed_or_not(&self, name: &str) -> Option<ArchiveObject> {
        let codecs = [Codec::None, Codec::Gzip(1), Codec::Lz4, Codec::Zstd(1)];
        codecs.iter().find_map(|codec| self.exactly(&format!("{name}{}", codec.suffix())))
    }

    async fn large_objects(&self, origin: &Origin, list: &ArchiveObject) -> Result<Vec<BlobObject>> {
        let lines = blobs::decode(&origin.read_whole(list, TOC_LIMIT).await?)?;
        let object = |(oid, name): (Oid, String)| {
            let object = self
                .compressed_or_not(&name)
                .ok_or_else(|| Error::new(Kind::Archive, "its file is missing").on(format!("large object {oid}")))?;
            Ok(BlobObject { oid, size: None, object })
        };
        lines.into_iter().map(object).collect()
    }
}

/// Rows in an encoding of their own: the server is told with the COPY statement, for the session speaks UTF-8.
fn tell_encoding(toc: &mut Toc) {
    let charset = toc.charset();
    if !charset.needs_conversion() {
        return;
    }
    let option = format!(" WITH (ENCODING {});\n", crate::model::literal(charset.name()));
    for copy in toc.entries.iter_mut().filter_map(|entry| Arc::make_mut(entry).copy.as_mut()) {
        if let Some(start) = copy.trim_end().strip_suffix(';') {
            *copy = format!("{start}{option}");
        }
    }
}

/// The oids of a group of large objects, one a line (`LOG metadata`, archive 1.16).
pub(crate) fn oids_of_group(entry: &TocEntry) -> impl Iterator<Item = &str> {
    let lines = entry.create.as_deref().unwrap_or_default().lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Archives of 1.16 keep the privileges of a group of large objects once, in the words for the first of them
/// (`IssueACLPerBlob`, `pg_backup_archiver.c`); here each gets its own.
fn spell_out_privileges(toc: &mut Toc) -> Result<()> {
    let groups: HashMap<i32, Vec<String>> = toc
        .entries
        .iter()
        .filter(|entry| entry.desc == "BLOB METADATA")
        .map(|entry| (entry.id, oids_of_group(entry).map(str::to_owned).collect()))
        .collect();
    for entry in toc.entries.iter_mut().filter(|entry| entry.desc == "ACL" && entry.tag.starts_with("LARGE OBJECTS ")) {
        let Some(oids) = entry.needs.first().and_then(|id| groups.get(id)) else {
            return Err(Error::new(Kind::Archive, "its large objects are missing").on(entry.label()));
        };
        let Some(create) = &entry.create else { continue };
        let texts: Vec<String> = oids.iter().map(|oid| for_large_object(create, oid)).collect();
        Arc::make_mut(entry).create = Some(texts.concat());
    }
    Ok(())
}

/// The statements with this oid behind every `LARGE OBJECT ` that does not stand inside a quoted role name.
fn for_large_object(statements: &str, oid: &str) -> String {
    const MARK: &str = "LARGE OBJECT ";
    // The pieces at even places stand outside of quotes; a doubled quote is an empty piece and changes nothing.
    let mut pieces: Vec<String> = statements.split('"').map(str::to_owned).collect();
    for piece in pieces.iter_mut().step_by(2) {
        let mut parts = piece.split(MARK);
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            replaced.push_str(MARK);
            replaced.push_str(oid);
            replaced.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        *piece = replaced;
    }
    pieces.join("\"")
}

#[cfg(test)]
mod tests {
    use super::for_large_object;

    #[test]
    fn the_privileges_of_a_group_are_spelt_out_for_each_and_roles_are_left_alone() {
        let words = "GRANT ALL ON LARGE OBJECT 7 TO \"a \"\" LARGE OBJECT 7\";\nREVOKE ALL ON LARGE OBJECT 7 FROM b;\n";
        let expected =
            "GRANT ALL ON LARGE OBJECT 12 TO \"a \"\" LARGE OBJECT 7\";\nREVOKE ALL ON LARGE OBJECT 12 FROM b;\n";
        assert_eq!(for_large_object(words, "12"), expected);
    }
}
