//! What goes when an extension is dropped, though the extension did not make it: `ALTER ... DEPENDS ON EXTENSION`.
//!
//! A second statement of the object's own entry and no entry of its own (`append_depends_on_extension`,
//! `src/bin/pg_dump/pg_dump.c`).

use crate::model::{Address, AddressMap, Object, Oid, Question, ident};
use serde::Deserialize;

/// Every such tie of something that initdb did not make.
pub const QUESTION: Question = Question(
    "SELECT d.classid AS class, d.objid AS object, e.extname AS extension
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'x' AND d.objid >= 16384
ORDER BY 1, 2, 3",
);

/// One row of [`QUESTION`].
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    class: Oid,
    object: Oid,
    extension: String,
}

/// Lets each object that has such a tie say so, opened or not. What is not there has none.
pub fn append(rows: &[Row], objects: &mut [Object]) {
    let mut ties: AddressMap<Vec<&str>> = AddressMap::default();
    for row in rows {
        ties.entry(Address::new(row.class, row.object)).or_default().push(&row.extension);
    }
    if ties.is_empty() {
        return;
    }
    for object in objects {
        let found = object.targets.iter().filter_map(|target| Some((&target.on, ties.get(&target.address)?)));
        let statements: String = found
            .flat_map(|(on, names)| {
                names.iter().map(move |name| format!("ALTER {on} DEPENDS ON EXTENSION {};\n", ident(name)))
            })
            .collect();
        if statements.is_empty() {
            continue;
        }
        object.whole.create.push_str(&statements);
        object.opened.change(move |items| {
            if let Some(last) = items.last_mut() {
                last.create.push_str(&statements);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, append};
    use crate::facets::fixture;
    use crate::model::{Item, Oid, class};

    #[test]
    fn an_object_says_each_extension_that_it_goes_with_at_its_end() {
        let mut table = fixture::table();
        table.opened =
            vec![Item { create: "head;\n".to_owned(), ..(*table.whole).clone() }, (*table.whole).clone()].into();
        let mut objects = [table];
        let row = |object, name: &str| Row { class: class::RELATION, object: Oid(object), extension: name.to_owned() };
        append(&[row(20_000, "one"), row(20_000, "Two"), row(20_001, "of another")], &mut objects);
        let [object] = &objects;
        let said = "ALTER TABLE \"S\".t DEPENDS ON EXTENSION one;\nALTER TABLE \"S\".t DEPENDS ON EXTENSION \"Two\";\n";
        assert!(object.whole.create.ends_with(said), "{}", object.whole.create);
        let [head, part] = object.opened.items().try_into().expect("a head and a part");
        assert_eq!(head.create, "head;\n");
        assert!(part.create.ends_with(said), "{}", part.create);
    }
}
