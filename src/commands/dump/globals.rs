//! `globals.sql`: what belongs to the server, beside the database's own backup.

use super::DumpOptions;
use crate::archive::keys;
use crate::archive::manifest::{Globals, Passwords};
use crate::archive::script::restrict_key;
use crate::catalog::read_globals;
use crate::commands::transfer::Destination;
use crate::error::Result;
use crate::globals;
use crate::postgres::Session;
use bytes::Bytes;

/// Reads it in the leader's snapshot and writes it; what the user should know comes with it.
pub(super) async fn write(
    options: &DumpOptions,
    leader: &Session,
    destination: &Destination,
) -> Result<(Option<Globals>, Vec<String>)> {
    let Some(wanted) = options.globals else { return Ok((None, Vec::new())) };
    let found = destination.stop.unless(read_globals(leader, wanted)).await?;
    let script = globals::script(&found.statements, &leader.version().to_string(), &restrict_key());
    let bytes = Bytes::copy_from_slice(script.expose().as_bytes());
    let part = destination.part_size(bytes.len() as u64);
    let object = destination.write(keys::globals_key(), part, futures::stream::iter([Ok(bytes)])).await?;
    let passwords = match (wanted.passwords, found.with_passwords) {
        (false, _) => Passwords::LeftOut,
        (true, true) => Passwords::Included,
        (true, false) => Passwords::NotReadable,
    };
    let globals = Globals { object, roles: found.roles, tablespaces: found.tablespaces, passwords };
    Ok((Some(globals), found.warnings))
}
