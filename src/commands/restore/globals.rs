//! Roles, tablespaces and the like, before the database that needs them: from `globals.sql` into the target's server.
//!
//! What is there already is altered instead of made. No error, log or plan shows a password's hash: [`Step::shown`] is all
//! that leaves this file.

use super::failures::Failures;
use super::{RestoreOptions, Words, connect};
use crate::archive::keys;
use crate::archive::script::{keyword, leading_name, statements};
use crate::commands::Stop;
use crate::commands::source::Source;
use crate::error::{Error, Kind, Result};
use crate::model::{Secret, ident};
use serde::Deserialize;
use std::collections::HashSet;

/// A script larger than this is not one of ours.
const SCRIPT_LIMIT: u64 = 1 << 30;

/// The targets' roles and tablespaces.
const EXISTING: &str = "SELECT 'ROLE' AS kind, r.rolname AS name FROM pg_catalog.pg_roles r
UNION ALL SELECT 'TABLESPACE', t.spcname FROM pg_catalog.pg_tablespace t";

/// What of the server's objects is restored.
#[derive(Debug, Clone, Copy)]
pub struct GlobalsChoice {
    /// Nothing else is restored.
    pub only: bool,
    /// The passwords of roles.
    pub passwords: bool,
    /// Tablespaces.
    pub tablespaces: bool,
    /// Comments.
    pub comments: bool,
    /// Security labels.
    pub labels: bool,
    /// Privileges on tablespaces and parameters.
    pub privileges: bool,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default)]
pub struct GlobalsReport {
    /// Every chosen statement, without passwords.
    pub statements: Vec<String>,
    /// What was made: `role ann`, `tablespace fast`. Empty in a plan.
    pub made: Vec<String>,
    /// What was there already and was altered. Empty in a plan.
    pub altered: Vec<String>,
}

/// The statements that will run.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    sql: Secret,
    /// The statement without its password.
    shown: String,
    /// `ROLE` or `TABLESPACE` and the name, where the statement is about one.
    about: Option<(&'static str, String)>,
}

impl Step {
    fn of(statement: &str) -> Self {
        let shown = match keyword(statement, "PASSWORD") {
            Some(at) => format!("{}PASSWORD ***", &statement[..at]),
            None => statement.to_owned(),
        };
        let about = ["TABLESPACE", "ROLE"].into_iter().find_map(|kind| {
            let at = keyword(statement, kind)?;
            Some((kind, leading_name(statement[at + kind.len()..].trim_start())?.0))
        });
        Step { sql: Secret::new(statement), shown, about }
    }

    fn wanted(&self, choice: GlobalsChoice) -> bool {
        let statement = self.sql.expose();
        let says = |word| keyword(statement, word).is_some();
        // A membership has no ON; the session's role changes for grants on behalf of others only.
        let privilege = statement.starts_with("SET SESSION AUTHORIZATION ")
            || statement.starts_with("RESET ")
            || ((statement.starts_with("GRANT ") || statement.starts_with("REVOKE ")) && says("ON"));
        (choice.tablespaces || !says("TABLESPACE"))
            && (choice.passwords || !says("PASSWORD"))
            && (choice.comments || !statement.starts_with("COMMENT "))
            && (choice.labels || !statement.starts_with("SECURITY LABEL "))
            && (choice.privileges || !privilege)
    }

    /// For messages: `role ann`.
    fn label(&self) -> String {
        match &self.about {
            Some((kind, name)) => format!("{} {}", kind.to_lowercase(), ident(name)),
            None => keys::globals_key().to_owned(),
        }
    }
}

impl Plan {
    /// The names of this kind, `ROLE` or `TABLESPACE`, that will be there.
    pub(super) fn makes(&self, kind: &'static str) -> impl Iterator<Item = String> {
        let about = self.steps.iter().filter_map(|step| step.about.as_ref());
        about.filter(move |(of, _)| *of == kind).map(|(_, name)| name.clone())
    }

    /// What it would do.
    pub(super) fn report(&self) -> GlobalsReport {
        let statements = self.steps.iter().map(|step| step.shown.clone()).collect();
        GlobalsReport { statements, ..GlobalsReport::default() }
    }
}

/// Reads the backup's script and chooses.
///
/// Errors: [`Kind::Archive`] where the backup has none, or it is damaged.
pub(super) async fn plan(source: &Source, choice: GlobalsChoice) -> Result<Plan> {
    let Some(globals) = source.manifest.as_ref().and_then(|manifest| manifest.globals.as_ref()) else {
        return Err(Error::new(Kind::Archive, "the backup has no roles and tablespaces")
            .on(source.name())
            .hint("restore without --globals, or dump again without --no-globals"));
    };
    let key = format!("{}{}", source.origin.folder, globals.object.key);
    let script = source.origin.read_whole(&(&globals.object).into(), SCRIPT_LIMIT).await?;
    let script = String::from_utf8(script)
        .map_err(|_| Error::new(Kind::Archive, "the script is not valid UTF-8").on(key.clone()))?;
    let statements = statements(&script).map_err(|error| error.on(key))?;
    let steps = statements.into_iter().map(Step::of).filter(|step| step.wanted(choice)).collect();
    Ok(Plan { steps })
}

