//! Domains, with their constraints.
//!
//! A valid constraint is part of CREATE DOMAIN, unless a loop opens it: a check may call a function that takes the domain.
//! A constraint that is NOT VALID is an object of its own after the data, for the data may violate it.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "domains", question: QUESTION, objects };

/// From 17 on a domain's NOT NULL is a row of `pg_constraint` with a name of its own.
const QUESTION: Question = Question(
    "SELECT t.oid, t.typarray AS array_type, n.nspname AS schema, t.typname AS name, pg_get_userbyid(t.typowner) AS owner,
  format_type(t.typbasetype, t.typtypmod) AS base_type, t.typnotnull AS not_null,
  pg_get_expr(t.typdefaultbin, 0) AS default_expression,
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
    /// CREATE DOMAIN without its checks; NOT NULL cannot be in a loop and stays.
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
        if let Some(expression) = &self.default_expression {
            create.push_str(" DEFAULT ");
            create.push_str(expression);
        }
        create
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

fn objects(rows: &[String]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TYPE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let belongs = words::in_schema(&row.schema);
        let (inline, later): (Vec<_>, Vec<_>) = row.constraints.iter().partition(|c| c.valid || c.is_not_null());
        let checks: Vec<_> = inline.iter().copied().filter(|constraint| !constraint.is_not_null()).collect();
        let head = Item {
            owner: Some(row.owner.clone()),
            create: format!("{};\n", row.head()),
            drop: format!("DROP DOMAIN {name};\n"),
            provides: words::addresses_in(class::TYPE, [row.oid, row.array_type])
                .into_iter()
                .chain(inline.iter().filter(|constraint| constraint.is_not_null()).map(|c| c.address()))
                .collect(),
            ..Item::new("DOMAIN", address, Some(&row.schema), &row.name)
        };
        let mut whole = head.clone();
        whole.create = row.head();
        for check in &checks {
            let line = format!("\n    CONSTRAINT {} {}", ident(&check.name), check.definition);
            whole.create.push_str(&line);
            whole.provides.push(check.address());
        }
        whole.create.push_str(";\n");

        let mut target = words::target(address, "DOMAIN", Some(&row.schema), &ident(&row.name));
        // Privileges on a domain are granted as on a type.
        target.grant = Some(Grantable { on: format!("TYPE {name}"), owner: row.owner.clone() });
        let mut domain = Object::simple(whole, belongs.clone()).with_target(target);
        if !checks.is_empty() {
            domain.opened.push(head);
            domain.opened.extend(checks.iter().map(|check| row.constraint_item(check)));
        }
        domain.targets.extend(inline.iter().map(|constraint| row.constraint_target(constraint)));
        objects.push(domain);

        for constraint in later {
            let item = Item { section: Section::PostData, ..row.constraint_item(constraint) };
            objects.push(Object::simple(item, belongs.clone()).with_target(row.constraint_target(constraint)));
        }
        Ok(())
    })
}
