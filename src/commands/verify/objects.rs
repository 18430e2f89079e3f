//! One object against what the manifest says of it, read once and never held as a whole.

use super::Problem;
use crate::archive::manifest::{BlobEntry, Frame, Manifest, StoredObject, TableEntry};
use crate::commands::Progress;
use crate::commands::transfer::Origin;
use crate::error::{Error, Kind, Result};
use crate::model::item::label;
use crate::store::{StoreProblem, problem};
use crate::stream::codec::Codec;
use crate::stream::frames::TERMINATOR;
use crate::stream::rows::{RowsDigest, RowsDigester};
use crate::stream::terminator::TerminatorStripper;
use crate::stream::windows::{Window, Windows};
use bytes::{Bytes, BytesMut};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// So many decoded bytes are looked at at once.
const CHUNK: usize = 128 << 10;
/// So many frames of one object are named when they are damaged.
const FRAMES_NAMED: usize = 3;

pub(super) const MISSING: &str = "is not there";

pub(super) fn wrong_size(found: u64, object: &StoredObject) -> String {
    format!("has {found} bytes, the manifest says {}", object.bytes)
}

/// What reads and judges objects; clones share everything.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) origin: Origin,
    pub(super) codec: Codec,
    pub(super) progress: Arc<Progress>,
}

/// One object to read.
pub(super) enum Work {
    Table(TableEntry),
    Blob(BlobEntry),
    /// Nothing is known of it but its size and digest.
    Plain(StoredObject),
}

/// All objects in the order of the manifest, but those that [`contents`](super::contents) reads.
pub(super) fn work(manifest: &Manifest) -> impl Iterator<Item = Work> + '_ {
    let tables = manifest.tables.iter().cloned().map(Work::Table);
    let blobs = manifest.large_objects.iter().flat_map(|large| large.objects.iter().cloned().map(Work::Blob));
    let known: HashSet<&str> = std::iter::once(&manifest.toc)
        .chain(manifest.tables.iter().map(|table| &table.object))
        .chain(manifest.large_objects.iter().map(|large| &large.toc))
        .chain(manifest.large_objects.iter().flat_map(|large| large.objects.iter().map(|blob| &blob.object)))
        .map(|object| object.key.as_str())
        .collect();
    let others = manifest.stored_objects().filter(move |object| !known.contains(object.key.as_str()));
    tables.chain(blobs).chain(others.cloned().map(Work::Plain))
}

/// What one object was found to be.
#[derive(Debug, Default)]
struct Findings {
    messages: Vec<String>,
    frames_unnamed: usize,
    frames_named: usize,
}

impl Findings {
    fn add(&mut self, message: impl Into<String>) {
        self.messages.push(message.into());
    }

    fn add_frame(&mut self, message: impl Into<String>) {
        if self.frames_named < FRAMES_NAMED {
            self.frames_named += 1;
            self.messages.push(message.into());
        } else {
            self.frames_unnamed += 1;
        }
    }

    fn into_problems(mut self, key: &str, holds: Option<&str>) -> Vec<Problem> {
        if self.frames_unnamed > 0 {
            self.messages.push(format!("{} more frames are damaged", self.frames_unnamed));
        }
        let problem = |message| Problem { key: key.to_owned(), holds: holds.map(str::to_owned), message };
        self.messages.into_iter().map(problem).collect()
    }
}

