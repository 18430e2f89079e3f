//! Which server is dumped, and whether its folder holds backups of another one.

use crate::archive::BackupId;
use crate::archive::manifest::SourceFacts;
use crate::commands::backups;
use crate::error::Result;
use crate::postgres::Session;
use crate::store::Store;
use serde::Deserialize;

/// So many of the newest backups are looked at.
const LOOKED_AT: usize = 8;

#[derive(Debug, Deserialize)]
struct MayRow {
    may: bool,
}

#[derive(Debug, Deserialize)]
struct IdentifierRow {
    identifier: String,
}

/// What tells the server from others.
pub(super) async fn ask(session: &Session) -> Result<SourceFacts> {
    // The right is asked for first, for a refusal would end the transaction.
    let may: Vec<MayRow> = session
        .question("SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may")
        .await?;
    let mut identifiers: Vec<IdentifierRow> = Vec::new();
    if may.iter().all(|row| row.may) {
        let question =
            "SELECT c.system_identifier::pg_catalog.text AS identifier FROM pg_catalog.pg_control_system() c";
        identifiers = session.question(question).await?;
    }
    let (host, port) = session.settings().place();
    Ok(SourceFacts { system_identifier: identifiers.pop().map(|row| row.identifier), host, port })
}

/// A warning where the newest backups of a database of this name are another server's. Whoever may write, but not read, does not
/// hear of it.
pub(super) async fn others(store: &dyn Store, database: &str, own: &BackupId, source: &SourceFacts) -> Option<String> {
    let look = async {
        let mut places = backups::places_of(store, database).await?;
        places.retain(|place| place.id != *own);
        places.truncate(LOOKED_AT);
        backups::with_sources(store, &places).await
    };
    let found = match look.await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "cannot see whether the folder holds backups of another server");
            return None;
        }
    };
    let other = found.into_iter().filter_map(|(_, other)| other).find(|other| !other.is_same_server(source))?;
    Some(format!(
        "the folder of database {database} holds backups of another server, too ({other}); this one is {source}: prune and \
         list keep them apart, and latest asks which; a prefix of its own for each server is better"
    ))
}
