//! Comments: `pg_description`, and `pg_shdescription` for the database itself.

use super::{Facets, Subjects};
use crate::model::{Address, Oid, Question, literal};
use serde::Deserialize;

/// Every comment on something that initdb did not make (large objects may have any number), and on schema `public`, which every database starts with: there
/// the standard comment is left out, and a removed one is said to be empty, so that the target loses its own. An extension
/// gets its comment from its control file when it is made, so one whose comment was removed says that too.
pub const QUESTION: Question = Question(
    "SELECT d.classoid AS class, d.objoid AS object, d.objsubid AS sub, a.typelem AS element, d.description AS comment
FROM pg_catalog.pg_description d
LEFT JOIN pg_catalog.pg_type a ON d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND a.oid = d.objoid
AND EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = a.typelem AND e.typarray = a.oid)
WHERE (d.objoid >= 16384 OR d.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass)
AND NOT (d.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
AND d.objoid IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'))
UNION ALL
SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid, n.oid, 0, NULL, COALESCE(d.description, '')
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_description d
ON d.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.objoid = n.oid AND d.objsubid = 0
WHERE n.nspname = 'public' AND d.description IS DISTINCT FROM 'standard public schema'
UNION ALL
SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid, 0, NULL, ''
FROM pg_catalog.pg_extension e
WHERE e.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_description d
WHERE d.classoid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.objoid = e.oid)
AND (SELECT a.comment FROM pg_catalog.pg_available_extensions a WHERE a.name = e.extname) IS NOT NULL
UNION ALL
SELECT d.classoid, d.objoid, 0, NULL, d.description
FROM pg_catalog.pg_shdescription d
JOIN pg_catalog.pg_database b ON b.oid = d.objoid AND b.datname = pg_catalog.current_database()
WHERE d.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
ORDER BY 1, 2, 3",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    class: Oid,
    object: Oid,
    sub: i32,
    /// What it is an array of, where it is the array that came with a type.
    element: Option<Oid>,
    comment: String,
}

impl Row {
    /// What it is about.
    pub fn address(&self) -> Address {
        Address { class: self.class, object: self.object, sub: self.sub }
    }
}

/// One `COMMENT` entry for each row that has a subject.
pub fn items(rows: &[Row], subjects: &Subjects<'_>) -> Facets {
    let mut facets = Facets::default();
    // Nearly every object of a well-kept database may have one.
    facets.items.reserve(rows.len());
    for row in rows {
        let address = row.address();
        match subjects.find_or_array(address, row.element) {
            Some(place) => {
                let create = format!("COMMENT ON {} IS {};\n", place.on(), literal(&row.comment));
                facets.items.push(place.item("COMMENT", place.tag(), create));
            }
            None => facets.homeless.push(address),
        }
    }
    facets
}

#[cfg(test)]
mod tests {
    use super::{Row, items};
    use crate::facets::{Subjects, fixture};
    use crate::model::{Address, Oid, Section, class};

    fn row(object: u32, sub: i32, comment: &str) -> Row {
        Row { class: class::RELATION, object: Oid(object), sub, element: None, comment: comment.to_owned() }
    }

    #[test]
    fn a_comment_stands_beside_its_object_and_survives_quotes() {
        let objects = [fixture::table()];
        let facets = items(&[row(20_000, 0, "it's"), row(20_000, 3, "\\")], &Subjects::of(&objects));
        let [table, column] = facets.items.as_slice() else { panic!("two items: {facets:?}") };
        assert_eq!(table.create, "COMMENT ON TABLE \"S\".t IS 'it''s';\n");
        assert_eq!((table.tag.as_str(), table.section, table.schema.as_deref()), ("TABLE t", Section::None, Some("S")));
        assert_eq!(table.needs, [Address::new(class::RELATION, Oid(20_000))]);
        assert!(table.provides.is_empty());
        assert_eq!(column.create, "COMMENT ON COLUMN \"S\".t.\"odd name\" IS E'\\\\';\n");
        assert_eq!(column.tag, "COLUMN t.\"odd name\"");
    }

    #[test]
    fn a_comment_on_an_unknown_object_or_column_comes_back() {
        let objects = [fixture::table()];
        let facets = items(&[row(20_001, 0, "x"), row(20_000, 2, "x")], &Subjects::of(&objects));
        assert!(facets.items.is_empty());
        assert_eq!(facets.homeless.len(), 2);
    }
}
