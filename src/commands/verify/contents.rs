//! The table of contents and the list of large objects against the manifest.

use super::Problem;
use super::objects::Reader;
use crate::archive::manifest::{LargeObjects, Manifest, TableEntry};
use crate::archive::toc::{Toc, TocEntry};
use crate::archive::{blobs, keys};
use crate::error::Result;
use crate::stream::codec::Codec;
use std::collections::{BTreeMap, BTreeSet};

/// A table of contents larger than this is not one of ours.
const TOC_LIMIT: u64 = 4 << 30;
/// So is a list of large objects.
const BLOBS_TOC_LIMIT: u64 = 4 << 30;

/// Reads both and says everything that does not fit.
pub(super) async fn check(reader: &Reader, manifest: &Manifest) -> Result<Vec<Problem>> {
    let (toc, mut problems) = reader.read_whole(&manifest.toc, TOC_LIMIT).await?;
    // Bytes that are not the ones written would only repeat in other words that they are damaged.
    if let (Some(toc), true) = (toc, problems.is_empty()) {
        let messages = match Toc::decode(&toc) {
            Ok(toc) => toc_against(&toc, manifest, reader.codec),
            Err(error) => vec![error.message().to_owned()],
        };
        let key = reader.key(&manifest.toc);
        problems.extend(messages.into_iter().map(|message| Problem { key: key.clone(), holds: None, message }));
    }
    if let Some(large) = &manifest.large_objects {
        let (list, found) = reader.read_whole(&large.toc, BLOBS_TOC_LIMIT).await?;
        let key = reader.key(&large.toc);
        if let (Some(list), true) = (list, found.is_empty()) {
            let messages = blobs_against(&list, large, reader.codec);
            problems.extend(messages.into_iter().map(|message| Problem { key: key.clone(), holds: None, message }));
        }
        problems.extend(found);
    }
    Ok(problems)
}

/// The entries with data are exactly the manifest's tables and large objects, and name their files.
fn toc_against(toc: &Toc, manifest: &Manifest, codec: Codec) -> Vec<String> {
    let mut messages = Vec::new();
    let version = format!("{}.{}", toc.version.0, toc.version.1);
    if version != manifest.archive_version {
        messages.push(format!("is of archive version {version}, the manifest says {}", manifest.archive_version));
    }
    let mut expected: BTreeMap<i32, &TableEntry> = manifest.tables.iter().map(|table| (table.toc_id, table)).collect();
    for entry in toc.entries.iter().filter(|entry| entry.had_dumper) {
        let file = entry.file.as_deref().unwrap_or_default();
        if entry.desc == "BLOBS" {
            if manifest.large_objects.is_none() || file != keys::blobs_toc_key() {
                messages.push("names large objects that the manifest does not have".to_owned());
            }
            continue;
        }
        match expected.remove(&entry.id) {
            None => messages.push(format!("names {}, which the manifest does not have", entry.label())),
            Some(table) => messages.extend(table_against(entry, table, file, codec)),
        }
    }
    let missing = expected.values().map(|table| format!("does not name the rows of {}.{}", table.schema, table.name));
    messages.extend(missing);
    if manifest.large_objects.is_some() && !toc.entries.iter().any(|entry| entry.desc == "BLOBS") {
        messages.push("does not name the large objects".to_owned());
    }
    messages
}

fn table_against(entry: &TocEntry, table: &TableEntry, file: &str, codec: Codec) -> Option<String> {
    if entry.schema.as_deref().unwrap_or_default() != table.schema || entry.tag != table.name {
        return Some(format!("names {} where the manifest has {}.{}", entry.label(), table.schema, table.name));
    }
    let key = format!("{file}{}", codec.suffix());
    (key != table.object.key)
        .then(|| format!("names the file {key} for {}, the manifest {}", entry.label(), table.object.key))
}

/// The list names exactly the manifest's large objects, and their files.
fn blobs_against(list: &[u8], large: &LargeObjects, codec: Codec) -> Vec<String> {
    let entries = match blobs::decode(list) {
        Ok(entries) => entries,
        Err(error) => return vec![error.message().to_owned()],
    };
    let listed: BTreeSet<(u32, String)> =
        entries.into_iter().map(|(oid, file)| (oid.0, format!("{file}{}", codec.suffix()))).collect();
    let expected: BTreeSet<(u32, String)> =
        large.objects.iter().map(|blob| (blob.oid.0, blob.object.key.clone())).collect();
    let surplus = listed.difference(&expected).map(|(oid, _)| format!("names large object {oid} otherwise"));
    let missing = expected.difference(&listed).map(|(oid, _)| format!("does not name large object {oid}"));
    surplus.chain(missing).collect()
}
