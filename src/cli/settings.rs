//! From inert arguments to options that commands can act on: flags over environment over defaults.

use super::args::{ArchiveArgs, DumpArgs, FromArgs, RestoreArgs, StoreArgs};
use crate::catalog::{Pattern, Selection};
use crate::commands::dump::DumpOptions;
use crate::commands::restore::{Choice, RestoreOptions};
use crate::commands::source::Wanted;
use crate::error::{Error, Kind, Result};
use crate::postgres::ConnectionSettings;
use crate::store::{S3Options, StorageClass, Store, StoreUrl};
use std::sync::Arc;

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(super) async fn dump(arguments: &DumpArgs) -> Result<DumpOptions> {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>>>();
    let connection = ConnectionSettings::resolve(arguments.database.as_deref(), &environment)?;
    Ok(DumpOptions {
        connection,
        codec: arguments.compress.parse()?,
        selection: Selection {
            schemas: patterns(&arguments.schemas)?,
            exclude_schemas: patterns(&arguments.exclude_schemas)?,
            tables: patterns(&arguments.tables)?,
            exclude_tables: patterns(&arguments.exclude_tables)?,
            exclude_table_data: patterns(&arguments.exclude_table_data)?,
            schema_only: arguments.schema_only,
            data_only: arguments.data_only,
            large_objects: None,
        },
        jobs: usize::from(arguments.jobs),
        storage_class: arguments.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?,
        allow_incomplete: arguments.allow_incomplete,
        store: open(&arguments.store.to, &arguments.store.reach).await?,
    })
}

pub(super) async fn restore(arguments: &RestoreArgs) -> Result<RestoreOptions> {
    if arguments.create && (!arguments.schemas.is_empty() || !arguments.tables.is_empty()) {
        return Err(Error::new(Kind::Usage, "-C makes the whole database, -n and -t choose a part of it")
            .hint("make the database yourself and restore the part into it"));
    }
    if arguments.data_only && arguments.clean {
        return Err(Error::new(Kind::Usage, "-c drops definitions, -a restores none"));
    }
    let (store, wanted) = archive(&arguments.archive).await?;
    Ok(RestoreOptions {
        connection: ConnectionSettings::resolve(arguments.database.as_deref(), &environment)?,
        store,
        wanted,
        jobs: usize::from(arguments.jobs),
        choice: Choice {
            schemas: arguments.schemas.clone(),
            tables: arguments.tables.clone(),
            schema_only: arguments.schema_only,
            data_only: arguments.data_only,
            no_owner: arguments.no_owner,
            no_privileges: arguments.no_privileges,
        },
        create: arguments.create,
        clean: arguments.clean,
        if_exists: arguments.if_exists,
        dry_run: arguments.dry_run,
        keep_going: arguments.keep_going,
    })
}

/// The store to read from, and what to read there: a backup in the store, or the one archive that the store's folder is.
async fn archive(arguments: &ArchiveArgs) -> Result<(Arc<dyn Store>, Wanted)> {
    if let Some(folder) = &arguments.archive {
        let url = if folder.contains("://") {
            folder.clone()
        } else {
            let path = std::path::absolute(folder)
                .map_err(|error| Error::new(Kind::Usage, "this is not a path").on(folder.clone()).because(error))?;
            format!("file://{}", path.display())
        };
        let wanted = Wanted::Archive { without_manifest: arguments.without_manifest };
        return Ok((open(&url, &arguments.reach).await?, wanted));
    }
    match (&arguments.from, &arguments.backup) {
        (Some(from), Some(backup)) => Ok((open(from, &arguments.reach).await?, Wanted::Backup(backup.clone()))),
        _ => Err(Error::new(Kind::Usage, "neither a backup with its store nor an archive is named")),
    }
}

pub(super) async fn store(arguments: &FromArgs) -> Result<Arc<dyn Store>> {
    open(&arguments.from, &arguments.reach).await
}

async fn open(url: &str, reach: &StoreArgs) -> Result<Arc<dyn Store>> {
    let url: StoreUrl = url.parse()?;
    let options = S3Options {
        endpoint: reach.endpoint.clone(),
        region: reach.region.clone(),
        path_style: reach.path_style,
        ..S3Options::default()
    };
    crate::store::open(&url, &options).await
}
