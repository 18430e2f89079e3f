//! Security labels: `pg_seclabel`, and `pg_shseclabel` for the database itself and for subscriptions.

use super::{Facets, Subjects};
use crate::model::{Address, Oid, Question, ident, literal};
use serde::Deserialize;

/// Every security label on something that initdb did not make (large objects may have any number). An ordinary role may not read `pg_subscription`, and then its
/// subscriptions are not dumped either.
pub const QUESTION: Question = Question(
    "SELECT l.classoid AS class, l.objoid AS object, l.objsubid AS sub, a.typelem AS element, l.provider, l.label
FROM pg_catalog.pg_seclabel l
LEFT JOIN pg_catalog.pg_type a ON l.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND a.oid = l.objoid
AND EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = a.typelem AND e.typarray = a.oid)
WHERE l.objoid >= 16384 OR l.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass
OR l.objoid IN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public')
UNION ALL
SELECT l.classoid, l.objoid, 0, NULL, l.provider, l.label
FROM pg_catalog.pg_shseclabel l
JOIN pg_catalog.pg_database b ON b.oid = l.objoid AND b.datname = pg_catalog.current_database()
WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
UNION ALL -- !subscriptions:
SELECT l.classoid, l.objoid, 0, NULL, l.provider, l.label -- !subscriptions:
FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_subscription s ON s.oid = l.objoid -- !subscriptions:
JOIN pg_catalog.pg_database b ON b.oid = s.subdbid AND b.datname = pg_catalog.current_database() -- !subscriptions:
WHERE l.classoid = 'pg_catalog.pg_subscription'::pg_catalog.regclass -- !subscriptions:
ORDER BY 1, 2, 3, 5",
);

/// One row of [`QUESTION`]: one provider's label on one object or column.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    class: Oid,
    object: Oid,
    sub: i32,
    /// What it is an array of, where it is the array that came with a type.
    element: Option<Oid>,
    provider: String,
    label: String,
}

impl Row {
    /// What it is about.
    pub fn address(&self) -> Address {
        Address { class: self.class, object: self.object, sub: self.sub }
    }
}

/// One `SECURITY LABEL` entry for each subject or column that has labels, all providers in it.
pub fn items(rows: &[Row], subjects: &Subjects<'_>) -> Facets {
    let mut facets = Facets::default();
    for same in rows.chunk_by(|a, b| (a.class, a.object, a.sub) == (b.class, b.object, b.sub)) {
        let address = same[0].address();
        let Some(place) = subjects.find_or_array(address, same[0].element) else {
            facets.homeless.push(address);
            continue;
        };
        let on = place.on();
        let create = same
            .iter()
            .map(|row| format!("SECURITY LABEL FOR {} ON {on} IS {};\n", ident(&row.provider), literal(&row.label)))
            .collect();
        facets.items.push(place.item("SECURITY LABEL", place.tag(), create));
    }
    facets
}

#[cfg(test)]
mod tests {
    use super::{Row, items};
    use crate::facets::{Subjects, fixture};
    use crate::model::{Oid, class};

    #[test]
    fn labels_of_several_providers_share_the_entry_of_their_object() {
        let row = |sub, provider: &str| Row {
            class: class::RELATION,
            object: Oid(20_000),
            sub,
            element: None,
            provider: provider.to_owned(),
            label: "it's".to_owned(),
        };
        let objects = [fixture::table()];
        let facets = items(&[row(0, "anon"), row(0, "SE"), row(1, "anon")], &Subjects::of(&objects));
        let texts: Vec<_> = facets.items.iter().map(|item| (item.tag.as_str(), item.create.as_str())).collect();
        assert_eq!(
            texts,
            [
                (
                    "TABLE t",
                    "SECURITY LABEL FOR anon ON TABLE \"S\".t IS 'it''s';\n\
                     SECURITY LABEL FOR \"SE\" ON TABLE \"S\".t IS 'it''s';\n"
                ),
                ("COLUMN t.id", "SECURITY LABEL FOR anon ON COLUMN \"S\".t.id IS 'it''s';\n"),
            ]
        );
    }
}
