//! The cache folder, its locks, and running the tools that fill it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Result;

/// Where fetched parts stay between runs: `$PGSTOW_PARTS`, else `/var/cache/pgstow-parts` for root (a server runs as
/// another user then, and cannot read root's home), else `pgstow-parts` in the user's cache folder.
pub fn folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = set("PGSTOW_PARTS") {
        return own;
    }
    if is_root() {
        return "/var/cache/pgstow-parts".into();
    }
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("pgstow-parts")
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    // The standard library has no question for the own user id, but a folder just made belongs to it.
    *ROOT.get_or_init(|| {
        let Ok(probe) = temp_folder("who") else { return false };
        let root = fs::metadata(&probe).is_ok_and(|meta| meta.uid() == 0);
        let _ = fs::remove_dir(&probe);
        root
    })
}

/// The user and group a server runs as when this process is root's: `postgres` where there is one, else `nobody`.
/// None for an ordinary user, who runs servers herself.
pub fn server_user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields.as_slice() {
                [user, _, uid, gid, ..] if *user == name => Some((uid.parse().ok()?, gid.parse().ok()?)),
                _ => None,
            }
        })
    };
    Some(ids("postgres").or_else(|| ids("nobody")).unwrap_or((65534, 65534)))
}

/// A new empty folder in `$PGSTOW_SCRATCH`, else in the temporary folder: `pgstow-<hint>-<process>-<number>`, of mode 0755.
///
/// The path stays short, for a Unix socket in it may have 107 bytes; and for root it is always in `/tmp`, which the
/// server's user can reach too, unless `$PGSTOW_SCRATCH` names another place.
pub fn temp_folder(hint: &str) -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let named = std::env::var_os("PGSTOW_SCRATCH").filter(|value| !value.is_empty()).map(PathBuf::from);
    let wanted = std::env::temp_dir();
    // Asking `is_root` here would go round in a circle; HOME=/root is guess enough for a preference.
    let roots = std::env::var_os("HOME").is_some_and(|home| home == "/root");
    let usual = || if wanted.as_os_str().len() > 50 || roots { PathBuf::from("/tmp") } else { wanted };
    let base = named.unwrap_or_else(usual);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("pgstow-{hint}-{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                    .map_err(|error| format!("cannot open {} to the server: {error}", path.display()))?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("cannot make the folder {}: {error}", path.display())),
        }
    }
}

/// Brings a part into the cache once: when `folder()/name/proof` is missing, `fill` gets an empty folder beside it,
/// which is renamed into place when `fill` succeeds. Two processes do not collide: a file lock lets one of them work.
pub fn once(name: &str, proof: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = folder().join(name);
    if place.join(proof).exists() {
        return Ok(place);
    }
    let trouble = |what: &str, error: std::io::Error| format!("cannot {what} {}: {error}", place.display());
    let parent = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|error| trouble("make the folder of", error))?;
    let lock_name = format!("{}.lock", name.replace('/', "-"));
    let lock = fs::File::create(folder().join(lock_name)).map_err(|error| trouble("lock", error))?;
    // The lock ends with this file handle, so also when the process is killed.
    lock.lock().map_err(|error| trouble("lock", error))?;
    if place.join(proof).exists() {
        return Ok(place);
    }
    let work = parent.join(format!(".filling-{}-{}", name.replace('/', "-"), std::process::id()));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(|error| trouble("make the folder of", error))?;
    let done = fill(&work).and_then(|()| {
        // Without its proof, what lies there is the rest of something interrupted.
        let _ = fs::remove_dir_all(&place);
        fs::rename(&work, &place).map_err(|error| trouble("put in place", error))
    });
    if let Err(error) = done {
        let _ = fs::remove_dir_all(&work);
        return Err(error);
    }
    Ok(place)
}

/// Where a program is found on the PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a program to its end and returns its standard output; a failure is a sentence with the end of what it said.
pub fn run<S: AsRef<OsStr>>(folder: &Path, program: impl AsRef<OsStr>, arguments: &[S]) -> Result<String> {
    output(Command::new(program).args(arguments).current_dir(folder))
}

/// Runs a prepared command to its end and returns its standard output, as [`run`] does.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = if said.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { said };
    let lines: Vec<&str> = said.trim().lines().collect();
    let end = lines[lines.len().saturating_sub(12)..].join("\n");
    Err(format!("{name} failed ({}): {end}", output.status))
}

/// Lets everybody read a fetched tree and run its programs: package archives often come without run bits.
pub fn open_to_all(folder: &Path, programs: &[PathBuf]) -> Result<()> {
    run(folder, "chmod", &["-R", "a+rX", "."])?;
    for programs in programs {
        for entry in fs::read_dir(programs).map_err(|error| format!("{}: {error}", programs.display()))?.flatten() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755))
                .map_err(|error| format!("{}: {error}", entry.path().display()))?;
        }
    }
    Ok(())
}
