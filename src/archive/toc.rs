//! `toc.dat`: the table of contents of `pg_dump`'s directory format, byte for byte (`WriteHead`, `WriteToc`, `ReadHead`,
//! `ReadToc` in `pg_backup_archiver.c`).

use super::charset::Charset;
use super::keys::toc_key;
use super::toc_bytes::{INTEGER_BYTES, Reader, Writer, damaged};
use crate::error::{Error, Kind, Result};
use crate::model::{Item, Payload, Section, item};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use std::sync::Arc;

const MAGIC: &[u8] = b"PGDMP";
/// The directory format writes the tar format's code (`pg_backup_directory.c`, `InitArchiveFmt_Directory`).
const FORMAT_TAR: u8 = 3;
/// `sizeof(pgoff_t)`. Only the custom format has offsets.
const OFFSET_BYTES: u8 = 8;

/// The first version with a table access method.
const WITH_ACCESS_METHOD: (u8, u8) = (1, 14);
/// The first version with a compression byte, and with lz4 and zstd.
const WITH_COMPRESSION_BYTE: (u8, u8) = (1, 15);
/// The first version with a relkind, and the newest that is known.
const WITH_RELKIND: (u8, u8) = (1, 16);
/// The oldest version that is read; servers 9.0 to 10 came with it.
const OLDEST: (u8, u8) = (1, 12);

/// How the data files are compressed, as the header says. Stock goes by a file's suffix and only refuses methods that it
/// was built without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, with the level that archives up to 1.14 record; -1 is the default, and all that later ones can say.
    Gzip(i32),
    /// LZ4, from 1.15 on.
    Lz4,
    /// Zstandard, from 1.15 on.
    Zstd,
}

impl Compression {
    /// From the method's number in a header of 1.15 (`pg_compress_algorithm`, `common/compression.h`).
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip(-1)),
            2 => Some(Compression::Lz4),
            3 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The version to write: the oldest that has this method, so that most restorers can read it.
    pub fn version(self) -> (u8, u8, u8) {
        match self {
            Compression::None | Compression::Gzip(_) => (1, 14, 0),
            Compression::Lz4 | Compression::Zstd => (1, 15, 0),
        }
    }
}

/// A table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    /// Major, minor, revision of the archive format. [`Compression::version`] is what to write.
    pub version: (u8, u8, u8),
    /// How the data files are compressed.
    pub compression: Compression,
    /// When it was made: second, minute, hour, day of the month, month from 0, year less 1900, daylight saving. For
    /// display only. [`created_fields`] makes it.
    pub created: [i32; 7],
    /// The database's name.
    pub database: String,
    /// The server's version, free text, for display only.
    pub server_version: String,
    /// The dumper's version, free text, for display only.
    pub dumper_version: String,
    /// The entries, in the order of restore; shared, for a plan of what to do with them holds them, too.
    pub entries: Vec<Arc<TocEntry>>,
}

/// One entry; the fields are those of `struct _tocEntry`, `pg_backup_archiver.h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocEntry {
    /// Greater than 0 and unique. Stock allocates by the greatest one.
    pub id: i32,
    /// Whether it has a data file.
    pub had_dumper: bool,
    /// The oid of the object's catalog in decimal digits, `0` where there is none.
    pub table_oid: String,
    /// The object's oid in decimal digits, `0` where there is none.
    pub oid: String,
    /// The name, unquoted.
    pub tag: String,
    /// The kind, such as `TABLE`.
    pub desc: String,
    /// When it runs.
    pub section: Section,
    /// The SQL that makes it.
    pub create: Option<String>,
    /// The SQL that removes it.
    pub drop: Option<String>,
    /// The COPY statement that reads its data back.
    pub copy: Option<String>,
    /// The schema, unquoted.
    pub schema: Option<String>,
    /// The tablespace, unquoted; empty is the database's default.
    pub tablespace: Option<String>,
    /// The table access method. Not in archives before 1.14.
    pub access_method: Option<String>,
    /// `relkind`. Not in archives before 1.16.
    pub relkind: Option<char>,
    /// The owner's role name, unquoted.
    pub owner: Option<String>,
    /// Ids of entries that come before; some may not be in the archive.
    pub needs: Vec<i32>,
    /// The data file's name without its compression suffix.
    pub file: Option<String>,
}

