//! Tables that are emptied, swapped and rewritten: a dump has them whole, as they were before or after.

use super::Loop;

const LOADED: &str = "CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT g, repeat('x', g % 50) FROM generate_series(1, 500) g;";

fn table(name: &str, round: &str) {
    let whole = "SELECT count(*) = 500 AND sum(id) = 125250 FROM t";
    for jobs in ["1", "4"] {
        let disturbed = Loop { name, setup: LOADED, round, pause: 15, sessions: 1, rows: Some(500), holds: whole };
        disturbed.run(&["-j", jobs]);
    }
}

#[test]
fn a_table_that_is_truncated_and_loaded_is_never_dumped_empty() {
    table("truncated", "TRUNCATE t; INSERT INTO t SELECT g, repeat('x', n % 50) FROM generate_series(1, 500) g;");
}

#[test]
fn a_table_that_is_replaced_by_another_one_is_never_dumped_empty() {
    let swap = "CREATE TABLE t_new (id int PRIMARY KEY, v text);
        INSERT INTO t_new SELECT g, repeat('x', n % 50) FROM generate_series(1, 500) g;
        DROP TABLE t; ALTER TABLE t_new RENAME TO t; ALTER INDEX t_new_pkey RENAME TO t_pkey;";
    table("swapped", swap);
}

#[test]
fn a_table_whose_name_goes_to_another_one_is_never_dumped_empty() {
    let swap = "CREATE TABLE t_new (id int PRIMARY KEY, v text);
        INSERT INTO t_new SELECT g, repeat('x', n % 50) FROM generate_series(1, 500) g;
        ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; DROP TABLE t_old;
        ALTER INDEX t_new_pkey RENAME TO t_pkey;";
    table("renamed", swap);
}

#[test]
fn a_table_that_is_rewritten_is_never_dumped_empty() {
    let rewrite = "IF n % 2 = 0 THEN ALTER TABLE t ALTER id TYPE bigint; ELSE ALTER TABLE t ALTER id TYPE int; END IF;";
    table("rewritten", rewrite);
}

#[test]
fn a_partition_that_is_dropped_and_made_again_comes_back() {
    Loop {
        name: "partition",
        setup: "CREATE TABLE t (id int, v text) PARTITION BY RANGE (id);
            CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (100);
            CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (100) TO (200);
            INSERT INTO t SELECT g, 'x' FROM generate_series(0, 199) g;",
        round: "DROP TABLE t_2; CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (100) TO (200);
            INSERT INTO t SELECT g, 'x' || n FROM generate_series(100, 199) g;",
        pause: 15,
        sessions: 1,
        rows: Some(200),
        holds: "SELECT count(*) = 200 AND count(DISTINCT tableoid) = 2 FROM t",
    }
    .run(&[]);
}

#[test]
fn money_is_neither_made_nor_lost_and_sequences_are_ahead() {
    Loop {
        name: "money",
        setup: "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);
            INSERT INTO account SELECT g, 100 FROM generate_series(1, 50) g;
            CREATE TABLE transfer (id serial PRIMARY KEY, a int REFERENCES account, b int REFERENCES account, amount int);",
        round: "UPDATE account SET balance = balance - 1 WHERE id = 1 + n % 50;
            UPDATE account SET balance = balance + 1 WHERE id = 1 + (n * 7 + 3) % 50;
            INSERT INTO transfer (a, b, amount) VALUES (1 + n % 50, 1 + (n * 7 + 3) % 50, 1);",
        pause: 1,
        sessions: 1,
        rows: None,
        holds: "SELECT (SELECT sum(balance) FROM account) = 5000
            AND (SELECT coalesce(max(id), 0) FROM transfer) <= (SELECT last_value FROM transfer_id_seq)
            AND (SELECT count(*) FROM account a WHERE balance <> 100
                + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE b = a.id)
                - (SELECT coalesce(sum(amount), 0) FROM transfer t WHERE t.a = a.id)) = 0",
    }
    .run(&[]);
}
