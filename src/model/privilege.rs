//! Privileges as nouns: what one access list has that another has not, said as GRANT and REVOKE.
//!
//! Shared by the facet of the same name and by default privileges, which word the statements differently.

use super::name::ident;
use serde::Deserialize;

/// One privilege of one grantee: a row of `aclexplode()` with role names instead of oids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Grant {
    /// The role that has it, unquoted; `None` is PUBLIC.
    pub grantee: Option<String>,
    /// The role that gave it, unquoted; `None` is the owner.
    pub grantor: Option<String>,
    /// The word that GRANT knows it by, such as `SELECT`.
    pub privilege: String,
    /// Whether the grantee may pass it on.
    pub grantable: bool,
}

/// An access list, the list that a fresh object starts with, and whose object it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessList<'a> {
    /// The owner's role name, unquoted.
    pub owner: &'a str,
    /// Every privilege that the object can have on the server that was asked; all of them together are called `ALL`.
    pub every: &'a [String],
    /// What holds now, in the order of the array in the catalog: who passes on a grant option comes after who gave it.
    pub current: &'a [Grant],
    /// What holds right after the object was made.
    pub baseline: &'a [Grant],
}

/// The words around the privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording<'a> {
    /// What stands before GRANT and REVOKE, with a space at its end; empty, or `ALTER DEFAULT PRIVILEGES ... `.
    pub prefix: &'a str,
    /// What stands after ON, quoted: `TABLE public.t`, `TABLES`.
    pub on: &'a str,
    /// The column, unquoted, where the privileges are a column's.
    pub column: Option<&'a str>,
}

/// The rows of one `aclitem`: same grantee, same grantor.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    grantee: Option<&'a str>,
    grantor: &'a str,
    plain: Vec<&'a str>,
    grantable: Vec<&'a str>,
}

impl<'a> AccessList<'a> {
    /// The statements that turn the baseline into the current list, each on its line; empty when they are the same.
    ///
    /// Whole entries are compared: one that differs in a single privilege is taken away and given again, which is the
    /// only way to take back a grant option too. Takings come first, then what the owner grants to herself (without it
    /// she could not pass anything on), then the rest in the list's order.
    pub fn statements(&self, wording: Wording<'_>) -> String {
        let current = self.entries(self.current);
        let baseline = self.entries(self.baseline);
        let mut taken = String::new();
        for entry in baseline.iter().filter(|entry| !current.contains(entry)) {
            let privileges = self.words(entry.plain.iter().chain(&entry.grantable), wording.column);
            taken += &format!(
                "{}REVOKE {privileges} ON {} FROM {};\n",
                wording.prefix,
                wording.on,
                role_or_public(entry.grantee)
            );
        }
        let (mut owners, mut others) = (String::new(), String::new());
        for entry in current.iter().filter(|entry| !baseline.contains(entry)) {
            let by_owner = entry.grantor == self.owner;
            let text = if by_owner && entry.grantee == Some(self.owner) { &mut owners } else { &mut others };
            if !by_owner {
                *text += &format!("SET SESSION AUTHORIZATION {};\n", ident(entry.grantor));
            }
            for (privileges, option) in [(&entry.plain, ""), (&entry.grantable, " WITH GRANT OPTION")] {
                if !privileges.is_empty() {
                    *text += &format!(
                        "{}GRANT {} ON {} TO {}{option};\n",
                        wording.prefix,
                        self.words(privileges.iter(), wording.column),
                        wording.on,
                        role_or_public(entry.grantee)
                    );
                }
            }
            if !by_owner {
                *text += "RESET SESSION AUTHORIZATION;\n";
            }
        }
        taken + &owners + &others
    }

