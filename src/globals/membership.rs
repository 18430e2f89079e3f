//! Memberships of roles in roles. `pg_auth_members`.
//!
//! From 16 on each has a grantor, who must have been given ADMIN OPTION before, and options of its own. Earlier servers
//! did not keep grantors with care, so theirs are not said (`dumpRoleMembership`, `src/bin/pg_dump/pg_dumpall.c`).

use super::{Part, Statement};
use crate::error::{Error, Kind, Result};
use crate::model::{Question, ident};
use serde::Deserialize;
use std::collections::HashSet;

/// Every membership but those that initdb made. Role 10 is the one that initdb made: it grants where a superuser does,
/// and it may bear another name in the target, so it goes without saying.
pub const QUESTION: Question = Question(
    "SELECT r.rolname AS role, m.rolname AS member, g.rolname AS grantor, a.admin_option AS admin,
a.inherit_option AS inherit, a.set_option AS set -- <16: NULL::boolean AS inherit, NULL::boolean AS set
FROM pg_catalog.pg_auth_members a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
LEFT JOIN pg_catalog.pg_roles m ON m.oid = a.member
LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor AND g.oid <> 10 -- <16: LEFT JOIN pg_catalog.pg_roles g ON false
WHERE NOT (COALESCE(r.rolname, '') ~ '^pg_' AND COALESCE(m.rolname, '') ~ '^pg_')
ORDER BY r.rolname, m.rolname, g.rolname",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// Absent where it was dropped, which servers before 16 did not notice.
    role: Option<String>,
    /// The same.
    member: Option<String>,
    grantor: Option<String>,
    admin: bool,
    inherit: Option<bool>,
    set: Option<bool>,
}

/// The memberships in an order in which they can be granted, and how many name a role that no longer exists.
///
/// Errors: [`Kind::Database`] for grants whose grantors wait for one another, which the server does not let happen.
pub fn statements(rows: &[Row]) -> Result<(Vec<Statement>, u64)> {
    let mut statements = Vec::new();
    let mut lost = 0;
    for of_role in rows.chunk_by(|a, b| a.role == b.role) {
        let mut waiting: Vec<(&str, &str, &Row)> = Vec::new();
        for row in of_role {
            match (row.role.as_deref(), row.member.as_deref()) {
                (Some(role), Some(member)) => waiting.push((role, member, row)),
                _ => lost += 1,
            }
        }
        let mut admins: HashSet<&str> = HashSet::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|&(role, member, row)| {
                if row.grantor.as_deref().is_some_and(|grantor| !admins.contains(grantor)) {
                    return true;
                }
                if row.admin {
                    admins.insert(member);
                }
                statements.push(Statement::new(Part::Roles, grant(role, member, row)));
                false
            });
            if waiting.len() == before {
                let role = waiting[0].0;
                return Err(Error::new(Kind::Database, "the grantors of its memberships wait for one another")
                    .on(format!("role {}", ident(role)))
                    .hint("revoke one of the memberships and grant it as a superuser, or dump with --no-globals"));
            }
        }
    }
    Ok((statements, lost))
}

/// From 16 on every option is said, so that a membership that is there already gets the same ones.
fn grant(role: &str, member: &str, row: &Row) -> String {
    let word = |yes: bool| if yes { "TRUE" } else { "FALSE" };
    let options = match (row.inherit, row.set) {
        (Some(inherit), Some(set)) => {
            format!(" WITH ADMIN {}, INHERIT {}, SET {}", word(row.admin), word(inherit), word(set))
        }
        _ if row.admin => " WITH ADMIN OPTION".to_owned(),
        _ => String::new(),
    };
    let by = row.grantor.as_deref().map(|grantor| format!(" GRANTED BY {}", ident(grantor))).unwrap_or_default();
    format!("GRANT {} TO {}{options}{by};", ident(role), ident(member))
}

#[cfg(test)]
mod tests {
    use super::{Row, statements};
    use crate::globals::texts;

    fn row(role: &str, member: &str, grantor: Option<&str>, admin: bool) -> Row {
        let (role, member, grantor) = (Some(role.to_owned()), Some(member.to_owned()), grantor.map(str::to_owned));
        Row { role, member, grantor, admin, inherit: Some(true), set: Some(false) }
    }

    #[test]
    fn who_grants_has_been_given_the_right_before() {
        let rows = [
            row("staff", "ann", Some("eve"), true),
            row("staff", "bob", Some("ann"), false),
            row("staff", "eve", None, true),
            row("zoo", "bob", None, false),
        ];
        let (found, lost) = statements(&rows).expect("an order");
        assert_eq!(lost, 0);
        assert_eq!(
            texts(&found),
            [
                "GRANT staff TO eve WITH ADMIN TRUE, INHERIT TRUE, SET FALSE;",
                "GRANT staff TO ann WITH ADMIN TRUE, INHERIT TRUE, SET FALSE GRANTED BY eve;",
                "GRANT staff TO bob WITH ADMIN FALSE, INHERIT TRUE, SET FALSE GRANTED BY ann;",
                "GRANT zoo TO bob WITH ADMIN FALSE, INHERIT TRUE, SET FALSE;",
            ]
        );
    }

    #[test]
    fn an_old_server_has_no_options_but_one() {
        let old = |admin| Row { inherit: None, set: None, ..row("staff", "ann", None, admin) };
        let (found, _) = statements(&[old(true), old(false)]).expect("an order");
        assert_eq!(texts(&found), ["GRANT staff TO ann WITH ADMIN OPTION;", "GRANT staff TO ann;"]);
    }

    #[test]
    fn grantors_that_wait_for_one_another_are_an_error_that_names_the_role() {
        let rows = [row("staff", "ann", Some("bob"), true), row("staff", "bob", Some("ann"), true)];
        let error = statements(&rows).expect_err("no order");
        assert!(error.to_string().starts_with("role staff: "), "{error}");
    }

    #[test]
    fn a_membership_of_a_role_that_is_gone_is_counted() {
        let gone = Row { member: None, ..row("staff", "", None, false) };
        let (found, lost) = statements(&[gone]).expect("an order");
        assert_eq!((found.len(), lost), (0, 1));
    }
}
