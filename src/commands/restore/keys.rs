//! Primary keys and unique constraints of large tables in two pieces: the index, which takes long and lets others build theirs,
//! and the constraint over it, which takes the table for itself for a moment. Pure.
//!
//! Source: PostgreSQL documentation, "ALTER TABLE", `ADD table_constraint_using_index`.

use crate::archive::script::leading_name;

/// The statements of the pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Builds the index under the constraint's name.
    pub(super) index: String,
    /// Makes it the constraint's.
    pub(super) constraint: String,
}

/// Takes a key apart; nothing where it says more than its columns, for what else there is (INCLUDE, DEFERRABLE, parameters of
/// storage) is its own affair.
pub(super) fn pieces(desc: &str, create: &str) -> Option<Pieces> {
    if desc != "CONSTRAINT" {
        return None;
    }
    let start = "ALTER TABLE ONLY ";
    let text = create.trim_end().strip_suffix(';')?;
    let named = text.strip_prefix(start)?;
    let (_, rest) = leading_name(named)?;
    let (_, rest) = leading_name(rest.strip_prefix('.')?)?;
    let table = &named[..named.len() - rest.len()];
    let rest = rest.strip_prefix("\n    ADD CONSTRAINT ")?;
    let (_, after) = leading_name(rest)?;
    let name = &rest[..rest.len() - after.len()];
    let kind = ["PRIMARY KEY", "UNIQUE"].into_iter().find(|kind| after[1.min(after.len())..].starts_with(kind))?;
    let columns = after.strip_prefix(' ')?.strip_prefix(kind)?.strip_prefix(' ')?;
    let mut rest = columns.strip_prefix('(')?;
    loop {
        let (_, after) = leading_name(rest)?;
        match after.strip_prefix(", ") {
            Some(next) => rest = next,
            None if after == ")" => break,
            None => return None,
        }
    }
    Some(Pieces {
        index: format!("CREATE UNIQUE INDEX {name} ON {table} USING btree {columns};"),
        constraint: format!("{start}{table}\n    ADD CONSTRAINT {name} {kind} USING INDEX {name};"),
    })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn a_plain_key_is_an_index_and_a_constraint_over_it() {
        let create =
            "ALTER TABLE ONLY s.\"a ADD CONSTRAINT\"\n    ADD CONSTRAINT \"k\"\" (\" PRIMARY KEY (id, \"b)\");\n";
        let found = pieces("CONSTRAINT", create).expect("pieces");
        assert_eq!(found.index, "CREATE UNIQUE INDEX \"k\"\" (\" ON s.\"a ADD CONSTRAINT\" USING btree (id, \"b)\");");
        let constraint = "ALTER TABLE ONLY s.\"a ADD CONSTRAINT\"\n    ADD CONSTRAINT \"k\"\" (\" PRIMARY KEY USING INDEX \"k\"\" (\";";
        assert_eq!(found.constraint, constraint);
        let unique = pieces("CONSTRAINT", "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT u UNIQUE (a);").expect("pieces");
        assert_eq!(unique.constraint, "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT u UNIQUE USING INDEX u;");
    }

    #[test]
    fn a_key_that_says_more_stays_whole() {
        for rest in [
            "PRIMARY KEY (id) INCLUDE (b)",
            "PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED",
            "PRIMARY KEY (id, at WITHOUT OVERLAPS)",
            "UNIQUE NULLS NOT DISTINCT (id)",
            "UNIQUE (id) WITH (fillfactor='70')",
            "CHECK ((id > 0))",
            "EXCLUDE USING gist (id WITH =)",
            "PRIMARY KEY",
            "",
        ] {
            assert_eq!(
                pieces("CONSTRAINT", &format!("ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k {rest};\n")),
                None,
                "{rest}"
            );
        }
        assert_eq!(pieces("CHECK CONSTRAINT", "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k PRIMARY KEY (id);"), None);
    }
}
