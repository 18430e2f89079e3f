//! `--env-file`: starts this program over with the variables of the file.
//!
//! The AWS SDK and clap read the environment of the process, which a running program cannot change safely. So the process
//! becomes a new one of the same id with the file's variables over its own, before anything else has happened; whatever
//! reads the environment, reads them. As with a shell's `.`, the file comes before what was set.

use crate::error::{Error, Kind, Result};
use crate::jobs::{EnvFile, script_store};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Says to the program started over that it is that one.
const STARTED_OVER: &str = "PGSTOW_ENV_FILE_READ";

/// Does nothing, or does not return, or fails.
pub(super) fn enter() -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let Some(path) = named(&arguments) else { return Ok(()) };
    if std::env::var_os(STARTED_OVER).is_some() {
        return Ok(());
    }
    let file = EnvFile::read(&path)?;
    let failed = |error: std::io::Error| {
        Error::new(Kind::Internal, "cannot start over with the variables of the environment file").because(error)
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(arguments.get(1..).unwrap_or_default()).env(STARTED_OVER, "1");
    if let Some(name) = arguments.first() {
        command.arg0(name);
    }
    command.envs(file.variables().map(|(name, value)| (name, value.expose())));
    // So that `list`, `restore` and the rest find what `run` made with the same file.
    let set = |wanted: &str| {
        let in_file = file.variables().filter(|(name, _)| *name == wanted).last();
        let value = in_file.map(|(_, value)| value.expose().to_owned()).or_else(|| std::env::var(wanted).ok());
        value.filter(|value| !value.is_empty())
    };
    if let (None, Some(bucket)) = (set("PGSTOW_STORE"), set("BACKUP_S3_BUCKET")) {
        command.env("PGSTOW_STORE", script_store(&bucket));
    }
    Err(failed(command.exec()))
}

/// The file that the arguments name. clap cannot be asked yet: what it demands may stand in the file.
fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--env-file" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = argument.as_bytes().strip_prefix(b"--env-file=") {
            return Some(std::ffi::OsStr::from_bytes(path).into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::named;
    use std::ffi::OsString;
    use std::path::PathBuf;

    #[test]
    fn the_file_is_found_wherever_it_stands() {
        for (arguments, expected) in [
            (&["pgstow", "run", "--env-file", "a b"][..], Some("a b")),
            (&["pgstow", "--env-file=x", "run"], Some("x")),
            (&["pgstow", "run"], None),
            (&["pgstow", "run", "--", "--env-file", "x"], None),
            (&["pgstow", "run", "--env-file"], None),
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(named(&arguments), expected.map(PathBuf::from), "{arguments:?}");
        }
    }
}
