//! `pgstow config`: arguments, options, report.

use super::environment;
use super::jobs::ConfigArgs;
use super::output::{plain, print, print_json};
use crate::commands::dump::section_word;
use crate::commands::memory::enough;
use crate::error::{Error, Kind, Result};
use crate::jobs::{EXAMPLE, Job, Verification};
use crate::notify::{Moment, Notifier};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// `pgstow config`.
#[derive(Debug, Args)]
pub struct ConfigVerb {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What `pgstow config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Write a commented example; a file that is there is left alone
    Init(InitArgs),
    /// Read the file, look everything up, and say what each job will do and when it runs next
    Check(CheckArgs),
}

/// `pgstow config init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where to write it; - is standard output
    #[arg(value_name = "FILE", default_value = "pgstow.toml")]
    pub file: PathBuf,
}

/// `pgstow config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl ConfigVerb {
    /// Runs the verb.
    pub(super) fn run(&self) -> Result<()> {
        match &self.action {
            ConfigAction::Init(arguments) => arguments.run(),
            ConfigAction::Check(arguments) => arguments.run(),
        }
    }
}

impl InitArgs {
    fn run(&self) -> Result<()> {
        if self.file.as_os_str() == "-" {
            return print(&[EXAMPLE.trim_end().to_owned()]);
        }
        let failed = |error: std::io::Error| {
            let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
            let message = if exists { "is there already, and was left alone" } else { "cannot be written" };
            Error::new(Kind::Usage, message).on(self.file.display().to_string()).because(error)
        };
        // Readable by its owner alone: passwords will be written into it.
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file).map_err(failed)?;
        file.write_all(EXAMPLE.as_bytes()).map_err(failed)?;
        print(&[format!("wrote {}; change it, then try `pgstow config check`", self.file.display())])
    }
}

impl CheckArgs {
    fn run(&self) -> Result<()> {
        let jobs = self.config.need()?.jobs(&environment)?;
        for job in &jobs {
            let memory = job.tuning.memory.map_or(Ok(()), |memory| enough(memory, job.connections, job.codec));
            memory.map_err(|error| error.on(format!("job {}", job.name)))?;
        }
        let now = Timestamp::now();
        if self.json {
            return print_json(&json!(jobs.iter().map(|job| document(job, now)).collect::<Vec<_>>()));
        }
        print(&jobs.iter().flat_map(|job| explain(job, now)).collect::<Vec<_>>())
    }
}

fn document(job: &Job, now: Timestamp) -> serde_json::Value {
    json!({
        "job": job.name,
        "source": job.connection.describe(),
        "store": job.store.url.to_string(),
        "storage_class": job.store.class.as_ref().map(ToString::to_string),
        "copies": job.copies.iter().map(|copy| json!({
            "store": copy.url.to_string(),
            "storage_class": copy.class.as_ref().map(ToString::to_string),
            "retention": copy.retention.as_ref().map(ToString::to_string),
        })).collect::<Vec<_>>(),
        "verify": job.verify.map(|how| if how == Verification::Quick { "quick" } else { "full" }),
        "retention": job.store.retention.as_ref().map(ToString::to_string),
        "schedule": job.schedule.as_ref().map(crate::jobs::Schedule::describe),
        "next": job.schedule.as_ref().and_then(|schedule| schedule.next_after(now)).map(|next| next.to_string()),
        "check": json!({
            "max_age": job.check.limits.max_age.map(|age| age.to_string()),
            "min_size": job.check.limits.min_size,
            "max_shrink": job.check.limits.max_shrink,
            "verify": if job.check.verify == Verification::Quick { "quick" } else { "full" },
            "schedule": job.check.schedule.as_ref().map(crate::jobs::Schedule::describe),
            "next": job.check.schedule.as_ref().and_then(|schedule| schedule.next_after(now)).map(|next| next.to_string()),
            "notifies": job.check.notifiers.iter().map(|notifier| notifier.name.clone()).collect::<Vec<_>>(),
        }),
        "notifies": job.notifiers.iter().map(|notifier| notifier.name.clone()).collect::<Vec<_>>(),
    })
}

