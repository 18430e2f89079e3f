//! Views and materialized views, and the refresh of the latter.

use super::words::{option_setting, own_settings};
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{
    Address, Belongs, Columns, Grantable, Item, Object, Oid, Payload, Question, Rows, Section, Target, class, ident,
    qualified,
};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "views", questions: &[QUESTION], objects };

/// `check_option` is an option of the relation, but only CREATE VIEW's own words set it on every server.
const QUESTION: Question = Question(
    "SELECT c.oid, n.nspname AS schema, c.relname AS name, o.rolname AS owner, c.relkind AS kind,
    c.reltype AS row_type, coalesce(rt.typarray, 0) AS array_type, r.oid AS rule_oid,
    pg_catalog.pg_get_viewdef(c.oid) AS definition, c.relispopulated AS populated,
    c.oid::pg_catalog.regclass::pg_catalog.text AS printed,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    am.amname AS access_method, -- !table-access-method: NULL AS access_method,
    coalesce(c.reloptions, '{}') AS options, coalesce(tc.reloptions, '{}') AS toast_options,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'number', a.attnum, 'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'collation_schema', con.nspname, 'collation', co.collname,
            'default_oid', d.oid, 'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
            'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END,
            'compression', CASE WHEN a.attcompression <> '' THEN a.attcompression END, -- <14: 'compression', NULL, -- !toast-compression: 'compression', NULL,
            'statistics', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
            'options', coalesce(a.attoptions, '{}')) ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation AND a.attcollation <> t.typcollation
        LEFT JOIN pg_catalog.pg_namespace con ON con.oid = co.collnamespace
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_type rt ON rt.oid = c.reltype
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_class tc ON tc.oid = c.reltoastrelid
WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: Option<String>,
    kind: char,
    row_type: Oid,
    array_type: Oid,
    rule_oid: Oid,
    definition: String,
    populated: bool,
    /// Its name, as the server prints it in definitions.
    printed: String,
    tablespace: String,
    access_method: Option<String>,
    options: Vec<String>,
    toast_options: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
struct Column {
    number: i32,
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    collation_schema: Option<String>,
    collation: Option<String>,
    default_oid: Option<Oid>,
    default: Option<String>,
    storage: Option<char>,
    compression: Option<char>,
    statistics: Option<i32>,
    options: Vec<String>,
}

impl Row {
    fn is_materialized(&self) -> bool {
        self.kind == 'm'
    }

    fn desc(&self) -> &'static str {
        if self.is_materialized() { "MATERIALIZED VIEW" } else { "VIEW" }
    }

    fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    fn address(&self) -> Address {
        Address::new(class::RELATION, self.oid)
    }

    fn rule(&self) -> Address {
        Address::new(class::RULE, self.rule_oid)
    }

    fn belongs(&self) -> Belongs {
        Belongs { schema: Some(self.schema.clone()), relation: Some(self.oid), owned_by: None }
    }

    /// The relation and its types, without its query.
    fn shell(&self) -> Vec<Address> {
        let types = [self.row_type, self.array_type].into_iter().filter(|oid| oid.0 != 0);
        std::iter::once(self.address()).chain(types.map(|oid| Address::new(class::TYPE, oid))).collect()
    }

    /// The query, without the semicolon that the server puts at its end.
    fn query(&self) -> &str {
        self.definition.trim_end().trim_end_matches(';')
    }

    /// Whether its query may read the view itself, which CREATE OR REPLACE lets it do. Others that only hold the name, in a literal
    /// perhaps, come out as well.
    fn names_itself(&self) -> bool {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let places = self.definition.match_indices(self.printed.as_str());
        places.into_iter().any(|(at, name)| !self.definition[at + name.len()..].starts_with(is_name))
    }

    /// `WITH (...)`, and WITH CHECK OPTION.
    fn options(&self) -> (String, &'static str) {
        let mut check = "";
        let mut settings = Vec::new();
        for option in &self.options {
            match option.as_str() {
                "check_option=local" => check = "\n  WITH LOCAL CHECK OPTION",
                "check_option=cascaded" => check = "\n  WITH CASCADED CHECK OPTION",
                _ => settings.push(option_setting("", option)),
            }
        }
        settings.extend(self.toast_options.iter().map(|option| option_setting("toast.", option)));
        let with = if settings.is_empty() { String::new() } else { format!(" WITH ({})", settings.join(", ")) };
        (with, check)
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(if row.is_materialized() { materialized(&row) } else { view(&row) });
        if row.is_materialized() && row.populated {
            objects.push(refresh(&row));
        }
        Ok(())
    })
}

fn bare(row: &Row) -> Item {
    Item {
        owner: row.owner.clone(),
        relkind: Some(row.kind),
        drop: format!("DROP {} {};\n", row.desc(), row.qualified()),
        ..Item::new(row.desc(), row.address(), Some(&row.schema), &row.name)
    }
}