    /// Rows of the same `aclitem` follow one another, for `aclexplode()` keeps the array's order.
    fn entries<'g>(&self, grants: &'g [Grant]) -> Vec<Entry<'g>>
    where
        'a: 'g,
    {
        let owner: &'g str = self.owner;
        let mut entries: Vec<Entry<'g>> = Vec::new();
        for grant in grants {
            let grantee = grant.grantee.as_deref();
            let grantor = grant.grantor.as_deref().unwrap_or(owner);
            if entries.last().is_none_or(|last| (last.grantee, last.grantor) != (grantee, grantor)) {
                entries.push(Entry { grantee, grantor, plain: Vec::new(), grantable: Vec::new() });
            }
            if let Some(entry) = entries.last_mut() {
                let list = if grant.grantable { &mut entry.grantable } else { &mut entry.plain };
                list.push(&grant.privilege);
            }
        }
        entries
    }

    /// `ALL`, or the privileges joined by commas; each with the column behind it where there is one.
    fn words<'w>(&self, privileges: impl Iterator<Item = &'w &'w str> + Clone, column: Option<&str>) -> String {
        let column = column.map(|name| format!("({})", ident(name))).unwrap_or_default();
        let all = self.every.iter().all(|word| privileges.clone().any(|have| have == word));
        if all && !self.every.is_empty() {
            return format!("ALL{column}");
        }
        privileges.map(|word| format!("{word}{column}")).collect::<Vec<_>>().join(",")
    }
}

fn role_or_public(role: Option<&str>) -> String {
    role.map_or_else(|| "PUBLIC".to_owned(), ident)
}

#[cfg(test)]
mod tests {
    use super::{AccessList, Grant, Wording};

    /// `grantee=privileges/grantor`, a star after a privilege that may be passed on; an empty grantee is PUBLIC.
    fn grants(text: &str) -> Vec<Grant> {
        let mut grants = Vec::new();
        for entry in text.split_whitespace() {
            let (grantee, rest) = entry.split_once('=').expect("grantee=");
            let (privileges, grantor) = rest.split_once('/').expect("/grantor");
            for word in privileges.split(',') {
                grants.push(Grant {
                    grantee: (!grantee.is_empty()).then(|| grantee.to_owned()),
                    grantor: Some(grantor.to_owned()),
                    privilege: word.trim_end_matches('*').to_owned(),
                    grantable: word.ends_with('*'),
                });
            }
        }
        grants
    }

    fn check(baseline: &str, current: &str, column: Option<&str>, expected: &str) {
        let every = ["SELECT".to_owned(), "INSERT".to_owned()];
        let list = AccessList { owner: "ann", every: &every, current: &grants(current), baseline: &grants(baseline) };
        assert_eq!(list.statements(Wording { prefix: "", on: "TABLE s.t", column }), expected);
    }

    #[test]
    fn an_unchanged_list_says_nothing() {
        check("ann=SELECT,INSERT/ann", "ann=SELECT,INSERT/ann", None, "");
    }

    #[test]
    fn what_is_new_is_granted_and_all_is_said_when_it_is_all() {
        check(
            "ann=SELECT,INSERT/ann",
            "ann=SELECT,INSERT/ann bob=SELECT,INSERT/ann =SELECT/ann",
            None,
            "GRANT ALL ON TABLE s.t TO bob;\nGRANT SELECT ON TABLE s.t TO PUBLIC;\n",
        );
    }

    #[test]
    fn an_owner_who_gave_up_a_privilege_of_hers_loses_it_again() {
        check(
            "ann=SELECT,INSERT/ann",
            "ann=SELECT/ann",
            None,
            "REVOKE ALL ON TABLE s.t FROM ann;\nGRANT SELECT ON TABLE s.t TO ann;\n",
        );
        check("ann=SELECT,INSERT/ann", "", None, "REVOKE ALL ON TABLE s.t FROM ann;\n");
    }

    #[test]
    fn a_grant_by_another_role_is_given_in_her_name_after_hers() {
        check(
            "ann=SELECT,INSERT/ann",
            "ann=SELECT,INSERT/ann bob=SELECT*,INSERT/ann Eve=SELECT/bob",
            None,
            "GRANT INSERT ON TABLE s.t TO bob;\nGRANT SELECT ON TABLE s.t TO bob WITH GRANT OPTION;\n\
             SET SESSION AUTHORIZATION bob;\nGRANT SELECT ON TABLE s.t TO \"Eve\";\nRESET SESSION AUTHORIZATION;\n",
        );
    }

    #[test]
    fn a_columns_privileges_name_the_column() {
        check("", "bob=SELECT/ann", Some("a b"), "GRANT SELECT(\"a b\") ON TABLE s.t TO bob;\n");
        check("", "bob=SELECT,INSERT/ann", Some("a"), "GRANT ALL(a) ON TABLE s.t TO bob;\n");
    }
}
