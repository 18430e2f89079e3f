//! A database of very many tables, of which the definitions alone are dumped and restored.

use super::{Bench, JOBS, Work};
use pgstow_parts::{Database, Server};

/// So many tables, in steps that one transaction has room for locks for.
const TABLES: usize = 10_000;
const STEP: usize = 1_000;

/// Where the dumps of both lie.
const KEPT: &str = "kept_definitions";
const STOCK: &str = "stock_kept_definitions";

/// Tables with a key, a reference to the one before, a check, an index, defaults and comments; no rows.
pub(super) fn many_tables(server: &Server) -> Database {
    let database = Database::fresh(server, "bench_definitions");
    for first in (1..=TABLES).step_by(STEP) {
        database.execute(&format!(
            "DO $do$ BEGIN FOR n IN {first}..{} LOOP
                EXECUTE format('CREATE TABLE t_%1$s (id bigint PRIMARY KEY, name text NOT NULL DEFAULT ''none'', parent bigint,
                    amount numeric(12,2) NOT NULL DEFAULT 0 CHECK (amount >= 0), made timestamptz DEFAULT now());
                    CREATE INDEX ON t_%1$s (name, made);
                    COMMENT ON TABLE t_%1$s IS ''number %1$s''; COMMENT ON COLUMN t_%1$s.amount IS ''what it costs''', n);
                IF n > 1 THEN EXECUTE format('ALTER TABLE t_%s ADD FOREIGN KEY (parent) REFERENCES t_%s', n, n - 1); END IF;
             END LOOP; END $do$",
            first + STEP - 1
        ));
    }
    database.execute("ANALYZE");
    database
}

impl Bench {
    pub(super) fn definitions(&self) -> Work<'_> {
        Work {
            name: "dump, definitions of 10,000 tables, to a folder",
            rival: "`pg_dump -s -Fd`".to_owned(),
            goal: 0.5,
            ours: Box::new(|| {
                let store = format!("file://{}", self.free_place("ours_definitions"));
                self.pgstow(&["dump", "-s", "-d", &self.many_tables.url(), "--to", &store, "-j", JOBS])
            }),
            theirs: Box::new(|| {
                let (place, url) = (self.free_place("stock_definitions"), self.many_tables.url());
                self.shell(&format!("$BIN/pg_dump -s -Fd -f {place} -d '{url}'"))
            }),
        }
    }

    /// Dumps what [`Bench::restored_definitions`] restores.
    pub(super) fn keep_definitions(&self) {
        let (kept, stock, url) = (self.place(KEPT), self.free_place(STOCK), self.many_tables.url());
        self.pgstow(&["dump", "-d", &url, "--to", &format!("file://{kept}"), "-j", JOBS]);
        self.shell(&format!("$BIN/pg_dump -Fd -f {stock} -d '{url}'"));
    }

    pub(super) fn restored_definitions(&self) -> Work<'_> {
        Work {
            name: "restore, definitions of 10,000 tables, from a folder",
            rival: "`pg_restore -j 2`".to_owned(),
            goal: 0.5,
            ours: Box::new(|| self.restore(&format!("file://{}", self.place(KEPT)))),
            theirs: Box::new(|| {
                let target = self.target();
                self.shell(&self.stock_restore(&target, STOCK))
            }),
        }
    }
}
