//! Settings of roles in every database, and of every role. `pg_db_role_setting`, where it names no database: settings for
//! one database belong to that (`objects/database.rs`).

use super::{Part, Statement};
use crate::model::{Question, ident, set_clause};
use serde::Deserialize;

/// Every setting; `role` is absent where it is for all roles. `pg_dumpall` forgets those.
pub const QUESTION: Question = Question(
    "SELECT r.rolname AS role, s.setconfig AS settings
FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = 0 AND (s.setrole = 0 OR (r.oid IS NOT NULL AND r.rolname !~ '^pg_'))
ORDER BY r.rolname NULLS FIRST",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    role: Option<String>,
    /// Each `name=value`.
    settings: Vec<String>,
}

/// One statement a setting. They run when all roles are there, for a setting may name one.
pub fn statements(rows: &[Row]) -> Vec<Statement> {
    let mut statements = Vec::new();
    for row in rows {
        let role = row.role.as_deref().map_or_else(|| "ALL".to_owned(), ident);
        for clause in row.settings.iter().filter_map(|setting| set_clause(setting)) {
            statements.push(Statement::new(Part::Roles, format!("ALTER ROLE {role} {clause};")));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::{Row, statements};
    use crate::globals::texts;

    #[test]
    fn a_setting_is_a_roles_or_everybodys() {
        let row = |role: Option<&str>| Row {
            role: role.map(str::to_owned),
            settings: vec!["search_path=app, \"$user\"".to_owned()],
        };
        assert_eq!(
            texts(&statements(&[row(None), row(Some("all"))])),
            [
                "ALTER ROLE ALL SET search_path TO 'app', '$user';",
                "ALTER ROLE \"all\" SET search_path TO 'app', '$user';"
            ]
        );
    }
}
