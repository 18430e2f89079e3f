//! Text search configurations, with their mappings from tokens to dictionaries.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "text search configurations", questions: &[QUESTION], objects };

/// Only the parser knows the names of its token types.
const QUESTION: Question = Question(
    "SELECT c.oid, n.nspname AS schema, c.cfgname AS name, pg_get_userbyid(c.cfgowner) AS owner,
  json_build_object('schema', pn.nspname, 'name', p.prsname) AS parser,
  coalesce((SELECT json_agg(json_build_object('token', k.alias, 'dictionaries',
      (SELECT json_agg(json_build_object('schema', dn.nspname, 'name', d.dictname) ORDER BY m.mapseqno)
        FROM pg_ts_config_map m JOIN pg_ts_dict d ON d.oid = m.mapdict JOIN pg_namespace dn ON dn.oid = d.dictnamespace
        WHERE m.mapcfg = c.oid AND m.maptokentype = k.tokid)) ORDER BY k.tokid)
    FROM ts_token_type(c.cfgparser) k
    WHERE EXISTS (SELECT FROM pg_ts_config_map m WHERE m.mapcfg = c.oid AND m.maptokentype = k.tokid)), '[]')
    AS mappings
FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace
  JOIN pg_ts_parser p ON p.oid = c.cfgparser JOIN pg_namespace pn ON pn.oid = p.prsnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.cfgname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    parser: Named,
    mappings: Vec<Mapping>,
}

#[derive(Deserialize)]
struct Mapping {
    token: String,
    dictionaries: Vec<Named>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::TS_CONFIGURATION, row.oid);
        let name = qualified(&row.schema, &row.name);
        let parser = [format!("PARSER = {}", row.parser.sql())];
        let mut create = format!("CREATE TEXT SEARCH CONFIGURATION {name} {};\n", words::settings(&parser));
        for mapping in &row.mappings {
            let dictionaries: Vec<String> = mapping.dictionaries.iter().map(Named::sql).collect();
            let add = format!(
                "ALTER TEXT SEARCH CONFIGURATION {name}\n    ADD MAPPING FOR {} WITH {};\n",
                ident(&mapping.token),
                dictionaries.join(", ")
            );
            create.push_str(&add);
        }
        let whole = Item {
            owner: Some(row.owner),
            create,
            drop: format!("DROP TEXT SEARCH CONFIGURATION {name};\n"),
            ..Item::new("TEXT SEARCH CONFIGURATION", address, Some(&row.schema), &row.name)
        };
        let target = words::target(address, "TEXT SEARCH CONFIGURATION", Some(&row.schema), &ident(&row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
