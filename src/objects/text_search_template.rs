//! Text search templates. They have no owner: only a superuser makes them.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "text search templates", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT t.oid, n.nspname AS schema, t.tmplname AS name, nullif(t.tmplinit::oid, 0)::regproc::text AS init,
  t.tmpllexize::text AS lexize
FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.tmplname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    init: Option<String>,
    lexize: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TS_TEMPLATE, row.oid);
        let name = qualified(&row.schema, &row.name);
        let mut settings: Vec<String> = row.init.iter().map(|init| format!("INIT = {init}")).collect();
        settings.push(format!("LEXIZE = {}", row.lexize));
        let whole = Item {
            create: format!("CREATE TEXT SEARCH TEMPLATE {name} {};\n", words::settings(&settings)),
            drop: format!("DROP TEXT SEARCH TEMPLATE {name};\n"),
            ..Item::new("TEXT SEARCH TEMPLATE", address, Some(&row.schema), &row.name)
        };
        let target = words::target(address, "TEXT SEARCH TEMPLATE", Some(&row.schema), &ident(&row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