#[derive(Deserialize)]
struct ExistingRow {
    kind: String,
    name: String,
}

/// Runs the plan on a session of its own, for the script changes settings and the session's role.
pub(super) async fn run(
    plan: &Plan,
    options: &RestoreOptions,
    words: &Words,
    failures: &mut Failures,
    stop: &Stop,
) -> Result<GlobalsReport> {
    let session = stop.unless(connect(&options.connection, words)).await?;
    let existing: Vec<ExistingRow> = stop.unless(session.question(EXISTING)).await?;
    let existing: HashSet<(String, String)> = existing.into_iter().map(|row| (row.kind, row.name)).collect();
    let mut report = plan.report();
    for step in &plan.steps {
        let sql = step.sql.expose();
        if let Some((kind, name)) = &step.about {
            let is_there = existing.contains(&((*kind).to_owned(), name.clone()));
            let makes = sql.starts_with("CREATE ");
            if makes && is_there {
                report.altered.push(step.label());
                continue;
            }
            // What was just made has these attributes, and who is no superuser may not even repeat them.
            if !is_there && *kind == "ROLE" && sql.starts_with(&format!("ALTER ROLE {} WITH ", ident(name))) {
                continue;
            }
        }
        match stop.unless(session.execute(sql)).await {
            Ok(()) if sql.starts_with("CREATE ") => report.made.push(step.label()),
            Ok(()) => {}
            Err(error) => failures.add(explain(error, step).on(step.label()), &step.shown)?,
        }
    }
    session.close().await;
    Ok(report)
}

fn explain(error: Error, step: &Step) -> Error {
    if step.sql.expose().starts_with("CREATE TABLESPACE ") {
        return error.hint(
            "make the directory on the target's server, owned by its user and empty, or restore with --no-tablespaces",
        );
    }
    error.hint("roles are for a superuser to restore; --keep-going goes on with what is allowed")
}

#[cfg(test)]
mod tests {
    use super::{GlobalsChoice, Step};

    const ALL: GlobalsChoice = GlobalsChoice {
        only: false,
        passwords: true,
        tablespaces: true,
        comments: true,
        labels: true,
        privileges: true,
    };

    #[test]
    fn a_password_is_never_shown() {
        for name in ["bob", "\"it's PASSWORD 'x'\""] {
            let step = Step::of(&format!("ALTER ROLE {name} PASSWORD 'SCRAM-SHA-256$4096:abc'"));
            assert_eq!(step.shown, format!("ALTER ROLE {name} PASSWORD ***"));
            assert!(!format!("{step:?}").contains("SCRAM"));
        }
        // As pg_dumpall writes it.
        let stock = Step::of("ALTER ROLE bob WITH LOGIN PASSWORD 'md5abc' VALID UNTIL 'infinity'");
        assert_eq!(stock.shown, "ALTER ROLE bob WITH LOGIN PASSWORD ***");
    }

    #[test]
    fn a_statement_is_left_out_by_what_it_is_about() {
        let wanted = |sql: &str, choice| Step::of(sql).wanted(choice);
        for (sql, without) in [
            ("ALTER ROLE a PASSWORD 'x'", GlobalsChoice { passwords: false, ..ALL }),
            ("ALTER TABLESPACE t OWNER TO a", GlobalsChoice { tablespaces: false, ..ALL }),
            ("GRANT ALL ON TABLESPACE t TO a", GlobalsChoice { tablespaces: false, ..ALL }),
            ("COMMENT ON ROLE a IS 'x'", GlobalsChoice { comments: false, ..ALL }),
            ("SECURITY LABEL FOR p ON ROLE a IS 'x'", GlobalsChoice { labels: false, ..ALL }),
            ("GRANT SET ON PARAMETER work_mem TO a", GlobalsChoice { privileges: false, ..ALL }),
            ("SET SESSION AUTHORIZATION a", GlobalsChoice { privileges: false, ..ALL }),
        ] {
            assert!(wanted(sql, ALL) && !wanted(sql, without), "{sql}");
        }
        let least = GlobalsChoice {
            only: false,
            passwords: false,
            tablespaces: false,
            comments: false,
            labels: false,
            privileges: false,
        };
        for sql in
            ["CREATE ROLE \"PASSWORD TABLESPACE\"", "GRANT \"ON\" TO b WITH ADMIN OPTION", "ALTER ROLE a SET x TO 'y'"]
        {
            assert!(wanted(sql, least), "{sql}");
        }
    }

    #[test]
    fn a_statement_is_named_by_its_role_or_tablespace() {
        assert_eq!(Step::of("CREATE ROLE \"A b\" WITH LOGIN").label(), "role \"A b\"");
        assert_eq!(Step::of("CREATE TABLESPACE t OWNER a LOCATION ''").label(), "tablespace t");
        assert_eq!(Step::of("GRANT a TO b").label(), "globals.sql");
    }
}
