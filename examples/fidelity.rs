//! Is a restored copy equal to this database? `cargo run --example fidelity -- URL`.
//!
//! Dumps the database, restores it into a scratch database of the same server, and holds the two against each other:
//! stock `pg_dump`'s schema, all data, sequences and large objects, and a second dump against the first. Prints how many
//! entries of each kind there are, then `equal` or what differs, and drops the scratch database. The URL is a
//! superuser's, without TLS.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use pgstow_parts::{Result, Server};

#[path = "../tests/it/fidelity/check.rs"]
mod check;

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        tell("say which database: cargo run --example fidelity -- postgres://postgres@127.0.0.1:5432/name");
        return ExitCode::from(2);
    };
    match fidelity(&url) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            tell(&format!("cannot compare: {sentence}"));
            ExitCode::from(2)
        }
    }
}

fn fidelity(url: &str) -> Result<bool> {
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let pgstow = own.parent().and_then(Path::parent).map(|profile| profile.join("pgstow")).filter(|path| path.exists());
    let pgstow = pgstow.ok_or("there is no pgstow yet: run `cargo build --bin pgstow --example fidelity`")?;
    let (server, database) = Server::of_url(url)?;
    let verdict = check::check(&pgstow, &server, &database)?;
    for (kind, count) in &verdict.kinds {
        tell(&format!("{count:8}  {kind}"));
    }
    for difference in &verdict.differences {
        tell(difference);
    }
    let count = verdict.differences.len();
    tell(&if count == 0 { "equal".to_owned() } else { format!("{count} differences") });
    Ok(count == 0)
}

/// One line for the reader.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
