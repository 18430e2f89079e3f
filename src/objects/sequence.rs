//! Sequences: their definition, the column that owns them or that they give an identity to, and their value.
//!
//! The values of all sequences come with the one question. Sequences do not follow snapshots, so a value may be newer
//! than the rows; it is never older than what the rows have used.

use super::{Kind, each};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{
    Address, Belongs, Columns, Grantable, Item, Object, Oid, Question, Rows, Section, Target, class, ident, item,
    literal, qualified,
};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "sequences", questions: &[QUESTION], objects };

/// `pg_get_sequence_data` came with 18; before, the value of a sequence stands only in the sequence, and `ts_stat`, which gives
/// the words of whatever a query finds, reads as many as there are. Unlike `query_to_xml` it is part of every build
/// (`map_sql_identifier_to_xml_name`, `xml.c`, needs libxml). Without the right to read it, and for an unlogged sequence of
/// a standby, the value is null; whoever wants such a sequence's value has been refused before (`catalog/relations.rs`). OFFSET 0 keeps a lookup a lookup where the catalogs were never analyzed.
const QUESTION: Question = Question(
    "SELECT c.oid, n.nspname AS schema, c.relname AS name, o.rolname AS owner, c.reltype AS row_type,
    pg_catalog.format_type(s.seqtypid, NULL) AS type, s.seqstart AS start, s.seqincrement AS increment,
    s.seqmin AS minimum, s.seqmax AS maximum, s.seqcache AS cache, s.seqcycle AS cycle,
    c.relpersistence = 'u' AS unlogged,
    coalesce(c.relpersistence <> t.relpersistence, false) AS other_persistence, -- <15: false AS other_persistence,
    c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery() OR NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') OR NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS unreadable, -- !rows: true AS unreadable,
    d.refobjid AS table_oid, tn.nspname AS table_schema, t.relname AS table_name, t.relkind AS table_kind,
    a.attname AS column_name, CASE WHEN d.deptype = 'i' THEN a.attidentity END AS identity,
    v.last_value, v.is_called,
    (SELECT e.refobjid FROM pg_catalog.pg_depend e
        WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objsubid = 0 AND e.deptype = 'e'
            AND e.objid IN (c.oid, CASE WHEN d.deptype = 'i' THEN d.refobjid END) LIMIT 1) AS extension,
    EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)) AS is_configuration
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN LATERAL (
    SELECT p.refobjid, p.refobjsubid, p.deptype FROM pg_catalog.pg_depend p
    WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.objid = c.oid AND p.objsubid = 0
        AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refobjsubid > 0
        AND p.deptype IN ('a', 'i') OFFSET 0) d ON true
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN LATERAL pg_catalog.pg_get_sequence_data(c.oid) v ON true -- <18: LEFT JOIN LATERAL ( -- !rows: LEFT JOIN LATERAL (SELECT NULL::bigint AS last_value, NULL::boolean AS is_called) v ON true
    -- <18: SELECT (pg_catalog.max(w.word) FILTER (WHERE w.word NOT IN ('true', 'false')))::bigint AS last_value, -- !rows:
    -- <18: (pg_catalog.max(w.word) FILTER (WHERE w.word IN ('true', 'false')))::boolean AS is_called -- !rows:
    -- <18: FROM pg_catalog.ts_stat(CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') -- !rows:
    -- <18: AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') -- !rows:
    -- <18: AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery()) -- !rows:
    -- <18: THEN pg_catalog.format('SELECT pg_catalog.array_to_tsvector(ARRAY[last_value::text, is_called::text]) FROM %I.%I', n.nspname, c.relname) -- !rows:
    -- <18: END) w) v ON true -- !rows:
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname",
);

