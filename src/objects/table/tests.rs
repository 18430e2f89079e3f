//! What a table's row becomes, from rows as a server writes them.

use super::objects;
use crate::model::{Address, Item, Object, Payload, Rows};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A column, with what other questions say of it in `default`, `constraint` and `inherited`.
fn column(number: i32, name: &str, changes: &Value) -> Value {
    let column = json!({
        "relation": "100", "number": number, "name": name, "type": "integer", "collation": null, "local": true,
        "generated": "", "not_null": false, "storage": null, "compression": null, "statistics": null, "options": null,
        "server_options": null, "default": null, "constraint": null, "inherited": null
    });
    changed(column, changes)
}

fn default(oid: &str, expression: &str) -> Value {
    json!({ "oid": oid, "expression": expression, "apart": false })
}

fn not_null(oid: &str, name: &str) -> Value {
    json!({ "oid": oid, "name": name, "namespace": "2200", "validated": true, "local": true, "inherits": true })
}

fn changed(mut row: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().expect("an object of changes") {
        assert!(row.get(key).is_some(), "no field {key}");
        row[key] = value.clone();
    }
    row
}

fn describe(changes: &Value) -> Vec<Object> {
    described(vec![changed(table_row(), changes)])
}

fn from_parents(changes: &Value) -> Value {
    let nothing = json!({
        "not_null": false, "not_null_unvalidated": false, "has_default": false, "generates": false, "storage": null,
        "compression": null
    });
    changed(nothing, changes)
}

/// Describes tables, whose parts stand in them here and come as answers of their own from a server.
fn described(mut tables: Vec<Value>) -> Vec<Object> {
    let (mut columns, mut inherited, mut defaults, mut constraints, mut checks) =
        (vec![], vec![], vec![], vec![], vec![]);
    for table in &mut tables {
        let oid = table["oid"].clone();
        let fields = table.as_object_mut().expect("a row");
        for mut check in list(fields.remove("checks")) {
            check["relation"] = oid.clone();
            checks.push(check);
        }
        for mut column in list(fields.remove("columns")) {
            column["relation"] = oid.clone();
            let number = column["number"].clone();
            let fields = column.as_object_mut().expect("a column");
            for (part, rows) in
                [("default", &mut defaults), ("constraint", &mut constraints), ("inherited", &mut inherited)]
            {
                let mut row = fields.remove(part).expect("every column says so");
                if row.is_object() {
                    row["relation"] = oid.clone();
                    row["number"] = number.clone();
                    rows.push(row);
                }
            }
            columns.push(column);
        }
    }
    let answers = [tables, columns, inherited, defaults, constraints, checks];
    objects(&answers.map(|rows| Rows::of_json(&rows))).expect("rows of the promised shape")
}

fn list(value: Option<Value>) -> Vec<Value> {
    value.and_then(|value| value.as_array().cloned()).expect("a list")
}

fn table_row() -> Value {
    json!({
        "oid": "100", "schema": "app", "name": "t", "owner": "alice", "kind": "r", "row_type": "101",
        "array_type": "102", "of_type": null, "unlogged": false, "is_partition": false, "tablespace": "",
        "access_method": "heap", "replica_identity": "d", "row_security": false, "force_row_security": false,
        "options": null, "toast_options": null, "with_rows": true, "partition_key": null, "partition_bound": null, "server": null,
        "server_options": null, "parents": null, "columns": [column(1, "a", &json!({}))], "checks": [],
        "estimated_bytes": 8192, "estimated_rows": 3, "pages": 1, "load_through": null, "extension": null,
        "configuration_condition": null, "refers_to": null
    })
}

fn find<'a>(objects: &'a [Object], desc: &str) -> &'a Item {
    &objects.iter().find(|object| object.whole.desc == desc).expect(desc).whole
}

fn copy_out(objects: &[Object]) -> &str {
    match &find(objects, "TABLE DATA").payload {
        Payload::Table(data) => &data.copy_out,
        other => panic!("not rows: {other:?}"),
    }
}

fn parent() -> Value {
    json!([{ "oid": "200", "schema": "app", "name": "p" }])
}

