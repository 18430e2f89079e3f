//! Tables: ordinary, partitioned and foreign ones, their partitions' attachment, row security, and their rows.
//!
//! A partition is made as a table of its own with all its columns and attached afterwards, as `pg_dump` does it
//! (`dumpTableAttach`, `src/bin/pg_dump/pg_dump.c`), so that its column order, storage and privileges stay its own.
//! Identity columns are made by their sequences (`sequence.rs`); indexes, keys and constraints that are not yet
//! validated belong to the kinds that come after the data.

mod data;
mod definition;
mod inheritance;
mod row;
#[cfg(test)]
mod tests;

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{
    Address, Belongs, Columns, Grantable, Item, Object, Oid, Question, Section, Target, class, ident, qualified,
};
use row::{Check, Column, TableRow};

pub(super) const KIND: Kind = Kind { name: "tables", question: QUESTION, objects };

/// `locked` keeps the size estimate from waiting behind somebody's ACCESS EXCLUSIVE lock; `inherited` is what a column
/// gets from the parents of plain inheritance (`flagInhAttrs`, `src/bin/pg_dump/common.c`). A NOT NULL has a name, a
/// place and a validity of its own from 18 on; before, one that a parent has too counts as inherited.
///
/// `pages` is 0 where a range of pages cannot be read without reading all: only heaps have pages in `ctid`, and scans of a
/// range of them (`nodeTidrangescan.c`) exist from 14 on.
const QUESTION: Question = Question(
    "WITH locked AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
    WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.pid <> pg_catalog.pg_backend_pid()
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, o.rolname AS owner, c.relkind AS kind,
    c.reltype AS row_type, coalesce(rt.typarray, 0) AS array_type,
    CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END AS of_type,
    c.relpersistence = 'u' AS unlogged, c.relispartition AS is_partition,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    am.amname AS access_method, -- !table-access-method: NULL AS access_method,
    c.relreplident AS replica_identity, c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
    coalesce(c.reloptions, '{}') AS options, coalesce(tc.reloptions, '{}') AS toast_options,
    CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partition_key,
    CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END AS partition_bound,
    fs.srvname AS server,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(x.option_name, x.option_value)), '[]')
        FROM pg_catalog.pg_options_to_table(ft.ftoptions) x) AS server_options,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', p.oid, 'schema', pn.nspname, 'name', p.relname) ORDER BY i.inhseqno), '[]')
        FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
        JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
        WHERE i.inhrelid = c.oid) AS parents,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'number', a.attnum, 'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN (
                SELECT pg_catalog.json_build_array(con.nspname, co.collname)
                FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace con ON con.oid = co.collnamespace
                WHERE co.oid = a.attcollation) END,
            'local', a.attislocal, 'generated', a.attgenerated,
            'default_oid', d.oid, 'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
            'parent_has_default', coalesce(inherited.has_default, false),
            'parent_generates', coalesce(inherited.same_generated AND NOT inherited.other_generated, false),
            'not_null', coalesce(nn.convalidated, false), -- <18: 'not_null', a.attnotnull,
            'not_null_local', coalesce(nn.conislocal OR nn.convalidated AND not_valid_above.found, false), -- <18: 'not_null_local', NOT coalesce(inherited.not_null, false),
            'not_null_inherits', NOT coalesce(nn.connoinherit, false),
            'not_null_oid', nn.oid, 'not_null_constraint', nn.conname,
            'not_null_name_is_default', nn.conname = c.relname || '_' || a.attname || '_not_null' AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND NOT c.relispartition) AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_constraint other
                WHERE other.conname = nn.conname AND other.connamespace = nn.connamespace AND other.oid <> nn.oid
                AND (other.conislocal OR (SELECT oc.relispartition FROM pg_catalog.pg_class oc WHERE oc.oid = other.conrelid))),
            'storage', CASE WHEN a.attstorage <> t.typstorage OR a.attstorage <> inherited.storage THEN a.attstorage END,
            'compression', CASE WHEN a.attcompression <> '' OR a.attcompression <> inherited.compression THEN a.attcompression END, -- <14: 'compression', NULL, -- !toast-compression: 'compression', NULL,
            'statistics', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
            'options', coalesce(a.attoptions, '{}'),
            'server_options', (
                SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(x.option_name, x.option_value)), '[]')
                FROM pg_catalog.pg_options_to_table(a.attfdwoptions) x)
            ) ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        LEFT JOIN pg_catalog.pg_constraint nn
            ON nn.conrelid = a.attrelid AND nn.contype = 'n' AND nn.conkey[1] = a.attnum
        LEFT JOIN LATERAL (
            SELECT pg_catalog.bool_and(NOT pk.convalidated) AS found
            FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_attribute pa ON pa.attrelid = i.inhparent AND pa.attname = a.attname
            JOIN pg_catalog.pg_constraint pk
                ON pk.conrelid = i.inhparent AND pk.contype = 'n' AND pk.conkey[1] = pa.attnum
            WHERE i.inhrelid = c.oid) not_valid_above ON true
        LEFT JOIN LATERAL (
            SELECT pg_catalog.bool_or(pa.attnotnull) AS not_null,
                pg_catalog.bool_or(pa.atthasdef AND pa.attgenerated = '') AS has_default,
                pg_catalog.bool_or(pa.attgenerated <> '' AND pg_catalog.pg_get_expr(pd.adbin, pd.adrelid)
                    IS NOT DISTINCT FROM pg_catalog.pg_get_expr(d.adbin, d.adrelid)) AS same_generated,
                pg_catalog.bool_or(pa.attgenerated <> '' AND pg_catalog.pg_get_expr(pd.adbin, pd.adrelid)
                    IS DISTINCT FROM pg_catalog.pg_get_expr(d.adbin, d.adrelid)) AS other_generated,
                pg_catalog.min(pa.attcompression::text) AS compression, -- <14:
                pg_catalog.min(pa.attstorage::text) AS storage
            FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_attribute pa
                ON pa.attrelid = i.inhparent AND pa.attname = a.attname AND pa.attnum > 0 AND NOT pa.attisdropped
            LEFT JOIN pg_catalog.pg_attrdef pd ON pd.adrelid = pa.attrelid AND pd.adnum = pa.attnum
            WHERE i.inhrelid = a.attrelid AND NOT c.relispartition) inherited ON true
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', k.oid, 'name', k.conname, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
            'local', k.conislocal) ORDER BY k.conname), '[]')
        FROM pg_catalog.pg_constraint k
        WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated) AS checks,
    CASE WHEN c.relkind <> 'r' THEN 0
        WHEN c.oid IN (SELECT relation FROM locked)
            THEN (c.relpages + coalesce(tc.relpages, 0))::bigint * pg_catalog.current_setting('block_size')::bigint
        ELSE coalesce(pg_catalog.pg_table_size(c.oid), 0) END AS estimated_bytes,
    greatest(c.reltuples, 0)::bigint AS estimated_rows,
    CASE WHEN c.relkind = 'r' AND am.amname = 'heap' -- <14: CASE WHEN false
        AND c.oid NOT IN (SELECT relation FROM locked)
        THEN coalesce(pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, 0)
        ELSE 0 END AS pages,
    (SELECT pg_catalog.json_build_object('oid', r.oid, 'schema', rn.nspname, 'name', r.relname)
        FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
        WHERE c.relkind = 'r' AND c.relispartition AND r.oid = pg_catalog.pg_partition_root(c.oid) AND EXISTS (
            SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) ancestor(oid)
            JOIN pg_catalog.pg_partitioned_table pt ON pt.partrelid = ancestor.oid
            JOIN pg_catalog.pg_opclass oc ON oc.oid = ANY (pt.partclass)
            WHERE pt.partstrat = 'h' AND oc.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace
                AND oc.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops'))) AS load_through,
    (SELECT e.refobjid FROM pg_catalog.pg_depend e
        WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.objsubid = 0
            AND e.deptype = 'e' LIMIT 1) AS extension,
    (SELECT coalesce(e.extcondition[pg_catalog.array_position(e.extconfig, c.oid)], '')
        FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig) LIMIT 1) AS configuration_condition
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_type rt ON rt.oid = c.reltype
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_class tc ON tc.oid = c.reltoastrelid
LEFT JOIN pg_catalog.pg_foreign_table ft ON ft.ftrelid = c.oid
LEFT JOIN pg_catalog.pg_foreign_server fs ON fs.oid = ft.ftserver
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname",
);

