//! The data of the benchmark, made by the server itself.

use pgstow_parts::{Database, Server};

/// Four tables of about equal size as COPY text: many narrow rows, mixed columns, text and jsonb, and incompressible bytea.
pub(crate) fn mixed(server: &Server, gigabytes: f64) -> Database {
    let database = Database::fresh(server, "bench_mixed");
    let rows = |bytes_a_row: f64| (gigabytes * 0.25e9 / bytes_a_row).ceil();
    database.execute(&format!(
        "CREATE EXTENSION pgcrypto;
         CREATE TABLE narrow (id bigint, a integer, b integer, c double precision);
         INSERT INTO narrow SELECT n, (n * 79) % 100003, n % 17, n::float8 / 3 FROM generate_series(1, {}) n;
         CREATE TABLE mixed (id bigint, at timestamptz, email text, amount numeric(12,2), done boolean, note text);
         INSERT INTO mixed SELECT n, timestamptz '2020-01-01' + n * interval '7 seconds', 'user' || n % 99991 || '@example.com',
             (n % 1000003)::numeric / 100, n % 3 = 0, md5(n::text) || ' ' || md5((n / 5)::text) FROM generate_series(1, {}) n;
         CREATE TABLE documents (id bigint, body text, meta jsonb);
         INSERT INTO documents SELECT n, (SELECT string_agg(md5((n * m % 5003)::text), ' ') FROM generate_series(1, 12) m),
             jsonb_build_object('tags', jsonb_build_array(n % 7, n % 11, md5((n % 101)::text)), 'n', n, 'ok', n % 2 = 0)
             FROM generate_series(1, {}) n;
         CREATE TABLE pictures (id bigint, data bytea); ALTER TABLE pictures ALTER data SET STORAGE EXTERNAL;
         INSERT INTO pictures SELECT n, gen_random_bytes(1024) || gen_random_bytes(1024) || gen_random_bytes(1024)
             || gen_random_bytes(1024) FROM generate_series(1, {}) n;
         ANALYZE",
        rows(48.0),
        rows(145.0),
        rows(490.0),
        rows(8210.0),
    ));
    database
}

/// One table of nine tenths of the data, with three indexes, and a small one.
pub(crate) fn lopsided(server: &Server, gigabytes: f64) -> Database {
    let database = Database::fresh(server, "bench_lopsided");
    let rows = |share: f64| (gigabytes * 1e9 * share / 145.0).ceil();
    let columns = "(id bigint NOT NULL, at timestamptz, email text, amount numeric(12,2), done boolean, note text)";
    let values = "n, timestamptz '2020-01-01' + n * interval '7 seconds', 'user' || n % 99991 || '@example.com',
        (n % 1000003)::numeric / 100, n % 3 = 0, md5(n::text) || ' ' || md5((n / 5)::text)";
    database.execute(&format!(
        "CREATE TABLE large {columns}; INSERT INTO large SELECT {values} FROM generate_series(1, {}) n;
         CREATE TABLE small {columns}; INSERT INTO small SELECT {values} FROM generate_series(1, {}) n;
         ALTER TABLE large ADD PRIMARY KEY (id); CREATE INDEX ON large (at); CREATE INDEX ON large (email);
         ANALYZE",
        rows(0.9),
        rows(0.1),
    ));
    database
}

/// A thousand tables of equal size.
pub(crate) fn thousand(server: &Server, gigabytes: f64) -> Database {
    let database = Database::fresh(server, "bench_thousand");
    let rows = (gigabytes * 1e9 / 1000.0 / 145.0).ceil();
    for group in 0..20 {
        let tables: String = (group * 50..group * 50 + 50)
            .map(|table| {
                format!(
                    "CREATE TABLE t{table} AS SELECT n AS id, timestamptz '2020-01-01' + n * interval '7 seconds' AS at,
                     'user' || n % 99991 || '@example.com' AS email, (n % 1000003)::numeric / 100 AS amount, n % 3 = 0 AS done,
                     md5(n::text) || ' ' || md5((n / 5)::text) AS note FROM generate_series(1, {rows}) n;"
                )
            })
            .collect();
        database.execute(&tables);
    }
    database.execute("ANALYZE");
    database
}