impl TocEntry {
    /// The entry of an Item; `needs` are ids of other entries, `file` the name without suffix of its data file.
    pub fn of_item(item: Item, id: i32, needs: Vec<i32>, file: Option<String>) -> Self {
        let unless_empty = |text: String| (!text.is_empty()).then_some(text);
        // Stock gives table data the table's oid without a catalog.
        let (table_oid, oid) = match &item.payload {
            Payload::Table(data) => ("0".to_owned(), data.relation.to_string()),
            _ => (item.address.class.to_string(), item.address.object.to_string()),
        };
        TocEntry {
            id,
            had_dumper: file.is_some(),
            table_oid,
            oid,
            tag: item.tag,
            desc: item.desc.to_owned(),
            section: item.section,
            create: unless_empty(item.create),
            drop: unless_empty(item.drop),
            copy: item.copy,
            schema: item.schema,
            tablespace: item.tablespace,
            access_method: item.access_method,
            relkind: item.relkind,
            owner: item.owner,
            needs,
            file,
        }
    }

    /// What its texts and lists hold, each in bytes.
    pub(crate) fn capacities(&self) -> impl Iterator<Item = usize> {
        let texts = [&self.table_oid, &self.oid, &self.tag, &self.desc].into_iter();
        let names = [&self.schema, &self.tablespace, &self.access_method, &self.owner, &self.file];
        let statements = [&self.create, &self.drop, &self.copy];
        let texts = texts.chain(names.into_iter().chain(statements).flatten());
        texts.map(String::capacity).chain([self.needs.capacity() * size_of::<i32>()])
    }

    /// For messages: `table public.customer`.
    pub fn label(&self) -> String {
        item::label(&self.desc, self.schema.as_deref(), &self.tag)
    }
}

/// A moment as [`Toc::created`] has it, in UTC.
pub fn created_fields(moment: Timestamp) -> [i32; 7] {
    let utc = moment.to_zoned_datetime(TimeZone::UTC).datetime();
    [
        utc.second().into(),
        utc.minute().into(),
        utc.hour().into(),
        utc.day().into(),
        i32::from(utc.month()) - 1,
        i32::from(utc.year()) - 1900,
        0,
    ]
}

