//! Event triggers. They belong to the database, and a restore makes them last, for they would fire on everything before.

use super::trigger::enabling;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, class, ident, literal};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "event triggers", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT e.oid, e.evtname AS name, o.rolname AS owner, e.evtevent AS event, e.evtenabled AS enabled,
    coalesce(e.evttags, '{}') AS tags, e.evtfoid::pg_catalog.regproc AS function
FROM pg_catalog.pg_event_trigger e
LEFT JOIN pg_catalog.pg_roles o ON o.oid = e.evtowner
ORDER BY e.evtname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    owner: Option<String>,
    event: String,
    /// `evtenabled`, as a trigger's.
    enabled: char,
    /// The commands that it fires on; empty for all.
    tags: Vec<String>,
    /// As `regproc` writes it: qualified, quoted, without arguments.
    function: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(event_trigger(&row));
        Ok(())
    })
}

fn event_trigger(row: &Row) -> Object {
    let address = Address::new(class::EVENT_TRIGGER, row.oid);
    let name = ident(&row.name);
    let mut create = format!("CREATE EVENT TRIGGER {name} ON {}", ident(&row.event));
    if !row.tags.is_empty() {
        let tags: Vec<String> = row.tags.iter().map(|tag| literal(tag)).collect();
        create += &format!("\n         WHEN TAG IN ({})", tags.join(", "));
    }
    create += &format!("\n   EXECUTE FUNCTION {}();\n", row.function);
    if row.enabled != 'O' {
        create += &format!("ALTER EVENT TRIGGER {name} {};\n", enabling(row.enabled));
    }
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create,
        drop: format!("DROP EVENT TRIGGER {name};\n"),
        ..Item::new("EVENT TRIGGER", address, None, &row.name)
    };
    Object::simple(item, Belongs::default()).with_target(words::target(address, "EVENT TRIGGER", None, &name))
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn tags_are_literals_and_a_state_of_its_own_is_said_after_the_trigger() {
        let row = r#"{"oid":"7","name":"No Drops","owner":"ann","event":"sql_drop","enabled":"A",
            "tags":["DROP TABLE","DROP VIEW"],"function":"s.refuse"}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("a row of the question's shape");
        assert_eq!(
            objects[0].whole.create,
            "CREATE EVENT TRIGGER \"No Drops\" ON sql_drop\n         WHEN TAG IN ('DROP TABLE', 'DROP VIEW')\n   \
             EXECUTE FUNCTION s.refuse();\nALTER EVENT TRIGGER \"No Drops\" ENABLE ALWAYS;\n"
        );
    }
}
