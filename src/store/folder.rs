//! A store in a folder: one file an object, the key its path.
//!
//! Always true here: an object is written to `.<name>.partial-<random>` beside its place, synced, and only then moved
//! there; files with such names are uploads in progress, never objects. That the names survive a power cut, too, is seen to
//! before the next object that is new for certain (`put_new`, by which a backup's manifest comes to be), once for all
//! objects of a folder: to sync it after each costs a disk as much as the objects. Folders are created with mode 0700 and files with
//! 0600, for a backup holds everything the database holds. Symbolic links to folders are not followed by listings, so a
//! link cannot make one endless.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::error::{Error, Kind, Result};

use super::failure::{StoreProblem, store_error, store_error_with};
use super::key::{as_folder, bad_key, check, shown};
use super::{ByteStream, Entry, Limits, Meta, OpenUpload, StorageClass, Store, StoreUrl, Upload};

mod partial;
mod upload;
mod walk;

use partial::Partial;
use upload::FolderUpload;

/// How many bytes a chunk of a [`ByteStream`] has at most.
const CHUNK: u64 = 256 << 10;

/// A folder as a store.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: Arc<PathBuf>,
    unsynced: Unsynced,
}

/// Folders that have got names that a power cut might take away.
#[derive(Debug, Clone, Default)]
struct Unsynced(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Unsynced {
    fn add(&self, folder: PathBuf) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(folder);
    }

    /// Syncs them. After a failure it and all after it are still to be synced. Nobody else goes on meanwhile: two dumps may write
    /// to one store, and neither manifest may come before the names of its own objects.
    fn sync(&self) -> io::Result<()> {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(folder) = folders.first() {
            match sync_folder(folder) {
                // It went with what was in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
            folders.pop_first();
        }
        Ok(())
    }
}

impl FolderStore {
    /// Opens a folder. One that does not exist is created by the first object written; until then it holds nothing, and
    /// listing it is [`StoreProblem::NoBucket`].
    pub fn open(root: &Path) -> Result<Self> {
        if root.exists() && !root.is_dir() {
            return Err(Error::new(Kind::Usage, "this store is a file, not a folder").on(root.display().to_string()));
        }
        Ok(FolderStore { root: Arc::new(root.to_owned()), unsynced: Unsynced::default() })
    }

    /// The file of a key.
    fn path(&self, key: &str) -> Result<PathBuf> {
        check(key)?;
        let path = self.root.join(key);
        if path.file_name().is_some_and(|name| partial::is_partial(&name.to_string_lossy())) {
            return Err(bad_key(key, "has a name that is kept for uploads in progress"));
        }
        Ok(path)
    }

    /// The name of a key in messages.
    fn name(&self, key: &str) -> String {
        format!("{}/{}", self.describe().trim_end_matches('/'), shown(key))
    }

    async fn write(&self, key: &str, body: Bytes, replace: bool) -> Result<()> {
        let path = self.path(key)?;
        let (root, name, unsynced) = (Arc::clone(&self.root), self.name(key), self.unsynced.clone());
        let write = move || {
            let partial = Partial::create(&root, path)?;
            write_all(partial.file(), &body, 0)?;
            let folder = partial.folder();
            if replace {
                partial.publish(replace)?;
                unsynced.add(folder);
                return Ok(());
            }
            unsynced.sync()?;
            partial.publish(replace)?;
            sync_folder(&folder)
        };
        blocking(move || write().map_err(|e| io_error(&e, "cannot write", &name))).await
    }
}

/// So much is written at once. Megabytes in one call cost Linux several times the processor time of the same bytes in
/// pieces that fit its caches (measured: 0.25 to 0.38 s for 180 MB in calls of 16 MiB, 0.05 s in calls of 1 MiB).
const WRITTEN_AT_ONCE: usize = 256 << 10;

/// Writes all bytes from this place on.
fn write_all(file: &File, bytes: &[u8], mut offset: u64) -> io::Result<()> {
    for piece in bytes.chunks(WRITTEN_AT_ONCE) {
        file.write_all_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// Runs file work where it may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(Kind::Internal, "file work was stopped").because(error)),
    }
}

/// An error of the operating system as one of this room.
fn io_error(error: &io::Error, doing: &str, name: &str) -> Error {
    let (problem, hint) = match error.kind() {
        io::ErrorKind::NotFound => (StoreProblem::NotFound, None),
        io::ErrorKind::AlreadyExists => (StoreProblem::AlreadyExists, None),
        io::ErrorKind::PermissionDenied => (StoreProblem::Denied, Some("check the owner and mode of the folder")),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (StoreProblem::Other, Some("make room on that file system"))
        }
        _ => (StoreProblem::Other, None),
    };
    let error = store_error_with(problem, doing, &error.to_string()).on(name);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Creates the folders of a file below the root, and syncs what it created into their parents.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder survive a power cut. File systems that cannot sync a folder say so by `EINVAL`.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Removes the folders above a file that are empty now, up to the root, which stays. A folder without objects is nothing
/// that S3 could show, so it is nothing here.
fn remove_empty_folders(root: &Path, file: &Path) {
    for folder in file.ancestors().skip(1).take_while(|folder| *folder != root && folder.starts_with(root)) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// The metadata of an object's file; a folder is no object.
fn object_metadata(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Store for FolderStore {
    fn describe(&self) -> String {
        StoreUrl::Folder(self.root.to_path_buf()).to_string()
    }

    async fn put(&self, key: &str, body: Bytes, _class: Option<&StorageClass>) -> Result<()> {
        self.write(key, body, true).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<()> {
        self.write(key, body, false).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        let (path, name) = (self.path(key)?, self.name(key));
        let (file, range, name) = blocking(move || {
            let cannot = |e: &io::Error| io_error(e, "cannot read", &name);
            let Some(metadata) = object_metadata(&path).map_err(|e| cannot(&e))? else {
                return Err(store_error(StoreProblem::NotFound, "there is no such object").on(name));
            };
            let file = File::open(&path).map_err(|e| cannot(&e))?;
            let size = metadata.len();
            let range = range.unwrap_or(0..size);
            if !range.is_empty() && range.end > size {
                let message = format!("the object has {size} bytes and not the range {range:?}");
                return Err(store_error(StoreProblem::Other, message).on(name));
            }
            Ok((Arc::new(file), range, name))
        })
        .await?;
        let chunks = stream::try_unfold((file, range, name), |(file, range, name)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let step = range.start..range.end.min(range.start + CHUNK);
            let (source, place, at) = (Arc::clone(&file), name.clone(), step.clone());
            let chunk = blocking(move || {
                let mut buffer = vec![0; usize::try_from(at.end - at.start).unwrap_or(0)];
                source.read_exact_at(&mut buffer, at.start).map_err(|e| io_error(&e, "cannot read", &place))?;
                Ok(Bytes::from(buffer))
            })
            .await?;
            Ok(Some((chunk, (file, step.end..range.end, name))))
        });
        Ok(chunks.boxed())
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>> {
        let (path, name) = (self.path(key)?, self.name(key));
        blocking(move || {
            let metadata = object_metadata(&path).map_err(|e| io_error(&e, "cannot look at", &name))?;
            let meta = |metadata: fs::Metadata| Meta {
                size: metadata.len(),
                modified: metadata.modified().ok(),
                class: None,
                thawing: None,
            };
            Ok(metadata.map(meta))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        blocking(move || {
            let mut found = Vec::new();
            walk::files(&store.root, &prefix, &mut |key, name, metadata| {
                if key.starts_with(&prefix) && !partial::is_partial(name) {
                    let modified = metadata.modified().ok();
                    found.push(Entry { key, size: metadata.len(), modified, class: None });
                }
            })
            .map_err(|e| walk::error(&e, &store))?;
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>> {
        let (store, folder) = (self.clone(), as_folder(prefix));
        blocking(move || walk::folders(&store.root, &folder).map_err(|e| walk::error(&e, &store))).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let paths: Vec<(PathBuf, String)> =
            keys.iter().map(|key| Ok((self.path(key)?, self.name(key)))).collect::<Result<_>>()?;
        let root = Arc::clone(&self.root);
        blocking(move || {
            for (path, name) in &paths {
                match object_metadata(path).and_then(|found| found.map_or(Ok(()), |_| fs::remove_file(path))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(io_error(&error, "cannot delete", name));
                    }
                    _ => remove_empty_folders(&root, path),
                }
            }
            Ok(())
        })
        .await
    }

    async fn start_upload(&self, key: &str, _class: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        let path = self.path(key)?;
        let (root, name, unsynced) = (Arc::clone(&self.root), self.name(key), self.unsynced.clone());
        let limits = self.limits();
        blocking(move || {
            let partial = Partial::create(&root, path).map_err(|e| io_error(&e, "cannot write", &name))?;
            Ok(Box::new(FolderUpload::new(partial, name, limits, unsynced)) as Box<dyn Upload>)
        })
        .await
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        blocking(move || {
            let mut found = Vec::new();
            walk::files(&store.root, "", &mut |key, name, metadata| {
                let Some((target, id)) = partial::target(name) else { return };
                let key = format!("{}{target}", &key[..key.len() - name.len()]);
                if key.starts_with(&prefix) {
                    let started = metadata.created().or_else(|_| metadata.modified()).ok();
                    found.push(OpenUpload { key, id: id.to_owned(), started });
                }
            })
            .map_err(|e| walk::error(&e, &store))?;
            found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
            Ok(found)
        })
        .await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        let path = self.path(&upload.key)?;
        let partial = partial::path_of(&path, &upload.id).ok_or_else(|| bad_key(&upload.key, "has no such upload"))?;
        let (root, name) = (Arc::clone(&self.root), self.name(&upload.key));
        blocking(move || match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&error, "cannot abort", &name)),
            _ => {
                remove_empty_folders(&root, &partial);
                Ok(())
            }
        })
        .await
    }

    fn limits(&self) -> Limits {
        Limits::OWN
    }
}
