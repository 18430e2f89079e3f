//! A file on its way to its place: written beside it under another name, synced, then moved.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{create_folders, remove_empty_folders};

const MARK: &str = ".partial-";
/// Digits of the random tail, in hexadecimal.
const TAIL: usize = 16;

/// Whether a file name is one of an upload in progress.
pub(super) fn is_partial(name: &str) -> bool {
    target(name).is_some()
}

/// The final name and the random tail of such a file name.
pub(super) fn target(name: &str) -> Option<(&str, &str)> {
    let (target, tail) = name.strip_prefix('.')?.rsplit_once(MARK)?;
    (!target.is_empty() && is_tail(tail)).then_some((target, tail))
}

fn is_tail(tail: &str) -> bool {
    tail.len() == TAIL && tail.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The file of an upload to this place with this random tail.
pub(super) fn path_of(target: &Path, tail: &str) -> Option<PathBuf> {
    let name = target.file_name()?.to_str()?;
    is_tail(tail).then(|| target.with_file_name(format!(".{name}{MARK}{tail}")))
}

/// The file. Dropped without [`Partial::publish`] it is removed again, with the folders that it needed.
#[derive(Debug)]
pub(super) struct Partial {
    root: Arc<PathBuf>,
    target: PathBuf,
    path: PathBuf,
    file: Arc<File>,
    published: bool,
}

impl Partial {
    /// Creates the empty file, and its folders where they are missing.
    pub(super) fn create(root: &Arc<PathBuf>, target: PathBuf) -> io::Result<Self> {
        let tail = format!("{:0TAIL$x}", rand::random::<u64>());
        let path = path_of(&target, &tail).ok_or(io::ErrorKind::InvalidFilename)?;
        let folder = target.parent().unwrap_or(root);
        let mut attempts = 0;
        let file = loop {
            create_folders(folder)?;
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                // A delete in the same folder may have removed it as empty just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 10 => attempts += 1,
                result => break result?,
            }
        };
        Ok(Partial { root: Arc::clone(root), target, path, file: Arc::new(file), published: false })
    }

    /// The open file, for writing at offsets.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Makes the file durable and moves it to its place; that its name is durable, too, is left to a sync of its folder.
    /// Without `replace`, a file that is there stays and the error is `AlreadyExists`.
    pub(super) fn publish(mut self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if replace {
            fs::rename(&self.path, &self.target)?;
            self.published = true;
        } else {
            // A hard link never replaces, on any file system that has them.
            match fs::hard_link(&self.path, &self.target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => self.publish_without_links()?,
            }
        }
        Ok(())
    }

    /// The folder that the file goes to.
    pub(super) fn folder(&self) -> PathBuf {
        self.target.parent().unwrap_or(&self.root).to_owned()
    }

    /// For file systems without hard links (FAT, some network shares): takes the name first, then moves over it. A crash
    /// in between leaves an empty file.
    fn publish_without_links(&mut self) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.target)?;
        fs::rename(&self.path, &self.target)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
            remove_empty_folders(&self.root, &self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_partial, target};

    #[test]
    fn only_our_own_names_are_uploads_in_progress() {
        assert_eq!(target(".toc.dat.partial-0123456789abcdef"), Some(("toc.dat", "0123456789abcdef")));
        for other in ["toc.dat", ".hidden", ".x.partial-12", "x.partial-0123456789abcdef", "..partial-0123456789abcdef"]
        {
            assert!(!is_partial(other), "{other}");
        }
    }
}
