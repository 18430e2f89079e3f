//! Examining the store: writing, reading, listing, deleting, uploads in parts, and writes that must not replace.

use super::ease::{SLOW_BYTES_A_SECOND, rate};
use super::{Finding, clock};
use crate::archive::keys;
use crate::error::{Error, Kind, Result};
use crate::keep::lifecycle::{Collision, Keeping, collisions};
use crate::store::{Answer, Deletion, Meta, StorageClass, Store, StoreProblem, problem};
use bytes::Bytes;
use futures::TryStreamExt;
use indicatif::HumanBytes;
use jiff::Timestamp;
use std::time::{Instant, SystemTime};

/// So many writers try to be the first.
const RIVALS: usize = 4;

/// Uploads that somebody began longer ago than this were left by something that was killed.
const OLD_UPLOAD: std::time::Duration = std::time::Duration::from_hours(24);

pub(super) async fn examine(
    store: &dyn Store,
    class: Option<&StorageClass>,
    keeping: Option<&(String, Keeping)>,
) -> Vec<Finding> {
    match store.list_folders("").await {
        Ok(_) => {}
        Err(error) => return vec![Finding::failed("store", &error)],
    }
    let mut findings = vec![Finding::ok("store", format!("{} answers", store.describe()))];
    let probe =
        Probe { store, prefix: format!("pgstow-doctor-{}", faster_hex::hex_string(&rand::random::<[u8; 6]>())) };
    match probe.write(class).await {
        Ok(Some(meta)) => {
            findings.push(Finding::ok("writing", "objects can be written and read back"));
            findings.extend(class.map(|class| storage_class(class, meta.class.as_deref())));
            findings.extend(meta.modified.map(store_clock));
        }
        Ok(None) => findings.push(Finding::ok(
            "writing",
            "objects can be written and not read, as it is for a writer; `pgstow restore` needs other credentials",
        )),
        Err(error) => {
            findings.push(Finding::failed("writing", &error));
            return findings;
        }
    }
    findings.push(probe.listing().await);
    findings.push(probe.upload(class).await);
    findings.push(probe.speed().await);
    findings.push(probe.only_one_wins().await);
    findings.push(left_over(store).await);
    findings.push(versions(store).await);
    findings.extend(rules(store, keeping).await);
    findings.push(probe.clean().await);
    findings
}

fn storage_class(asked: &StorageClass, got: Option<&str>) -> Finding {
    // S3 says nothing for STANDARD.
    let got = got.unwrap_or("STANDARD");
    if got == asked.as_str() {
        return Finding::ok("storage class", format!("{asked}, as asked"));
    }
    Finding::warn(
        "storage class",
        format!("{asked} was asked, and the object is in {got}"),
        "the store does not know the class, or keeps it to itself; do not count on its price",
    )
}

fn store_clock(modified: SystemTime) -> Finding {
    let now = SystemTime::now();
    let ahead = match modified.duration_since(now) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    };
    // Stores tell whole seconds, and the write took its time.
    clock("store clock", "the store's clock", ahead, Kind::Store)
}

/// Uploads of others that were begun long ago and cost money.
async fn left_over(store: &dyn Store) -> Finding {
    match store.open_uploads("").await {
        Ok(uploads) => {
            let old = |started: SystemTime| started.elapsed().is_ok_and(|age| age > OLD_UPLOAD);
            let count = uploads.iter().filter(|upload| upload.started.is_some_and(old)).count();
            if count == 0 {
                return Finding::ok("old uploads", "no upload was left unfinished for a day");
            }
            Finding::warn(
                "old uploads",
                format!("{count} uploads were left unfinished for more than a day, and are paid for"),
                "let the bucket's lifecycle abort incomplete uploads after a few days",
            )
        }
        Err(error) if problem(&error) == Some(StoreProblem::Unsupported) => Finding::warn(
            "old uploads",
            "the store does not tell which uploads are unfinished",
            "look at its own tools",
        ),
        Err(error) => Finding::warn(
            "old uploads",
            error.to_string(),
            "allow s3:ListBucketMultipartUploads, so that what a killed dump left can be found",
        ),
    }
}