#[test]
fn a_table_is_one_create_with_what_only_alter_can_say_behind_it() {
    let made = describe(&json!({
        "columns": [
            column(1, "id", &json!({ "not_null": true, "default": default("110", "7") })),
            column(3, "Text", &json!({
                "type": "text", "collation": ["pg_catalog", "C"], "storage": "e", "statistics": 5,
                "options": ["n_distinct=-0.5"]
            })),
            column(4, "g", &json!({ "generated": "s", "default": default("111", "(id * 2)") })),
        ],
        "checks": [{ "oid": "120", "name": "positive", "definition": "CHECK ((id > 0))", "local": true }],
        "options": ["fillfactor=70"], "toast_options": ["autovacuum_enabled=off"], "replica_identity": "f"
    }));
    assert_eq!(
        find(&made, "TABLE").create,
        "CREATE TABLE app.t (
    id integer DEFAULT 7 NOT NULL,
    \"Text\" text COLLATE pg_catalog.\"C\",
    g integer GENERATED ALWAYS AS ((id * 2)) STORED,
    CONSTRAINT positive CHECK ((id > 0))
)
WITH (fillfactor='70', toast.autovacuum_enabled=off);
ALTER TABLE ONLY app.t ALTER COLUMN \"Text\" SET STATISTICS 5;
ALTER TABLE ONLY app.t ALTER COLUMN \"Text\" SET STORAGE EXTERNAL;
ALTER TABLE ONLY app.t ALTER COLUMN \"Text\" SET (n_distinct='-0.5');
ALTER TABLE ONLY app.t REPLICA IDENTITY FULL;
"
    );
}

#[test]
fn an_opened_table_provides_what_the_whole_one_does_and_every_part_needs_the_head() {
    let made = describe(&json!({
        "columns": [
            column(1, "a", &json!({ "default": default("110", "app.f()") })),
            column(2, "g", &json!({ "generated": "s", "default": default("111", "a") })),
            column(3, "n", &json!({ "constraint": not_null("112", "nn") })),
        ],
        "checks": [
            { "oid": "120", "name": "own", "definition": "CHECK (app.f(t.*))", "local": true },
            { "oid": "121", "name": "inherited", "definition": "CHECK (true)", "local": false },
        ],
        "parents": parent()
    }));
    let (whole, opened) = (&made[0].whole, &made[0].opened.items());
    assert_eq!(opened.iter().map(|item| item.desc).collect::<Vec<_>>(), ["TABLE", "DEFAULT", "CHECK CONSTRAINT"]);
    let provided = |items: &[Item]| -> Vec<Address> { items.iter().flat_map(|item| item.provides.clone()).collect() };
    let together: BTreeSet<Address> = provided(opened).into_iter().collect();
    assert_eq!(together.len(), provided(opened).len(), "nothing is provided twice");
    assert_eq!(together, whole.provides.iter().copied().collect());
    assert!(opened[1..].iter().all(|part| part.needs == [whole.address]));
    assert!(!opened[0].create.contains("app.f"), "{}", opened[0].create);
    assert!(opened[0].create.contains("GENERATED ALWAYS AS (a) STORED"), "{}", opened[0].create);
}

#[test]
fn a_table_without_defaults_and_checks_does_not_open() {
    assert!(!describe(&json!({}))[0].opened.is_possible());
}

#[test]
fn a_partition_stands_alone_with_all_its_columns_and_checks_until_it_is_attached() {
    let made = describe(&json!({
        "is_partition": true, "parents": parent(), "partition_bound": "FOR VALUES IN (1)",
        "columns": [column(1, "a", &json!({ "local": false, "not_null": true }))],
        "checks": [{ "oid": "120", "name": "c", "definition": "CHECK ((a > 0))", "local": false }]
    }));
    let table = find(&made, "TABLE");
    assert_eq!(table.create, "CREATE TABLE app.t (\n    a integer NOT NULL,\n    CONSTRAINT c CHECK ((a > 0))\n);\n");
    let attach = find(&made, "TABLE ATTACH");
    assert_eq!(attach.create, "ALTER TABLE ONLY app.p ATTACH PARTITION app.t FOR VALUES IN (1);\n");
    assert!(attach.needs.contains(&table.address) && attach.needs.contains(&table.ignores[0]));
    assert_eq!(attach.drop, "");
}

