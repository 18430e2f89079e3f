//! What is asked about tables. Everything that hangs on a table is gathered once for all tables and joined to them: a
//! subquery a table is planned for one table, and ten thousand of those take several times as long.

use crate::model::Question;

/// `locked` keeps the size estimate from waiting behind somebody's ACCESS EXCLUSIVE lock.
///
/// `pages` is 0 where a range of pages cannot be read without reading all: only heaps have pages in `ctid`, and scans of a
/// range of them (`nodeTidrangescan.c`) exist from 14 on.
///
/// `rows_early` is for what types and functions of an extension look up while tables are made (private SRIDs, formats of point
/// clouds). Rows that name other objects (`regclass` and its like), or that a trigger or a function of a check looks at that is
/// not in C, come with all others.
pub(super) const TABLES: Question = Question(
    "WITH locked AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
    WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.pid <> pg_catalog.pg_backend_pid()
), child AS MATERIALIZED (
    SELECT i.inhrelid AS relation, i.inhparent AS parent, i.inhseqno AS place, c.relispartition AS is_partition
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')
), parents AS MATERIALIZED (
    SELECT i.relation, pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', p.oid, 'schema', n.nspname, 'name', p.relname) ORDER BY i.place) AS list
    FROM child i
    JOIN pg_catalog.pg_class p ON p.oid = i.parent
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    GROUP BY i.relation
), members AS MATERIALIZED (
    SELECT e.objid AS relation, pg_catalog.min(e.refobjid) AS extension FROM pg_catalog.pg_depend e
    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objsubid = 0 AND e.deptype = 'e'
        AND e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    GROUP BY e.objid
), configurations AS MATERIALIZED (
    SELECT u.relation, coalesce(pg_catalog.min(u.condition), '') AS condition
    FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) u(relation, condition)
    GROUP BY u.relation
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, o.rolname AS owner, c.relkind AS kind,
    c.reltype AS row_type, coalesce(rt.typarray, 0) AS array_type,
    CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END AS of_type,
    c.relpersistence = 'u' AS unlogged, c.relispartition AS is_partition,
    true AS with_rows, -- !rows: false AS with_rows,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    am.amname AS access_method, -- !table-access-method: NULL AS access_method,
    c.relreplident AS replica_identity, c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
    c.reloptions AS options, tc.reloptions AS toast_options,
    CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partition_key,
    CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END AS partition_bound,
    fs.srvname AS server,
    CASE WHEN ft.ftoptions IS NOT NULL THEN (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(x.option_name, x.option_value))
        FROM pg_catalog.pg_options_to_table(ft.ftoptions) x) END AS server_options,
    parents.list AS parents,
    CASE WHEN c.relkind <> 'r' THEN 0 -- !rows: CASE WHEN true THEN 0
        WHEN c.oid IN (SELECT relation FROM locked)
            THEN (c.relpages + coalesce(tc.relpages, 0))::bigint * pg_catalog.current_setting('block_size')::bigint
        ELSE coalesce(pg_catalog.pg_table_size(c.oid), 0) END AS estimated_bytes,
    greatest(c.reltuples, 0)::bigint AS estimated_rows,
    CASE WHEN c.relkind = 'r' AND am.amname = 'heap' -- <14: CASE WHEN false -- !rows: CASE WHEN false
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
    members.extension, configurations.condition AS configuration_condition,
    CASE WHEN configurations.relation IS NULL THEN false ELSE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND (t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND t.typname ~ '^_?reg'
                OR b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND b.typname ~ '^_?reg')
    ) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 4 <> 0
    ) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid
            AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
        JOIN pg_catalog.pg_language l ON l.oid = f.prolang
        WHERE k.conrelid = c.oid AND l.lanname NOT IN ('c', 'internal')
    ) END AS rows_early,
    CASE WHEN configurations.relation IS NOT NULL THEN ( -- !definitions: CASE WHEN true THEN (
        WITH RECURSIVE far(relation) AS (
            SELECT k.confrelid FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
            UNION SELECT i.inhrelid FROM far JOIN pg_catalog.pg_inherits i ON i.inhparent = far.relation)
        SELECT coalesce(pg_catalog.json_agg(far.relation), '[]') FROM far) END AS refers_to
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_type rt ON rt.oid = c.reltype
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_class tc ON tc.oid = c.reltoastrelid AND tc.relkind = 't'
LEFT JOIN pg_catalog.pg_foreign_table ft ON ft.ftrelid = c.oid
LEFT JOIN pg_catalog.pg_foreign_server fs ON fs.oid = ft.ftserver
LEFT JOIN parents ON parents.relation = c.oid
LEFT JOIN members ON members.relation = c.oid
LEFT JOIN configurations ON configurations.relation = c.oid
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
);