/// Whether pruning frees anything.
async fn versions(store: &dyn Store) -> Finding {
    match store.deletion().await {
        Ok(Deletion::Final) => Finding::ok("versions", "none are kept: what is deleted is gone, and costs nothing"),
        Ok(Deletion::Hides { kept_days: Some(days), .. }) => {
            Finding::ok("versions", format!("the bucket keeps what is deleted for {days} days"))
        }
        Ok(Deletion::Hides { kept_days: None, .. }) => Finding::warn(
            "versions",
            "the bucket keeps what is deleted for ever: pruning saves nothing",
            "let the bucket's lifecycle expire noncurrent versions",
        ),
        Ok(Deletion::Untold) => Finding::warn(
            "versions",
            "these credentials may not ask whether the bucket keeps what is deleted",
            "allow s3:GetBucketVersioning and s3:GetLifecycleConfiguration, or look for yourself",
        ),
        Err(error) => Finding::failed("versions", &error),
    }
}

/// Whether the bucket's lifecycle rules go together with what is kept; nothing is said of a store that cannot have any.
async fn rules(store: &dyn Store, keeping: Option<&(String, Keeping)>) -> Vec<Finding> {
    const SUBJECT: &str = "lifecycle";
    let (rules, none) = match store.lifecycle().await {
        Ok(Answer::Set(rules)) => (rules, false),
        Ok(Answer::Unset) => (Vec::new(), true),
        Ok(Answer::Unsupported) => return Vec::new(),
        Ok(Answer::Denied) => {
            let says = "these credentials may not ask for the bucket's lifecycle rules";
            return vec![Finding::warn(SUBJECT, says, "allow s3:GetLifecycleConfiguration, or look for yourself")];
        }
        Err(error) => return vec![Finding::failed(SUBJECT, &error)],
    };
    let (folder, keeping) = keeping.map_or(("", None), |(folder, keeping)| (folder.as_str(), Some(keeping)));
    let found = collisions(&rules, folder, keeping, Timestamp::now());
    if found.is_empty() {
        let count = rules.iter().filter(|rule| rule.touches(folder)).count();
        let says = if none {
            "no rule acts here".to_owned()
        } else {
            format!("nothing collides with the {count} that act here")
        };
        return vec![Finding::ok(SUBJECT, says)];
    }
    let finding = |collision: Collision| {
        if collision.severe {
            Finding::fail(SUBJECT, Kind::Store, collision.says, collision.todo)
        } else {
            Finding::warn(SUBJECT, collision.says, collision.todo)
        }
    };
    found.into_iter().map(finding).collect()
}

/// Objects of the examination's own.
struct Probe<'a> {
    store: &'a dyn Store,
    prefix: String,
}

