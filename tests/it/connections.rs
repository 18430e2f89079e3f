//! Every way to a server: TLS as the mode says, certificates, passwords, services, several hosts, standbys.

use std::sync::{Mutex, OnceLock};

use pgstow_parts::tls::{PASSWORD, SecureServer};
use pgstow_parts::{Server, compare};

use crate::support::{Ran, bare_command};

/// One server with TLS for all tests of a version.
fn secure(major: u16) -> &'static SecureServer {
    static SERVERS: [OnceLock<SecureServer>; 2] = [OnceLock::new(), OnceLock::new()];
    SERVERS[usize::from(major == 18)].get_or_init(|| SecureServer::start(major).unwrap())
}

/// A value of a keyword string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Dumps a small database over a connection, and says how that went. What it logs is searched for the password.
fn dump_over(connection: &str, environment: &[(&str, &str)]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let mut command = bare_command();
    command.args(["dump", "-vvv", "-d", connection, "--to", &store]).env("HOME", folder.path());
    let ran = Ran::of(&command.envs(environment.iter().copied()).output().unwrap());
    assert!(!format!("{ran:?}").contains("secret"), "the password is in what it says: {ran:?}");
    ran
}

/// Runs pgstow to its end, with a store that is a folder.
fn run(arguments: &[&str]) -> Ran {
    Ran::of(&bare_command().args(arguments).output().unwrap())
}

