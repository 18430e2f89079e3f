//! Roles: their attributes, comments, labels, and passwords where the server lets us read them. `pg_authid`.

use super::{Label, Part, Statement, remarks};
use crate::model::{Question, ident, literal};
use serde::Deserialize;

/// Every role but the predefined ones, which each version brings along. `pg_roles` is `pg_authid` for everybody, without
/// passwords.
pub const QUESTION: Question = Question(
    "SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS createrole,
r.rolcreatedb AS createdb, r.rolcanlogin AS login, r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
r.rolconnlimit AS connection_limit, r.rolvaliduntil::pg_catalog.text AS valid_until,
pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('provider', l.provider, 'label', l.label) ORDER BY l.provider)
FROM pg_catalog.pg_shseclabel l
WHERE l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND l.objoid = r.oid) AS labels
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY r.rolname",
);

/// Whether the session may read passwords: on most managed services nobody may.
pub const PASSWORDS_READABLE: Question = Question(
    "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT') AS readable,
CURRENT_USER::pg_catalog.text AS role",
);

/// The passwords as the server keeps them. To be asked only where [`PASSWORDS_READABLE`] says yes.
pub const PASSWORDS: Question = Question(
    "SELECT a.rolname AS name, a.rolpassword AS password
FROM pg_catalog.pg_authid a
WHERE a.rolname !~ '^pg_' AND a.rolpassword IS NOT NULL
ORDER BY a.rolname",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    name: String,
    superuser: bool,
    inherit: bool,
    createrole: bool,
    createdb: bool,
    login: bool,
    replication: bool,
    bypassrls: bool,
    /// -1 is no limit.
    connection_limit: i32,
    valid_until: Option<String>,
    comment: Option<String>,
    labels: Option<Vec<Label>>,
}

/// The one row of [`PASSWORDS_READABLE`].
#[derive(Debug, Clone, Deserialize)]
pub struct Readable {
    /// The session may read them.
    pub readable: bool,
    /// The session's role.
    pub role: String,
}

/// One row of [`PASSWORDS`]. Without `Debug`, for it holds a hash.
#[derive(Clone, Deserialize)]
pub struct PasswordRow {
    name: String,
    password: String,
}

/// For each role the statement that makes it, the one that gives a role of that name the same attributes, and remarks.
///
/// The first says only what a new role would not have anyway: who is no superuser may not even mention some attributes.
pub fn statements(rows: &[Row]) -> Vec<Statement> {
    let mut statements = Vec::new();
    for row in rows {
        let role = ident(&row.name);
        let with = if row.unusual().is_empty() { "" } else { " WITH" };
        statements.push(Statement::new(Part::Roles, format!("CREATE ROLE {role}{with}{};", row.unusual())));
        statements.push(Statement::new(Part::Roles, format!("ALTER ROLE {role} WITH{};", row.attributes())));
        statements.extend(remarks(
            &format!("ROLE {role}"),
            row.comment.as_deref(),
            row.labels.as_deref().unwrap_or_default(),
        ));
    }
    statements
}

/// One statement for each role that has a password.
pub fn passwords(rows: &[PasswordRow]) -> Vec<Statement> {
    rows.iter()
        .map(|row| {
            let text = format!("ALTER ROLE {} PASSWORD {};", ident(&row.name), literal(&row.password));
            Statement::new(Part::Passwords, text)
        })
        .collect()
}

impl Row {
    /// Every attribute that is yes or no, whether a new role has it, and its word.
    fn flags(&self) -> [(bool, bool, &'static str); 7] {
        [
            (self.superuser, false, "SUPERUSER"),
            (self.inherit, true, "INHERIT"),
            (self.createrole, false, "CREATEROLE"),
            (self.createdb, false, "CREATEDB"),
            (self.login, false, "LOGIN"),
            (self.replication, false, "REPLICATION"),
            (self.bypassrls, false, "BYPASSRLS"),
        ]
    }

    /// All attributes, a space before each.
    fn attributes(&self) -> String {
        let flags = self.flags().map(|(has, _, word)| format!(" {}{word}", if has { "" } else { "NO" }));
        format!("{} CONNECTION LIMIT {}{}", flags.concat(), self.connection_limit, self.validity())
    }

    /// Those that a new role does not have.
    fn unusual(&self) -> String {
        let flags = self.flags().map(|(has, usual, word)| match has {
            _ if has == usual => String::new(),
            true => format!(" {word}"),
            false => format!(" NO{word}"),
        });
        let limit = match self.connection_limit {
            -1 => String::new(),
            limit => format!(" CONNECTION LIMIT {limit}"),
        };
        flags.concat() + &limit + &self.validity()
    }

    fn validity(&self) -> String {
        self.valid_until.as_ref().map(|moment| format!(" VALID UNTIL {}", literal(moment))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{PasswordRow, Row, passwords, statements};
    use crate::globals::texts;

    fn row(json: &str) -> Row {
        serde_json::from_str(json).expect("a row of the question's shape")
    }

    #[test]
    fn a_role_is_made_by_what_is_unusual_and_altered_by_everything() {
        let ann = row(r#"{"name":"Ann's","superuser":false,"inherit":false,"createrole":false,"createdb":true,
            "login":true,"replication":false,"bypassrls":false,"connection_limit":3,
            "valid_until":"2030-01-01 00:00:00+00","comment":"it's Ann","labels":[{"provider":"p","label":"l"}]}"#);
        assert_eq!(
            texts(&statements(&[ann])),
            [
                "CREATE ROLE \"Ann's\" WITH NOINHERIT CREATEDB LOGIN CONNECTION LIMIT 3 VALID UNTIL '2030-01-01 00:00:00+00';",
                "ALTER ROLE \"Ann's\" WITH NOSUPERUSER NOINHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION NOBYPASSRLS \
                 CONNECTION LIMIT 3 VALID UNTIL '2030-01-01 00:00:00+00';",
                "COMMENT ON ROLE \"Ann's\" IS 'it''s Ann';",
                "SECURITY LABEL FOR p ON ROLE \"Ann's\" IS 'l';",
            ]
        );
    }

    #[test]
    fn a_role_without_anything_unusual_is_just_made() {
        let bob = row(r#"{"name":"bob","superuser":false,"inherit":true,"createrole":false,"createdb":false,
            "login":false,"replication":false,"bypassrls":false,"connection_limit":-1,"valid_until":null,
            "comment":null,"labels":null}"#);
        let statements = statements(&[bob]);
        assert_eq!(texts(&statements)[0], "CREATE ROLE bob;");
    }

    #[test]
    fn a_password_has_a_statement_of_its_own() {
        let row = PasswordRow { name: "bob".to_owned(), password: "md5'".to_owned() };
        assert_eq!(texts(&passwords(&[row])), ["ALTER ROLE bob PASSWORD 'md5''';"]);
    }
}
