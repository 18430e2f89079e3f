//! Domains, with their constraints.
//!
//! A valid constraint is part of CREATE DOMAIN, unless a loop opens it: a check may call a function that takes the
//! domain.
//! A constraint that is NOT VALID is an object of its own after the data, for the data may violate it.

use super::words::{Named, Place};
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "domains", questions: &[QUESTION], objects };

/// From 17 on a domain's NOT NULL is a row of `pg_constraint` with a name of its own.
const QUESTION: Question = Question(
    "SELECT t.oid, t.typarray AS array_type, n.nspname AS schema, t.typname AS name,
  pg_get_userbyid(t.typowner) AS owner,
  format_type(t.typbasetype, t.typtypmod) AS base_type, t.typnotnull AS not_null,
  pg_get_expr(t.typdefaultbin, 0) AS default_expression,
  coalesce((SELECT json_agg(json_build_object('class', d.refclassid, 'object', d.refobjid))
    FROM pg_depend d
    WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND t.typdefaultbin IS NOT NULL AND d.deptype = 'n'
      AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass)), '[]') AS default_uses,
  (SELECT json_build_object('schema', cn.nspname, 'name', c.collname)
    FROM pg_collation c JOIN pg_namespace cn ON cn.oid = c.collnamespace
    WHERE c.oid = t.typcollation AND t.typcollation <> b.typcollation) AS collation,
  coalesce((SELECT json_agg(json_build_object('oid', c.oid, 'name', c.conname, 'kind', c.contype,
      'valid', c.convalidated, 'definition', pg_get_constraintdef(c.oid)) ORDER BY c.contype DESC, c.conname)
    FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype IN ('c', 'n')), '[]') AS constraints
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_type b ON b.oid = t.typbasetype
WHERE t.typtype = 'd' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.typname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    array_type: Oid,
    schema: String,
    name: String,
    owner: String,
    base_type: String,
    not_null: bool,
    default_expression: Option<String>,
    /// Functions, operators and sequences: only the default can need them.
    default_uses: Vec<Place>,
    collation: Option<Named>,
    constraints: Vec<Constraint>,
}

#[derive(Deserialize)]
struct Constraint {
    oid: Oid,
    name: String,
    /// `c` for a check, `n` for NOT NULL.
    kind: char,
    valid: bool,
    /// As `pg_get_constraintdef` writes it, NOT VALID included.
    definition: String,
}

impl Constraint {
    fn address(&self) -> Address {
        Address::new(class::CONSTRAINT, self.oid)
    }

    /// Made inside CREATE DOMAIN, and nowhere else.
    fn is_not_null(&self) -> bool {
        self.kind == 'n'
    }
}

impl Row {
    /// CREATE DOMAIN without its checks and its default; NOT NULL cannot be in a loop and stays.
    fn head(&self) -> String {
        let mut create = format!("CREATE DOMAIN {} AS {}", qualified(&self.schema, &self.name), self.base_type);
        if let Some(collation) = &self.collation {
            create.push_str(" COLLATE ");
            create.push_str(&collation.sql());
        }
        if let Some(constraint) = self.constraints.iter().find(|constraint| constraint.is_not_null()) {
            create.push_str(" CONSTRAINT ");
            create.push_str(&ident(&constraint.name));
        }
        if self.not_null {
            create.push_str(" NOT NULL");
        }
        create
    }

    /// CREATE DOMAIN with all that it can hold.
    fn whole(&self, checks: &[&Constraint]) -> String {
        let mut create = self.head();
        if let Some(expression) = &self.default_expression {
            create.extend([" DEFAULT ", expression]);
        }
        for check in checks {
            create.extend(["\n    CONSTRAINT ", &ident(&check.name), " ", &check.definition]);
        }
        create + ";\n"
    }

    /// The domain alone, then its default, then its checks: either may call a function that takes the domain.
    fn opened(&self, whole: &Item, checks: &[&Constraint]) -> Vec<Item> {
        let default_uses = words::addresses(&self.default_uses);
        let head = Item {
            create: self.head() + ";\n",
            provides: whole
                .provides
                .iter()
                .copied()
                .filter(|provided| !checks.iter().any(|check| check.address() == *provided))
                .collect(),
            ignores: default_uses.clone(),
            ..whole.clone()
        };
        let mut opened = vec![head];
        if let Some(expression) = &self.default_expression {
            let domain = qualified(&self.schema, &self.name);
            opened.push(Item {
                owner: Some(self.owner.clone()),
                create: format!("ALTER DOMAIN {domain} SET DEFAULT {expression};\n"),
                drop: format!("ALTER DOMAIN {domain} DROP DEFAULT;\n"),
                // A server cannot add a check to a domain whose default calls a function that takes the domain.
                needs: default_uses.into_iter().chain(checks.iter().map(|check| check.address())).collect(),
                ..Item::new("DEFAULT", Address::default(), Some(&self.schema), &self.name)
            });
        }
        opened.extend(checks.iter().map(|check| self.constraint_item(check)));
        opened
    }

