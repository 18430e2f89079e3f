//! Base types, and types that are declared but not defined.
//!
//! A base type and its input and output functions need each other, always a loop: opened, a shell type comes first.

use super::words::Place;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Rows, class, ident, literal, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "base types", questions: &[QUESTION], objects };

/// Array types are base types in the catalog too; they come with their elements' types, which point at them.
const QUESTION: Question = Question(
    "SELECT t.oid, t.typarray AS array_type, n.nspname AS schema, t.typname AS name,
  pg_get_userbyid(t.typowner) AS owner,
  t.typisdefined AS defined, t.typlen AS length, t.typbyval AS by_value, t.typalign AS alignment, t.typstorage AS storage,
  t.typcategory AS category, t.typispreferred AS preferred, t.typdelim AS delimiter, t.typcollation <> 0 AS collatable,
  t.typdefault AS default_text, CASE WHEN t.typelem <> 0 THEN format_type(t.typelem, NULL) END AS element,
  t.typinput::text AS input, t.typoutput::text AS output,
  nullif(t.typreceive::oid, 0)::regproc::text AS receive, nullif(t.typsend::oid, 0)::regproc::text AS send,
  nullif(t.typmodin::oid, 0)::regproc::text AS modifier_input,
  nullif(t.typmodout::oid, 0)::regproc::text AS modifier_output,
  nullif(t.typanalyze::oid, 0)::regproc::text AS analyze,
  nullif(t.typsubscript::oid, 0)::regproc::text AS subscript, -- <14: NULL AS subscript,
  coalesce((SELECT json_agg(json_build_object('class', d.refclassid, 'object', d.refobjid))
    FROM pg_depend d
    WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid <> 'pg_namespace'::regclass
      AND d.deptype = 'n'), '[]') AS built_on
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE (t.typtype = 'b' OR NOT t.typisdefined) AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.typname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    array_type: Oid,
    schema: String,
    name: String,
    owner: String,
    defined: bool,
    /// `pg_type.typlen`: bytes, or -1 for a variable length.
    length: i32,
    by_value: bool,
    alignment: char,
    storage: char,
    category: char,
    preferred: bool,
    delimiter: char,
    collatable: bool,
    default_text: Option<String>,
    element: Option<String>,
    input: String,
    output: String,
    receive: Option<String>,
    send: Option<String>,
    modifier_input: Option<String>,
    modifier_output: Option<String>,
    analyze: Option<String>,
    subscript: Option<String>,
    built_on: Vec<Place>,
}

impl Row {
    fn settings(&self) -> Vec<String> {
        let alignment = match self.alignment {
            'c' => "char",
            's' => "int2",
            'd' => "double",
            _ => "int4",
        };
        let storage = match self.storage {
            'e' => "external",
            'x' => "extended",
            'm' => "main",
            _ => "plain",
        };
        let length = if self.length < 0 { "variable".to_owned() } else { self.length.to_string() };
        let yes = |condition: bool| condition.then(|| "true".to_owned());
        let valued = [
            ("INPUT", Some(self.input.clone())),
            ("OUTPUT", Some(self.output.clone())),
            ("RECEIVE", self.receive.clone()),
            ("SEND", self.send.clone()),
            ("TYPMOD_IN", self.modifier_input.clone()),
            ("TYPMOD_OUT", self.modifier_output.clone()),
            ("ANALYZE", self.analyze.clone()),
            ("SUBSCRIPT", self.subscript.clone()),
            ("INTERNALLENGTH", Some(length)),
            ("ALIGNMENT", Some(alignment.to_owned())),
            ("STORAGE", Some(storage.to_owned())),
            ("CATEGORY", Some(literal(&self.category.to_string()))),
            ("PREFERRED", yes(self.preferred)),
            ("DELIMITER", (self.delimiter != ',').then(|| literal(&self.delimiter.to_string()))),
            ("DEFAULT", self.default_text.as_deref().map(literal)),
            ("ELEMENT", self.element.clone()),
            ("COLLATABLE", yes(self.collatable)),
        ];
        let mut settings: Vec<String> =
            valued.into_iter().filter_map(|(word, value)| value.map(|value| format!("{word} = {value}"))).collect();
        if self.by_value {
            settings.push("PASSEDBYVALUE".to_owned());
        }
        settings
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TYPE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let (create, drop) = if row.defined {
            // The functions need the type as much as it needs them: they go together.
            (
                format!("CREATE TYPE {name} {};\n", words::settings(&row.settings())),
                format!("DROP TYPE {name} CASCADE;\n"),
            )
        } else {
            (format!("CREATE TYPE {name};\n"), format!("DROP TYPE {name};\n"))
        };
        let whole = Item {
            owner: Some(row.owner.clone()),
            create,
            drop,
            provides: words::addresses_in(class::TYPE, [row.oid, row.array_type]),
            ..Item::new("TYPE", address, Some(&row.schema), &row.name)
        };
        let mut target = words::target(address, "TYPE", Some(&row.schema), &ident(&row.name));
        target.grant = Some(Grantable { on: target.on.clone(), owner: row.owner.clone() });
        let built_on = words::addresses(&row.built_on);
        let opened = if row.defined { words::shell_and_type(&whole, &built_on) } else { Vec::new() };
        let object = Object { opened: opened.into(), ..Object::simple(whole, words::in_schema(&row.schema)) };
        objects.push(object.with_target(target));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn a_base_type_opens_into_a_shell_that_needs_no_function_and_the_type() {
        let row = serde_json::json!({
            "oid": "1", "array_type": "2", "schema": "s", "name": "T", "owner": "o", "defined": true, "length": 4,
            "by_value": true, "alignment": "i", "storage": "p", "category": "U", "preferred": false, "delimiter": ";",
            "collatable": false, "default_text": "4\\2", "element": null, "input": "s.i", "output": "s.o",
            "receive": null, "send": null, "modifier_input": null, "modifier_output": null, "analyze": null,
            "subscript": null, "built_on": [{"class": "1255", "object": "7"}, {"class": "1255", "object": "8"}],
        });
        let objects = objects(&answers(&[row.to_string()])).expect("the row has the right shape");
        let opened = objects[0].opened.items();
        let [shell, full] = opened.as_slice() else { panic!("a shell and a type") };
        assert_eq!(
            (shell.create.as_str(), shell.desc, shell.drop.as_str()),
            ("CREATE TYPE s.\"T\";\n", "SHELL TYPE", "")
        );
        assert_eq!((&shell.ignores, shell.needs.len()), (&full.needs, 0));
        assert_eq!(
            full.create,
            "CREATE TYPE s.\"T\" (\n    INPUT = s.i,\n    OUTPUT = s.o,\n    INTERNALLENGTH = 4,\n    ALIGNMENT = int4,\n    \
             STORAGE = plain,\n    CATEGORY = 'U',\n    DELIMITER = ';',\n    DEFAULT = E'4\\\\2',\n    PASSEDBYVALUE\n);\n"
        );
    }
}
