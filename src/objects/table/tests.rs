//! What a table's row becomes, from rows as a server writes them.

use super::objects;
use crate::model::{Address, Item, Object, Payload, Rows};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn column(number: i32, name: &str, changes: &Value) -> Value {
    let column = json!({
        "relation": "100", "number": number, "name": name, "type": "integer", "collation": null, "local": true, "generated": "",
        "default_oid": null, "default": null, "default_apart": false, "parent_has_default": false, "parent_generates": false,
        "not_null": false, "not_null_local": false, "not_null_inherits": true, "not_null_oid": null,
        "not_null_constraint": null, "not_null_name_is_default": null, "storage": null, "compression": null,
        "statistics": null, "options": [], "server_options": []
    });
    changed(column, changes)
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

/// Describes tables, whose columns stand in them here and come as an answer of their own from a server.
fn described(mut tables: Vec<Value>) -> Vec<Object> {
    let columns: Vec<Value> = tables
        .iter_mut()
        .flat_map(|table| {
            let columns = table["columns"].take();
            let oid = table["oid"].clone();
            let columns = columns.as_array().expect("a list of columns").clone();
            columns.into_iter().map(move |column| changed(column, &json!({ "relation": oid })))
        })
        .collect();
    objects(&[Rows::of_json(&tables), Rows::of_json(&columns)]).expect("rows of the promised shape")
}

fn table_row() -> Value {
    json!({
        "oid": "100", "schema": "app", "name": "t", "owner": "alice", "kind": "r", "row_type": "101",
        "array_type": "102", "of_type": null, "unlogged": false, "is_partition": false, "tablespace": "",
        "access_method": "heap", "replica_identity": "d", "row_security": false, "force_row_security": false,
        "options": [], "toast_options": [], "partition_key": null, "partition_bound": null, "server": null,
        "server_options": [], "parents": [], "columns": [column(1, "a", &json!({}))], "checks": [],
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
            column(1, "id", &json!({ "not_null": true, "not_null_local": true, "default_oid": "110", "default": "7" })),
            column(3, "Text", &json!({
                "type": "text", "collation": ["pg_catalog", "C"], "storage": "e", "statistics": 5,
                "options": ["n_distinct=-0.5"]
            })),
            column(4, "g", &json!({ "generated": "s", "default_oid": "111", "default": "(id * 2)" })),
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
            column(1, "a", &json!({ "default_oid": "110", "default": "app.f()" })),
            column(2, "g", &json!({ "generated": "s", "default_oid": "111", "default": "a" })),
            column(3, "n", &json!({
                "not_null": true, "not_null_local": true, "not_null_oid": "112", "not_null_constraint": "nn"
            })),
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
            column(2, "own_default", &json!({ "local": false, "default_oid": "110", "default": "9" })),
            column(3, "undone", &json!({ "local": false, "parent_has_default": true })),
            column(4, "stricter", &json!({ "local": false, "not_null": true, "not_null_local": true })),
            column(5, "renamed", &json!({
                "local": false, "not_null": true, "not_null_local": true, "not_null_oid": "112",
                "not_null_constraint": "mine", "not_null_name_is_default": false, "not_null_inherits": false
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
        column(3, "g", &json!({ "generated": "v", "default_oid": "111", "default": "1" })),
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