impl Probe<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// The key of what is written once, named as a manifest is: of those alone a writer may ask whether they are there.
    fn once(&self) -> String {
        format!("{}/{}", self.prefix, keys::manifest_key())
    }

    /// Writes an object, and reads it back; nothing where it may not be read.
    async fn write(&self, class: Option<&StorageClass>) -> Result<Option<Meta>> {
        let (key, body) = (self.key("object"), Bytes::from_static(b"written by pgstow doctor"));
        self.store.put(&key, body.clone(), class).await?;
        let missing = || Error::new(Kind::Store, "an object that was just written is not there").on(key.clone());
        let meta = match self.store.head(&key).await {
            Err(error) if problem(&error) == Some(StoreProblem::Denied) => return Ok(None),
            meta => meta?.ok_or_else(missing)?,
        };
        let read: Vec<Bytes> = self.store.get(&key, None).await?.try_collect().await?;
        if read.concat() != body {
            return Err(Error::new(Kind::Store, "what is read is not what was written").on(key));
        }
        Ok(Some(meta))
    }

    /// How fast bytes go there, one request at a time.
    async fn speed(&self) -> Finding {
        const SUBJECT: &str = "store speed";
        const SAMPLE: usize = 4 << 20;
        let begun = Instant::now();
        if let Err(error) = self.store.put(&self.key("speed"), Bytes::from(vec![b'x'; SAMPLE]), None).await {
            return Finding::failed(SUBJECT, &error);
        }
        let rate = rate(SAMPLE, begun.elapsed().as_secs_f64());
        let says = format!("{}/s by one upload; a dump has several under way", HumanBytes(rate));
        #[expect(clippy::cast_precision_loss, reason = "a rate, for a comparison")]
        if (rate as f64) < SLOW_BYTES_A_SECOND {
            let todo = "use a bucket in a region near by, or compress more: -Z zstd:9";
            return Finding::warn(SUBJECT, says + ": a dump will be slow", todo);
        }
        Finding::ok(SUBJECT, says)
    }

    async fn listing(&self) -> Finding {
        match self.store.list(&self.prefix).await {
            Ok(entries) if entries.iter().any(|entry| entry.key == self.key("object")) => {
                Finding::ok("listing", "what was written is listed at once")
            }
            Ok(_) => Finding::warn(
                "listing",
                "an object that was just written is not listed yet",
                "`list` and `latest` may miss the newest backup on such a store",
            ),
            Err(error) => Finding::failed("listing", &error),
        }
    }

    /// An upload that is completed, and one that is aborted.
    async fn upload(&self, class: Option<&StorageClass>) -> Finding {
        let tried = async {
            let upload = self.store.start_upload(&self.key("upload"), class).await?;
            upload.part(1, Bytes::from_static(b"one part")).await?;
            upload.complete().await?;
            let upload = self.store.start_upload(&self.key("aborted"), class).await?;
            upload.part(1, Bytes::from_static(b"one part")).await?;
            upload.abort().await?;
            let found = self.store.list(&self.key("upload")).await?;
            let missing = || Error::new(Kind::Store, "an upload that was completed is not there");
            if found.is_empty() { Err(missing()) } else { Ok(()) }
        };
        match tried.await {
            Ok(()) => Finding::ok("large uploads", "uploads in parts can be completed and aborted"),
            Err(error) => Finding::failed("large uploads", &error),
        }
    }

    /// A manifest must never replace another; with conditional writes that is so even at the same instant.
    async fn only_one_wins(&self) -> Finding {
        let key = self.once();
        let rivals = (0..RIVALS).map(|number| self.store.put_new(&key, Bytes::from(format!("rival {number}"))));
        let mut won = 0;
        for outcome in futures::future::join_all(rivals).await {
            match outcome {
                Ok(()) => won += 1,
                Err(error) if problem(&error) == Some(StoreProblem::AlreadyExists) => {}
                Err(error) => return Finding::failed("exclusive writes", &error),
            }
        }
        match self.store.put_new(&key, Bytes::from_static(b"late")).await {
            Err(error) if problem(&error) == Some(StoreProblem::AlreadyExists) => {}
            Err(error) => return Finding::failed("exclusive writes", &error),
            Ok(()) => {
                return Finding::fail(
                    "exclusive writes",
                    Kind::Store,
                    "an object that was there was replaced",
                    "do not use this store: two dumps could overwrite each other's manifest",
                );
            }
        }
        if won == 1 {
            return Finding::ok("exclusive writes", format!("of {RIVALS} writers at one instant one wins"));
        }
        Finding::warn(
            "exclusive writes",
            format!(
                "of {RIVALS} writers at one instant {won} believed that they won: the store has no conditional writes"
            ),
            "harmless as long as ids differ, and they do; copies of one backup should not be made twice at once",
        )
    }

    async fn clean(&self) -> Finding {
        let keys = vec![self.key("object"), self.key("upload"), self.key("speed"), self.once()];
        match self.store.delete(&keys).await {
            Ok(()) => Finding::ok("deleting", "objects can be deleted"),
            Err(error) if problem(&error) == Some(StoreProblem::Denied) => Finding::warn(
                "deleting",
                format!("{error}; left behind: {}", keys.join(", ")),
                "good for a writer that may only add; let `pgstow prune` run with other credentials, or the bucket's lifecycle",
            ),
            Err(error) => Finding::failed("deleting", &error),
        }
    }
}