fn view(row: &Row) -> Object {
    let (with, check) = row.options();
    let name = row.qualified();
    let mut defaults = String::new();
    let mut provides = row.shell();
    provides.push(row.rule());
    let mut default_addresses = Vec::new();
    for column in &row.columns {
        if let (Some(default), Some(oid)) = (&column.default, column.default_oid) {
            let column = ident(&column.name);
            defaults += &format!("ALTER TABLE ONLY {name} ALTER COLUMN {column} SET DEFAULT {default};\n");
            default_addresses.push(Address::new(class::DEFAULT, oid));
        }
    }
    provides.extend(&default_addresses);
    let body = format!("VIEW {name}{with} AS\n{}{check};\n{defaults}", row.query());
    let needs = row.names_itself().then(|| row.rule()).into_iter().collect();
    let whole = Item { create: format!("CREATE {body}"), provides, needs, ..bare(row) };
    // A stub has the columns without the query; the query then replaces it.
    let columns: Vec<String> = row.columns.iter().map(stub_column).collect();
    let stub = if columns.is_empty() {
        format!("VIEW {name} AS\nSELECT;\n")
    } else {
        format!("VIEW {name} AS\nSELECT\n    {};\n", columns.join(",\n    "))
    };
    let head = Item { create: format!("CREATE {stub}"), provides: row.shell(), ..bare(row) };
    // As stock names it (`dumpRule`, `pg_dump.c`). Dropping it leaves the stub, so that what it needs can be dropped
    // before the stub's turn comes.
    let part = Item {
        create: format!("CREATE OR REPLACE {body}"),
        drop: format!("CREATE OR REPLACE {stub}"),
        owner: row.owner.clone(),
        provides: std::iter::once(row.rule()).chain(default_addresses).collect(),
        ..Item::new("RULE", row.rule(), Some(&row.schema), format!("{} _RETURN", row.name))
    };
    Object { opened: vec![head, part].into(), targets: targets(row), ..Object::simple(whole, row.belongs()) }
}

fn stub_column(column: &Column) -> String {
    let collate = match (&column.collation_schema, &column.collation) {
        (Some(schema), Some(name)) => format!(" COLLATE {}", qualified(schema, name)),
        _ => String::new(),
    };
    format!("NULL::{}{collate} AS {}", column.type_name, ident(&column.name))
}

fn materialized(row: &Row) -> Object {
    let (with, _) = row.options();
    let name = row.qualified();
    let mut create = format!("CREATE MATERIALIZED VIEW {name}{with} AS\n{}\n  WITH NO DATA;\n", row.query());
    for column in &row.columns {
        let alter = format!("ALTER MATERIALIZED VIEW {name} ALTER COLUMN {}", ident(&column.name));
        if let Some(target) = column.statistics {
            create += &format!("{alter} SET STATISTICS {target};\n");
        }
        let storage = match column.storage {
            Some('p') => Some("PLAIN"),
            Some('e') => Some("EXTERNAL"),
            Some('m') => Some("MAIN"),
            Some('x') => Some("EXTENDED"),
            _ => None,
        };
        if let Some(storage) = storage {
            create += &format!("{alter} SET STORAGE {storage};\n");
        }
        let compression = match column.compression {
            Some('p') => Some("pglz"),
            Some('l') => Some("lz4"),
            _ => None,
        };
        if let Some(compression) = compression {
            create += &format!("{alter} SET COMPRESSION {compression};\n");
        }
        if let Some(settings) = own_settings(&column.options) {
            create += &format!("{alter} {settings};\n");
        }
    }
    let mut provides = row.shell();
    provides.push(row.rule());
    let item = Item {
        create,
        provides,
        tablespace: Some(row.tablespace.clone()),
        access_method: row.access_method.clone(),
        ..bare(row)
    };
    Object { targets: targets(row), ..Object::simple(item, row.belongs()) }
}

fn refresh(row: &Row) -> Object {
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create: format!("REFRESH MATERIALIZED VIEW {};\n", row.qualified()),
        // So that statistics about the rows can need it.
        provides: vec![Address { class: Oid(0), ..row.address() }],
        needs: vec![row.address()],
        payload: Payload::Refresh,
        ..Item::new("MATERIALIZED VIEW DATA", Address { class: Oid(0), ..row.address() }, Some(&row.schema), &row.name)
    };
    Object::simple(item, row.belongs())
}

fn targets(row: &Row) -> Vec<Target> {
    let row_type = words::row_type_target(row.row_type, &row.schema, &row.name, row.owner.as_deref());
    std::iter::once(target(row)).chain(row_type).chain([rule_target(row)]).collect()
}

/// The rule that holds the query can have a comment, as any rule can.
fn rule_target(row: &Row) -> Target {
    Target {
        address: row.rule(),
        on: format!("RULE \"_RETURN\" ON {}", row.qualified()),
        tag: format!("RULE \"_RETURN\" ON {}", ident(&row.name)),
        grant: None,
        columns: None,
    }
}

fn target(row: &Row) -> Target {
    let name = row.qualified();
    Target {
        address: row.address(),
        on: format!("{} {name}", row.desc()),
        tag: format!("{} {}", row.desc(), ident(&row.name)),
        grant: Some(Grantable { on: format!("TABLE {name}"), owner: row.owner.clone().unwrap_or_default() }),
        columns: Some(Columns {
            relation: row.oid,
            qualified: name,
            names: row.columns.iter().map(|column| (column.number, column.name.clone())).collect(),
        }),
    }
}
