//! Servers that npm does not have yet, from Debian's suites of what is to come.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::cache::{once, open_to_all, output, run, which};
use crate::fetch::Binaries;
use crate::{Result, say};

/// The majors that npm lacks. When it has one, its number goes, and nothing else changes.
const AHEAD: &[u16] = &[19];

/// Whether a major comes from here and not from npm.
pub(crate) fn is_ahead(major: u16) -> bool {
    AHEAD.contains(&major)
}

/// The server and the client programs of a major out of Debian's experimental suite, with all their libraries out of
/// unstable, the C library among them. Nothing is installed, and no root is needed.
///
/// This machine's C library is older than what they were built for. So every program is told where its own loader and
/// libraries lie, which an ordinary start of it then finds.
pub fn ahead_server(major: u16) -> Result<Binaries> {
    if which("apt-get").is_none() || which("dpkg-deb").is_none() {
        return Err(format!("PostgreSQL {major} comes out of Debian's packages, and this is no Debian"));
    }
    let bin = format!("usr/lib/postgresql/{major}/bin");
    let place = once(&format!("ahead/{major}"), &format!("{bin}/postgres"), |work| {
        say(&format!("fetching PostgreSQL {major} (Debian's experimental suite, about 45 MB)"));
        unpack(work, major)?;
        let here = crate::cache::folder().join(format!("ahead/{major}"));
        tell_libraries(work, &here, &work.join(&bin))?;
        // Where the servers of npm have it, so that everybody finds it.
        let share = work.join(format!("usr/lib/postgresql/{major}/share"));
        fs::create_dir_all(&share)
            .and_then(|()| symlink(format!("../../../../share/postgresql/{major}"), share.join("postgresql")))
            .map_err(|error| format!("{}: {error}", share.display()))?;
        open_to_all(work, &[])
    })?;
    Ok(Binaries { bin: place.join(bin), libraries: None, origin: "Debian's experimental suite".into() })
}

/// Downloads and unpacks the packages of a major, with apt folders of our own.
fn unpack(work: &Path, major: u16) -> Result<()> {
    let trouble = |error: std::io::Error| format!("{}: {error}", work.display());
    let apt = work.join("apt");
    fs::create_dir_all(apt.join("lists/partial")).map_err(trouble)?;
    let mirror = mirror(work)?;
    let keys = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
    let keys = keys.into_iter().find(|path| Path::new(path).exists());
    let signed = keys.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
    let sources = ["experimental", "unstable"].map(|suite| format!("deb {signed}{mirror} {suite} main\n")).concat();
    fs::write(apt.join("sources.list"), sources).map_err(trouble)?;
    let pin = format!("Package: src:postgresql-{major}\nPin: release a=experimental\nPin-Priority: 900\n");
    fs::write(apt.join("preferences"), pin).map_err(trouble)?;
    // Nothing is installed for this apt, so it names all that is needed.
    fs::write(apt.join("status"), "").map_err(trouble)?;
    let own = [
        ("Etc::SourceList", "sources.list"),
        ("Etc::SourceParts", "none"),
        ("Etc::Preferences", "preferences"),
        ("Etc::PreferencesParts", "none"),
        ("State::Lists", "lists"),
        ("State::Status", "status"),
        ("Cache", ""),
    ];
    let own: Vec<String> = own.iter().map(|(name, to)| format!("-oDir::{name}={}", apt.join(to).display())).collect();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        output(command.args(&own).args(["-oAPT::Sandbox::User=", "-qq"]).args(arguments).current_dir(work))
    };
    ask(&["update"])?;
    let server = format!("postgresql-{major}");
    let client = format!("postgresql-client-{major}");
    let plan = ask(&["install", "--simulate", "--no-install-recommends", &server, &client, "patchelf"])?;
    let needed = |name: &&str| {
        name.starts_with("lib") || [server.as_str(), &client, "patchelf", "zlib1g", "tzdata"].contains(name)
    };
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
    let wanted: Vec<&str> = ["download"].into_iter().chain(names.filter(needed)).collect();
    ask(&wanted)?;
    for entry in fs::read_dir(work).map_err(trouble)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            run(work, "dpkg-deb", &["-x".as_ref(), entry.path().as_os_str(), ".".as_ref()])?;
            fs::remove_file(entry.path()).map_err(trouble)?;
        }
    }
    fs::remove_dir_all(&apt).map_err(trouble)
}

/// The mirror of Debian that this machine's own apt uses.
fn mirror(work: &Path) -> Result<String> {
    // Asked for lists of our own, it takes no lock on the machine's.
    let lists = format!("-oDir::State::Lists={}", work.join("apt/lists").display());
    let uris = run(work, "apt-get", &[&lists, "update", "--print-uris"])?;
    mirror_in(&uris).ok_or_else(|| "this machine's apt knows no mirror of Debian".to_owned())
}

/// The mirror in apt's list of what it would fetch, lines such as `'http://mirror/debian/dists/stable/InRelease' name 0`.
fn mirror_in(uris: &str) -> Option<String> {
    let places = uris.lines().filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/"));
    let mut bases = places.map(|(base, _)| base.trim_end_matches('/'));
    bases.find(|base| base.ends_with("/debian")).map(str::to_owned)
}

/// Writes into every program of a folder where its loader and its libraries will be found, once `work` lies at `place`.
fn tell_libraries(work: &Path, place: &Path, bin: &Path) -> Result<()> {
    let triplet = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let libraries = work.join(&triplet);
    let loader = fs::read_dir(&libraries)
        .map_err(|error| format!("{}: {error}", libraries.display()))?
        .flatten()
        .map(|entry| entry.file_name())
        .find(|name| name.to_string_lossy().starts_with("ld-linux"))
        .ok_or("the packages brought no loader")?;
    let at = place.join(&triplet);
    for entry in fs::read_dir(bin).map_err(|error| format!("{}: {error}", bin.display()))?.flatten() {
        let program = entry.path();
        if !fs::read(&program).is_ok_and(|content| content.starts_with(b"\x7fELF")) {
            continue;
        }
        // Its own C library is too new for this machine, too.
        let mut patchelf = Command::new(libraries.join(&loader));
        patchelf.arg("--library-path").arg(&libraries).arg(work.join("usr/bin/patchelf"));
        patchelf.arg("--set-interpreter").arg(at.join(&loader));
        // The old kind of path counts for what libraries need, too.
        patchelf.arg("--force-rpath").arg("--set-rpath").arg(&at).arg(program);
        output(&mut patchelf)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn the_mirror_is_the_one_that_has_all_of_debian() {
        let uris = "'http://mirror.example/debian-security/dists/stable-security/InRelease' a 0\n\
                    'http://mirror.example/debian/dists/stable/InRelease' b 0\n";
        assert_eq!(mirror_in(uris).as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(mirror_in("'http://mirror.example/other/dists/stable/InRelease' b 0\n"), None);
    }
}
