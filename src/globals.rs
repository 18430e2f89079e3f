//! What belongs to a server and not to one database: roles, memberships, tablespaces, privileges on parameters.
//!
//! May import: error, model. Always true here: pure functions from rows to [`Statement`]s, one file a kind; the order of
//! the statements is the order in which they can run; whatever may hold a password hash is a [`Secret`].
//!
//! The statements together are `globals.sql`, a script for psql as much as for `pgstow restore --globals`. What
//! `pg_dumpall --globals-only` keeps is in it (`src/bin/pg_dump/pg_dumpall.c`), and settings for all roles besides.

pub mod membership;
pub mod parameter;
pub mod role;
pub mod setting;
pub mod tablespace;

use crate::model::{Secret, ident, literal};
use serde::Deserialize;

/// What a statement is about, so that it can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A role, its attributes, its settings, its memberships.
    Roles,
    /// A role's password.
    Passwords,
    /// A tablespace, its options and its owner.
    Tablespaces,
    /// A privilege on a tablespace or a parameter.
    Privileges,
    /// A comment.
    Comments,
    /// A security label.
    Labels,
}

/// A statement, or the few that belong together, each ending in `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it is about.
    pub part: Part,
    /// The text, without a line break at its end.
    pub sql: Secret,
}

impl Statement {
    fn new(part: Part, sql: impl Into<String>) -> Self {
        Statement { part, sql: Secret::new(sql) }
    }
}

/// A security label on a role or a tablespace.
#[derive(Debug, Clone, Deserialize)]
struct Label {
    provider: String,
    label: String,
}

/// `COMMENT ON` and `SECURITY LABEL ON`, for `ROLE x` or `TABLESPACE x`.
fn remarks(on: &str, comment: Option<&str>, labels: &[Label]) -> Vec<Statement> {
    let comment = comment.map(|text| Statement::new(Part::Comments, format!("COMMENT ON {on} IS {};", literal(text))));
    let labels = labels.iter().map(|Label { provider, label }| {
        let text = format!("SECURITY LABEL FOR {} ON {on} IS {};", ident(provider), literal(label));
        Statement::new(Part::Labels, text)
    });
    comment.into_iter().chain(labels).collect()
}

/// The script. `restrict_key` is a random word of letters and digits: psql takes commands of its own only from who knows
/// it, so that nothing a hostile server answered can make psql run a program.
pub fn script<'s>(statements: impl IntoIterator<Item = &'s Statement>, server: &str, restrict_key: &str) -> Secret {
    let server: String = server.chars().filter(|c| !c.is_control()).collect();
    let mut text = format!(
        "--\n-- Roles, tablespaces and privileges of a PostgreSQL {server} server, by pgstow {}.\n--\n\
         -- That a role or a tablespace exists already is no reason to stop: the next statement alters it.\n--\n\n\
         \\restrict {restrict_key}\n\n\
         SET default_transaction_read_only = off;\n\
         SET client_encoding = 'UTF8';\n\
         SET standard_conforming_strings = on;\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for statement in statements {
        text.push_str(statement.sql.expose());
        text.push('\n');
    }
    text += &format!("\n\\unrestrict {restrict_key}\n");
    Secret::new(text)
}

#[cfg(test)]
fn texts(statements: &[Statement]) -> Vec<&str> {
    statements.iter().map(|statement| statement.sql.expose()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Part, Statement, script};

    #[test]
    fn nobody_sees_a_hash_by_printing_a_statement_or_the_script() {
        let statement = Statement::new(Part::Passwords, "ALTER ROLE a PASSWORD 'SCRAM-SHA-256$4096';");
        let script = script([&statement], "18.4", "key");
        assert!(script.expose().contains("SCRAM"));
        assert!(!format!("{statement:?} {script:?} {script}").contains("SCRAM"));
    }

    #[test]
    fn a_server_cannot_break_out_of_the_line_that_names_its_version() {
        let script = script([], "18.4\n\\! rm -rf /", "key");
        assert!(script.expose().lines().all(|line| !line.starts_with("\\!")));
    }
}
