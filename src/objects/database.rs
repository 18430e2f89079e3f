//! The database itself: `CREATE DATABASE`, and the settings that are kept with it. Restored only when asked to create it.

use super::{Kind, each};
use crate::error::Result;
use crate::model::{
    Address, Belongs, Grantable, Item, Object, Oid, Question, Rows, Target, class, ident, literal, set_clause,
};
use serde::Deserialize;
use std::fmt::Write;

/// The kind. Always one row.
pub const KIND: Kind = Kind {
    name: "databases",
    questions: &[Question(
        "SELECT b.oid, b.datname AS name, pg_catalog.pg_get_userbyid(b.datdba) AS owner,
pg_catalog.pg_encoding_to_char(b.encoding) AS encoding, b.datcollate AS collate, b.datctype AS ctype,
CASE b.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END AS provider, -- <15: NULL::text AS provider,
b.datlocale AS locale, -- <17: b.daticulocale AS locale, -- <15: NULL::text AS locale,
b.daticurules AS rules, -- <16: NULL::text AS rules,
t.spcname AS tablespace, -- !tablespaces: 'pg_default' AS tablespace,
b.datconnlimit AS connection_limit, b.datistemplate AS is_template,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'settings', s.setconfig)
ORDER BY r.rolname NULLS FIRST)
FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = b.oid AND (s.setrole = 0 OR r.oid IS NOT NULL)) AS settings
FROM pg_catalog.pg_database b JOIN pg_catalog.pg_tablespace t ON t.oid = b.dattablespace
WHERE b.datname = pg_catalog.current_database()",
    )],
    objects,
};

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    owner: String,
    encoding: String,
    collate: Option<String>,
    ctype: Option<String>,
    provider: Option<String>,
    locale: Option<String>,
    rules: Option<String>,
    tablespace: String,
    connection_limit: i32,
    is_template: bool,
    settings: Option<Vec<RoleSettings>>,
}

/// The settings for everyone, or for one role, in this database.
#[derive(Debug, Deserialize)]
struct RoleSettings {
    role: Option<String>,
    /// Each `name=value`.
    settings: Vec<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::DATABASE, row.oid);
        let name = format!("DATABASE {}", ident(&row.name));
        let whole = Item {
            create: create(&row),
            drop: format!("DROP {name};\n"),
            owner: Some(row.owner.clone()),
            ..Item::new("DATABASE", address, None, row.name.clone())
        };
        objects.push(Object::simple(whole, Belongs::default()).with_target(Target {
            address,
            on: name.clone(),
            tag: name.clone(),
            grant: Some(Grantable { on: name, owner: row.owner.clone() }),
            columns: None,
        }));
        let create = properties(&row);
        if !create.is_empty() {
            let drop = if row.is_template {
                // A template cannot be dropped; the mark goes first. ALTER DATABASE has no IF EXISTS, hence the UPDATE.
                format!(
                    "UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = {};\n",
                    literal(&row.name)
                )
            } else {
                String::new()
            };
            let item = Item {
                create,
                drop,
                needs: vec![address],
                ..Item::new("DATABASE PROPERTIES", Address::default(), None, row.name)
            };
            objects.push(Object::simple(item, Belongs::default()));
        }
        Ok(())
    })
}

/// One statement, which has to stand alone. Collation and character type are named apart, because LOCALE is not known to
/// PostgreSQL 12.
fn create(row: &Row) -> String {
    let options = [
        ("ENCODING", Some(&row.encoding)),
        ("LOCALE_PROVIDER", row.provider.as_ref()),
        ("LC_COLLATE", row.collate.as_ref()),
        ("LC_CTYPE", row.ctype.as_ref()),
        (if row.provider.as_deref() == Some("builtin") { "BUILTIN_LOCALE" } else { "ICU_LOCALE" }, row.locale.as_ref()),
        ("ICU_RULES", row.rules.as_ref()),
    ];
    let mut text = format!("CREATE DATABASE {} WITH TEMPLATE = template0", ident(&row.name));
    for (option, value) in options {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            // A provider is a keyword of the grammar, the rest are strings.
            let value = if option == "LOCALE_PROVIDER" { value.clone() } else { literal(value) };
            let _ = write!(text, " {option} = {value}");
        }
    }
    if row.tablespace != "pg_default" {
        let _ = write!(text, " TABLESPACE = {}", ident(&row.tablespace));
    }
    text + ";\n"
}

fn properties(row: &Row) -> String {
    let database = ident(&row.name);
    let mut text = String::new();
    if row.connection_limit != -1 {
        let _ = writeln!(text, "ALTER DATABASE {database} CONNECTION LIMIT = {};", row.connection_limit);
    }
    if row.is_template {
        let _ = writeln!(text, "ALTER DATABASE {database} IS_TEMPLATE = true;");
    }
    for RoleSettings { role, settings } in row.settings.iter().flatten() {
        let whose = match role {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", ident(role)),
            None => format!("ALTER DATABASE {database}"),
        };
        for setting in settings {
            if let Some(clause) = set_clause(setting) {
                let _ = writeln!(text, "{whose} {clause};");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn a_database_says_its_locale_and_its_settings() {
        let row = r#"{"oid":"20001","name":"Shop","owner":"ann","encoding":"UTF8","collate":"C","ctype":"C","provider":"icu",
            "locale":"de-AT","rules":null,"tablespace":"fast disk","connection_limit":5,"is_template":true,
            "settings":[{"role":null,"settings":["search_path=\"$user\", app","my.text=it's"]},
                        {"role":"bob","settings":["work_mem=1MB"]}]}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("a row of the question's shape");
        assert_eq!(
            objects[0].whole.create,
            "CREATE DATABASE \"Shop\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LC_COLLATE = 'C' \
             LC_CTYPE = 'C' ICU_LOCALE = 'de-AT' TABLESPACE = \"fast disk\";\n"
        );
        assert_eq!(objects[0].targets[0].on, "DATABASE \"Shop\"");
        assert_eq!(
            objects[1].whole.create,
            "ALTER DATABASE \"Shop\" CONNECTION LIMIT = 5;\nALTER DATABASE \"Shop\" IS_TEMPLATE = true;\n\
             ALTER DATABASE \"Shop\" SET search_path TO '$user', 'app';\n\
             ALTER DATABASE \"Shop\" SET \"my.text\" TO 'it''s';\n\
             ALTER ROLE bob IN DATABASE \"Shop\" SET work_mem TO '1MB';\n"
        );
    }
}