#[derive(Debug, Deserialize)]
struct SequenceRow {
    oid: Oid,
    schema: String,
    name: String,
    owner: Option<String>,
    /// Before 14 a sequence had a row type.
    row_type: Oid,
    #[serde(rename = "type")]
    type_name: String,
    start: i64,
    increment: i64,
    minimum: i64,
    maximum: i64,
    cache: i64,
    cycle: bool,
    unlogged: bool,
    /// Logged where its table is unlogged, or the other way round; possible from 15 on.
    other_persistence: bool,
    /// Unlogged on a standby: there is nothing to read, and after a promotion it starts anew.
    unreadable: bool,
    table_oid: Option<Oid>,
    table_schema: Option<String>,
    table_name: Option<String>,
    table_kind: Option<char>,
    column_name: Option<String>,
    /// `attidentity` where it makes an identity column: `a` ALWAYS, `d` BY DEFAULT.
    identity: Option<char>,
    last_value: Option<i64>,
    is_called: Option<bool>,
    extension: Option<Oid>,
    is_configuration: bool,
}

/// The column that a sequence belongs to.
struct OwnerColumn<'a> {
    table: Address,
    /// Qualified and quoted.
    table_name: String,
    /// `TABLE` or `FOREIGN TABLE`.
    table_desc: &'static str,
    column: &'a str,
}

impl SequenceRow {
    fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    fn address(&self) -> Address {
        Address::new(class::RELATION, self.oid)
    }