fn objects(rows: &[String]) -> Result<Vec<Object>> {
    let mut tables: Vec<TableRow> = Vec::with_capacity(rows.len());
    each::<TableRow>(rows, |row, _| {
        tables.push(row);
        Ok(())
    })?;
    inheritance::arrange(&mut tables);
    Ok(tables.iter().flat_map(objects_of).collect())
}

fn objects_of(row: &TableRow) -> Vec<Object> {
    let mut objects = vec![table(row)];
    // What hangs on a member of an extension comes with the extension, save for the rows of a configuration table.
    if row.extension.is_none() {
        objects.extend(attachment(row));
        objects.extend(row_security(row));
    }
    objects.extend(data::object(row));
    objects
}

fn table(row: &TableRow) -> Object {
    let whole = Item {
        create: definition::whole(row),
        provides: row.relation_and_types().chain(row.default_addresses()).chain(row.constraint_addresses()).collect(),
        ..bare_table(row)
    };
    Object { opened: opened(row), targets: targets(row), ..Object::simple(whole, belongs(row)) }
}

/// The table's Item without its statement and what that provides.
fn bare_table(row: &TableRow) -> Item {
    let foreign = row.is_foreign();
    Item {
        owner: row.owner.clone(),
        drop: format!("DROP {} {};\n", row.desc(), row.qualified()),
        relkind: Some(row.kind),
        tablespace: (!foreign).then(|| row.tablespace.clone()),
        // A partitioned table says its access method in its definition: readers of archive 1.15 would not apply it.
        access_method: (row.kind == 'r').then(|| row.access_method.clone()).flatten(),
        // A partition stands alone until it is attached.
        ignores: if row.is_partition { row.parents.iter().map(|p| relation(p.oid)).collect() } else { Vec::new() },
        ..Item::new(row.desc(), relation(row.oid), Some(&row.schema), &row.name)
    }
}