#[test]
fn an_inherited_column_is_not_written_but_what_the_child_changed_is() {
    let made = describe(&json!({
        "parents": parent(),
        "columns": [
            column(1, "plain", &json!({ "local": false })),
            column(2, "own_default", &json!({ "local": false, "default": default("110", "9") })),
            column(3, "undone", &json!({ "local": false, "inherited": from_parents(&json!({ "has_default": true })) })),
            column(4, "stricter", &json!({ "local": false, "not_null": true })),
            column(5, "renamed", &json!({
                "local": false, "constraint": changed(not_null("112", "mine"), &json!({ "inherits": false }))
            })),
        ]
    }));
    assert_eq!(
        find(&made, "TABLE").create,
        "CREATE TABLE app.t (
    CONSTRAINT mine NOT NULL renamed NO INHERIT
)
INHERITS (app.p);
ALTER TABLE ONLY app.t ALTER COLUMN own_default SET DEFAULT 9;
ALTER TABLE ONLY app.t ALTER COLUMN undone SET DEFAULT NULL;
ALTER TABLE ONLY app.t ALTER COLUMN stricter SET NOT NULL;
"
    );
}

#[test]
fn rows_are_copied_with_their_columns_named_and_generated_ones_left_out() {
    let made = describe(&json!({ "columns": [
        column(2, "select", &json!({})),
        column(3, "g", &json!({ "generated": "v", "default": default("111", "1") })),
        column(4, "b", &json!({})),
    ] }));
    assert_eq!(copy_out(&made), "COPY app.t (\"select\", b) TO STDOUT;");
    assert_eq!(find(&made, "TABLE DATA").copy.as_deref(), Some("COPY app.t (\"select\", b) FROM stdin;\n"));
}

#[test]
fn rows_of_a_table_without_columns_are_copied_without_a_list() {
    let made = describe(&json!({ "columns": [] }));
    assert_eq!(find(&made, "TABLE").create, "CREATE TABLE app.t (\n);\n");
    assert_eq!(copy_out(&made), "COPY app.t  TO STDOUT;");
    assert_eq!(find(&made, "TABLE DATA").copy.as_deref(), Some("COPY app.t  FROM stdin;\n"));
}

#[test]
fn a_partitioned_table_has_no_data_and_a_foreign_ones_is_a_question() {
    assert!(describe(&json!({ "kind": "p" })).iter().all(|object| object.whole.desc != "TABLE DATA"));
    // A foreign table's are another server's, and whether they are wanted is the selection's to say.
    assert_eq!(copy_out(&describe(&json!({ "kind": "f" }))), "COPY (SELECT a FROM app.t) TO STDOUT;");
}

#[test]
fn a_line_break_in_a_name_cannot_end_the_comment_about_the_partition_root() {
    let made = describe(&json!({
        "is_partition": true, "parents": parent(), "partition_bound": "DEFAULT",
        "load_through": { "oid": "300", "schema": "app", "name": "r\nDROP TABLE x;\r--" }
    }));
    let data = find(&made, "TABLE DATA");
    assert_eq!(data.create, "-- load via partition root app.\"r DROP TABLE x; --\"");
    assert!(data.copy.as_deref().is_some_and(|copy| copy.starts_with("COPY app.\"r\nDROP TABLE x;\r--\" (a)")));
}

#[test]
fn an_extensions_table_gives_only_the_rows_that_it_calls_configuration() {
    let member = describe(&json!({ "extension": "9", "row_security": true }));
    assert_eq!(member.len(), 1);
    let configuration = describe(&json!({ "extension": "9", "configuration_condition": "WHERE a > 1" }));
    assert_eq!(copy_out(&configuration), "COPY (SELECT a FROM ONLY app.t WHERE a > 1) TO STDOUT;");
    assert_eq!(find(&configuration, "TABLE DATA").needs[0].object.0, 9);
}

#[test]
fn only_its_own_statement_provides_the_tables_catalog_rows() {
    let made = describe(&json!({ "row_security": true }));
    assert_eq!(
        made.iter().map(|object| object.whole.desc).collect::<Vec<_>>(),
        ["TABLE", "ROW SECURITY", "TABLE DATA"]
    );
    assert!(made[1..].iter().all(|object| object.whole.provides.is_empty()));
}

