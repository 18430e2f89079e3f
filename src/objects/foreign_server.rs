//! Foreign servers.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Grantable, Item, Object, Oid, Question, Rows, class, ident, literal};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "foreign servers", questions: &[QUESTION], objects };

const QUESTION: Question = Question(
    "SELECT s.oid, s.srvname AS name, pg_get_userbyid(s.srvowner) AS owner, w.fdwname AS wrapper, s.srvtype AS type,
  s.srvversion AS version, coalesce(s.srvoptions, '{}') AS options
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
ORDER BY s.srvname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    owner: String,
    wrapper: String,
    #[serde(rename = "type")]
    server_type: Option<String>,
    version: Option<String>,
    options: Vec<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::FOREIGN_SERVER, row.oid);
        let name = ident(&row.name);
        let server_type = row.server_type.map(|text| format!(" TYPE {}", literal(&text))).unwrap_or_default();
        let version = row.version.map(|text| format!(" VERSION {}", literal(&text))).unwrap_or_default();
        let wrapper = ident(&row.wrapper);
        let options = words::options_clause(&row.options);
        let whole = Item {
            owner: Some(row.owner.clone()),
            create: format!("CREATE SERVER {name}{server_type}{version} FOREIGN DATA WRAPPER {wrapper}{options};\n"),
            drop: format!("DROP SERVER {name};\n"),
            ..Item::new("SERVER", address, None, &row.name)
        };
        let mut target = words::target(address, "SERVER", None, &name);
        target.grant = Some(Grantable { on: format!("FOREIGN SERVER {name}"), owner: row.owner });
        objects.push(Object::simple(whole, Belongs::default()).with_target(target));
        Ok(())
    })
}
