//! Examining the source: login, encryption, what the role may read, locks, connections, snapshots, clock.

use super::{Finding, clock, ease};
use crate::error::{Error, Kind, Result};
use crate::model::{Question, ServerVersion, item};
use crate::postgres::{ConnectionSettings, Purpose, Session, begin_snapshot, export_snapshot, import_snapshot};
use serde::Deserialize;

/// So many names stand in a finding.
const NAMES_SHOWN: usize = 5;

/// What the server says about itself and this session.
const SURROUNDINGS: Question = Question(
    "SELECT CURRENT_USER AS role, COALESCE(t.ssl, false) AS encrypted,
CASE WHEN t.ssl THEN t.version || ', ' || t.cipher END AS cipher,
pg_catalog.inet_server_addr() IS NULL OR pg_catalog.inet_server_addr() <<= '127.0.0.0/8' OR pg_catalog.inet_server_addr() = '::1' AS local,
pg_catalog.pg_is_in_recovery() AS in_recovery,
pg_catalog.current_setting('hot_standby_feedback') = 'on' AS feedback,
pg_catalog.current_setting('max_standby_streaming_delay') AS standby_delay,
pg_catalog.current_setting('max_locks_per_transaction') AS locks_setting,
pg_catalog.current_setting('max_locks_per_transaction')::bigint * (pg_catalog.current_setting('max_connections')::bigint
+ pg_catalog.current_setting('max_prepared_transactions')::bigint + pg_catalog.current_setting('max_worker_processes')::bigint
+ pg_catalog.current_setting('autovacuum_worker_slots')::bigint -- <18: + pg_catalog.current_setting('autovacuum_max_workers')::bigint
+ pg_catalog.current_setting('max_wal_senders')::bigint) * 11 / 10 AS locks,
pg_catalog.current_setting('max_connections')::bigint - pg_catalog.current_setting('superuser_reserved_connections')::bigint
- (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'client backend') AS connections,
r.rolconnlimit::bigint AS role_limit,
EXTRACT(epoch FROM pg_catalog.clock_timestamp())::double precision AS clock,
(SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384) AS tables,
(SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects
FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_stat_ssl t ON t.pid = pg_catalog.pg_backend_pid()
WHERE r.rolname = CURRENT_USER",
);

#[derive(Deserialize)]
struct Surroundings {
    role: String,
    encrypted: bool,
    cipher: Option<String>,
    local: bool,
    in_recovery: bool,
    feedback: bool,
    standby_delay: String,
    locks_setting: String,
    locks: i64,
    connections: i64,
    role_limit: i64,
    clock: f64,
    tables: i64,
    large_objects: i64,
}

/// Tables and sequences whose rows the role may not read, and tables of which a policy would hide rows.
const HIDDEN: Question = Question(
    "SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind,
pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
AND (NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
OR (c.relrowsecurity AND pg_catalog.row_security_active(c.oid)))
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
AND e.objid = c.oid AND e.objsubid = 0 AND e.deptype = 'e')
ORDER BY 1, 2",
);

#[derive(Deserialize)]
struct HiddenRow {
    schema: String,
    name: String,
    kind: char,
    readable: Option<bool>,
}

/// Large objects that the role may not read: neither its own, nor granted, nor a superuser's affair.
const HIDDEN_BLOBS: Question = Question(
    "SELECT count(*) AS hidden FROM pg_catalog.pg_largeobject_metadata m
WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
AND pg_catalog.current_setting('lo_compat_privileges') = 'off'",
);

#[derive(Deserialize)]
struct BlobsRow {
    hidden: i64,
}

/// The findings, and how many bytes the database has, if that may be asked.
pub(super) async fn examine(connection: &ConnectionSettings, jobs: usize) -> (Vec<Finding>, Option<u64>) {
    let mut findings = vec![ease::client()];
    let session = match Session::connect(connection, "pgstow doctor", Purpose::Reads).await {
        Ok(session) => session,
        Err(error) => {
            findings.push(Finding::failed("connection", &error));
            return (findings, None);
        }
    };
    findings.push(version(&session));
    match asked(&session, connection, jobs).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::failed("questions", &error)),
    }
    findings.push(ease::or_failed("locked now", ease::locked(&session).await));
    findings.push(snapshots(connection).await);
    let (speed, size) = match ease::speed(&session).await {
        Ok((finding, size)) => (finding, size),
        Err(error) => (Finding::failed("source speed", &error), None),
    };
    findings.push(speed);
    session.close().await;
    (findings, size)
}

fn version(session: &Session) -> Finding {
    let version = session.version();
    let says = format!("{}, PostgreSQL {version}", session.settings().describe());
    if version.major() > ServerVersion::NEWEST {
        return Finding::warn(
            "connection",
            says,
            "this pgstow does not know the version; what is new in it may be missing",
        );
    }
    Finding::ok("connection", says)
}

async fn asked(session: &Session, connection: &ConnectionSettings, jobs: usize) -> Result<Vec<Finding>> {
    let server = session.version();
    let started = std::time::Instant::now();
    let around: Vec<Surroundings> = session.question(&SURROUNDINGS.for_server(server)).await?;
    let took = started.elapsed().as_secs_f64();
    let around = around.first().ok_or_else(|| Error::new(Kind::Internal, "the server does not know its own role"))?;
    let hidden: Vec<HiddenRow> = session.question(&HIDDEN.for_server(server)).await?;
    let blobs: Vec<BlobsRow> = session.question(&HIDDEN_BLOBS.for_server(server)).await?;
    let mut findings = vec![encryption(around)];
    findings.extend(privileges(&around.role, &hidden));
    findings.push(large_objects(around, blobs.first().map_or(0, |row| row.hidden)));
    findings.push(locks(around));
    findings.push(connections(around, jobs));
    findings.push(standby(around));
    let local = jiff::Timestamp::now().as_millisecond();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit for long")]
    let ahead = around.clock - (local as f64 / 1000.0 - took / 2.0);
    findings.push(clock("source clock", "the server's clock", ahead, Kind::Connection));
    tracing::debug!(server = connection.describe(), "examined");
    Ok(findings)
}

