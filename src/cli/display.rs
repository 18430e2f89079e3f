//! Progress on standard error: one live line on a terminal, a plain line now and then elsewhere.

use crate::commands::Progress;
use crate::commands::progress::Moment;
use crate::postgres::{LOOKED, is_asking};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the live line moves.
const LIVE: Duration = LOOKED;
/// How often a log gets a line: seldom enough for cron mail, often enough to see that it lives.
const PLAIN: Duration = Duration::from_secs(30);

/// Shows a command's progress until it is finished.
pub(super) struct Display {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Display {
    pub(super) fn start(verb: &'static str, progress: &Arc<Progress>, silent: bool) -> Self {
        if silent {
            return Display { task: None, bar: None };
        }
        let progress = Arc::clone(progress);
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            let shown = bar.clone();
            let task = tokio::spawn(async move {
                loop {
                    // A question has the line for itself.
                    if is_asking() {
                        shown.finish_and_clear();
                        while is_asking() {
                            tokio::time::sleep(LIVE).await;
                        }
                        shown.reset();
                    }
                    shown.set_message(line(verb, &progress.now()));
                    shown.tick();
                    tokio::time::sleep(LIVE).await;
                }
            });
            return Display { task: Some(task), bar: Some(bar) };
        }
        Display::lines(verb, &progress)
    }

    /// Plain lines also on a terminal, for a command that prints its steps meanwhile.
    pub(super) fn lines(verb: &'static str, progress: &Arc<Progress>) -> Self {
        let progress = Arc::clone(progress);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PLAIN).await;
                let _unwritable = writeln!(std::io::stderr().lock(), "{}", line(verb, &progress.now()));
            }
        });
        Display { task: Some(task), bar: None }
    }

    /// Takes the live line away.
    pub(super) fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `dump: dumping · 1.2 GiB of ~3.0 GiB · 12,345,678 rows · 3 of 10 tables · 120 MiB/s · 15 seconds left`
fn line(verb: &str, now: &Moment) -> String {
    let mut pieces = vec![format!("{verb}: {}", now.phase)];
    if now.raw_bytes > 0 {
        let of = if now.all_raw_bytes > 0 { format!(" of ~{}", HumanBytes(now.all_raw_bytes)) } else { String::new() };
        pieces.push(format!("{}{of}", HumanBytes(now.raw_bytes)));
        pieces.push(format!("{} rows", HumanCount(now.rows)));
    }
    if now.all_stored_bytes > 0 {
        pieces.push(format!("{} of {}", HumanBytes(now.stored_bytes), HumanBytes(now.all_stored_bytes)));
    }
    if now.all_objects > 0 {
        pieces.push(format!("{} of {} objects", HumanCount(now.objects), HumanCount(now.all_objects)));
    }
    if now.all_tables > 0 {
        pieces.push(format!("{} of {} tables", now.tables, now.all_tables));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "shown to people"
    )]
    if now.raw_bytes > 0 && now.seconds > 1.0 {
        let rate = now.raw_bytes as f64 / now.seconds;
        pieces.push(format!("{}/s", HumanBytes(rate as u64)));
        if now.all_raw_bytes > now.raw_bytes && rate > 1.0 {
            let left = (now.all_raw_bytes - now.raw_bytes) as f64 / rate;
            pieces.push(format!("{} left", HumanDuration(Duration::from_secs_f64(left))));
        }
    }
    pieces.join(" · ")
}
