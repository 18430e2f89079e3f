//! The relations and schemas of the database: what patterns are matched against, and what is locked before the snapshot.

use crate::error::{Error, Kind, Result};
use crate::model::{Oid, Question, item, name, qualified, split_identifier_list};
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::HashSet;

/// A relation that patterns can name: table, partitioned table, view, materialized view, sequence, foreign table.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Relation {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: char,
    /// The table that an owned or identity sequence belongs to.
    pub(super) owned_by: Option<Oid>,
    /// The sequence of an identity column: it has no life without its table.
    pub(super) identity: bool,
    /// The extension that made it.
    pub(super) extension: Option<Oid>,
    /// What it inherits from or is a partition of.
    pub(super) parents: Option<Vec<Oid>>,
    /// The server of a foreign table.
    pub(super) server: Option<String>,
    /// Written past the log.
    pub(super) unlogged: bool,
    /// A configuration table of its extension, whose rows are the user's.
    pub(super) configuration: bool,
    /// `None` when it was dropped since the snapshot.
    pub(super) readable: Option<bool>,
}

/// Every relation outside the system schemas, in the order in which stock locks them.
const RELATIONS: Question = Question(
    "WITH parents AS MATERIALIZED (
SELECT i.inhrelid, pg_catalog.array_agg(i.inhparent) AS list FROM pg_catalog.pg_inherits i GROUP BY i.inhrelid
), owners AS MATERIALIZED (
SELECT o.objid, o.refobjid, o.deptype FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_depend o ON o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
AND o.objid = c.oid AND o.objsubid = 0 AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i')
WHERE c.relkind = 'S'
), members AS MATERIALIZED (
SELECT e.objid, e.refobjid FROM pg_catalog.pg_depend e
WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objsubid = 0 AND e.deptype = 'e'
AND e.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
), configurations AS MATERIALIZED (
SELECT DISTINCT pg_catalog.unnest(x.extconfig) AS oid FROM pg_catalog.pg_extension x
)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, owners.refobjid AS owned_by,
COALESCE(owners.deptype = 'i', false) AS identity, members.refobjid AS extension, c.relpersistence = 'u' AS unlogged,
configurations.oid IS NOT NULL AS configuration, parents.list AS parents,
CASE WHEN c.relkind = 'f' THEN (SELECT s.srvname FROM pg_catalog.pg_foreign_table f
JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid) END AS server,
pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN owners ON owners.objid = c.oid
LEFT JOIN members ON members.objid = c.oid
LEFT JOIN parents ON parents.inhrelid = c.oid
LEFT JOIN configurations ON configurations.oid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgstow_restore')
ORDER BY c.oid",
);

/// Where a restore keeps how far it is (`commands/restore/notes.rs`).
const NOTES_OF_A_RESTORE: &str = "pgstow_restore";

const SCHEMAS: Question = Question(
    "SELECT n.nspname AS schema, EXISTS (SELECT FROM pg_catalog.pg_depend e
WHERE e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND e.objid = n.oid AND e.deptype = 'e') AS of_extension
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1",
);

/// All extensions: a pattern may fit the built-in one alone, although nothing of it is dumped.
const EXTENSIONS: Question = Question("SELECT e.oid, e.extname AS name FROM pg_catalog.pg_extension e ORDER BY 2");

/// The search path that the session would have had, for patterns without a schema mean what is visible through it, and the
/// room for locks: that of every process that may hold any, and the tenth that servers before 19 add (`LockManagerShmemSize`,
/// `src/backend/storage/lmgr/lock.c`; `InitializeMaxBackends`, `src/backend/utils/init/postinit.c`).
const SEARCH_PATH: Question = Question(
    "SELECT s.reset_val AS path, CURRENT_USER AS role,
pg_catalog.current_setting('max_locks_per_transaction')::bigint * (pg_catalog.current_setting('max_connections')::bigint
+ pg_catalog.current_setting('max_prepared_transactions')::bigint + pg_catalog.current_setting('max_worker_processes')::bigint
+ pg_catalog.current_setting('autovacuum_worker_slots')::bigint -- <18: + pg_catalog.current_setting('autovacuum_max_workers')::bigint
+ pg_catalog.current_setting('max_wal_senders')::bigint) AS locks, -- <19: + pg_catalog.current_setting('max_wal_senders')::bigint) * 11 / 10 AS locks,
pg_catalog.current_setting('max_locks_per_transaction') AS locks_setting
FROM pg_catalog.pg_settings s WHERE s.name = 'search_path'",
);