/// What a job will do, a line each thing.
fn explain(job: &Job, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!("job {}", job.name)];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<10}{}", plain(&text)));
    line("source", job.connection.describe());
    let class = job.store.class.as_ref().map(|class| format!(", {class}")).unwrap_or_default();
    line("store", format!("{}{class}", job.store.url));
    line("dumps", format!("{}; {}, {} connections", selection(job), job.codec, job.connections));
    match job.verify {
        None => {}
        Some(Verification::Quick) => line("verifies", "the sizes of a new backup's objects".to_owned()),
        Some(Verification::Full) => line("verifies", "a new backup, every byte".to_owned()),
    }
    match &job.store.retention {
        None => line("keeps", "all backups; it has no retention".to_owned()),
        Some(rules) => line("keeps", rules.to_string().trim_start_matches("keep ").to_owned()),
    }
    for copy in &job.copies {
        let class = copy.class.as_ref().map(|class| format!(", {class}")).unwrap_or_default();
        let keeps = copy.retention.as_ref().map_or("keep all".to_owned(), ToString::to_string);
        line("copies to", format!("{}{class}; {keeps}", copy.url));
    }
    match &job.schedule {
        None => line("runs", "when `pgstow run` is called; it has no schedule".to_owned()),
        Some(schedule) => {
            line("runs", schedule.describe());
            let first = schedule.next_after(now);
            let following = first.and_then(|first| schedule.next_after(first));
            let shown: Vec<String> = [first, following].into_iter().flatten().map(|at| schedule.show(at)).collect();
            line("next", shown.join(", then "));
        }
    }
    line("checks", checks(job, now));
    // Those of runs and those of checks, each once.
    let mut told: Vec<&Notifier> = job.notifiers.iter().chain(&job.check.notifiers).collect();
    told.sort_by_key(|notifier| notifier.name.as_str());
    told.dedup_by_key(|notifier| notifier.name.as_str());
    for notifier in told {
        let of = |notifiers: &[Notifier], moment| {
            notifiers.iter().any(|one| one.name == notifier.name && one.moments.contains(&moment))
        };
        let runs = Moment::OF_RUNS.into_iter().filter(|moment| of(&job.notifiers, *moment));
        let checks = Moment::OF_CHECKS.into_iter().filter(|moment| of(&job.check.notifiers, *moment));
        let moments: Vec<&str> = runs.chain(checks).map(Moment::as_str).collect();
        line("tells", format!("{}: {} on {}", notifier.name, notifier.describe(), moments.join(", ")));
    }
    lines
}

/// What is healthy, and when that is checked.
fn checks(job: &Job, now: Timestamp) -> String {
    let check = &job.check;
    let mut words = Vec::new();
    words.extend(check.limits.max_age.map(|age| format!("a good backup within {age}")));
    words.extend(check.limits.min_size.map(|size| format!("of at least {}", indicatif::HumanBytes(size))));
    words.extend(check.limits.max_shrink.map(|percent| format!("not {percent}% smaller than the last")));
    if check.verify == Verification::Full {
        words.push("every byte read".to_owned());
    }
    let when = check.schedule.as_ref().map_or("when `pgstow check` is called".to_owned(), |schedule| {
        let next = schedule.next_after(now).map(|next| format!(", next {}", schedule.show(next)));
        schedule.describe() + &next.unwrap_or_default()
    });
    format!("{}; {when}", words.join(", "))
}

fn selection(job: &Job) -> String {
    let chosen = &job.selection;
    let list = |words: &str, patterns: &[crate::catalog::Pattern]| {
        let texts: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| format!("{words} {}", texts.join(" ")))
    };
    let words =
        |words: &str, chosen: Vec<String>| (!chosen.is_empty()).then(|| format!("{words} {}", chosen.join(" ")));
    let said = |is_said: bool, words: &str| is_said.then(|| words.to_owned());
    let without = chosen.without.iter().map(|without| without.word().to_owned()).collect();
    let sections = chosen.sections.iter().map(|section| section_word(*section).to_owned()).collect();
    let parts: Vec<String> = [
        list("schemas", &chosen.schemas),
        list("tables", &chosen.tables),
        list("tables with their children", &chosen.tables_and_children),
        list("extensions", &chosen.extensions),
        list("not schemas", &chosen.exclude_schemas),
        list("not tables", &chosen.exclude_tables),
        list("not tables with their children", &chosen.exclude_tables_and_children),
        list("not extensions", &chosen.exclude_extensions),
        list("no rows of", &chosen.exclude_table_data),
        list("no rows of tables with their children", &chosen.exclude_table_data_and_children),
        list("rows of foreign servers", &chosen.foreign_data),
        words("sections", sections),
        said(chosen.schema_only || chosen.no_data, "definitions only"),
        said(chosen.data_only || chosen.no_schema, "rows only"),
        said(chosen.statistics, "what the planner knows, too"),
        said(chosen.statistics_only, "only what the planner knows"),
        said(chosen.large_objects == Some(true), "large objects"),
        said(chosen.large_objects == Some(false), "no large objects"),
        words("without", without),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join("; ") }
}