impl Toc {
    /// The bytes of `toc.dat`. What the version has no place for (a relkind before 1.16, an access method before 1.14) is
    /// left out.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut encoder = self.encoder(self.entries.len())?;
        for entry in &self.entries {
            encoder.add(entry)?;
        }
        encoder.finish()
    }

    /// What writes so many entries piece by piece behind this header; entries of its own are not looked at.
    ///
    /// Errors: as for [`Toc::encode`].
    pub fn encoder(&self, count: usize) -> Result<Encoder> {
        let format = (self.version.0, self.version.1);
        if !(OLDEST..=WITH_RELKIND).contains(&format) {
            return Err(Error::new(Kind::Internal, format!("cannot write archive version {}.{}", format.0, format.1)));
        }
        let mut writer = Writer::default();
        self.encode_header(format, &mut writer)?;
        let promised = i32::try_from(count)
            .map_err(|error| Error::new(Kind::Incomplete, "too many entries for an archive").because(error))?;
        writer.integer(promised);
        Ok(Encoder { format, writer, ids: HashSet::with_capacity(count), count })
    }

    fn encode_header(&self, format: (u8, u8), writer: &mut Writer) -> Result<()> {
        writer.bytes.extend_from_slice(MAGIC);
        for byte in [self.version.0, self.version.1, self.version.2, INTEGER_BYTES, OFFSET_BYTES, FORMAT_TAR] {
            writer.byte(byte);
        }
        match (self.compression, format >= WITH_COMPRESSION_BYTE) {
            (Compression::None, true) => writer.byte(0),
            (Compression::Gzip(_), true) => writer.byte(1),
            (Compression::Lz4, true) => writer.byte(2),
            (Compression::Zstd, true) => writer.byte(3),
            (Compression::None, false) => writer.integer(0),
            (Compression::Gzip(level), false) if level != 0 => writer.integer(level),
            (compression, false) => {
                let message = format!("archive version {}.{} cannot say {compression:?}", format.0, format.1);
                return Err(Error::new(Kind::Internal, message));
            }
        }
        for field in self.created {
            writer.integer(field);
        }
        for text in [&self.database, &self.server_version, &self.dumper_version] {
            writer.string(Some(text)).map_err(|error| error.on(toc_key()))?;
        }
        Ok(())
    }

    /// The encoding of all rows, and of the names before they were read.
    pub fn charset(&self) -> Charset {
        self.entries.iter().find_map(|entry| encoding_of(entry)).unwrap_or_default()
    }

    /// What string literals in the statements rely on (`processStdStringsEntry`, `pg_backup_archiver.c`).
    pub fn standard_conforming_strings(&self) -> bool {
        let entry = self.entries.iter().find(|entry| entry.desc == "STDSTRINGS");
        !entry.and_then(|entry| entry.create.as_deref()).is_some_and(|statement| statement.contains("'off'"))
    }

    /// Reads archives of version 1.12 to 1.16. Names in another encoding than UTF-8 are converted. The bytes are not trusted: whatever they are, this returns.
    pub fn decode(bytes: &[u8]) -> Result<Toc> {
        decode(bytes).map_err(|error| error.on(toc_key()))
    }
}

/// Writes a table of contents piece by piece; [`Toc::encoder`] makes one.
#[derive(Debug)]
pub struct Encoder {
    format: (u8, u8),
    writer: Writer,
    ids: HashSet<i32>,
    count: usize,
}

impl Encoder {
    /// Writes the next entry.
    ///
    /// Errors: [`Kind::Internal`] for an entry that stock would misread, naming it.
    pub fn add(&mut self, entry: &TocEntry) -> Result<()> {
        if entry.id <= 0 || !self.ids.insert(entry.id) {
            let message = format!("entry id {} is not a positive number used once", entry.id);
            return Err(Error::new(Kind::Internal, message).on(entry.label()));
        }
        if entry.had_dumper != entry.file.as_ref().is_some_and(|file| !file.is_empty()) {
            // Stock would restore nothing and say nothing.
            let message = "an entry must have a data file exactly if it has data";
            return Err(Error::new(Kind::Internal, message).on(entry.label()));
        }
        encode_entry(entry, self.format, &mut self.writer).map_err(|error| error.on(entry.label()))
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.writer.bytes.len()
    }

    /// What was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        let room = Vec::with_capacity(self.writer.bytes.len());
        std::mem::replace(&mut self.writer.bytes, room)
    }

    /// The rest.
    ///
    /// Errors: [`Kind::Internal`] when there were not as many entries as promised.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.ids.len() == self.count {
            return Ok(self.writer.bytes);
        }
        let message = format!("{} entries were promised and {} came", self.count, self.ids.len());
        Err(Error::new(Kind::Internal, message).on(toc_key()))
    }
}

