//! Asks for what belongs to the server: roles, memberships, settings, tablespaces, privileges on parameters.

use super::selection::{Selection, Without};
use crate::error::{Error, Kind, Result};
use crate::globals::{Part, Statement, membership, parameter, role, setting, tablespace};
use crate::model::{Question, ident};
use crate::postgres::Session;
use serde::de::DeserializeOwned;

/// What of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalsWanted {
    /// The passwords of roles.
    pub passwords: bool,
    /// Tablespaces.
    pub tablespaces: bool,
    /// Comments on roles and tablespaces.
    pub comments: bool,
    /// Security labels on roles and tablespaces.
    pub labels: bool,
    /// Privileges on tablespaces and parameters.
    pub privileges: bool,
}

impl GlobalsWanted {
    /// What goes with a dump of these objects: what is left out there is left out here.
    pub fn beside(selection: &Selection, passwords: bool) -> Self {
        let wanted = |without| !selection.without.contains(&without);
        GlobalsWanted {
            passwords,
            tablespaces: wanted(Without::Tablespaces),
            comments: wanted(Without::Comments),
            labels: wanted(Without::SecurityLabels),
            privileges: wanted(Without::Privileges),
        }
    }

    fn part(self, part: Part) -> bool {
        match part {
            Part::Roles => true,
            Part::Passwords => self.passwords,
            Part::Tablespaces => self.tablespaces,
            Part::Privileges => self.privileges,
            Part::Comments => self.comments,
            Part::Labels => self.labels,
        }
    }
}

/// What the server holds of it.
#[derive(Debug)]
pub struct Globals {
    /// In the order in which they run.
    pub statements: Vec<Statement>,
    /// How many roles.
    pub roles: u64,
    /// How many tablespaces.
    pub tablespaces: u64,
    /// The passwords are among the statements.
    pub with_passwords: bool,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Reads it all, in a number of questions that does not grow with the number of roles.
pub async fn read_globals(session: &Session, wanted: GlobalsWanted) -> Result<Globals> {
    let mut warnings = Vec::new();
    let roles: Vec<role::Row> = ask(session, &role::QUESTION, "roles").await?;
    let mut statements = role::statements(&roles);
    let mut with_passwords = false;
    if wanted.passwords {
        let readable: Vec<role::Readable> = ask(session, &role::PASSWORDS_READABLE, "roles").await?;
        with_passwords = readable.iter().all(|answer| answer.readable);
        if with_passwords {
            let rows: Vec<role::PasswordRow> = ask(session, &role::PASSWORDS, "passwords of roles").await?;
            statements.extend(role::passwords(&rows));
        } else {
            let role = readable.first().map(|answer| ident(&answer.role)).unwrap_or_default();
            warnings.push(format!("the passwords of roles are not in the backup, for role {role} may not read them"));
        }
    }
    let settings: Vec<setting::Row> = ask(session, &setting::QUESTION, "settings of roles").await?;
    statements.extend(setting::statements(&settings));
    let memberships: Vec<membership::Row> = ask(session, &membership::QUESTION, "memberships").await?;
    let (granted, lost) = membership::statements(&memberships)?;
    statements.extend(granted);
    if lost > 0 {
        warnings.push(format!("{lost} memberships name a role that no longer exists, and are left out"));
    }
    let parameters: Vec<parameter::Row> = ask(session, &parameter::QUESTION, "privileges on parameters").await?;
    statements.extend(parameter::statements(&parameters));
    let mut tablespaces: Vec<tablespace::Row> = Vec::new();
    if wanted.tablespaces {
        tablespaces = ask(session, &tablespace::QUESTION, "tablespaces").await?;
        statements.extend(tablespace::statements(&tablespaces));
    }
    statements.retain(|statement| wanted.part(statement.part));
    Ok(Globals {
        statements,
        roles: roles.len() as u64,
        tablespaces: tablespaces.len() as u64,
        with_passwords,
        warnings,
    })
}

/// A question whose answer may hold a secret, so that an answer of another shape is an error that does not quote it.
async fn ask<R: DeserializeOwned>(session: &Session, question: &Question, what: &str) -> Result<Vec<R>> {
    let rows = session.rows(&question.for_server(session.version())).await;
    let rows = rows.map_err(|error| error.on(format!("reading {what}")).hint("--no-globals dumps without them"))?;
    let read: std::result::Result<Vec<R>, _> = rows.read().collect();
    read.map_err(|_| {
        Error::new(Kind::Internal, "an answer does not have the shape that its question promises")
            .on(format!("reading {what}"))
    })
}
