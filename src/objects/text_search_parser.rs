//! Text search parsers. They have no owner: only a superuser makes them.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "text search parsers", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT p.oid, n.nspname AS schema, p.prsname AS name, p.prsstart::text AS start, p.prstoken::text AS token,
  p.prsend::text AS finish, nullif(p.prsheadline::oid, 0)::regproc::text AS headline, p.prslextype::text AS token_types
FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = p.prsnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, p.prsname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    start: String,
    token: String,
    finish: String,
    headline: Option<String>,
    token_types: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TS_PARSER, row.oid);
        let name = qualified(&row.schema, &row.name);
        let mut settings = vec![
            format!("START = {}", row.start),
            format!("GETTOKEN = {}", row.token),
            format!("END = {}", row.finish),
            format!("LEXTYPES = {}", row.token_types),
        ];
        settings.extend(row.headline.map(|headline| format!("HEADLINE = {headline}")));
        let whole = Item {
            create: format!("CREATE TEXT SEARCH PARSER {name} {};\n", words::settings(&settings)),
            drop: format!("DROP TEXT SEARCH PARSER {name};\n"),
            ..Item::new("TEXT SEARCH PARSER", address, Some(&row.schema), &row.name)
        };
        let target = words::target(address, "TEXT SEARCH PARSER", Some(&row.schema), &ident(&row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