fn encode_entry(entry: &TocEntry, format: (u8, u8), writer: &mut Writer) -> Result<()> {
    writer.integer(entry.id);
    writer.integer(i32::from(entry.had_dumper));
    for text in [&entry.table_oid, &entry.oid, &entry.tag, &entry.desc] {
        writer.string(Some(text))?;
    }
    writer.integer(section_number(entry.section));
    for text in [&entry.create, &entry.drop, &entry.copy, &entry.schema, &entry.tablespace] {
        writer.string(text.as_deref())?;
    }
    if format >= WITH_ACCESS_METHOD {
        writer.string(entry.access_method.as_deref())?;
    }
    if format >= WITH_RELKIND {
        let relkind = entry.relkind.map_or(0, u32::from);
        let relkind = i32::try_from(relkind)
            .map_err(|error| Error::new(Kind::Internal, "a relkind is no character").because(error))?;
        writer.integer(relkind);
    }
    writer.string(entry.owner.as_deref())?;
    // WITH OIDS, which no server since 12 has.
    writer.string(Some("false"))?;
    for id in &entry.needs {
        writer.string(Some(&id.to_string()))?;
    }
    writer.string(None)?;
    // Never NULL: stock takes its length without looking.
    writer.string(Some(entry.file.as_deref().unwrap_or_default()))
}

fn section_number(section: Section) -> i32 {
    match section {
        Section::None => 1,
        Section::PreData => 2,
        Section::Data => 3,
        Section::PostData => 4,
    }
}

fn section_from(number: i32) -> Option<Section> {
    [Section::None, Section::PreData, Section::Data, Section::PostData]
        .into_iter()
        .find(|&section| section_number(section) == number)
}

fn decode(bytes: &[u8]) -> Result<Toc> {
    let mut reader = Reader::new(bytes);
    if !bytes.starts_with(MAGIC) {
        return Err(Error::new(Kind::Archive, "not a table of contents of a directory-format archive"));
    }
    reader.take(MAGIC.len())?;
    let version = (reader.byte()?, reader.byte()?, reader.byte()?);
    let format = (version.0, version.1);
    if !(OLDEST..=WITH_RELKIND).contains(&format) {
        let message = format!("archive version {}.{} is not one that can be read", version.0, version.1);
        let error = Error::new(Kind::Archive, message);
        return Err(if format > WITH_RELKIND { error.hint("use a newer pgstow") } else { error });
    }
    if reader.byte()? != INTEGER_BYTES {
        return Err(damaged("its integers do not have four bytes"));
    }
    // The size of file offsets, of which there are none here.
    reader.byte()?;
    if reader.byte()? != FORMAT_TAR {
        return Err(Error::new(Kind::Archive, "the archive is of another format than pg_dump's directory format"));
    }
    let compression = if format >= WITH_COMPRESSION_BYTE {
        Compression::from_byte(reader.byte()?).ok_or_else(|| damaged("it names an unknown compression method"))?
    } else {
        match reader.integer()? {
            0 => Compression::None,
            level => Compression::Gzip(level),
        }
    };
    let mut created = [0; 7];
    for field in &mut created {
        *field = reader.integer()?;
    }
    let (database, server_version, dumper_version) = (reader.string()?, reader.string()?, reader.string()?);
    let mut charset = Charset::default();
    let entries = decode_entries(&mut reader, format, &mut charset)?;
    if reader.remaining() > 0 {
        return Err(damaged("something follows its last entry"));
    }
    Ok(Toc {
        version,
        compression,
        created,
        database: required(database, "the database's name", &charset)?,
        server_version: required(server_version, "the server's version", &charset)?,
        dumper_version: required(dumper_version, "the dumper's version", &charset)?,
        entries,
    })
}

/// The ENCODING entry, which comes before every entry with a name, says how the others are to be read
/// (`processEncodingEntry`, `pg_backup_archiver.c`).
fn encoding_of(entry: &TocEntry) -> Option<Charset> {
    let statement = entry.create.as_deref().filter(|_| entry.desc == "ENCODING")?;
    statement.split('\'').nth(1).map(Charset::named)
}

