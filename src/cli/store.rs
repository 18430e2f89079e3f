//! Arguments that name a store and say how to reach it, and opening it.

#![expect(clippy::doc_markdown, reason = "these comments are the text of --help, which has no markup")]

use crate::error::Result;
use crate::store::{S3Options, Store, StoreUrl};
use clap::Args;
use std::sync::Arc;

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
}

/// Where a dump goes.
#[derive(Debug, Args)]
pub struct ToArgs {
    /// The store: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub to: String,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

/// Where a backup comes from.
#[derive(Debug, Args)]
pub struct FromArgs {
    /// The store: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", env = "PGSTOW_STORE")]
    pub from: String,
    /// How to reach it.
    #[command(flatten)]
    pub reach: StoreArgs,
}

impl ToArgs {
    /// Opens the store.
    pub(super) async fn open(&self) -> Result<Arc<dyn Store>> {
        self.reach.open(&self.to).await
    }
}

impl FromArgs {
    /// Opens the store.
    pub(super) async fn open(&self) -> Result<Arc<dyn Store>> {
        self.reach.open(&self.from).await
    }
}

impl StoreArgs {
    /// Opens the store of this URL.
    pub(super) async fn open(&self, url: &str) -> Result<Arc<dyn Store>> {
        let url: StoreUrl = url.parse()?;
        let options = S3Options {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            ..S3Options::default()
        };
        crate::store::open(&url, &options).await
    }
}