/// An extension, for patterns.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Extension {
    pub(super) oid: Oid,
    pub(super) name: String,
}

/// Foreign servers, whose rows come along where they are named.
const FOREIGN_SERVERS: Question = Question("SELECT s.srvname AS server FROM pg_catalog.pg_foreign_server s ORDER BY 1");

#[derive(Debug, Deserialize)]
struct ServerRow {
    server: String,
}

#[derive(Debug, Deserialize)]
struct SchemaRow {
    schema: String,
    of_extension: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Surroundings {
    path: Option<String>,
    role: String,
    locks: u64,
    locks_setting: String,
}

/// What the server says before anything is locked.
#[derive(Debug, Clone)]
pub(super) struct Relations {
    pub(super) relations: Vec<Relation>,
    pub(super) schemas: Vec<String>,
    /// Those of them that extensions made.
    pub(super) schemas_of_extensions: HashSet<String>,
    /// There are notes of a restore that died here, or still runs; they are never dumped.
    pub(super) unfinished_restore: bool,
    pub(super) extensions: Vec<Extension>,
    pub(super) foreign_servers: Vec<String>,
    /// The default search path, `$user` resolved.
    pub(super) search_path: Vec<String>,
    pub(super) role: String,
    locks: u64,
    locks_setting: String,
}

impl Relation {
    /// For messages: `table public.t`.
    pub(super) fn label(&self) -> String {
        item::label(if self.kind == 'S' { "SEQUENCE" } else { "TABLE" }, Some(&self.schema), &self.name)
    }
}

impl Relations {
    pub(super) async fn read(session: &Session) -> Result<Relations> {
        let version = session.version();
        let relations = session.question(&RELATIONS.for_server(version)).await?;
        let schemas: Vec<SchemaRow> = session.question(&SCHEMAS.for_server(version)).await?;
        let extensions = session.question(&EXTENSIONS.for_server(version)).await?;
        let servers: Vec<ServerRow> = session.question(&FOREIGN_SERVERS.for_server(version)).await?;
        let mut around: Vec<Surroundings> = session.question(&SEARCH_PATH.for_server(version)).await?;
        let around = around.pop().ok_or_else(|| Error::new(Kind::Internal, "the server has no search_path setting"))?;
        let path = around.path.as_deref().unwrap_or_default();
        let search_path = split_identifier_list(path)
            .unwrap_or_default()
            .into_iter()
            .map(|schema| if schema == "$user" { around.role.clone() } else { schema })
            .collect();
        let all = schemas.len();
        let of_extensions = schemas.iter().filter(|row| row.of_extension);
        let schemas_of_extensions = of_extensions.map(|row| row.schema.clone()).collect();
        let schemas: Vec<String> =
            schemas.into_iter().map(|row| row.schema).filter(|schema| schema != NOTES_OF_A_RESTORE).collect();
        Ok(Relations {
            relations,
            unfinished_restore: schemas.len() < all,
            schemas,
            schemas_of_extensions,
            extensions,
            foreign_servers: servers.into_iter().map(|row| row.server).collect(),
            search_path,
            role: around.role,
            locks: around.locks,
            locks_setting: around.locks_setting,
        })
    }