fn decode_entries(reader: &mut Reader<'_>, format: (u8, u8), charset: &mut Charset) -> Result<Vec<Arc<TocEntry>>> {
    let count = reader.integer()?;
    if count < 0 {
        return Err(damaged("the number of its entries is negative"));
    }
    // Grows with what is really there, not by what the count says.
    let mut entries = Vec::new();
    let mut ids = HashSet::new();
    for number in 1..=count {
        let entry = decode_entry(reader, format, charset)
            .map_err(|error| error.on(format!("{}, entry {number}", toc_key())))?;
        if entry.id <= 0 || !ids.insert(entry.id) {
            return Err(damaged("its id is not a positive number used once").on(entry.label()));
        }
        if let Some(named) = encoding_of(&entry) {
            *charset = named;
        }
        entries.push(Arc::new(entry));
    }
    Ok(entries)
}

fn decode_entry(reader: &mut Reader<'_>, format: (u8, u8), charset: &Charset) -> Result<TocEntry> {
    let id = reader.integer()?;
    let had_dumper = reader.integer()? != 0;
    let (table_oid, oid) = (reader.string()?, reader.string()?);
    let (tag, desc) = (reader.string()?, reader.string()?);
    // From here on the entry has a name to complain under, even if that is not text.
    let name = format!(
        "entry {id} ({} {})",
        String::from_utf8_lossy(desc.unwrap_or_default()).to_lowercase(),
        String::from_utf8_lossy(tag.unwrap_or_default())
    )
    .replace(['\n', '\r'], " ");
    let mut rest = || -> Result<TocEntry> {
        let section = section_from(reader.integer()?).ok_or_else(|| damaged("it has an unknown section"))?;
        let mut optional = |what| text(reader.string()?, what, charset);
        let (create, drop, copy) = (optional("the definition")?, optional("the DROP")?, optional("the COPY")?);
        let (schema, tablespace) = (optional("the schema")?, optional("the tablespace")?);
        let access_method = if format >= WITH_ACCESS_METHOD { optional("the access method")? } else { None };
        let relkind = if format >= WITH_RELKIND { relkind_from(reader.integer()?)? } else { None };
        let owner = text(reader.string()?, "the owner", charset)?;
        // WITH OIDS: stock no longer heeds it either, for no server has it since 12.
        reader.string()?;
        let needs = decode_needs(reader)?;
        let file = text(reader.string()?, "the file's name", charset)?.filter(|file| !file.is_empty());
        Ok(TocEntry {
            id,
            had_dumper,
            table_oid: required(table_oid, "the catalog's oid", charset)?,
            oid: required(oid, "the oid", charset)?,
            tag: required(tag, "the name", charset)?,
            desc: required(desc, "the kind", charset)?,
            section,
            create,
            drop,
            copy,
            schema,
            tablespace,
            access_method,
            relkind,
            owner,
            needs,
            file,
        })
    };
    rest().map_err(|error| error.on(name))
}

fn decode_needs(reader: &mut Reader<'_>) -> Result<Vec<i32>> {
    let mut needs = Vec::new();
    while let Some(digits) = reader.string()? {
        let id = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        needs.push(id.ok_or_else(|| damaged("it depends on something that is no id"))?);
    }
    Ok(needs)
}

fn relkind_from(number: i32) -> Result<Option<char>> {
    match u8::try_from(number) {
        Ok(0) => Ok(None),
        Ok(byte) if byte.is_ascii() => Ok(Some(char::from(byte))),
        _ => Err(damaged("its relkind is no character")),
    }
}

fn text(bytes: Option<&[u8]>, what: &str, charset: &Charset) -> Result<Option<String>> {
    let Some(bytes) = bytes else { return Ok(None) };
    match charset.decode(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(text.into_owned())),
        Ok(_) => Err(damaged(&format!("{what} holds a zero byte"))),
        Err(error) => Err(Error::new(Kind::Archive, format!("{what} cannot be read")).because(error)),
    }
}

fn required(bytes: Option<&[u8]>, what: &str, charset: &Charset) -> Result<String> {
    text(bytes, what, charset)?.ok_or_else(|| damaged(&format!("{what} is missing")))
}

#[cfg(test)]
mod tests;
