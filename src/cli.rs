//! Arguments, environment and terminal: from what the user typed to settled options, and from reports to words.
//!
//! One file a verb, named like its file in [`commands`](crate::commands): the arguments as clap sees them (inert), the
//! options they become (flags over environment), the report in words. A new verb is a file here, a file there, and a line in
//! [`args::Command`] and in `run` below.
//!
//! May import: everything. Always true here: `output` is the only place that writes to standard output, `display` the only
//! one that draws on a terminal. An error is printed once, here, with its hint, and becomes the exit code of its kind.

pub mod args;
mod bucket;
mod check;
mod choice;
mod config;
mod copy;
mod cost;
mod display;
mod doctor;
mod dump;
mod env_file;
mod export;
mod jobs;
mod left_out;
mod list;
mod notify;
mod output;
mod prune;
mod report;
mod requests;
mod restore;
mod run;
mod schedule;
mod selection;
mod show;
mod store;
mod subject;
mod sweep;
mod table;
mod thaw;
mod verify;

use crate::commands::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::model::size;
use args::{Arguments, Command, LogFormat};
use clap::Parser;
use display::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    if let Err(error) = env_file::enter() {
        return report(&error);
    }
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
    if arguments.note_requests.is_some() {
        crate::store::note_requests();
    }
    let outcome = runtime.block_on(run(&arguments));
    // Connections that hang must not hold up the exit.
    runtime.shutdown_background();
    let noted = arguments.note_requests.as_deref().map_or(Ok(()), requests::write);
    match outcome.and_then(|code| noted.map(|()| code)) {
        Ok(code) => code,
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

/// What every verb gets beside its arguments.
struct Context {
    progress: Arc<Progress>,
    stop: Stop,
    quiet: bool,
}

impl Context {
    /// Shows progress until told that the work is finished; `silent` where standard error should stay free of it.
    fn display(&self, verb: &'static str, silent: bool) -> Display {
        Display::start(verb, &self.progress, self.quiet || silent)
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let context = Context { progress: Arc::default(), stop: Stop::default(), quiet: arguments.quiet };
    listen_for_signals(context.stop.clone());
    let done = match &arguments.command {
        Command::Dump(verb) => verb.run(context).await,
        Command::Restore(verb) => verb.run(context).await,
        Command::Export(verb) => verb.run(context).await,
        Command::List(verb) => verb.run(context).await,
        Command::Show(verb) => verb.run(context).await,
        Command::Run(verb) => verb.run(context).await,
        Command::Schedule(verb) => verb.run(context).await,
        Command::Doctor(verb) => verb.run(context).await,
        Command::Report(verb) => verb.run(context).await,
        Command::Config(verb) => verb.run(),
        Command::Notify(verb) => verb.run(context).await,
        Command::Sweep(verb) => verb.run(context).await,
        Command::Verify(verb) => verb.run(context).await,
        Command::Prune(verb) => verb.run(context).await,
        Command::Copy(verb) => verb.run(context).await,
        Command::Thaw(verb) => verb.run(context).await,
        Command::Bucket(verb) => verb.run(context).await,
        Command::Cost(verb) => verb.run(context).await,
        // It alone has exit codes of its own, which its users' monitoring prescribes.
        Command::Check(verb) => return verb.run(context).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// An environment variable, if it is set and text.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A second signal within this time is the first one, which came twice: `timeout` sends its signal to the program and then
/// to the whole group of processes, a terminal to all in the foreground.
const ONE_SIGNAL: std::time::Duration = std::time::Duration::from_secs(1);

/// The first SIGINT or SIGTERM asks for a clean end, a later one ends at once.
fn listen_for_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            tracing::warn!("cannot listen for signals; an interrupt will not clean up");
            return;
        };
        let mut asked: Option<std::time::Instant> = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match asked {
                None => {
                    asked = Some(std::time::Instant::now());
                    tracing::warn!("stopping; once more to stop at once");
                    stop.now();
                }
                Some(first) if first.elapsed() < ONE_SIGNAL => {}
                Some(_) => std::process::exit(i32::from(Kind::Interrupted.exit_code())),
            }
        }
    });
}
