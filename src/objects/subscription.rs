//! Subscriptions of this database. A restore makes them without connecting and leaves them disabled, as `pg_dump` does:
//! whether the copy should receive changes too is for people to decide.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, class, ident, ident_list, literal};
use serde::Deserialize;

/// The kind; `catalog` asks first whether the connected role may read it.
pub const KIND: Kind = Kind { name: "subscriptions", questions: &[QUESTION], objects };

/// An option that the server does not have is NULL, and the statement leaves it away, so that the same server takes the
/// statement back.
const QUESTION: Question = Question(
    "SELECT s.oid, s.subname AS name, o.rolname AS owner, s.subconninfo AS connection, s.subslotname AS slot,
    s.subsynccommit AS synchronous_commit, s.subpublications AS publications,
    s.subbinary AS binary, -- <14: false AS binary,
    CASE s.substream WHEN 't' THEN 'on' WHEN 'p' THEN 'parallel' ELSE 'off' END AS streaming, -- <16: CASE WHEN s.substream THEN 'on' ELSE 'off' END AS streaming, -- <14: NULL AS streaming,
    s.subtwophasestate <> 'd' AS two_phase, -- <15: false AS two_phase,
    s.subdisableonerr AS disable_on_error, -- <15: false AS disable_on_error,
    s.subpasswordrequired AS password_required, -- <16: true AS password_required,
    s.subrunasowner AS run_as_owner, -- <16: NULL AS run_as_owner,
    s.suborigin AS origin, -- <16: 'any' AS origin,
    s.subfailover AS failover, -- <17: false AS failover,
    f.srvname AS server, -- <19: NULL AS server,
    s.subretaindeadtuples AS retain_dead_tuples, -- <19: false AS retain_dead_tuples,
    s.submaxretention AS max_retention, -- <19: 0 AS max_retention,
    NULLIF(s.subwalrcvtimeout, '-1') AS receiver_timeout -- <19: NULL AS receiver_timeout
FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
LEFT JOIN pg_catalog.pg_roles o ON o.oid = s.subowner
LEFT JOIN pg_catalog.pg_foreign_server f ON f.oid = s.subserver -- <19:
WHERE d.datname = pg_catalog.current_database()
ORDER BY s.subname",
);

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the catalog's row is made of them")]
struct Row {
    oid: Oid,
    name: String,
    owner: Option<String>,
    /// `subconninfo`; it may hold a password. From 19 on it may be missing where a foreign server says it.
    connection: Option<String>,
    server: Option<String>,
    slot: Option<String>,
    synchronous_commit: String,
    publications: Vec<String>,
    binary: bool,
    /// `on`, `off`, `parallel`; `None` before 14, which did not stream.
    streaming: Option<String>,
    two_phase: bool,
    disable_on_error: bool,
    password_required: bool,
    /// `None` before 16, where the subscription's owner always did the work.
    run_as_owner: Option<bool>,
    origin: String,
    failover: bool,
    retain_dead_tuples: bool,
    /// Milliseconds; 0 is without end.
    max_retention: i32,
    /// `wal_receiver_timeout`, where it is not the server's.
    receiver_timeout: Option<String>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(subscription(&row));
        Ok(())
    })
}

