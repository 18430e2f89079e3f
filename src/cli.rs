//! Arguments, environment and terminal: from what the user typed to settled options, and from reports to words.
//!
//! May import: everything. Always true here: [`args`] is inert (what clap sees), `settings` resolves it (flags over
//! environment), `output` is the only place that writes to standard output, `display` the only one that draws on a
//! terminal. An error is printed once, here, with its hint, and becomes the exit code of its kind.

pub mod args;
mod display;
mod output;
mod settings;

use crate::commands::{self, Progress, Stop};
use crate::error::{Error, Kind, Result};
use args::{Arguments, Command, LogFormat};
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap's own words for usage errors, help and version; its exit code for the last two is 0.
            let _unwritable = error.print();
            return if error.use_stderr() { ExitCode::from(Kind::Usage.exit_code()) } else { ExitCode::SUCCESS };
        }
    };
    start_tracing(&arguments);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Error::new(Kind::Internal, "cannot start the runtime").because(error)),
    };
    let outcome = runtime.block_on(run(&arguments));
    // Connections that hang must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &Error) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let _unwritable = writeln!(stderr, "error: {error}");
    if let Some(hint) = error.hint_text() {
        let _unwritable = writeln!(stderr, "hint: {hint}");
    }
    ExitCode::from(error.kind().exit_code())
}

fn start_tracing(arguments: &Arguments) {
    use tracing_subscriber::EnvFilter;
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "pgstow=info,warn",
        (false, 2) => "pgstow=debug,info",
        (false, _) => "pgstow=trace,debug",
    };
    let filter = EnvFilter::try_from_env("PGSTOW_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // This one would write out whole statements, and some hold the hashes of passwords.
    let silenced = "tokio_postgres::simple_query=info".parse().expect("a directive that was tried");
    let filter = filter.add_directive(silenced);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(arguments.verbose > 1).init();
        }
        LogFormat::Json => builder.json().init(),
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let stop = Stop::default();
    listen_for_signals(stop.clone());
    let progress = Arc::new(Progress::default());
    match &arguments.command {
        Command::Dump(dump) => {
            let options = settings::dump(dump).await?;
            let display = display::Display::start("dump", &progress, arguments.quiet || dump.json);
            let report = commands::dump::dump(options, progress, stop).await;
            display.finish();
            output::dump(&report?, dump.json)
        }
        Command::Restore(restore) => {
            let options = settings::restore(restore).await?;
            let display =
                display::Display::start("restore", &progress, arguments.quiet || restore.json || restore.dry_run);
            let report = commands::restore::restore(options, progress, stop).await;
            display.finish();
            let report = report?;
            output::restore(&report, restore.dry_run, restore.json)?;
            commands::restore::partial(&report).map_or(Ok(()), Err)
        }
        Command::List(list) => {
            let store = settings::store(&list.store).await?;
            let listing = stop.unless(commands::list::list(store.as_ref())).await?;
            output::list(&listing, list.json)
        }
        Command::Show(show) => {
            let store = settings::store(&show.store).await?;
            let (place, manifest) = stop.unless(commands::list::show(store.as_ref(), &show.backup)).await?;
            output::show(&place, &manifest, show.json)
        }
    }
}

/// The first SIGINT or SIGTERM asks for a clean end, the second ends at once.
fn listen_for_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            tracing::warn!("cannot listen for signals; an interrupt will not clean up");
            return;
        };
        for asked_before in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked_before {
                std::process::exit(i32::from(Kind::Interrupted.exit_code()));
            }
            tracing::warn!("stopping; once more to stop at once");
            stop.now();
        }
    });
}