    /// What adds or would add this constraint after the domain.
    fn constraint_item(&self, constraint: &Constraint) -> Item {
        let domain = qualified(&self.schema, &self.name);
        let name = ident(&constraint.name);
        let tag = format!("{} {}", self.name, constraint.name);
        Item {
            owner: Some(self.owner.clone()),
            create: format!("ALTER DOMAIN {domain}\n    ADD CONSTRAINT {name} {};\n", constraint.definition),
            drop: format!("ALTER DOMAIN {domain} DROP CONSTRAINT {name};\n"),
            ..Item::new("CHECK CONSTRAINT", constraint.address(), Some(&self.schema), tag)
        }
    }

    fn constraint_target(&self, constraint: &Constraint) -> Target {
        let name = ident(&constraint.name);
        Target {
            address: constraint.address(),
            on: format!("CONSTRAINT {name} ON DOMAIN {}", qualified(&self.schema, &self.name)),
            tag: format!("CONSTRAINT {name} ON DOMAIN {}", ident(&self.name)),
            grant: None,
            columns: None,
        }
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TYPE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let belongs = words::in_schema(&row.schema);
        let (inline, later): (Vec<_>, Vec<_>) = row.constraints.iter().partition(|c| c.valid || c.is_not_null());
        let checks: Vec<_> = inline.iter().copied().filter(|constraint| !constraint.is_not_null()).collect();
        let provides = words::addresses_in(class::TYPE, [row.oid, row.array_type]);
        let whole = Item {
            owner: Some(row.owner.clone()),
            create: row.whole(&checks),
            drop: format!("DROP DOMAIN {name};\n"),
            provides: provides.into_iter().chain(inline.iter().map(|constraint| constraint.address())).collect(),
            ..Item::new("DOMAIN", address, Some(&row.schema), &row.name)
        };

        let mut target = words::target(address, "DOMAIN", Some(&row.schema), &ident(&row.name));
        // Privileges on a domain are granted as on a type.
        target.grant = Some(Grantable { on: format!("TYPE {name}"), owner: row.owner.clone() });
        let opened =
            if checks.is_empty() && row.default_uses.is_empty() { Vec::new() } else { row.opened(&whole, &checks) };
        let mut domain = Object { opened: opened.into(), ..Object::simple(whole, belongs.clone()) }.with_target(target);
        domain.targets.extend(inline.iter().map(|constraint| row.constraint_target(constraint)));
        objects.push(domain);

        for constraint in later {
            let item = Item { section: Section::PostData, ..row.constraint_item(constraint) };
            objects.push(Object::simple(item, belongs.clone()).with_target(row.constraint_target(constraint)));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::model::Section;
    use crate::objects::answers;

    fn row() -> String {
        serde_json::json!({
            "oid": "1", "array_type": "2", "schema": "s", "name": "D", "owner": "o", "base_type": "integer",
            "not_null": true, "default_expression": "s.f()", "default_uses": [{"class": "1255", "object": "9"}],
            "collation": null,
            "constraints": [
                {"oid": "3", "name": "n n", "kind": "n", "valid": true, "definition": "NOT NULL"},
                {"oid": "4", "name": "c", "kind": "c", "valid": true, "definition": "CHECK ((VALUE > 0))"},
                {"oid": "5", "name": "late", "kind": "c", "valid": false, "definition": "CHECK ((VALUE < 9)) NOT VALID"},
            ],
        })
        .to_string()
    }

    #[test]
    fn a_check_that_is_not_valid_waits_for_the_data() {
        let objects = objects(&answers(&[row()])).expect("the row has the right shape");
        let [domain, check] = objects.as_slice() else { panic!("a domain and a check") };
        assert_eq!(
            domain.whole.create,
            "CREATE DOMAIN s.\"D\" AS integer CONSTRAINT \"n n\" NOT NULL DEFAULT s.f()\n    \
             CONSTRAINT c CHECK ((VALUE > 0));\n"
        );
        assert_eq!(
            check.whole.create,
            "ALTER DOMAIN s.\"D\"\n    ADD CONSTRAINT late CHECK ((VALUE < 9)) NOT VALID;\n"
        );
        assert_eq!((check.whole.section, check.whole.tag.as_str()), (Section::PostData, "D late"));
        assert_eq!(domain.targets.len() + check.targets.len(), 4, "the domain and each constraint can have a comment");
    }

    #[test]
    fn what_opens_provides_what_the_whole_provides() {
        let objects = objects(&answers(&[row()])).expect("the row has the right shape");
        let mut provided: Vec<_> = objects[0].opened.items().iter().flat_map(|item| item.provides.clone()).collect();
        let mut whole = objects[0].whole.provides.clone();
        provided.sort_unstable();
        whole.sort_unstable();
        assert_eq!(provided, whole);
        assert_eq!(
            objects[0].opened.items()[0].create,
            "CREATE DOMAIN s.\"D\" AS integer CONSTRAINT \"n n\" NOT NULL;\n"
        );
    }
}