fn subscription(row: &Row) -> Object {
    let address = Address::new(class::SUBSCRIPTION, row.oid);
    let name = ident(&row.name);
    let slot = row.slot.as_ref().map_or_else(|| "NONE".to_owned(), |slot| literal(slot));
    let mut options = vec!["connect = false".to_owned(), format!("slot_name = {slot}")];
    options.extend(row.streaming.as_ref().map(|mode| format!("streaming = {mode}")));
    let switches = [
        (row.binary, "binary = true"),
        (row.two_phase, "two_phase = on"),
        (row.disable_on_error, "disable_on_error = true"),
        (!row.password_required, "password_required = false"),
        (row.run_as_owner == Some(true), "run_as_owner = true"),
        (row.failover, "failover = true"),
        (row.retain_dead_tuples, "retain_dead_tuples = true"),
    ];
    options.extend(switches.iter().filter(|(is_set, _)| *is_set).map(|(_, option)| (*option).to_owned()));
    if row.synchronous_commit != "off" {
        options.push(format!("synchronous_commit = {}", ident(&row.synchronous_commit)));
    }
    if row.origin != "any" {
        options.push(format!("origin = {}", ident(&row.origin)));
    }
    if row.max_retention != 0 {
        options.push(format!("max_retention_duration = {}", row.max_retention));
    }
    options.extend(row.receiver_timeout.as_ref().map(|time| format!("wal_receiver_timeout = {}", literal(time))));
    let from = match &row.server {
        Some(server) => format!("SERVER {}", ident(server)),
        None => format!("CONNECTION {}", literal(row.connection.as_deref().unwrap_or_default())),
    };
    let mut create = format!(
        "CREATE SUBSCRIPTION {name} {from} PUBLICATION {} WITH ({});\n",
        ident_list(&row.publications),
        options.join(", ")
    );
    if row.streaming.is_none() {
        create += &told_to_newer(&name, 14, "streaming = off");
    }
    if row.run_as_owner.is_none() {
        create += &told_to_newer(&name, 16, "run_as_owner = true");
    }
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create,
        drop: format!("DROP SUBSCRIPTION {name};\n"),
        ..Item::new("SUBSCRIPTION", address, None, &row.name)
    };
    Object::simple(item, Belongs::default()).with_target(words::target(address, "SUBSCRIPTION", None, &name))
}

/// From 18 on a subscription streams unless told otherwise, and from 16 on its work is done by the owners of its tables; older
/// servers do not know the words. So a subscription of such a server is told only where the target understands it.
fn told_to_newer(name: &str, since: u32, option: &str) -> String {
    let statement = literal(&format!("ALTER SUBSCRIPTION {name} SET ({option})"));
    let body = format!(
        "BEGIN IF pg_catalog.current_setting('server_version_num')::integer >= {since}0000 THEN EXECUTE {statement}; END IF; END"
    );
    format!("DO {};\n", literal(&body))
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    fn create(streaming: &str, run_as_owner: &str) -> String {
        let row = r#"{"oid":"7","name":"it's","owner":"ann","connection":"host=a password='x'","slot":null,
            "synchronous_commit":"local","publications":["p","Q"],"binary":true,"streaming":STREAMING,"two_phase":false,
            "disable_on_error":false,"password_required":false,"run_as_owner":AS_OWNER,"origin":"none","failover":false,"server":SERVER,
            "retain_dead_tuples":false,"max_retention":0,"receiver_timeout":null}"#;
        let row = row.replace("SERVER", "null").replace("STREAMING", streaming).replace("AS_OWNER", run_as_owner);
        objects(&answers(&[row])).expect("a row of the question's shape").remove(0).whole.create
    }

    #[test]
    fn a_subscription_is_made_without_connecting_and_says_what_is_not_the_default() {
        assert_eq!(
            create("\"parallel\"", "false"),
            "CREATE SUBSCRIPTION \"it's\" CONNECTION 'host=a password=''x''' PUBLICATION p, \"Q\" WITH (connect = false, \
             slot_name = NONE, streaming = parallel, binary = true, password_required = false, \
             synchronous_commit = local, origin = \"none\");\n"
        );
    }

    #[test]
    fn what_an_old_server_did_not_know_is_said_only_to_servers_that_understand() {
        let text = create("null", "null");
        let (create, more) = text.split_once(";\n").expect("two statements");
        assert!(!create.contains("streaming"), "{create}");
        assert_eq!(
            more,
            "DO 'BEGIN IF pg_catalog.current_setting(''server_version_num'')::integer >= 140000 THEN EXECUTE \
             ''ALTER SUBSCRIPTION \"it''''s\" SET (streaming = off)''; END IF; END';\n\
             DO 'BEGIN IF pg_catalog.current_setting(''server_version_num'')::integer >= 160000 THEN EXECUTE \
             ''ALTER SUBSCRIPTION \"it''''s\" SET (run_as_owner = true)''; END IF; END';\n"
        );
    }
}
