//! The main job, end to end, on throwaway servers: `cargo run --release --example demo`.
//!
//! Builds pgstow, starts a PostgreSQL server and an S3 store over real HTTP, loads the sample database, dumps it, lists
//! the backup, restores it into a second database, compares the two, and says so in a few lines. Everything it starts
//! stops with it; everything it writes lies in the one folder that it names.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use pgstow_parts::cache::{output, temp_folder};
use pgstow_parts::oracle::oracle_if_cached;
use pgstow_parts::{Result, S3, Server, compare, fixtures, folder_s3, installed_server};

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "demo: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let pgstow = build_pgstow()?;
    let home = temp_folder("demo")?;
    let (server, binaries) = installed_server(&home)?;
    let s3 = folder_s3(&home.join("s3"))?;
    let (shop, copy) = (server.fresh_database("shop"), server.fresh_database("shop_copy"));
    fixtures::load_shop(&server, &shop)?;
    let before = compare::data(&server, &shop)?;
    let tables = before.keys().filter(|name| name.starts_with("table ")).count();
    tell(&format!(
        "A shop of {tables} tables is ready in PostgreSQL {} ({}), and an S3 store at {}.",
        server.major(),
        binaries.origin,
        s3.endpoint
    ));

    let run = Run { pgstow: &pgstow, s3: &s3, log: home.join("log.txt") };
    let store = s3.location("backups");
    let start = Instant::now();
    let dumped = run.json(&["dump", "-d", &server.url(&shop), "--to", &store, "--json"])?;
    let backup = dumped["backup"].as_str().ok_or("pgstow dump names no backup")?.to_owned();
    tell(&format!(
        "pgstow dump     {} rows, {} of data as {} in the bucket, in {:.1} s.",
        dumped["rows"],
        bytes(&dumped["raw_bytes"]),
        bytes(&dumped["stored_bytes"]),
        start.elapsed().as_secs_f64()
    ));

    let listed = run.json(&["list", "--from", &store, "--json"])?;
    let found = listed["backups"].as_array().into_iter().flatten().find(|entry| entry["backup"] == backup.as_str());
    let found = found.ok_or_else(|| format!("pgstow list does not show {backup}"))?;
    tell(&format!("pgstow list     shows {backup} of {}.", found["database"].as_str().unwrap_or("?")));

    let start = Instant::now();
    run.json(&["restore", &backup, "--from", &store, "-d", &server.url(&copy), "--json"])?;
    tell(&format!("pgstow restore  into a second database, in {:.1} s.", start.elapsed().as_secs_f64()));

    let referee = same(&server, &shop, &copy, &before)?;
    tell(&format!("Both are the same: every row, sequence and large object, and the schema as {referee} it."));
    drop(server);
    let _ = fs::remove_dir_all(home.join("postgres"));
    tell(&format!(
        "All servers are stopped; the bucket and the log are in {} (delete it when you like).",
        home.display()
    ));
    Ok(())
}

/// Fails with the first differences; otherwise says who compared the schemas.
fn same(server: &Server, shop: &str, copy: &str, before: &compare::Fingerprints) -> Result<&'static str> {
    let mut lines = compare::differences(before, &compare::data(server, copy)?);
    lines.extend(compare::differences(&compare::schema(server, shop)?, &compare::schema(server, copy)?));
    let mut referee = "the catalogs show";
    if let Some(oracle) = oracle_if_cached() {
        referee = "stock pg_dump sees";
        if oracle.schema(&server.url(shop))? != oracle.schema(&server.url(copy))? {
            lines.push("pg_dump -s writes different schemas for the two".into());
        }
    }
    if lines.is_empty() {
        return Ok(referee);
    }
    let shown = lines.len().min(10);
    Err(format!("the restored database differs in {} places:\n  {}", lines.len(), lines[..shown].join("\n  ")))
}

/// Runs the pgstow that was built.
struct Run<'a> {
    pgstow: &'a Path,
    s3: &'a S3,
    log: PathBuf,
}

impl Run<'_> {
    /// Runs a command to its end and reads the JSON document it prints; what it logs goes to the log file.
    fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = Command::new(self.pgstow);
        command.args(arguments).envs(self.s3.environment());
        for (variable, _) in std::env::vars_os() {
            // The reader's own defaults must not lead the demo to her servers.
            if ["PG", "PGSTOW_"].iter().any(|start| variable.to_string_lossy().starts_with(start)) {
                command.env_remove(variable);
            }
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| format!("{}: {error}", self.log.display()))?;
        let done = command.stderr(log).output().map_err(|error| format!("{}: {error}", self.pgstow.display()))?;
        let verb = arguments.first().unwrap_or(&"");
        if !done.status.success() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.trim().lines().collect();
            let end = lines[lines.len().saturating_sub(5)..].join("\n  ");
            return Err(format!("pgstow {verb} failed ({}):\n  {end}", done.status));
        }
        serde_json::from_slice(&done.stdout).map_err(|error| format!("pgstow {verb} prints no JSON: {error}"))
    }
}

/// Builds the binary with the profile that this example was built with, and returns its path, which is beside the
/// folder of the examples.
fn build_pgstow() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let profile = own.parent().and_then(Path::parent).ok_or("this program lies in no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // Together with this example, or the packages would be built once more with the features of the binary alone.
    build.args([
        "build",
        "--quiet",
        "--bin",
        "pgstow",
        "--example",
        "demo",
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    build.arg("--target-dir").arg(profile.parent().unwrap_or(profile));
    // What `cargo run` tells this example about itself is not meant for the build: ring watches CARGO_MANIFEST_DIR, and
    // would be compiled anew with all that depends on it, here and in the next build outside.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start)) {
            build.env_remove(&variable);
        }
    }
    if profile.ends_with("release") {
        build.arg("--release");
    }
    output(&mut build)?;
    Ok(profile.join("pgstow"))
}

/// A number of bytes for people.
fn bytes(number: &serde_json::Value) -> String {
    let mut rest = number.as_f64().unwrap_or_default();
    let mut units = ["bytes", "KiB", "MiB", "GiB"].iter();
    let mut unit = units.next();
    while rest >= 1024.0 {
        let Some(larger) = units.next() else { break };
        rest /= 1024.0;
        unit = Some(larger);
    }
    format!("{rest:.*} {}", usize::from(unit != Some(&"bytes")), unit.unwrap_or(&"bytes"))
}

/// One line for the reader.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
