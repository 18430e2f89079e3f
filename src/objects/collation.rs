//! Collations.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Item, Object, Oid, Question, Rows, class, ident, literal, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "collations", questions: &[QUESTION], objects };

/// The name of an ICU or builtin locale has moved: `collcollate` up to 14, then `colliculocale`, from 17 on `colllocale`.
const QUESTION: Question = Question(
    "SELECT c.oid, n.nspname AS schema, c.collname AS name, pg_get_userbyid(c.collowner) AS owner,
  c.collprovider AS provider, c.collisdeterministic AS deterministic, c.collcollate AS collate, c.collctype AS ctype,
  c.colllocale AS locale, -- <17: c.colliculocale AS locale, -- <15: CASE WHEN c.collprovider = 'i' THEN c.collcollate END AS locale,
  c.collicurules AS rules -- <16: NULL AS rules
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.collname",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    /// `pg_collation.collprovider`: `b` builtin, `c` libc, `i` ICU, `d` the database's.
    provider: char,
    deterministic: bool,
    /// For libc only.
    collate: Option<String>,
    /// For libc only.
    ctype: Option<String>,
    /// For ICU and builtin only.
    locale: Option<String>,
    rules: Option<String>,
}

impl Row {
    fn settings(&self) -> Vec<String> {
        let provider = match self.provider {
            'b' => "builtin",
            'i' => "icu",
            'd' => "default",
            _ => "libc",
        };
        let mut settings = vec![format!("provider = {provider}")];
        if !self.deterministic {
            settings.push("deterministic = false".to_owned());
        }
        if let Some(locale) = &self.locale {
            settings.push(format!("locale = {}", literal(locale)));
        } else if self.collate == self.ctype {
            settings.extend(self.collate.as_ref().map(|locale| format!("locale = {}", literal(locale))));
        } else {
            settings.extend(self.collate.as_ref().map(|collate| format!("lc_collate = {}", literal(collate))));
            settings.extend(self.ctype.as_ref().map(|ctype| format!("lc_ctype = {}", literal(ctype))));
        }
        settings.extend(self.rules.as_ref().map(|rules| format!("rules = {}", literal(rules))));
        settings
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::COLLATION, row.oid);
        let name = qualified(&row.schema, &row.name);
        let whole = Item {
            create: format!("CREATE COLLATION {name} {};\n", words::settings(&row.settings())),
            drop: format!("DROP COLLATION {name};\n"),
            ..Item::new("COLLATION", address, Some(&row.schema), &row.name)
        };
        let whole = Item { owner: Some(row.owner), ..whole };
        let target = words::target(address, "COLLATION", Some(&row.schema), &ident(&row.name));
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