/// The table without what can be added later, then each default and each check. A generation expression cannot be added.
fn opened(row: &TableRow) -> Vec<Item> {
    let defaults = row.columns.iter().filter_map(|column| default_part(row, column));
    let checks = row.checks.iter().filter(|check| row.writes(check)).map(|check| check_part(row, check));
    let parts: Vec<Item> = defaults.chain(checks).collect();
    if parts.is_empty() {
        return parts;
    }
    let elsewhere: Vec<Address> = parts.iter().flat_map(|part| part.provides.iter().copied()).collect();
    let head = Item {
        create: definition::head(row),
        provides: row
            .relation_and_types()
            .chain(row.default_addresses())
            .chain(row.constraint_addresses())
            .filter(|address| !elsewhere.contains(address))
            .collect(),
        ..bare_table(row)
    };
    std::iter::once(head).chain(parts).collect()
}

fn default_part(row: &TableRow, column: &Column) -> Option<Item> {
    let oid = column.default_oid?;
    let create = definition::set_default(row, column)?;
    Some(Item {
        create,
        drop: format!("ALTER {} {} ALTER COLUMN {} DROP DEFAULT;\n", row.desc(), row.qualified(), ident(&column.name)),
        needs: vec![relation(row.oid)],
        ..Item::new(
            "DEFAULT",
            Address::new(class::DEFAULT, oid),
            Some(&row.schema),
            format!("{} {}", row.name, column.name),
        )
    })
}

fn check_part(row: &TableRow, check: &Check) -> Item {
    let (desc, table, name) = (row.desc(), row.qualified(), ident(&check.name));
    Item {
        create: format!("ALTER {desc} {table}\n    ADD CONSTRAINT {name} {};\n", check.definition),
        drop: format!("ALTER {desc} {table} DROP CONSTRAINT {name};\n"),
        needs: vec![relation(row.oid)],
        ..Item::new(
            "CHECK CONSTRAINT",
            Address::new(class::CONSTRAINT, check.oid),
            Some(&row.schema),
            format!("{} {}", row.name, check.name),
        )
    }
}

fn attachment(row: &TableRow) -> Option<Object> {
    let (parent, bound) = (row.parents.first()?, row.partition_bound.as_deref()?);
    // ATTACH refuses a partition that lacks a check of its parent, so those of the partition come first.
    let needs = [relation(row.oid), relation(parent.oid)].into_iter().chain(row.constraint_addresses()).collect();
    let item = Item {
        owner: row.owner.clone(),
        create: format!(
            "ALTER TABLE ONLY {} ATTACH PARTITION {} {bound};\n",
            qualified(&parent.schema, &parent.name),
            row.qualified()
        ),
        needs,
        ..Item::new("TABLE ATTACH", Address::default(), Some(&row.schema), &row.name)
    };
    Some(Object::simple(item, belongs(row)))
}

fn row_security(row: &TableRow) -> Option<Object> {
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create: format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY;\n", row.qualified()),
        needs: vec![relation(row.oid)],
        provides: Vec::new(),
        ..Item::new("ROW SECURITY", not_a_row(row.oid), Some(&row.schema), &row.name)
    };
    row.row_security.then(|| Object::simple(item, belongs(row)))
}

fn targets(row: &TableRow) -> Vec<Target> {
    let (desc, table) = (row.desc(), row.qualified());
    let whole = Target {
        address: relation(row.oid),
        on: format!("{desc} {table}"),
        tag: format!("{desc} {}", ident(&row.name)),
        grant: row.owner.clone().map(|owner| Grantable { on: format!("TABLE {table}"), owner }),
        columns: Some(Columns {
            relation: row.oid,
            qualified: table.clone(),
            names: row.columns.iter().map(|column| (column.number, column.name.clone())).collect(),
        }),
    };
    let checks = row.checks.iter().map(|check| (check.oid, check.name.as_str()));
    let constraints = checks.chain(row.not_nulls()).map(|(oid, name)| Target {
        address: Address::new(class::CONSTRAINT, oid),
        on: format!("CONSTRAINT {} ON {table}", ident(name)),
        tag: format!("CONSTRAINT {} ON {}", ident(name), ident(&row.name)),
        grant: None,
        columns: None,
    });
    let row_type = words::row_type_target(row.row_type, &row.schema, &row.name, row.owner.as_deref());
    std::iter::once(whole).chain(row_type).chain(constraints).collect()
}

fn belongs(row: &TableRow) -> Belongs {
    Belongs { schema: Some(row.schema.clone()), relation: Some(row.oid), owned_by: None }
}

fn relation(oid: Oid) -> Address {
    Address::new(class::RELATION, oid)
}

/// For what is about a relation but is no catalog row of its own: no edge of `pg_depend` reaches it.
fn not_a_row(oid: Oid) -> Address {
    Address::new(Oid(0), oid)
}