/// A child of a table with columns `a` and `b`, described together with it.
fn describe_child(columns: &Value) -> Vec<Object> {
    let row = |oid: &str, name: &str, parents: &Value, columns: &Value| {
        let mut row = table_row();
        for (field, value) in [("oid", json!(oid)), ("name", json!(name)), ("parents", parents.clone())] {
            row[field] = value;
        }
        row["columns"] = columns.clone();
        row
    };
    let of_parent = json!([column(1, "a", &json!({})), column(2, "b", &json!({}))]);
    // The child comes first: the order of the rows is by name.
    let rows = vec![row("100", "child", &parent(), columns), row("200", "p", &json!([]), &of_parent)];
    described(rows).into_iter().filter(|object| object.whole.tag == "child").collect()
}

#[test]
fn a_child_that_declares_every_column_in_an_order_of_its_own_inherits_afterwards() {
    let made = describe_child(&json!([column(1, "b", &json!({})), column(2, "a", &json!({}))]));
    assert_eq!(
        find(&made, "TABLE").create,
        "CREATE TABLE app.child (\n    b integer,\n    a integer\n);\nALTER TABLE ONLY app.child INHERIT app.p;\n"
    );
    assert_eq!(copy_out(&made), "COPY app.child (b, a) TO STDOUT;");
}

#[test]
fn a_column_that_a_parent_was_given_later_takes_the_place_that_it_will_have() {
    let inherited = json!({ "local": false });
    let made =
        describe_child(&json!([column(1, "a", &inherited), column(2, "x", &json!({})), column(3, "b", &inherited)]));
    assert_eq!(find(&made, "TABLE").create, "CREATE TABLE app.child (\n    x integer\n)\nINHERITS (app.p);\n");
    assert_eq!(copy_out(&made), "COPY app.child (a, b, x) TO STDOUT;");
}

#[test]
fn a_not_null_is_named_where_the_server_would_choose_another_name() {
    let said = |name: &str, table: &Value| {
        let columns = json!([column(1, "a", &json!({ "constraint": not_null("112", name) }))]);
        let mut table = table.clone();
        table["columns"] = columns;
        find(&describe(&table), "TABLE").create.clone()
    };
    let bare = "CREATE TABLE app.t (\n    a integer NOT NULL\n);\n";
    assert_eq!(said("t_a_not_null", &json!({})), bare);
    assert_eq!(said("other", &json!({})), "CREATE TABLE app.t (\n    a integer CONSTRAINT other NOT NULL\n);\n");
    let of_a_child = said("t_a_not_null", &json!({ "parents": parent() }));
    assert!(of_a_child.contains("a integer CONSTRAINT t_a_not_null NOT NULL"), "{of_a_child}");
}

#[test]
fn a_not_null_is_named_where_another_one_has_its_name() {
    let namesake = |changes: &Value| {
        let columns = [
            column(1, "a", &json!({ "constraint": not_null("112", "t_a_not_null") })),
            column(2, "b", &json!({ "constraint": changed(not_null("113", "t_a_not_null"), changes) })),
        ];
        find(&describe(&json!({ "columns": columns })), "TABLE").create.contains("CONSTRAINT t_a_not_null NOT NULL,")
    };
    assert!(namesake(&json!({})));
    assert!(!namesake(&json!({ "namespace": "9" })), "it is in another schema");
    assert!(!namesake(&json!({ "local": false })), "it is a parent's");
}

#[test]
fn a_not_null_that_only_parents_have_not_validated_is_said() {
    let inherited = |unvalidated| {
        let constraint = changed(not_null("112", "nn"), &json!({ "local": false }));
        let parents = from_parents(&json!({ "not_null_unvalidated": unvalidated }));
        let column = column(1, "a", &json!({ "local": false, "constraint": constraint, "inherited": parents }));
        find(&describe(&json!({ "parents": parent(), "columns": [column] })), "TABLE").create.clone()
    };
    assert_eq!(inherited(false), "CREATE TABLE app.t (\n)\nINHERITS (app.p);\n");
    assert_eq!(inherited(true), "CREATE TABLE app.t (\n    CONSTRAINT nn NOT NULL a\n)\nINHERITS (app.p);\n");
}

#[test]
fn a_table_has_no_item_for_rows_that_are_not_wanted() {
    assert!(describe(&json!({ "with_rows": false })).iter().all(|object| object.whole.desc != "TABLE DATA"));
}
