//! Which tables' rows can go in binary, and how: the types of their columns in the target.

use super::choose::Plan;
use crate::archive::script::leading_name;
use crate::error::Result;
use crate::model::literal;
use crate::postgres::Session;
use crate::stream::binary::{Element, Receiver};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How rows are sent, by the id of their entry; those of other entries go as text.
pub(super) type Receivers = HashMap<i32, Arc<[Receiver]>>;

/// Every type but rows and pseudo-types, and the C functions of its input and of its binary input where they are the server's own
/// (language `internal`).
const TYPES: &str = "
SELECT t.oid, t.typtype = 'd' AS is_domain, t.typbasetype AS base, t.typelem AS element, t.typdelim = ',' AS has_commas,
  i.prosrc AS input, r.prosrc AS receive
FROM pg_catalog.pg_type t
LEFT JOIN pg_catalog.pg_proc i ON i.oid = t.typinput AND i.prolang = 12
LEFT JOIN pg_catalog.pg_proc r ON r.oid = t.typreceive AND r.prolang = 12
WHERE t.typtype IN ('b', 'd', 'e')";

#[derive(Debug, Deserialize)]
struct TypeRow {
    oid: u32,
    is_domain: bool,
    base: u32,
    element: u32,
    has_commas: bool,
    input: Option<String>,
    receive: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ColumnRow {
    schema: String,
    table: String,
    name: String,
    r#type: u32,
}

/// The columns of tables; views and foreign tables may do with rows what they like.
fn columns_question(schemas: &BTreeSet<String>) -> String {
    let schemas: Vec<String> = schemas.iter().map(|schema| literal(schema)).collect();
    format!(
        "SELECT n.nspname AS schema, c.relname AS table, a.attname AS name, a.atttypid AS type
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname IN ({})",
        schemas.join(", ")
    )
}

/// Asks the target, in which the tables are by now.
pub(super) async fn receivers(session: &Session, plan: &Plan) -> Result<Receivers> {
    let loads: Vec<(i32, Target)> = plan
        .steps
        .iter()
        .filter(|step| step.data.is_some())
        .filter_map(|step| Some((step.entry.id, Target::of(step.entry.copy.as_deref()?)?)))
        .collect();
    let schemas: BTreeSet<String> = loads.iter().map(|(_, target)| target.schema.clone()).collect();
    if schemas.is_empty() {
        return Ok(Receivers::new());
    }
    let types = Types(session.question::<TypeRow>(TYPES).await?.into_iter().map(|row| (row.oid, row)).collect());
    let mut columns: HashMap<(String, String), HashMap<String, u32>> = HashMap::new();
    for row in session.question::<ColumnRow>(&columns_question(&schemas)).await? {
        columns.entry((row.schema, row.table)).or_default().insert(row.name, row.r#type);
    }
    let mut found = Receivers::new();
    for (id, target) in loads {
        let Some(of_table) = columns.get(&(target.schema, target.table)) else { continue };
        let receiver = |column: &String| types.receiver(*of_table.get(column)?, 0);
        if let Some(receivers) = target.columns.iter().map(receiver).collect::<Option<Vec<_>>>() {
            found.insert(id, receivers.into());
        }
    }
    Ok(found)
}

struct Types(HashMap<u32, TypeRow>);

/// Domains over domains, arrays of arrays by way of domains: nobody has so many, and a damaged catalog might have a circle.
const DEEPEST: usize = 32;

impl Types {
    fn receiver(&self, oid: u32, depth: usize) -> Option<Receiver> {
        let row = self.0.get(&oid).filter(|_| depth < DEEPEST)?;
        if row.is_domain {
            // `domain_recv` takes what the base type takes.
            return self.receiver(row.base, depth + 1);
        }
        match (row.input.as_deref()?, row.receive.as_deref()?) {
            ("array_in", "array_recv") => {
                let receiver = self.receiver(row.element, depth + 1)?;
                let is_plain = !matches!(receiver, Receiver::Array(_)) && self.0.get(&row.element)?.has_commas;
                is_plain.then(|| Receiver::Array(Box::new(Element { oid: row.element, receiver })))
            }
            (input, receive) => Receiver::of(input, receive),
        }
    }
}

/// What a COPY statement of an archive says.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    schema: String,
    table: String,
    columns: Vec<String>,
}

impl Target {
    /// Nothing for statements that say more, such as an encoding, or do not say their columns.
    fn of(copy: &str) -> Option<Self> {
        let text = copy.trim_end().strip_suffix(" FROM stdin;")?.strip_prefix("COPY ")?;
        let (schema, rest) = leading_name(text)?;
        let (table, rest) = leading_name(rest.strip_prefix('.')?)?;
        let mut rest = rest.strip_prefix(" (")?;
        let mut columns = Vec::new();
        loop {
            let (column, after) = leading_name(rest)?;
            columns.push(column);
            match after.strip_prefix(", ") {
                Some(next) => rest = next,
                None if after == ")" => return Some(Target { schema, table, columns }),
                None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Element, Receiver, Target, TypeRow, Types};

    #[test]
    fn a_copy_statement_is_read_whatever_its_names_are() {
        let found = Target::of("COPY \"s.\"\"\".\"t (a) FROM stdin;\" (id, \"b, \"\"c)\") FROM stdin;\n");
        let (schema, table) = ("s.\"".to_owned(), "t (a) FROM stdin;".to_owned());
        assert_eq!(found, Some(Target { schema, table, columns: vec!["id".to_owned(), "b, \"c)".to_owned()] }));
        for copy in [
            "COPY s.t FROM stdin;",
            "COPY t (a) FROM stdin;",
            "COPY s.t (a) FROM stdin WITH (ENCODING 'LATIN1');",
            "COPY s.t (a FROM stdin;",
            "INSERT INTO s.t VALUES (1);",
        ] {
            assert_eq!(Target::of(copy), None, "{copy}");
        }
    }

    fn row(oid: u32, is_domain: bool, base: u32, element: u32, functions: &str) -> (u32, TypeRow) {
        let (input, receive) = (Some(format!("{functions}in")), Some(format!("{functions}recv")));
        (oid, TypeRow { oid, is_domain, base, element, has_commas: true, input, receive })
    }

    #[test]
    fn domains_are_their_base_and_arrays_their_elements() {
        let types = Types(
            [
                row(1, false, 0, 0, "int4"),
                row(2, true, 1, 0, "domain_"),
                row(3, false, 0, 2, "array_"),
                row(4, true, 3, 0, "domain_"),
                row(5, false, 0, 4, "array_"),
                row(6, true, 6, 0, "domain_"),
                row(7, false, 0, 0, "tsvector"),
                row(8, false, 0, 7, "array_"),
            ]
            .into(),
        );
        let array = Receiver::Array(Box::new(Element { oid: 2, receiver: Receiver::Int4 }));
        let found: Vec<_> = (1..=9).map(|oid| types.receiver(oid, 0)).collect();
        let expected = [Some(Receiver::Int4), Some(Receiver::Int4), Some(array.clone()), Some(array)];
        assert_eq!(found[..4], expected);
        assert_eq!(found[4..], [None, None, None, None, None]);
    }
}