impl Reader {
    /// Everything that is wrong with one object. An error is a store that does not answer.
    pub(super) async fn check(&self, work: Work) -> Result<Vec<Problem>> {
        match work {
            Work::Table(table) => {
                let holds = label("table", Some(&table.schema), &table.name);
                let mut findings = Findings::default();
                if let Some(windows) = self.open(&table.object, &mut findings).await? {
                    self.read_frames(&windows, &table, &mut findings).await?;
                    Self::close(windows, &table.object, &mut findings).await?;
                }
                self.progress.table_done();
                Ok(findings.into_problems(&self.key(&table.object), Some(&holds)))
            }
            Work::Blob(blob) => {
                let mut findings = Findings::default();
                if let Some(windows) = self.open(&blob.object, &mut findings).await? {
                    match self.decode(windows.next(u64::MAX).await?, |_| ()).await {
                        Ok(bytes) if bytes == blob.size => {}
                        Ok(bytes) => findings
                            .add(format!("holds {bytes} bytes once decompressed, the manifest says {}", blob.size)),
                        Err(error) => findings.add(decoding_failed(error)?),
                    }
                    Self::close(windows, &blob.object, &mut findings).await?;
                }
                Ok(findings.into_problems(&self.key(&blob.object), Some(&format!("large object {}", blob.oid))))
            }
            Work::Plain(object) => {
                let mut findings = Findings::default();
                if let Some(windows) = self.open(&object, &mut findings).await? {
                    Self::close(windows, &object, &mut findings).await?;
                }
                Ok(findings.into_problems(&self.key(&object), None))
            }
        }
    }

    /// A whole object that may be held in memory, with what is wrong with it. No bytes where there are none, or more than
    /// the limit.
    pub(super) async fn read_whole(&self, object: &StoredObject, limit: u64) -> Result<(Option<Bytes>, Vec<Problem>)> {
        let mut findings = Findings::default();
        let mut whole = None;
        if object.bytes > limit {
            findings.add(format!("is larger than the {limit} bytes that it may have"));
        } else if let Some(windows) = self.open(object, &mut findings).await? {
            let mut bytes = Vec::new();
            windows.next(object.bytes).await?.read_to_end(&mut bytes).await.map_err(ours)?;
            whole = Some(Bytes::from(bytes));
            Self::close(windows, object, &mut findings).await?;
        }
        Ok((whole, findings.into_problems(&self.key(object), None)))
    }

    pub(super) fn key(&self, object: &StoredObject) -> String {
        format!("{}{}", self.origin.folder, object.key)
    }

