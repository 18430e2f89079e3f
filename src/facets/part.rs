//! What facets are about though no kind describes it: things that the server makes along with others, such as a partition's
//! copy of a trigger, a partition's part of a foreign key, a TOAST table and its index.
//!
//! Some get the same name again when what they came with is made again; the facets of those come along. What is named by a
//! number cannot be found in a copy, and is said to be left out.

use crate::model::{Address, Oid, Question, ServerVersion, Target, ident, one_line, qualified};
use serde::Deserialize;

/// Stands in [`QUESTION`] for the rows `(class, object, column)` that are asked about.
const WANTED: &str = "(VALUES (0, 0, 0))";

/// One row for each, without those of temporary schemas. `holders` is all that it came with, directly or not, extensions
/// included. `origin` is what makes it under this very name in every copy.
///
/// A child's check has a row of its own and no dependency on its parent's, which makes it.
const QUESTION: Question = Question(
    "WITH RECURSIVE wanted(class, object, sub) AS (
SELECT w.a::pg_catalog.oid, w.b::pg_catalog.oid, w.c FROM (VALUES (0, 0, 0)) AS w(a, b, c)
), chain AS (
SELECT DISTINCT w.class AS of_class, w.object AS of_object, w.class, w.object FROM wanted w
UNION
SELECT c.of_class, c.of_object, d.refclassid, d.refobjid
FROM chain c JOIN pg_catalog.pg_depend d ON d.classid = c.class AND d.objid = c.object AND d.objsubid = 0
WHERE d.deptype IN ('i', 'a', 'e', 'I', 'P', 'S') OR d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
), placed AS (
SELECT w.*, h.holders, h.temporary FROM wanted w CROSS JOIN LATERAL (
SELECT pg_catalog.json_agg(pg_catalog.json_build_object('class', c.class, 'object', c.object)) AS holders,
COALESCE(pg_catalog.bool_or(c.class = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND c.object IN (
SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^pg_(toast_)?temp_')), false) AS temporary
FROM chain c WHERE c.of_class = w.class AND c.of_object = w.object AND (c.class, c.object) <> (w.class, w.object)) h
), original AS (
SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass::pg_catalog.oid AS class, t.oid AS object, 'TRIGGER' AS word, o.oid AS origin,
t.tgname AS name, t.tgrelid AS relation
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_trigger o ON o.tgname = t.tgname
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = t.oid
AND d.refclassid = d.classid AND d.refobjid = o.oid AND d.deptype IN ('P', 'I')
WHERE t.oid IN (SELECT object FROM wanted)
UNION ALL
SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, 'CONSTRAINT', o.oid, k.conname, k.conrelid
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_constraint o ON o.conname = k.conname AND (o.oid = k.conparentid
OR k.contype IN ('c', 'n') AND o.contype = k.contype AND o.conrelid IN (
SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = k.conrelid))
WHERE k.oid IN (SELECT object FROM wanted) AND k.conrelid <> 0
)
SELECT DISTINCT ON (p.class, p.object, p.sub) p.class, p.object, p.sub, p.holders,
pg_catalog.pg_describe_object(p.class, p.object, p.sub) AS description,
o.origin, o.word, o.name, n.nspname AS schema, c.relname AS table_name
FROM placed p LEFT JOIN original o ON o.class = p.class AND o.object = p.object AND p.sub = 0
LEFT JOIN pg_catalog.pg_class c ON c.oid = o.relation LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT p.temporary
ORDER BY p.class, p.object, p.sub, o.origin",
);

/// One row of the answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    class: Oid,
    object: Oid,
    sub: i32,
    holders: Option<Vec<Holder>>,
    /// `pg_describe_object`; `None` when it was dropped since the snapshot.
    description: Option<String>,
    origin: Option<Oid>,
    word: Option<String>,
    name: Option<String>,
    schema: Option<String>,
    table_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Holder {
    class: Oid,
    object: Oid,
}

/// The question about these.
pub fn question(wanted: &[Address], version: ServerVersion) -> String {
    let rows: Vec<String> =
        wanted.iter().map(|address| format!("({}, {}, {})", address.class, address.object, address.sub)).collect();
    QUESTION.for_server(version).replace(WANTED, &format!("(VALUES {})", rows.join(", ")))
}

/// A target that is made along with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How it is named.
    pub target: Target,
    /// The schema of its table, unquoted.
    pub schema: String,
    /// Its bare name, unquoted.
    pub name: String,
    /// All of these must be there first.
    pub holders: Vec<Address>,
}

impl Row {
    /// What it is about.
    pub fn address(&self) -> Address {
        Address { class: self.class, object: self.object, sub: self.sub }
    }

    /// What it came with, directly or not.
    pub fn holders(&self) -> impl Iterator<Item = Address> + Clone {
        self.holders.iter().flatten().map(|holder| Address::new(holder.class, holder.object))
    }

    /// What makes it under its name again; `None` where the server names it by a number.
    pub fn origin(&self) -> Option<Address> {
        self.origin.map(|origin| Address::new(self.class, origin))
    }

    /// For reports: `trigger tr on table p1`.
    pub fn description(&self) -> String {
        one_line(self.description.as_deref().unwrap_or("something that is gone"))
    }

    /// The part, where it has its name in every copy.
    pub fn part(&self) -> Option<Part> {
        let (word, name) = (self.word.as_deref()?, self.name.as_deref()?);
        let (schema, table) = (self.schema.as_deref()?, self.table_name.as_deref()?);
        let origin = self.origin()?;
        let target = Target {
            address: self.address(),
            on: format!("{word} {} ON {}", ident(name), qualified(schema, table)),
            tag: format!("{word} {} ON {}", ident(name), ident(table)),
            grant: None,
            columns: None,
        };
        let holders = std::iter::once(origin).chain(self.holders()).collect();
        Some(Part { target, schema: schema.to_owned(), name: name.to_owned(), holders })
    }
}

#[cfg(test)]
mod tests {
    use super::{Holder, Row, question};
    use crate::model::{Address, Oid, ServerVersion, class};

    #[test]
    fn what_is_asked_about_stands_in_the_question() {
        let wanted = [Address::column(Oid(5), 2), Address::new(class::TRIGGER, Oid(7))];
        let text = question(&wanted, ServerVersion(180_000));
        assert!(text.contains("FROM (VALUES (1259, 5, 2), (2620, 7, 0)) AS w"), "{text}");
    }

    #[test]
    fn a_part_is_named_by_its_table_and_comes_after_what_makes_it() {
        let text = |text: &str| Some(text.to_owned());
        let row = Row {
            class: class::TRIGGER,
            object: Oid(7),
            sub: 0,
            holders: Some(vec![Holder { class: class::RELATION, object: Oid(5) }]),
            description: text("trigger T on table p1"),
            origin: Some(Oid(6)),
            word: text("TRIGGER"),
            name: text("T"),
            schema: text("s"),
            table_name: text("p1"),
        };
        let part = row.part().expect("a part");
        assert_eq!(
            (part.target.on.as_str(), part.target.tag.as_str()),
            ("TRIGGER \"T\" ON s.p1", "TRIGGER \"T\" ON p1")
        );
        assert_eq!(part.holders, [Address::new(class::TRIGGER, Oid(6)), Address::new(class::RELATION, Oid(5))]);
        assert_eq!(Row { origin: None, ..row }.part(), None);
    }
}
