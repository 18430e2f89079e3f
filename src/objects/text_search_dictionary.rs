//! Text search dictionaries.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "text search dictionaries", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT d.oid, n.nspname AS schema, d.dictname AS name, pg_get_userbyid(d.dictowner) AS owner,
  json_build_object('schema', tn.nspname, 'name', t.tmplname) AS template, d.dictinitoption AS options
FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace
  JOIN pg_ts_template t ON t.oid = d.dicttemplate JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, d.dictname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    template: Named,
    /// Stored as the SQL that CREATE takes, `a = 'b', c = 'd'` (`serialize_deflist`, `commands/tsearchcmds.c`).
    options: Option<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TS_DICTIONARY, row.oid);
        let name = qualified(&row.schema, &row.name);
        let mut settings = vec![format!("TEMPLATE = {}", row.template.sql())];
        settings.extend(row.options);
        let whole = Item {
            owner: Some(row.owner),
            create: format!("CREATE TEXT SEARCH DICTIONARY {name} {};\n", words::settings(&settings)),
            drop: format!("DROP TEXT SEARCH DICTIONARY {name};\n"),
            ..Item::new("TEXT SEARCH DICTIONARY", address, Some(&row.schema), &row.name)
        };
        let target = words::target(address, "TEXT SEARCH DICTIONARY", Some(&row.schema), &ident(&row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
