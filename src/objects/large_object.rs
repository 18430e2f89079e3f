//! Large objects: one entry for each, with owner, comment and privileges, and one that carries the bytes of all.
//!
//! Archive versions up to 1.15 have no grouped form, so a million large objects are a million small entries.

use super::{Kind, each};
use crate::error::Result;
use crate::model::{
    Address, Belongs, BlobsData, Grantable, Item, Object, Oid, Payload, Question, Rows, Section, Target, class,
};
use serde::Deserialize;

/// The kind.
pub const KIND: Kind = Kind {
    name: "large objects",
    questions: &[Question(
        "SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner) AS owner
FROM pg_catalog.pg_largeobject_metadata m
ORDER BY m.oid",
    )],
    objects,
};

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    owner: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    let mut oids = Vec::with_capacity(rows.len());
    let mut objects = each(rows, |row: Row, objects| {
        oids.push(row.oid);
        objects.push(describe(row));
        Ok(())
    })?;
    if !oids.is_empty() {
        let bytes = Item {
            section: Section::Data,
            payload: Payload::Blobs(BlobsData { oids }),
            ..Item::new("BLOBS", Address::default(), None, "BLOBS")
        };
        objects.push(Object::simple(bytes, Belongs::default()));
    }
    Ok(objects)
}

fn describe(Row { oid, owner }: Row) -> Object {
    let address = Address::new(class::LARGE_OBJECT, oid);
    let name = format!("LARGE OBJECT {oid}");
    let whole = Item {
        create: format!("SELECT pg_catalog.lo_create('{oid}');\n"),
        drop: format!("SELECT pg_catalog.lo_unlink('{oid}');\n"),
        owner: Some(owner.clone()),
        ..Item::new("BLOB", address, None, oid.to_string())
    };
    Object::simple(whole, Belongs::default()).with_target(Target {
        address,
        on: name.clone(),
        tag: name.clone(),
        grant: Some(Grantable { on: name, owner }),
        columns: None,
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::model::{BlobsData, Oid, Payload, Section};
    use crate::objects::answers;

    #[test]
    fn the_bytes_of_all_large_objects_are_one_entry_behind_them() {
        let rows = [r#"{"oid":"5","owner":"ann"}"#, r#"{"oid":"7","owner":"bob"}"#].map(str::to_owned);
        let objects = objects(&answers(&rows)).expect("rows of the question's shape");
        assert_eq!(objects.len(), 3);
        assert_eq!(objects[1].whole.create, "SELECT pg_catalog.lo_create('7');\n");
        assert_eq!(objects[1].whole.section, Section::PreData);
        assert_eq!(objects[2].whole.payload, Payload::Blobs(BlobsData { oids: vec![Oid(5), Oid(7)] }));
    }

    #[test]
    fn a_database_without_large_objects_has_no_entry_for_their_bytes() {
        assert!(objects(&[]).expect("no rows").is_empty());
    }
}
