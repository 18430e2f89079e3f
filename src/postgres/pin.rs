//! Pins a session's settings, so that what it reads and writes means the same on every server.
//!
//! Source: `setup_connection` in `src/bin/pg_dump/pg_dump.c`, `_doSetFixedOutputState` in
//! `src/bin/pg_dump/pg_backup_archiver.c`. Always by SET after login: poolers refuse startup parameters.

use super::session::Session;
use crate::error::Result;
use crate::model::{ServerVersion, literal};

/// What a session is for, which decides how it is pinned. There is no session that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// It asks: what the server writes becomes independent of the settings of roles and databases.
    Reads,
    /// It runs the statements of an archive, which are in this encoding.
    Writes {
        /// The name of the encoding, such as `UTF8`.
        encoding: &'a str,
    },
}

/// The first statement of every session, before any question. Who owns a database decides on the search path of those who
/// connect to it, and with an operator or a function of his own in that path he would run as whoever asks.
pub(super) const FIRST: &str = "SET search_path = ''";

/// The client encoding in which a dump reads a database, by the database's own: `UTF8`, or `SQL_ASCII`, whose bytes have no
/// meaning to convert by.
pub(super) fn reading_encoding(server_encoding: &str) -> &'static str {
    if server_encoding == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" }
}

/// The statements that pin a session.
pub(super) fn statements(version: ServerVersion, server_encoding: &str, purpose: Purpose<'_>) -> String {
    match purpose {
        Purpose::Reads => dump_statements(version, reading_encoding(server_encoding)),
        Purpose::Writes { encoding } => restore_statements(version, encoding),
    }
}

/// Lets a session that reads look into foreign tables, or not any more; as a rule it must not, for the same reason as views.
pub async fn allow_foreign_tables(session: &Session, allowed: bool) -> Result<()> {
    session.execute(&restriction(if allowed { "view" } else { "view, foreign-table" })).await
}

/// It came in minor releases of 12 to 16, so its presence decides, not the version.
fn restriction(kinds: &str) -> String {
    format!(
        "SELECT pg_catalog.set_config(name, {}, false) FROM pg_catalog.pg_settings \
         WHERE name = 'restrict_nonsystem_relation_kind'",
        literal(kinds)
    )
}

fn dump_statements(version: ServerVersion, encoding: &str) -> String {
    let mut statements = common_statements(version, encoding);
    statements.extend(
        [
            "SET DateStyle = 'ISO'",
            // So that the digest of a moment is the same wherever it is read; stock pg_dump leaves the zone as it is.
            "SET TimeZone = 'UTC'",
            "SET IntervalStyle = 'postgres'",
            "SET extra_float_digits = 3",
            "SET bytea_output = 'hex'",
            // Workers of one table must see its pages in the order they ask for them.
            "SET synchronize_seqscans = off",
            // And in the same order when they ask again on another connection.
            "SET max_parallel_workers_per_gather = 0",
            "SET quote_all_identifiers = off",
            // Questions over whole catalogs look expensive enough to be compiled, and then wait for the compiler.
            "SET jit = off",
        ]
        .map(str::to_owned),
    );
    // A hostile view must not run its functions when a table of its name was asked for (CVE-2024-7348).
    statements.push(restriction("view, foreign-table"));
    statements.join(";\n")
}

fn restore_statements(version: ServerVersion, encoding: &str) -> String {
    let mut statements = common_statements(version, encoding);
    statements.extend(
        [
            // What the dump wrote is read as it was written.
            "SET array_nulls = on",
            "SET DateStyle = 'ISO'",
            "SET IntervalStyle = 'postgres'",
            // Bodies may name what does not exist yet.
            "SET check_function_bodies = off",
            // Whole documents are content too, but not the other way round.
            "SET xmloption = content",
            // Nobody restores in order to write nothing; a database or a role may have it as its setting.
            "SET default_transaction_read_only = off",
            "SET transform_null_equals = off",
        ]
        .map(str::to_owned),
    );
    // Servers from 19 on have only the one kind of strings, and no such setting.
    if version.major() < 19 {
        statements.push("SET escape_string_warning = off".to_owned());
    }
    statements.push(patience(version));
    statements.join(";\n")
}

/// A vacuum that the server began by itself on a table just loaded is told to stop by whoever waits for the table, but only after
/// `deadlock_timeout` (`ProcSleep`, `proc.c`), a whole second as a rule for every index. Only some may set it.
fn patience(version: ServerVersion) -> String {
    let may = if version.major() >= 15 {
        "pg_catalog.has_parameter_privilege(name, 'SET')"
    } else {
        "(SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)"
    };
    format!(
        "SELECT pg_catalog.set_config(name, '{PATIENCE_MS}', false) FROM pg_catalog.pg_settings \
         WHERE name = 'deadlock_timeout' AND setting::pg_catalog.int4 > {PATIENCE_MS} AND {may}"
    )
}

/// Milliseconds after which a session that writes looks whom it waits for.
const PATIENCE_MS: u32 = 20;

/// What both directions need. An empty search path makes names mean one thing.
fn common_statements(version: ServerVersion, encoding: &str) -> Vec<String> {
    let mut statements: Vec<String> = [
        FIRST,
        "SET standard_conforming_strings = on",
        "SET client_min_messages = warning",
        // Rows that a policy hides are an error, not a smaller dump; COPY FROM fails under row security as well.
        "SET row_security = off",
        "SET statement_timeout = 0",
        "SET lock_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0",
        // A statement that fails must not end the session, nor one that waits fail for others that wrote.
        "SET exit_on_error = off",
        "SET default_transaction_isolation = 'read committed'",
        "SET default_transaction_deferrable = off",
    ]
    .map(str::to_owned)
    .into();
    statements.push(format!("SET client_encoding = {}", literal(encoding)));
    if version.major() >= 14 {
        statements.push("SET idle_session_timeout = 0".to_owned());
    }
    if version.major() >= 17 {
        statements.push("SET transaction_timeout = 0".to_owned());
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::{dump_statements, restore_statements};
    use crate::model::ServerVersion;

    #[test]
    fn timeouts_that_a_server_does_not_know_are_not_set() {
        for (version, idle, transaction) in [(120_022, false, false), (140_001, true, false), (170_000, true, true)] {
            for text in
                [dump_statements(ServerVersion(version), "UTF8"), restore_statements(ServerVersion(version), "UTF8")]
            {
                assert_eq!(text.contains("idle_session_timeout"), idle, "{version}");
                assert_eq!(text.contains("transaction_timeout"), transaction, "{version}");
            }
        }
    }

    #[test]
    fn an_encoding_is_quoted() {
        let text = restore_statements(ServerVersion(150_000), "x'; DROP TABLE t; --");
        assert!(text.contains("SET client_encoding = 'x''; DROP TABLE t; --'"), "{text}");
    }
}