/// How a connection attempt has to end.
enum Outcome {
    Works,
    Fails(&'static str),
}

fn check(major: u16, connection: &str, outcome: &Outcome) {
    let secure = secure(major);
    let port = secure.port();
    let password = quoted(PASSWORD);
    let root = quoted(&secure.root.display().to_string());
    let other = quoted(&secure.other_root.display().to_string());
    let certificate = quoted(&secure.client_certificate.display().to_string());
    let key = quoted(&secure.client_key.display().to_string());
    let connection = connection
        .replace("PASSWORD", &format!("password={password}"))
        .replace("OTHER_ROOT", &format!("sslrootcert={other}"))
        .replace("ROOT", &format!("sslrootcert={root}"))
        .replace("CERTIFICATE", &format!("sslcert={certificate} sslkey={key}"));
    let ran = dump_over(&format!("dbname=postgres port={port} {connection}"), &[]);
    match outcome {
        Outcome::Works => assert_eq!(ran.code, Some(0), "{connection}: {}", ran.stderr),
        Outcome::Fails(words) => {
            assert_eq!(ran.code, Some(3), "{connection}: {}", ran.stderr);
            assert!(ran.stderr.contains(words), "{connection}: {words:?} is not said: {}", ran.stderr);
        }
    }
}

#[test]
fn tls_is_used_and_verified_as_the_mode_says() {
    use Outcome::{Fails, Works};
    let by_name = "host=localhost hostaddr=127.0.0.1";
    let by_address = "host=127.0.0.1";
    for (who, how, outcome) in [
        ("user=over_tls PASSWORD", "sslmode=disable", Fails("pg_hba.conf")),
        ("user=over_tls PASSWORD", "sslmode=allow", Works),
        ("user=over_tls PASSWORD", "sslmode=prefer", Works),
        ("user=over_tls PASSWORD", "", Works),
        ("user=over_tls PASSWORD", "sslmode=require", Works),
        ("user=in_clear PASSWORD", "sslmode=prefer", Works),
        ("user=in_clear PASSWORD", "sslmode=allow", Works),
        ("user=in_clear PASSWORD", "sslmode=disable", Works),
        ("user=in_clear PASSWORD", "sslmode=require", Fails("pg_hba.conf")),
        // With a root at hand, libpq verifies it even where the mode only asks for encryption.
        ("user=over_tls PASSWORD", "sslmode=require OTHER_ROOT", Fails("sslrootcert")),
        ("user=over_tls PASSWORD", "sslmode=verify-ca ROOT", Works),
        ("user=over_tls PASSWORD", "sslmode=verify-ca OTHER_ROOT", Fails("sslrootcert")),
        ("user=over_tls PASSWORD", "sslmode=verify-ca", Fails("root.crt")),
        ("user=over_tls PASSWORD", "sslmode=verify-full OTHER_ROOT", Fails("sslrootcert")),
        ("user=over_tls PASSWORD", "sslrootcert=system", Fails("sslrootcert")),
    ] {
        check(18, &format!("{by_address} {who} {how}"), &outcome);
    }
    check(18, &format!("{by_name} user=over_tls PASSWORD sslmode=verify-full ROOT"), &Works);
    check(18, &format!("{by_address} user=over_tls PASSWORD sslmode=verify-full ROOT"), &Fails("subjectAltName"));
    check(18, &format!("{by_name} user=over_tls PASSWORD sslmode=verify-full ROOT sslnegotiation=direct"), &Works);
    check(12, &format!("{by_name} user=over_tls PASSWORD sslmode=verify-full ROOT"), &Works);
}

#[test]
fn a_client_certificate_lets_its_owner_in_and_nobody_else() {
    let host = "host=localhost hostaddr=127.0.0.1 sslmode=verify-full ROOT";
    for major in [12, 18] {
        check(major, &format!("{host} user=with_certificate CERTIFICATE"), &Outcome::Works);
        check(major, &format!("{host} user=with_certificate"), &Outcome::Fails("certificate"));
        check(major, &format!("{host} user=with_md5 PASSWORD CERTIFICATE"), &Outcome::Works);
    }
    let secure = secure(18);
    let open = secure.folder().join("open.key");
    std::fs::copy(&secure.client_key, &open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let certificate = quoted(&secure.client_certificate.display().to_string());
    let key = quoted(&open.display().to_string());
    let careless = format!("{host} user=with_certificate sslcert={certificate} sslkey={key}");
    check(18, &careless, &Outcome::Fails("open.key"));
}

#[test]
fn channel_binding_is_used_where_it_is_required_and_refused_where_it_cannot_be() {
    use Outcome::{Fails, Works};
    for major in [12, 18] {
        check(major, "host=127.0.0.1 user=over_tls PASSWORD channel_binding=require", &Works);
        check(major, "host=127.0.0.1 user=over_tls PASSWORD channel_binding=disable", &Works);
        check(major, "host=127.0.0.1 user=in_clear PASSWORD channel_binding=require", &Fails("channel binding"));
        check(major, "host=127.0.0.1 user=with_md5 PASSWORD channel_binding=require", &Fails("channel binding"));
        check(major, "host=127.0.0.1 user=with_md5 PASSWORD", &Works);
    }
}

#[test]
fn a_password_comes_from_the_environment_or_a_file_that_nobody_else_can_read() {
    let secure = secure(18);
    let port = secure.port();
    let connection = format!("host=127.0.0.1 port={port} user=over_tls dbname=postgres");
    dump_over(&connection, &[("PGPASSWORD", PASSWORD)]).fine();
    dump_over(&connection, &[]).failed(3, &["wants a password", "PGPASSWORD"]);
    dump_over(&connection, &[("PGPASSWORD", "secret but wrong")]).failed(3, &["28P01"]);

    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    let file = secure.folder().join("pgpass");
    let write = |mode: u32, text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let path = file.display().to_string();
    write(0o600, &format!("# comment\nother:*:*:*:no\n127.0.0.1:{port}:*:over_tls:{escaped}\n"));
    dump_over(&connection, &[("PGPASSFILE", &path)]).fine();
    write(0o644, &format!("127.0.0.1:{port}:*:over_tls:{escaped}\n"));
    dump_over(&connection, &[("PGPASSFILE", &path)]).failed(3, &["wants a password", &path]);
}

#[test]
fn a_service_a_socket_and_a_bare_name_lead_to_the_server() {
    let secure = secure(18);
    let (socket, port) = secure.server.socket().unwrap();
    let file = secure.folder().join("services");
    let text = format!("[elsewhere]\nport=1\n[here]\nhost=127.0.0.1\nport={port}\nuser=over_tls\ndbname=postgres\n");
    std::fs::write(&file, text).unwrap();
    let services = file.display().to_string();
    let password = ("PGPASSWORD", PASSWORD);
    dump_over("service=here", &[("PGSERVICEFILE", &services), password]).fine();
    dump_over("", &[("PGSERVICEFILE", &services), ("PGSERVICE", "here"), password]).fine();
    dump_over("service=nowhere", &[("PGSERVICEFILE", &services)]).failed(2, &["nowhere"]);

    let port = port.to_string();
    let socket = socket.display().to_string();
    let here = [("PGHOST", socket.as_str()), ("PGPORT", &port), ("PGUSER", "in_clear")];
    dump_over("postgres", &here).fine();
    dump_over("no_such_database", &here).failed(3, &["no_such_database", "3D000"]);
    let encoded = socket.replace('/', "%2F");
    dump_over(&format!("postgresql://in_clear@{encoded}:{port}/postgres"), &[]).fine();
}

/// A server of our own with a few rows, and a standby that has them all.
pub(crate) fn pair(major: u16) -> (Server, Server) {
    // Two at once are enough for a small machine.
    static STARTING: Mutex<()> = Mutex::new(());
    let _turn = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let primary = Server::own(major).unwrap();
    primary
        .execute(
            "postgres",
            "CREATE TABLE kept AS SELECT n AS id, md5(n::text) AS t FROM generate_series(1, 5000) n;
             CREATE UNLOGGED TABLE unread AS SELECT 1 AS id;
             CREATE SEQUENCE counted; SELECT setval('counted', 42);
             SELECT lo_from_bytea(4242, 'a large object')",
        )
        .unwrap();
    let standby = primary.standby().unwrap();
    (primary, standby)
}

#[test]
fn a_standby_is_dumped_without_the_rows_that_it_does_not_have() {
    for major in [12, 18] {
        let (primary, standby) = pair(major);
        assert_eq!(standby.value("postgres", "SELECT pg_is_in_recovery()").unwrap(), "t");
        let folder = tempfile::tempdir().unwrap();
        let store = format!("file://{}", folder.path().display());
        let report = run(&["dump", "-d", &standby.url("postgres"), "--to", &store, "-j", "2", "--json"]).fine().json();
        assert_eq!(report["rows"], 5000);
        let skipped = report["skipped"].as_array().unwrap();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert_eq!(skipped[0]["object"], "rows of table public.unread");

        let target = primary.fresh_database("from_standby");
        run(&["restore", "latest", "--from", &store, "-d", &primary.url(&target)]).fine();
        let mut wanted = compare::data(&primary, "postgres").unwrap();
        let mut found = compare::data(&primary, &target).unwrap();
        let unread: Vec<String> = wanted.keys().filter(|name| name.contains("unread")).cloned().collect();
        assert_eq!(unread.len(), 1, "{unread:?}");
        assert!(wanted.remove(&unread[0]) != found.remove(&unread[0]), "an unlogged table's rows came from a standby");
        assert_eq!(compare::differences(&wanted, &found), Vec::<String>::new());
    }
}

#[test]
fn of_several_hosts_the_one_of_the_wanted_sort_is_taken() {
    let (primary, standby) = pair(18);
    let port = |server: &Server| server.socket().unwrap().1;
    let (first, second) = (port(&standby), port(&primary));
    let dump_from = |attributes: &str| {
        let hosts = format!("host=127.0.0.1,127.0.0.1,127.0.0.1 port=1,{first},{second}");
        dump_over(&format!("{hosts} user=postgres dbname=postgres target_session_attrs={attributes}"), &[])
    };
    for (attributes, is_standby) in [
        ("any", true),
        ("read-write", false),
        ("primary", false),
        ("standby", true),
        ("prefer-standby", true),
        ("read-only", true),
    ] {
        let ran = dump_from(attributes).fine();
        assert_eq!(ran.stdout.contains("left out: rows of table public.unread"), is_standby, "{attributes}: {ran:?}");
    }
    let only_standby =
        format!("host=127.0.0.1 port={first} user=postgres dbname=postgres target_session_attrs=read-write");
    dump_over(&only_standby, &[]).failed(3, &["read-only", "target_session_attrs"]);
}
