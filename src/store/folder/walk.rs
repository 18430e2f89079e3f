//! Walking a folder: its files as keys, its folders as components.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use crate::error::Error;

use super::super::Store;
use super::super::failure::{StoreProblem, store_error};
use super::{FolderStore, io_error, partial};

/// Calls `visit(key, file name, metadata)` for every file that a key starting with `prefix` could have, in no order.
/// Names that are not UTF-8 cannot be keys; they are passed over with a warning. What vanishes meanwhile is passed over.
pub(super) fn files(root: &Path, prefix: &str, visit: &mut dyn FnMut(String, &str, &Metadata)) -> io::Result<()> {
    fs::read_dir(root)?;
    // Everything that starts with `a/b/c` lies below `a/b`.
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.split('/').any(|component| component == "..") || folder.starts_with('/') {
        return Ok(());
    }
    let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut waiting = vec![start];
    while let Some(above) = waiting.pop() {
        let Some(entries) = present(fs::read_dir(root.join(&above)))? else { continue };
        for entry in entries {
            let Some(entry) = present(entry)? else { continue };
            let Ok(name) = entry.file_name().into_string() else {
                tracing::warn!(file = %entry.path().display(), "passing over a file whose name is not UTF-8");
                continue;
            };
            let key = format!("{above}{name}");
            let Some(kind) = present(entry.file_type())? else { continue };
            if kind.is_dir() {
                let below = format!("{key}/");
                if below.starts_with(prefix) || prefix.starts_with(&below) {
                    waiting.push(below);
                }
            } else if let Some(metadata) = present(fs::metadata(entry.path()))?.filter(Metadata::is_file) {
                visit(key, &name, &metadata);
            }
        }
    }
    Ok(())
}

/// The folders directly below `folder` (empty, or ending in a slash) that hold at least one object, sorted.
pub(super) fn folders(root: &Path, folder: &str) -> io::Result<Vec<String>> {
    fs::read_dir(root)?;
    if folder.split('/').any(|component| component == "..") || folder.starts_with('/') {
        return Ok(Vec::new());
    }
    let Some(entries) = present(fs::read_dir(root.join(folder)))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let Some(entry) = present(entry)? else { continue };
        let is_folder = present(entry.file_type())?.is_some_and(|kind| kind.is_dir());
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string())
            && holds_an_object(&entry.path())?
        {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether there is any object below a folder; stops at the first.
fn holds_an_object(folder: &Path) -> io::Result<bool> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let Some(entries) = present(fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let Some(entry) = present(entry)? else { continue };
            if present(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            } else if !partial::is_partial(&entry.file_name().to_string_lossy()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Turns "it vanished meanwhile" into nothing.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error of a walk; only the root itself can be missing.
pub(super) fn error(error: &io::Error, store: &FolderStore) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return store_error(StoreProblem::NoBucket, "there is no such folder")
            .on(store.describe())
            .hint("check the path; the first dump into it creates it");
    }
    io_error(error, "cannot list", &store.describe())
}
