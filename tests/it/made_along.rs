//! What the server makes along with something else can have comments and privileges, too: they come back, or the dump says
//! that they are left out.

use pgstow_parts::{Database, majors, server};

use crate::fidelity::{fitting, fixtures};
use crate::support::LocalBackup;

/// Every comment, and every access list of relations, columns, functions and types.
const FACETS: &str = "SELECT i.type || ' ' || i.identity || ': ' || d.description FROM pg_description d,
    LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE d.objoid >= 16384
UNION ALL SELECT c.oid::regclass || ': ' || c.relacl::text FROM pg_class c WHERE c.relacl IS NOT NULL AND c.oid >= 16384
UNION ALL SELECT a.attrelid::regclass || '.' || a.attname || ': ' || a.attacl::text FROM pg_attribute a
    WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384
UNION ALL SELECT p.oid::regprocedure || ': ' || coalesce(p.proacl::text, 'as made') FROM pg_proc p WHERE p.oid >= 16384
UNION ALL SELECT t.oid::regtype || ': ' || t.typacl::text FROM pg_type t WHERE t.typacl IS NOT NULL AND t.oid >= 16384
ORDER BY 1";

fn facets(database: &Database) -> Vec<String> {
    let rows = database.server.rows(&database.name, FACETS).unwrap();
    rows.into_iter().flatten().flatten().collect()
}

#[test]
fn comments_and_privileges_on_what_is_made_along_come_back_or_are_said_to_be_left_out() {
    for major in [12, 15, 18].into_iter().filter(|major| majors().contains(major)) {
        let server = server(major);
        let source = Database::fresh(&server, "along");
        let all = fixtures();
        for fixture in
            fitting(&all, major).filter(|fixture| fixture.name == "roles" || fixture.name.starts_with("made_"))
        {
            server.execute(&source.name, &fixture.sql).unwrap();
        }
        let expected = facets(&source);
        let numbered = "SELECT c.reltoastrelid::regclass::text || ' ' || t.tgname FROM pg_class c, pg_trigger t
            WHERE c.relname = 'late' AND t.tgrelid = '\"Made; along\".t'::regclass AND t.tgname ~ '^RI_' ORDER BY 1 LIMIT 1";
        server.execute(&source.name, "CREATE TABLE late (a text)").unwrap();
        let names = server.value(&source.name, numbered).unwrap();
        let (toast, trigger) = names.split_once(' ').unwrap();
        let hidden = format!(
            "GRANT SELECT ON {toast} TO kinds_bob; COMMENT ON INDEX {toast}_index IS 'x';
             COMMENT ON TRIGGER \"{trigger}\" ON \"Made; along\".t IS 'x'; CREATE TEMP TABLE gone (a int)"
        );
        server.execute(&source.name, &hidden).unwrap();
        let backup = LocalBackup::make(&source, &[]);
        let target = Database::fresh(&server, "along_copy");
        let restored = backup.run("restore", &["-d", &target.url()]).fine();
        assert_eq!(facets(&target), expected, "on PostgreSQL {major}");
        let left_out = [
            format!("privileges on toast table {toast}"),
            format!("comment on index {toast}_index"),
            format!("comment on trigger {trigger} on table \"Made; along\".t"),
        ];
        let manifest: serde_json::Value = backup.run("show", &["--json"]).fine().json();
        let said: Vec<&str> =
            manifest["skipped"].as_array().unwrap().iter().map(|one| one["object"].as_str().unwrap()).collect();
        assert_eq!(said, left_out, "on PostgreSQL {major}");
        for object in &left_out {
            assert!(restored.stdout.contains(object), "{object} is not said: {}", restored.stdout);
        }
        // What is not selected has nothing to say.
        let of_late = LocalBackup::make(&source, &["-t", "late"]).run("show", &["--json"]).fine().json();
        assert_eq!(of_late["skipped"].as_array().unwrap().len(), 2, "on PostgreSQL {major}");
        let without = LocalBackup::make(&source, &["-T", "late", "-T", "\"Made; along\".(t|parted)"]);
        let without = without.run("show", &["--json"]).fine().json();
        assert_eq!(without["skipped"].as_array().map_or(0, Vec::len), 0, "on PostgreSQL {major}");
    }
}

#[test]
fn options_of_user_mappings_that_may_not_be_read_are_never_left_out_in_silence() {
    for major in [12, 18].into_iter().filter(|major| majors().contains(major)) {
        let server = server(major);
        let source = Database::fresh(&server, "mappings");
        let app = format!("{}_app", source.name);
        let setup = format!(
            "CREATE ROLE {app} LOGIN; CREATE ROLE {app}_other; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER srv FOREIGN DATA WRAPPER w;
             GRANT CREATE ON DATABASE {0} TO {app}; ALTER SERVER srv OWNER TO {app};
             CREATE USER MAPPING FOR {app} SERVER srv OPTIONS (password 'own secret');
             CREATE USER MAPPING FOR PUBLIC SERVER srv OPTIONS (password 'public secret');
             CREATE USER MAPPING FOR {app}_other SERVER srv OPTIONS (password 'other secret')",
            source.name
        );
        server.execute(&source.name, &setup).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = format!("file://{}", folder.path().display());
        let url = server.url_as(&source.name, &app, "x");
        let dump = |more: &[&str]| {
            let arguments = [&["dump", "-d", &url, "--to", &store, "--json"], more].concat();
            crate::support::Ran::of(&crate::support::bare_command().args(arguments).output().unwrap())
        };
        let named = format!("options of user mapping {app}_other SERVER srv");
        let refused = dump(&[]);
        refused.failed(7, &[&named, "--allow-incomplete"]);
        assert!(!refused.stderr.contains(&format!("{app} SERVER")) && !refused.stderr.contains("public SERVER"));
        let report = dump(&["--allow-incomplete"]).fine().json();
        let skipped = report["skipped"].as_array().unwrap();
        assert_eq!(skipped.iter().map(|one| one["object"].as_str().unwrap()).collect::<Vec<_>>(), [named]);
        assert!(!report.to_string().contains("secret"));
        // Whoever may read them takes them along.
        LocalBackup::make(&source, &[]);
        server
            .execute(&source.name, &format!("DROP OWNED BY {app}, {app}_other CASCADE; DROP ROLE {app}, {app}_other"))
            .unwrap();
    }
}