    async fn open(&self, object: &StoredObject, findings: &mut Findings) -> Result<Option<Windows>> {
        match self.origin.store.get(&self.key(object), None).await {
            Ok(stream) => Ok(Some(Windows::new(stream))),
            Err(error) if problem(&error) == Some(StoreProblem::NotFound) => {
                findings.add(MISSING);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads to the end and judges size and digest.
    async fn close(windows: Windows, object: &StoredObject, findings: &mut Findings) -> Result<()> {
        let (bytes, sha256) = windows.finish().await?;
        if bytes != object.bytes {
            findings.messages.insert(0, wrong_size(bytes, object));
        } else if sha256 != object.sha256 {
            findings.messages.insert(0, "does not have the digest that the manifest says".to_owned());
        }
        Ok(())
    }

    /// Decodes every frame alone, and what follows the frames that the manifest lists: the end marker, or everything.
    async fn read_frames(&self, windows: &Windows, table: &TableEntry, findings: &mut Findings) -> Result<()> {
        let mut rows = RowsDigest::default();
        let (mut first_row, mut ended, before) = (1u64, false, findings.messages.len());
        for (number, frame) in (1..).zip(&table.frames) {
            let name = FrameName { number, frame, first_row };
            if ended {
                findings.add_frame(format!("{name} comes after the end marker"));
                continue;
            }
            let window = windows.next(frame.bytes).await?;
            let message = if frame.rows == 0 {
                ended = true;
                self.read_end(window).await?
            } else {
                self.read_frame(window, &name, &mut rows).await?
            };
            let checksum = windows.checksum().await?;
            match (message, frame.checksum) {
                (Some(message), _) => findings.add_frame(message),
                (None, Some(promised)) if promised != checksum => {
                    findings.add_frame(format!("{name} does not have the checksum that the manifest says"));
                }
                _ => {}
            }
            first_row = first_row.saturating_add(frame.rows);
        }
        if !ended {
            let rest = windows.next(u64::MAX).await?;
            self.read_rest(rest, &mut rows, findings).await?;
        }
        // Where something is damaged, that these do not fit either is no news.
        if findings.messages.len() > before {
            return Ok(());
        }
        if rows.rows() != table.rows {
            findings.add(format!("holds {} rows, the manifest says {}", rows.rows(), table.rows));
        } else if table.rows_digest.as_ref().is_some_and(|digest| *digest != rows.to_string()) {
            findings.add("holds other rows than the manifest says: their digest differs");
        }
        Ok(())
    }

    async fn read_frame(&self, window: Window, name: &FrameName<'_>, all: &mut RowsDigest) -> Result<Option<String>> {
        let mut digester = RowsDigester::new();
        let bytes = match self.decode(window, |bytes| digester.push(bytes)).await {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Some(format!("{name} {}", decoding_failed(error)?))),
        };
        let Ok(rows) = digester.finish() else { return Ok(Some(format!("{name} does not end where a row ends"))) };
        all.add(rows);
        self.progress.moved_rows(rows.rows());
        let promised = (name.frame.rows, name.frame.raw_bytes);
        Ok(((rows.rows(), bytes) != promised).then(|| {
            format!(
                "{name} holds {} rows in {bytes} bytes, the manifest says {} in {}",
                rows.rows(),
                promised.0,
                promised.1
            )
        }))
    }

    /// The closing frame, where the manifest lists it.
    async fn read_end(&self, window: Window) -> Result<Option<String>> {
        let mut text = Vec::new();
        let decoded = self.decode(window, |bytes| {
            if text.len() <= TERMINATOR.len() {
                text.extend_from_slice(bytes);
            }
        });
        Ok(match decoded.await {
            Ok(_) if text == TERMINATOR => None,
            Ok(_) => Some("does not end in its end marker".to_owned()),
            Err(error) => Some(format!("the end marker {}", decoding_failed(error)?)),
        })
    }

    /// Rows that the manifest lists in no frame, and the end marker.
    async fn read_rest(&self, window: Window, all: &mut RowsDigest, findings: &mut Findings) -> Result<()> {
        let (mut stripper, mut digester) = (TerminatorStripper::new(), RowsDigester::new());
        let decoded = self.decode(window, |bytes| digester.push(&stripper.push(Bytes::copy_from_slice(bytes))));
        if let Err(error) = decoded.await {
            findings.add(format!("what follows the last frame {}", decoding_failed(error)?));
            return Ok(());
        }
        match stripper.finish().and_then(|()| digester.finish()) {
            Ok(rows) => all.add(rows),
            Err(error) => findings.add(error.message()),
        }
        Ok(())
    }

    /// Decodes to the end of the window; gives the number of decoded bytes.
    async fn decode(&self, window: Window, mut look: impl FnMut(&[u8])) -> std::io::Result<u64> {
        let mut decoder = self.codec.decoder(window);
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let mut bytes = 0;
        while decoder.read_buf(&mut chunk).await? > 0 {
            bytes += chunk.len() as u64;
            look(&chunk);
            self.progress.moved_raw(chunk.len() as u64);
            chunk.clear();
        }
        Ok(bytes)
    }
}

struct FrameName<'a> {
    number: usize,
    frame: &'a Frame,
    first_row: u64,
}

impl std::fmt::Display for FrameName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (self.first_row, self.first_row.saturating_add(self.frame.rows - 1));
        write!(f, "frame {} at byte {} (rows {first} to {last})", self.number, self.frame.offset)
    }
}

/// Says what a decoder made of damaged bytes; gives back the store's own error when it was that.
fn decoding_failed(error: std::io::Error) -> Result<String> {
    match error.downcast::<Error>() {
        Ok(ours) => Err(ours),
        Err(error) => Ok(format!("cannot be decompressed: {error}")),
    }
}

fn ours(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::new(Kind::Internal, "a window failed by itself").because(error),
    }
}
