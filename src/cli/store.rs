//! Arguments that name a store and say how to reach it, and opening it.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use super::environment;
use super::jobs::ConfigArgs;
use crate::commands::source::Wanted;
use crate::error::{Error, Kind, Result};
use crate::jobs::JobStore;
use crate::store::{Patience, S3Options, S3Store, StorageClass, Store, StoreUrl};
use clap::Args;
use std::sync::Arc;
use std::time::Duration;

/// How to reach the store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Endpoint of an S3-compatible store [default: the standard AWS environment and files]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of the bucket [default: the standard AWS environment and files]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Whether the bucket stands in the path instead of the host name [default: true with an endpoint of your own]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub path_style: Option<bool>,
    /// For so long a request to an S3 store that has answered before is tried again; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub retry_for: u64,
    /// A transfer to or from an S3 store that stands still for so long is broken off and tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub stall_timeout: u64,
}

/// Where a dump goes.
#[derive(Debug, Args)]
pub struct ToArgs {
    /// The store: s3://bucket/prefix, file:///folder, or the name of a [store.NAME] of pgstow.toml
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub to: String,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

/// Where a backup comes from.
#[derive(Debug, Args)]
pub struct FromArgs {
    /// The store: s3://bucket/prefix, file:///folder, or the name of a [store.NAME] of pgstow.toml
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub from: String,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

/// Which archive to read: a backup in a store, or a folder that is one archive.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Which backup: ID, latest, DATABASE/ID or DATABASE/latest
    #[arg(value_name = "BACKUP", required_unless_present = "archive")]
    pub backup: Option<String>,
    /// The store: s3://bucket/prefix, file:///folder, or the name of a [store.NAME] of pgstow.toml
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE", required_unless_present = "archive")]
    pub from: Option<String>,
    /// Instead of a backup in a store: a folder that holds one directory archive, such as pg_dump -F d writes; as
    /// s3://bucket/folder, file:///folder or a path
    #[arg(long, value_name = "FOLDER", conflicts_with = "backup")]
    pub archive: Option<String>,
    /// With --archive: take what pgstow wrote even though its manifest is missing, so that nothing can be verified
    #[arg(long, requires = "archive")]
    pub without_manifest: bool,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

impl ArchiveArgs {
    /// Opens the store to read from, and says what to read there.
    pub(super) async fn open(&self) -> Result<(Arc<dyn Store>, Wanted)> {
        if let Some(folder) = &self.archive {
            let url = if folder.contains("://") {
                folder.clone()
            } else {
                let path = std::path::absolute(folder)
                    .map_err(|error| Error::new(Kind::Usage, "this is no path").on(folder.clone()).because(error))?;
                format!("file://{}", path.display())
            };
            let wanted = Wanted::Archive { without_manifest: self.without_manifest };
            return Ok((self.reach.open(&url).await?, wanted));
        }
        match (&self.from, &self.backup) {
            (Some(from), Some(backup)) => Ok((self.reach.open(from).await?, Wanted::Backup(backup.clone()))),
            _ => Err(Error::new(Kind::Usage, "neither a backup with its store nor an archive is named")),
        }
    }
}

impl ToArgs {
    /// Opens the store.
    pub(super) async fn open(&self) -> Result<Arc<dyn Store>> {
        self.reach.open(&self.to).await
    }

    /// Opens the store as a bucket, which a folder is not.
    pub(super) async fn open_s3(&self) -> Result<S3Store> {
        match self.reach.resolve(&self.to, &ConfigArgs::of_environment())? {
            (StoreUrl::S3 { bucket, prefix }, options, _) => S3Store::connect(&bucket, &prefix, &options).await,
            (StoreUrl::Folder(_), ..) => Err(Error::new(Kind::Usage, "a folder is no bucket")
                .on(self.to.as_str())
                .hint("give a store like s3://bucket/prefix")),
        }
    }
}

impl FromArgs {
    /// Opens the store.
    pub(super) async fn open(&self) -> Result<Arc<dyn Store>> {
        self.reach.open(&self.from).await
    }
}

impl StoreArgs {
    /// Opens the store of this URL, or of this name in the file of jobs.
    pub(super) async fn open(&self, store: &str) -> Result<Arc<dyn Store>> {
        let (url, options, _) = self.resolve(store, &ConfigArgs::of_environment())?;
        crate::store::open(&url, &options).await
    }

    /// Where a store is and how to reach it, with the storage class that the file has for it. A name is looked up in the
    /// file of jobs; what is said here comes before what is said there.
    pub(super) fn resolve(
        &self,
        store: &str,
        config: &ConfigArgs,
    ) -> Result<(StoreUrl, S3Options, Option<StorageClass>)> {
        let said = self.options();
        // Paths and URLs of other kinds have errors of their own.
        let named = if store.contains([':', '/']) { None } else { config.find()? };
        let Some(file) = named else { return Ok((store.parse()?, said, None)) };
        let JobStore { url, options, class, .. } = file.store(store, &environment)?;
        let options = S3Options {
            endpoint: said.endpoint.or(options.endpoint),
            region: said.region.or(options.region),
            path_style: said.path_style.or(options.path_style),
            patience: said.patience,
            ..options
        };
        Ok((url, options, class))
    }

    /// What is said about reaching an S3 store.
    pub(super) fn options(&self) -> S3Options {
        S3Options {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            patience: Patience {
                total: Duration::from_secs(self.retry_for),
                stall: Duration::from_secs(self.stall_timeout),
            },
            ..S3Options::default()
        }
    }
}
