//! Asking a server whether it has a locale. Only the server knows, so it is asked to use it and everything is undone.

use crate::archive::script::{leading_literal, leading_name};
use crate::error::{Error, Kind, Result};
use crate::model::literal;
use crate::postgres::Session;
use serde::Deserialize;

/// SQLSTATEs of refusals that say nothing about a locale: insufficient privilege, read-only transaction.
const NOT_ABOUT_LOCALES: [&str; 2] = ["42501", "25006"];

/// What came of an attempt.
pub(super) enum Tried {
    /// The server has the locale. The version of what sorts by it, where the server tells.
    Known(Option<String>),
    /// It has not, and says why.
    Refused(String),
    /// It refused for another reason, which proves nothing.
    NotAsked,
}

#[derive(Debug, Deserialize)]
struct VersionRow {
    version: Option<String>,
}

/// What a collation is made from (PostgreSQL documentation, `CREATE COLLATION`).
const SETTINGS: [&str; 7] = ["provider", "locale", "lc_collate", "lc_ctype", "deterministic", "rules", "version"];

/// Makes a collation of these settings under a name of its own that goes again at once. The settings come from an archive, so
/// they are written anew: known names, and values between quotes.
pub(super) async fn try_collation(session: &Session, settings: &[(String, String)]) -> Result<Tried> {
    let known = settings.iter().filter(|(name, _)| SETTINGS.contains(&name.as_str()));
    let written: Vec<String> = known.map(|(name, value)| format!("{name} = {}", literal(value))).collect();
    let attempt = format!("BEGIN; CREATE COLLATION pg_temp.pgstow_tries ({})", written.join(", "));
    if let Some(tried) = attempted(session, &attempt).await? {
        return Ok(tried);
    }
    let versions: Result<Vec<VersionRow>> = session
        .question(
            "SELECT pg_catalog.pg_collation_actual_version(c.oid) AS version FROM pg_catalog.pg_collation c
WHERE c.collname = 'pgstow_tries' AND c.collnamespace = pg_catalog.pg_my_temp_schema()",
        )
        .await;
    session.execute("ROLLBACK").await?;
    Ok(Tried::Known(versions?.into_iter().find_map(|row| row.version)))
}

/// Sets one of the session's own locales to this one of the C library, which any user may, whatever the database's encoding:
/// that `CREATE DATABASE` asks the library in the same way (`check_locale`, `pg_locale.c`) is what makes it a proof.
pub(super) async fn try_libc(session: &Session, locale: &str) -> Result<Tried> {
    let attempt = format!("BEGIN; SET LOCAL lc_time = {}", literal(locale));
    if let Some(tried) = attempted(session, &attempt).await? {
        return Ok(tried);
    }
    session.execute("ROLLBACK").await?;
    Ok(Tried::Known(None))
}

/// Runs statements that begin a transaction, which stays open; nothing when they went well.
async fn attempted(session: &Session, attempt: &str) -> Result<Option<Tried>> {
    let Err(error) = session.execute(attempt).await else { return Ok(None) };
    if error.kind() != Kind::Database {
        return Err(error);
    }
    session.execute("ROLLBACK").await?;
    Ok(Some(if is_about_locales(&error) { Tried::Refused(error.message().to_owned()) } else { Tried::NotAsked }))
}

fn is_about_locales(error: &Error) -> bool {
    Session::sqlstate(error).is_some_and(|state| !NOT_ABOUT_LOCALES.contains(&state))
}

/// The options of `a = b, c = 'd'`, with or without commas, names as they stand, values without quotes. What cannot be
/// read ends the list.
pub(super) fn options(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', ',', '\n']);
        let Some((name, after)) = leading_name(rest) else { return found };
        let Some(after) = after.trim_start().strip_prefix('=') else { return found };
        let after = after.trim_start();
        let Some((value, after)) = leading_literal(after).or_else(|| leading_name(after)) else { return found };
        found.push((name, value));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn options_are_read_as_databases_and_collations_have_them() {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(
            options("TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = 'it''s' TABLESPACE = \"fast \"\"disk\";\n"),
            own(&[
                ("TEMPLATE", "template0"),
                ("ENCODING", "UTF8"),
                ("LC_COLLATE", "it's"),
                ("TABLESPACE", "fast \"disk")
            ])
        );
        assert_eq!(
            options("provider = icu, deterministic = false, locale = E'a\\\\b', rules = '& V << w')"),
            own(&[("provider", "icu"), ("deterministic", "false"), ("locale", "a\\b"), ("rules", "& V << w")])
        );
        assert_eq!(options("a = 'never ends"), []);
        assert_eq!(options(""), []);
    }
}