    /// Refuses to start when the server's lock table cannot hold so many locks: filling it up would make other sessions
    /// fail too. Returns a warning when it would be more than half full.
    pub(super) fn check_lock_budget(&self, wanted: usize) -> Result<Option<String>> {
        let wanted = wanted as u64;
        if wanted > self.locks {
            return Err(Error::new(
                Kind::Database,
                format!("{wanted} relations have to be locked, but the server has room for {} locks", self.locks),
            )
            .hint(format!(
                "raise max_locks_per_transaction (now {}) on the server, or dump schemas one by one",
                self.locks_setting
            )));
        }
        Ok((wanted > self.locks / 2).then(|| {
            format!("this dump takes {wanted} of the server's {} locks; other sessions may run out of them", self.locks)
        }))
    }
}

/// Takes ACCESS SHARE on these relations, so that none of them changes or goes while they are dumped.
///
/// Many in one statement, because a round trip a table would make a dump of many tables slow; not all in one, because a
/// statement has to be parsed in one piece.
pub(super) async fn lock(session: &Session, relations: &[&Relation]) -> Result<()> {
    const BATCH: usize = 500;
    for batch in relations.chunks(BATCH) {
        let names: Vec<_> = batch.iter().map(|relation| qualified(&relation.schema, &relation.name)).collect();
        let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        session.execute(&statement).await.map_err(|error| {
            let first = batch.first().map(|relation| relation.label()).unwrap_or_default();
            let on = if batch.len() == 1 { first } else { format!("{first} and {} more", batch.len() - 1) };
            if error.kind() == Kind::Connection {
                return error.on(on);
            }
            Error::new(Kind::Database, "cannot lock").on(on).because(error)
        })?;
    }
    Ok(())
}

/// So many names are in one error.
const NAMES_SHOWN: usize = 50;

/// Fails where the role may not read some of these, and names them all with the words that leave them out.
pub(super) fn check_readable(relations: &[&Relation], role: &str) -> Result<()> {
    let denied: Vec<&&Relation> = relations.iter().filter(|relation| relation.readable == Some(false)).collect();
    let (role, tables) = (name::ident(role), denied.iter().any(|relation| relation.kind != 'S'));
    let sequences = denied.iter().any(|relation| relation.kind == 'S');
    let what = match (tables, sequences) {
        (true, true) => "the tables and sequences",
        (false, true) => "the sequences",
        _ => "the tables",
    };
    let grant = "grant it USAGE on the schema and SELECT on the table (or pg_read_all_data)";
    let pattern = |relation: &Relation| quoted(&qualified(&relation.schema, &relation.name));
    match denied.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::new(Kind::Database, format!("role {role} may not read it"))
            .on(one.label())
            .hint(format!("{grant}, or leave it out: -T {}", pattern(one)))),
        many => {
            let shown = many.len().min(NAMES_SHOWN);
            let more = if many.len() > shown { format!(" and {} more", many.len() - shown) } else { String::new() };
            let names: Vec<String> = many[..shown].iter().map(|relation| relation.label()).collect();
            let patterns: Vec<String> =
                many[..shown].iter().map(|relation| format!("-T {}", pattern(relation))).collect();
            let more_patterns = if more.is_empty() { "" } else { " and so on (--filter takes them from a file)" };
            Err(Error::new(Kind::Database, format!("role {role} may not read {}{more}", names.join(", ")))
                .on(what)
                .hint(format!("{grant}, or leave them out: {}{more_patterns}", patterns.join(" "))))
        }
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[derive(Debug, Deserialize)]
struct OidRow {
    oid: Oid,
}

/// The relations of this database that the session holds ACCESS SHARE on.
pub(super) async fn locked(session: &Session) -> Result<HashSet<Oid>> {
    let rows: Vec<OidRow> = session
        .question(
            "SELECT l.relation AS oid FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.relation >= 16384
AND l.mode = 'AccessShareLock'",
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.oid).collect())
}

/// The first of these relations whose file is not the one that the snapshot knows: it was rewritten or emptied since. The
/// column is the snapshot's, the function looks at the present (`pg_relation_filenode`, `src/backend/utils/adt/dbsize.c`).
pub(super) async fn rewritten(session: &Session, relations: &[&Relation]) -> Result<Option<Oid>> {
    let oids: Vec<String> = relations.iter().map(|relation| relation.oid.to_string()).collect();
    let rows: Vec<OidRow> = session
        .question(&format!(
            "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY ('{{{}}}'::pg_catalog.oid[])
AND c.relkind <> 'p' AND c.relfilenode <> 0 AND pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode LIMIT 1",
            oids.join(",")
        ))
        .await?;
    Ok(rows.first().map(|row| row.oid))
}

#[cfg(test)]
mod tests {
    use super::Relations;
    use std::collections::HashSet;

    fn with_room(locks: u64) -> Relations {
        Relations {
            relations: Vec::new(),
            schemas: Vec::new(),
            schemas_of_extensions: HashSet::new(),
            unfinished_restore: false,
            extensions: Vec::new(),
            foreign_servers: Vec::new(),
            search_path: Vec::new(),
            role: "alice".to_owned(),
            locks,
            locks_setting: "64".to_owned(),
        }
    }

    #[test]
    fn what_the_lock_table_cannot_hold_is_refused_and_what_fills_half_of_it_is_said() {
        let relations = with_room(1000);
        assert_eq!(relations.check_lock_budget(500).expect("allowed"), None);
        assert!(
            relations
                .check_lock_budget(501)
                .expect("allowed")
                .is_some_and(|warning| warning.contains("501 of the server's 1000"))
        );
        assert!(relations.check_lock_budget(1000).expect("allowed").is_some());
        let refused = relations.check_lock_budget(1001).expect_err("refused").to_string();
        assert!(refused.contains("1001 relations have to be locked") && refused.contains("1000 locks"), "{refused}");
    }
}