/// The live columns of all tables and materialized views, in no order, with what they say of themselves alone.
///
/// `indexed_as` is the type whose operator classes an index on the column has by default. A NOT NULL is a constraint from
/// 18 on ([`NOT_NULLS`]).
pub(in crate::objects) const COLUMNS: Question = Question(
    "SELECT a.attrelid AS relation, a.attnum AS number, a.attname AS name,
    CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END AS indexed_as, a.attcollation AS collation_oid,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
    CASE WHEN a.attcollation <> t.typcollation THEN (
        SELECT pg_catalog.json_build_array(con.nspname, co.collname)
        FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace con ON con.oid = co.collnamespace
        WHERE co.oid = a.attcollation) END AS collation,
    a.attislocal AS local, a.attgenerated AS generated,
    false AS not_null, -- <18: a.attnotnull AS not_null,
    CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END AS storage,
    CASE WHEN a.attcompression <> '' THEN a.attcompression END AS compression, -- <14: NULL AS compression, -- !toast-compression: NULL AS compression,
    CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END AS statistics,
    a.attoptions AS options,
    CASE WHEN a.attfdwoptions IS NOT NULL THEN (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(x.option_name, x.option_value))
        FROM pg_catalog.pg_options_to_table(a.attfdwoptions) x) END AS server_options
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
);

/// What columns get from the parents of plain inheritance (`flagInhAttrs`, `src/bin/pg_dump/common.c`). A partition has its
/// columns from its own statement, so it is left out.
///
/// Before 18 a NOT NULL that a parent has too counts as inherited; from then on it says so itself, save for one that no
/// parent has validated.
pub(super) const INHERITED: Question = Question(
    "SELECT i.inhrelid AS relation, a.attnum AS number,
    false AS not_null, -- <18: pg_catalog.bool_or(pa.attnotnull) AS not_null,
    coalesce(pg_catalog.bool_and(NOT k.convalidated), false) AS not_null_unvalidated,
    pg_catalog.bool_or(pa.atthasdef AND pa.attgenerated = '') AS has_default,
    coalesce(pg_catalog.bool_or(pa.attgenerated <> '' AND parent.expression IS NOT DISTINCT FROM own.expression)
        AND NOT pg_catalog.bool_or(pa.attgenerated <> '' AND parent.expression IS DISTINCT FROM own.expression),
        false) AS generates,
    CASE WHEN a.attstorage::text <> pg_catalog.min(pa.attstorage::text) THEN a.attstorage END AS storage,
    CASE WHEN a.attcompression::text <> pg_catalog.min(pa.attcompression::text) THEN a.attcompression END AS compression -- <14: NULL AS compression -- !toast-compression: NULL AS compression
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_attribute pa ON pa.attrelid = i.inhparent AND pa.attnum > 0 AND NOT pa.attisdropped
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhrelid AND a.attname = pa.attname AND a.attnum > 0
LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = i.inhparent AND k.contype = 'n' AND k.conkey[1] = pa.attnum
LEFT JOIN LATERAL (
    SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression FROM pg_catalog.pg_attrdef d
    WHERE pa.attgenerated <> '' AND d.adrelid = pa.attrelid AND d.adnum = pa.attnum) parent ON true
LEFT JOIN LATERAL (
    SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression FROM pg_catalog.pg_attrdef d
    WHERE pa.attgenerated <> '' AND d.adrelid = a.attrelid AND d.adnum = a.attnum) own ON true
WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
GROUP BY i.inhrelid, a.attnum, a.attstorage
    , a.attcompression -- <14:",
);

/// The defaults and generation expressions of all columns. One that counts by a sequence of its own table stands apart.
///
/// Only generation expressions name columns. For those the server has to look at the table; where it need not, it is spared
/// to load what it knows of every table.
pub(super) const DEFAULTS: Question = Question(
    "WITH apart AS MATERIALIZED (
    SELECT d.objid AS default_oid
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
    JOIN pg_catalog.pg_attrdef ad ON ad.oid = d.objid
    JOIN pg_catalog.pg_depend o ON o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objid = s.oid
        AND o.objsubid = 0 AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.refobjid = ad.adrelid
        AND o.deptype = 'a'
    WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
), generated AS MATERIALIZED (
    SELECT a.attrelid, a.attnum FROM pg_catalog.pg_attribute a WHERE a.attgenerated <> ''
)
SELECT d.oid, d.adrelid AS relation, d.adnum AS number,
    pg_catalog.pg_get_expr(d.adbin, CASE WHEN g.attnum IS NULL THEN 0 ELSE d.adrelid END) AS expression,
    d.oid IN (SELECT default_oid FROM apart) AS apart
FROM pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
LEFT JOIN generated g ON g.attrelid = d.adrelid AND g.attnum = d.adnum
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'",
);

/// The NOT NULLs of tables' columns, which are constraints from 18 on, and whatever else has a name like theirs in a schema:
/// where that is taken the server chooses another.
pub(super) const NOT_NULLS: Question = Question(
    "SELECT k.oid, k.conrelid AS relation, k.conname AS name, k.connamespace AS namespace,
    CASE WHEN k.contype = 'n' THEN k.conkey[1] END AS number,
    k.convalidated AS validated, k.conislocal AS local, NOT k.connoinherit AS inherits
FROM pg_catalog.pg_constraint k
WHERE k.oid >= 16384 AND (k.contype = 'n' OR k.conname::text LIKE '%_not_null')
    AND true -- <18: AND false",
);

/// The validated checks of all tables, in no order.
pub(super) const CHECKS: Question = Question(
    "SELECT k.oid, k.conrelid AS relation, k.conname AS name, pg_catalog.pg_get_constraintdef(k.oid) AS definition,
    k.conislocal AS local
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND k.convalidated AND k.conrelid >= 16384 AND c.relpersistence <> 't'",
);
