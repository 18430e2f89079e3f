//! Roles that may do little, as they are given by providers: what they may not do is foreseen, named, and left out by one flag.

use std::path::Path;

use pgstow_parts::{Database, Server};

use crate::databases::own;
use crate::support::{LocalBackup, no_store, pgstow};

const ROLES: &str = "CREATE ROLE app LOGIN BYPASSRLS; CREATE ROLE app_reader; CREATE ROLE narrow LOGIN";
const ROLES_OF_THE_PROVIDER: &str = "CREATE ROLE supabase_admin SUPERUSER; CREATE ROLE supabase_auth_admin;
CREATE ROLE supabase_storage_admin; CREATE ROLE anon; CREATE ROLE authenticated; CREATE ROLE service_role";

fn fixture(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A database of `app`, who is no superuser.
fn database(server: &Server, hint: &str) -> Database {
    let database = Database::fresh(server, hint);
    database.execute(&format!("ALTER DATABASE \"{}\" OWNER TO app; ALTER SCHEMA public OWNER TO app", database.name));
    database
}

/// The database as this role sees it.
fn url_of(database: &Database, role: &str) -> String {
    database.url().replacen("postgres@", &format!("{role}@"), 1).replacen("user=postgres", &format!("user={role}"), 1)
}

fn by_the_provider(server: &Server, hint: &str) -> Database {
    let database = database(server, hint);
    database.execute(&fixture("fixtures/providers/supabase.sql"));
    database
}

/// A backup of all that `app` may read, which it makes itself.
fn backup_of(database: &Database) -> LocalBackup {
    LocalBackup::make_as(database, &url_of(database, "app"), &[])
}

#[test]
fn a_providers_database_moves_to_a_plain_server_and_back_with_one_flag() {
    let (Some(provider), Some(plain)) = (own(17), own(17)) else { return };
    for server in [&provider, &plain] {
        server.execute("postgres", ROLES).unwrap();
    }
    provider.execute("postgres", ROLES_OF_THE_PROVIDER).unwrap();
    let source = by_the_provider(&provider, "source");
    source.execute("INSERT INTO auth.users VALUES (1, 'Ann@example.org'), (2, 'bob@example.org')");
    source.execute(&format!(
        "SET ROLE app; {}; INSERT INTO public.profiles VALUES (1, 'Ann'), (2, 'B')",
        fixture("fixtures/providers/app.sql")
    ));
    let backup = backup_of(&source);

    // To a server where nobody has heard of the provider, as the owner of a database.
    let copy = database(&plain, "copy");
    let url = url_of(&copy, "app");
    let refused = backup.run("restore", &["-d", &url]);
    refused.failed(
        9,
        &["nothing was touched", "event trigger pgrst_watch", "publication everything", "role anon", "--no-superuser"],
    );
    assert_eq!(copy.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
    let report = backup.run("restore", &["-d", &url, "--no-superuser", "--json"]).fine().json();
    let said = report["warnings"].to_string();
    for word in ["pgrst_watch", "publication everything", "policy public.profiles everybody", "supabase_auth_admin"] {
        assert!(said.contains(word), "{word} is not named: {said}");
    }
    let counts = "SELECT string_agg(id || ' ' || mail, ', ' ORDER BY id) FROM public.people";
    assert_eq!(copy.value(counts), "1 Ann@example.org, 2 bob@example.org");
    assert_eq!(copy.value("SELECT string_agg(polname, ', ' ORDER BY polname) FROM pg_policy"), "own");
    assert_eq!(copy.value("SELECT has_table_privilege('app_reader', 'public.profiles', 'SELECT')"), "t");
    assert_eq!(
        copy.value(
            "SELECT count(*) FROM pg_class WHERE relowner <> 'app'::regrole AND oid >= 16384
        AND relkind = 'r'"
        ),
        "0"
    );

    // And back, to where the provider has made its part already.
    let returning = backup_of(&copy);
    let target = by_the_provider(&provider, "target");
    target.execute("INSERT INTO auth.users VALUES (1, 'Ann@example.org'), (2, 'bob@example.org')");
    let url = url_of(&target, "app");
    returning.run("restore", &["-d", &url]).failed(9, &["nothing was touched", "schema auth", "--no-superuser"]);
    let report = returning.run("restore", &["-d", &url, "--no-superuser", "--json"]).fine().json();
    let said = report["warnings"].to_string();
    for word in ["schema auth", "table auth.users", "table data auth.users"] {
        assert!(said.contains(word), "{word} is not named: {said}");
    }
    assert_eq!(target.value(counts), "1 Ann@example.org, 2 bob@example.org");
    assert_eq!(target.value("SELECT count(*) FROM public.profiles"), "2");
    assert_eq!(
        target.value("SELECT pubowner::regrole FROM pg_publication WHERE pubname = 'supabase_realtime'"),
        "supabase_admin"
    );
}

#[test]
fn a_comment_that_an_extension_has_already_is_nobodys_to_refuse_and_another_one_is_named() {
    let Some(server) = own(15) else { return };
    server.execute("postgres", ROLES).unwrap();
    let (source, target) = (database(&server, "source"), database(&server, "target"));
    for database in [&source, &target] {
        database.execute("CREATE EXTENSION citext; CREATE EXTENSION pg_stat_statements");
    }
    let backup = backup_of(&source);
    backup.run("restore", &["-d", &url_of(&target, "app")]).fine();
    source.execute("COMMENT ON EXTENSION citext IS 'our own'");
    let backup = backup_of(&source);
    let refused = backup.run("restore", &["-d", &url_of(&target, "app")]);
    refused
        .failed(9, &["the ownership of extensions that they are about (comment EXTENSION citext)", "--no-superuser"]);
    let report = backup.run("restore", &["-d", &url_of(&target, "app"), "--no-superuser", "--json"]).fine().json();
    assert!(report["warnings"].to_string().contains("EXTENSION citext"), "{report}");
}

#[test]
fn an_extension_that_the_target_has_in_another_schema_is_found_before_anything_is_made() {
    let Some(server) = own(15) else { return };
    server.execute("postgres", ROLES).unwrap();
    let (source, target) = (database(&server, "source"), database(&server, "target"));
    source.execute(
        "CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE TABLE t (h ext.hstore); CREATE TABLE u (a int)",
    );
    target.execute("CREATE EXTENSION hstore");
    let backup = LocalBackup::make(&source, &[]);
    for url in [url_of(&target, "app"), target.url()] {
        let refused = backup.run("restore", &["-d", &url, "-O", "-x"]);
        refused.failed(9, &["nothing was touched", "extension hstore where it was, for it is in schema public"]);
    }
    let report =
        backup.run("restore", &["-d", &url_of(&target, "app"), "-O", "-x", "--no-superuser", "--json"]).fine().json();
    assert!(report["warnings"].to_string().contains("table public.t"), "{report}");
    assert_eq!(target.value("SELECT string_agg(relname, ', ') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"), "u");
}

#[test]
fn a_dump_names_all_that_the_role_may_not_read_and_how_to_leave_it_out() {
    let Some(server) = own(15) else { return };
    server.execute("postgres", ROLES).unwrap();
    let source = Database::fresh(&server, "narrow");
    source.execute(
        "CREATE TABLE open (a integer); CREATE TABLE \"it's\" (a integer); CREATE TABLE closed (a integer);
        CREATE SEQUENCE counts; GRANT SELECT ON open TO narrow",
    );
    let store = tempfile::tempdir().unwrap();
    let (url, to) = (url_of(&source, "narrow"), format!("file://{}", store.path().display()));
    let dump = ["dump", "-d", &url, "--to", &to];
    let refused = pgstow(&no_store(), &dump);
    refused.failed(
        4,
        &["table public.it's, table public.closed, sequence public.counts", "-T 'public.closed'", "-T 'public.counts'"],
    );
    let without = ["-T", "public.\"it's\"", "-T", "public.closed", "-T", "public.counts"];
    pgstow(&no_store(), &[&dump[..], &without].concat()).fine();
}