fn encryption(around: &Surroundings) -> Finding {
    match (&around.cipher, around.encrypted || around.local) {
        (Some(cipher), _) => Finding::ok("encryption", cipher.clone()),
        (None, true) => Finding::ok("encryption", "none, within this machine"),
        (None, false) => Finding::warn(
            "encryption",
            "the connection is not encrypted: password and rows can be read on the way",
            "let the server offer TLS, and connect with sslmode=verify-full",
        ),
    }
}

fn privileges(role: &str, hidden: &[HiddenRow]) -> Vec<Finding> {
    let names = |rows: &[&HiddenRow]| {
        let word = |row: &HiddenRow| if row.kind == 'S' { "SEQUENCE" } else { "TABLE" };
        let shown: Vec<String> =
            rows.iter().take(NAMES_SHOWN).map(|row| item::label(word(row), Some(&row.schema), &row.name)).collect();
        let more = rows.len().saturating_sub(NAMES_SHOWN);
        shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    };
    let (by_policy, by_privilege): (Vec<&HiddenRow>, Vec<&HiddenRow>) =
        hidden.iter().partition(|row| row.readable == Some(true));
    let role = crate::model::ident(role);
    let mut findings = Vec::new();
    if !by_privilege.is_empty() {
        findings.push(Finding::fail(
            "privileges",
            Kind::Database,
            format!("role {role} may not read {}: {}", by_privilege.len(), names(&by_privilege)),
            format!("GRANT pg_read_all_data TO {role} (14 and newer), or grant USAGE on the schemas and SELECT on all in them"),
        ));
    }
    if !by_policy.is_empty() {
        findings.push(Finding::fail(
            "row security",
            Kind::Database,
            format!("policies hide rows of {} from role {role}: {}", by_policy.len(), names(&by_policy)),
            format!("ALTER ROLE {role} BYPASSRLS, by a superuser"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("privileges", format!("role {role} may read all tables and sequences")));
    }
    findings
}

fn large_objects(around: &Surroundings, hidden: i64) -> Finding {
    if hidden > 0 {
        return Finding::fail(
            "large objects",
            Kind::Database,
            format!("{hidden} of {} may not be read", around.large_objects),
            "grant SELECT on them, or dump as their owner or as a superuser",
        );
    }
    Finding::ok("large objects", format!("{}, all readable", around.large_objects))
}

fn locks(around: &Surroundings) -> Finding {
    let tables = if around.tables == 1 { "table" } else { "tables" };
    let says = format!("{} {tables} to lock, room for {} locks", around.tables, around.locks);
    let todo = format!("raise max_locks_per_transaction (now {}) and restart the server", around.locks_setting);
    if around.tables > around.locks {
        Finding::fail("locks", Kind::Database, says, todo)
    } else if around.tables > around.locks / 2 {
        Finding::warn("locks", says + "; other sessions may run out of them", todo)
    } else {
        Finding::ok("locks", says)
    }
}

fn connections(around: &Surroundings, jobs: usize) -> Finding {
    // The workers, the leader, and the one that holds the lock of a run.
    let needed = i64::try_from(jobs).unwrap_or(i64::MAX).saturating_add(2);
    let limited = around.role_limit >= 0 && around.role_limit < needed;
    let says = format!("{needed} needed, {} free", around.connections);
    if limited {
        let says = format!("{needed} needed, but role {} may have {}", around.role, around.role_limit);
        return Finding::fail(
            "connections",
            Kind::Connection,
            says,
            "raise the role's CONNECTION LIMIT, or use fewer with -j",
        );
    }
    if around.connections < needed {
        return Finding::fail("connections", Kind::Connection, says, "use fewer with -j, or raise max_connections");
    }
    Finding::ok("connections", says)
}

fn standby(around: &Surroundings) -> Finding {
    if !around.in_recovery {
        return Finding::ok("standby", "the server is a primary");
    }
    if around.feedback || around.standby_delay == "-1" {
        return Finding::ok("standby", "the server is a standby that lets a long dump finish");
    }
    Finding::warn(
        "standby",
        format!(
            "the server is a standby that cancels a dump after {} when replay needs what it reads",
            around.standby_delay
        ),
        "set max_standby_streaming_delay = -1, or hot_standby_feedback = on, on the standby",
    )
}

/// What poolers and some hosts spoil: two sessions that see one snapshot.
async fn snapshots(connection: &ConnectionSettings) -> Finding {
    let shared = async {
        let leader = Session::connect(connection, "pgstow doctor", Purpose::Reads).await?;
        begin_snapshot(&leader).await?;
        let snapshot = export_snapshot(&leader).await?;
        let worker = Session::connect(leader.settings(), "pgstow doctor", Purpose::Reads).await?;
        import_snapshot(&worker, &snapshot).await?;
        worker.close().await;
        leader.close().await;
        Ok::<_, Error>(())
    };
    match shared.await {
        Ok(()) => Finding::ok("snapshots", "several connections see one snapshot; no pooler gets in the way"),
        Err(error) => Finding::failed("snapshots", &error),
    }
}