    fn owner_column(&self) -> Option<OwnerColumn<'_>> {
        Some(OwnerColumn {
            table: Address::new(class::RELATION, self.table_oid?),
            table_name: qualified(self.table_schema.as_deref()?, self.table_name.as_deref()?),
            table_desc: if self.table_kind == Some('f') { "FOREIGN TABLE" } else { "TABLE" },
            column: self.column_name.as_deref()?,
        })
    }

    /// The options in the order of the documentation of CREATE SEQUENCE, bounds only where they are not the type's.
    fn options(&self) -> Vec<String> {
        let (lowest, highest) = match self.type_name.as_str() {
            "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
            "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        // `init_params`, src/backend/commands/sequence.c: an ascending sequence starts at 1, a descending one ends at -1.
        let (minimum, maximum) = if self.increment > 0 { (1, highest) } else { (lowest, -1) };
        let bound = |word: &str, value: i64, by_itself: i64| {
            if value == by_itself { format!("NO {word}") } else { format!("{word} {value}") }
        };
        let mut options = vec![
            format!("START WITH {}", self.start),
            format!("INCREMENT BY {}", self.increment),
            bound("MINVALUE", self.minimum, minimum),
            bound("MAXVALUE", self.maximum, maximum),
            format!("CACHE {}", self.cache),
        ];
        if self.cycle {
            options.push("CYCLE".to_owned());
        }
        options
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each::<SequenceRow>(rows, |row, objects| {
        // The identity of an extension's table comes with the extension, even where the sequence is no member itself.
        if row.extension.is_none() || row.identity.is_none() {
            objects.push(sequence(&row));
        }
        if row.extension.is_none() {
            objects.extend(owned_by(&row));
        }
        if row.extension.is_none() || row.is_configuration {
            objects.extend(value(&row)?);
        }
        Ok(())
    })
}

fn sequence(row: &SequenceRow) -> Object {
    let name = row.qualified();
    let owner_column = row.owner_column();
    let types = Some(row.row_type).filter(|oid| *oid != Oid(0)).map(|oid| Address::new(class::TYPE, oid));
    let bare = Item {
        owner: row.owner.clone(),
        relkind: Some('S'),
        provides: std::iter::once(row.address()).chain(types).collect(),
        ..Item::new("SEQUENCE", row.address(), Some(&row.schema), &row.name)
    };
    let whole = match (row.identity, &owner_column) {
        // The server makes it together with the column's identity, and drops it with that; the type is the column's.
        (Some(identity), Some(owner)) => Item { create: identity_definition(row, identity, owner), ..bare },
        _ => Item {
            create: definition(row),
            drop: format!("DROP SEQUENCE {name};\n"),
            // Its OWNED BY comes later, so that a default of the same table can name it.
            ignores: owner_column.iter().map(|owner| owner.table).collect(),
            ..bare
        },
    };
    Object::simple(whole, belongs(row)).with_target(Target {
        address: row.address(),
        on: format!("SEQUENCE {name}"),
        tag: format!("SEQUENCE {}", ident(&row.name)),
        grant: row.owner.clone().map(|owner| Grantable { on: format!("SEQUENCE {name}"), owner }),
        columns: Some(Columns { relation: row.oid, qualified: name, names: columns() }),
    })
}

/// What can be selected from any sequence, and granted by the column.
fn columns() -> Vec<(i32, String)> {
    [(1, "last_value"), (2, "log_cnt"), (3, "is_called")].map(|(number, name)| (number, name.to_owned())).to_vec()
}

fn definition(row: &SequenceRow) -> String {
    let unlogged = if row.unlogged { "UNLOGGED " } else { "" };
    let type_name = if row.type_name == "bigint" { String::new() } else { format!("    AS {}\n", row.type_name) };
    format!("CREATE {unlogged}SEQUENCE {}\n{type_name}    {};\n", row.qualified(), row.options().join("\n    "))
}

fn identity_definition(row: &SequenceRow, identity: char, owner: &OwnerColumn) -> String {
    let when = if identity == 'a' { "ALWAYS" } else { "BY DEFAULT" };
    // Without a word it is what its table is.
    let persistence = match (row.other_persistence, row.unlogged) {
        (false, _) => "",
        (true, true) => "    UNLOGGED\n",
        (true, false) => "    LOGGED\n",
    };
    format!(
        "ALTER {} {} ALTER COLUMN {} ADD GENERATED {when} AS IDENTITY (\n    SEQUENCE NAME {}\n{persistence}    {}\n);\n",
        owner.table_desc,
        owner.table_name,
        ident(owner.column),
        row.qualified(),
        row.options().join("\n    ")
    )
}

fn owned_by(row: &SequenceRow) -> Option<Object> {
    let owner = row.owner_column().filter(|_| row.identity.is_none())?;
    let create = format!("ALTER SEQUENCE {} OWNED BY {}.{};\n", row.qualified(), owner.table_name, ident(owner.column));
    let item = Item {
        owner: row.owner.clone(),
        create,
        provides: Vec::new(),
        needs: vec![row.address(), owner.table],
        ..Item::new("SEQUENCE OWNED BY", Address::new(Oid(0), row.oid), Some(&row.schema), &row.name)
    };
    Some(Object::simple(item, belongs(row)))
}

fn value(row: &SequenceRow) -> Result<Option<Object>> {
    if row.unreadable {
        return Ok(None);
    }
    let (Some(last_value), Some(is_called)) = (row.last_value, row.is_called) else {
        return Err(Error::new(ErrorKind::Database, "cannot read the value of the sequence")
            .on(item::label("SEQUENCE", Some(&row.schema), &row.name))
            .hint("the role needs SELECT on the sequence and USAGE on its schema; or it was dropped meanwhile"));
    };
    let holder = row.extension.map_or(row.address(), |extension| Address::new(class::EXTENSION, extension));
    let item = Item {
        owner: row.owner.clone(),
        section: Section::Data,
        create: format!("SELECT pg_catalog.setval({}, {last_value}, {is_called});\n", literal(&row.qualified())),
        provides: Vec::new(),
        needs: vec![holder],
        ..Item::new("SEQUENCE SET", Address::new(Oid(0), row.oid), Some(&row.schema), &row.name)
    };
    Ok(Some(Object::simple(item, belongs(row))))
}

fn belongs(row: &SequenceRow) -> Belongs {
    Belongs { schema: Some(row.schema.clone()), relation: Some(row.oid), owned_by: row.table_oid }
}

#[cfg(test)]
mod tests {
    use super::{Object, QUESTION, Result, objects};
    use crate::model::ServerVersion;
    use crate::objects::answers;
    use serde_json::{Value, json};

    fn describe(changes: &Value) -> Result<Vec<Object>> {
        let mut row = json!({
            "oid": "50", "schema": "app", "name": "s", "owner": "alice", "row_type": "0", "type": "bigint",
            "start": 1, "increment": 1, "minimum": 1, "maximum": i64::MAX, "cache": 1, "cycle": false,
            "unlogged": false, "other_persistence": false, "unreadable": false, "table_oid": null,
            "table_schema": null, "table_name": null, "table_kind": null, "column_name": null, "identity": null,
            "last_value": 7, "is_called": true, "extension": null, "is_configuration": false
        });
        for (key, value) in changes.as_object().expect("an object of changes") {
            row[key] = value.clone();
        }
        objects(&answers(&[row.to_string()]))
    }

    fn descs(objects: &[Object]) -> Vec<&str> {
        objects.iter().map(|object| object.whole.desc).collect()
    }

    #[test]
    fn bounds_are_written_only_where_they_are_not_the_types_own() {
        let made = describe(&json!({
            "type": "smallint", "increment": -2, "minimum": i16::MIN, "maximum": 30, "start": 30, "cycle": true
        }))
        .expect("a sequence");
        assert_eq!(
            made[0].whole.create,
            "CREATE SEQUENCE app.s\n    AS smallint\n    START WITH 30\n    INCREMENT BY -2\n    NO MINVALUE\n    \
             MAXVALUE 30\n    CACHE 1\n    CYCLE;\n"
        );
    }

    #[test]
    fn an_owned_sequence_comes_before_its_table_and_is_owned_afterwards() {
        let made = describe(&json!({
            "table_oid": "60", "table_schema": "app", "table_name": "t", "table_kind": "r", "column_name": "id"
        }))
        .expect("a sequence");
        assert_eq!(descs(&made), ["SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET"]);
        assert_eq!(made[0].whole.ignores, [made[1].whole.needs[1]]);
        assert_eq!(made[1].whole.create, "ALTER SEQUENCE app.s OWNED BY app.t.id;\n");
        assert!(made.iter().all(|object| object.belongs.owned_by.is_some()));
    }

    #[test]
    fn an_identity_sequence_is_made_by_its_column_and_goes_with_it() {
        let made = describe(&json!({
            "table_oid": "60", "table_schema": "app", "table_name": "t", "table_kind": "r", "column_name": "Id",
            "identity": "a"
        }))
        .expect("a sequence");
        assert_eq!(descs(&made), ["SEQUENCE", "SEQUENCE SET"]);
        let item = &made[0].whole;
        assert!(item.create.starts_with(
            "ALTER TABLE app.t ALTER COLUMN \"Id\" ADD GENERATED ALWAYS AS IDENTITY (\n    SEQUENCE NAME app.s\n"
        ));
        assert_eq!((item.drop.as_str(), item.ignores.len()), ("", 0));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_an_error_and_never_made_up() {
        let error = describe(&json!({ "last_value": null, "is_called": null })).expect_err("no value");
        assert_eq!(error.to_string(), "sequence app.s: cannot read the value of the sequence");
    }

    #[test]
    fn an_unlogged_sequence_of_a_standby_has_no_value() {
        let made = describe(&json!({ "last_value": null, "is_called": null, "unlogged": true, "unreadable": true }))
            .expect("a sequence");
        assert_eq!(descs(&made), ["SEQUENCE"]);
    }

    #[test]
    fn of_an_extensions_sequence_only_a_configuration_value_is_kept() {
        let member = json!({ "extension": "9", "table_oid": "60", "table_schema": "app", "table_name": "t",
            "table_kind": "r", "column_name": "id" });
        assert_eq!(descs(&describe(&member).expect("a member")), ["SEQUENCE"]);
        let configuration = json!({ "extension": "9", "is_configuration": true });
        assert_eq!(descs(&describe(&configuration).expect("a member")), ["SEQUENCE", "SEQUENCE SET"]);
    }

    #[test]
    fn servers_before_18_are_not_asked_for_its_function() {
        for major in ServerVersion::OLDEST..18 {
            let sql = QUESTION.for_server(ServerVersion(major * 10_000));
            assert!(sql.contains("ts_stat") && !sql.contains("pg_get_sequence_data"), "{major}: {sql}");
        }
        let newest = QUESTION.for_server(ServerVersion(180_000));
        assert!(newest.contains("pg_get_sequence_data") && !newest.contains("ts_stat"), "{newest}");
    }
}
