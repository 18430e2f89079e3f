//! When a job's backups are healthy, and who is told what a check found.

use super::expand::Lookup;
use super::job::{Verification, schedule};
use super::schedule::Schedule;
use super::tables::{CheckTable, FileTable, JobTable, VerifyWord};
use crate::error::{Error, Kind, Result};
use crate::keep::Age;
use crate::keep::health::Limits;
use crate::model;
use crate::notify::Notifier;
use jiff::Timestamp;

/// A backup may begin that much later than the schedule says, and take that long, before its age is worth a word.
const GRACE_HOURS: i32 = 2;

/// How old a backup may be that is made once a day.
const DAILY_HOURS: i32 = 26;

/// The pauses of a schedule are looked at for so many runs.
const RUNS: usize = 400;

/// How a job's backups are checked.
#[derive(Debug, Clone)]
pub struct JobCheck {
    /// What is healthy.
    pub limits: Limits,
    /// How closely the newest backup is looked at.
    pub verify: Verification,
    /// When `pgstow schedule` checks.
    pub schedule: Option<Schedule>,
    /// Who is told.
    pub notifiers: Vec<Notifier>,
}

impl JobCheck {
    /// By how many percent a backup may be smaller than the one before.
    pub const MAX_SHRINK: u8 = 50;

    /// How old the newest backup may be where nothing else is said.
    pub fn daily() -> Age {
        Age::hours(DAILY_HOURS)
    }

    /// A check as it is where nothing is said, of a job without a schedule.
    pub(super) fn usual(notifiers: Vec<Notifier>) -> JobCheck {
        let limits = Limits { max_age: Some(Self::daily()), min_size: None, max_shrink: Some(Self::MAX_SHRINK) };
        JobCheck { limits, verify: Verification::Quick, schedule: None, notifiers }
    }

    pub(super) fn settle(job: &JobTable, file: &FileTable, lookup: Lookup<'_>) -> Result<JobCheck> {
        let none = CheckTable::default();
        let table = job.check.as_ref().unwrap_or(&none);
        let max_age = match &table.max_age {
            Some(age) => age.parse()?,
            None => schedule(job)?.map_or(Self::daily(), |schedule| Age::hours(longest_pause(&schedule) + GRACE_HOURS)),
        };
        let max_shrink = table.max_shrink.unwrap_or(Self::MAX_SHRINK);
        if max_shrink > 100 {
            return Err(Error::new(Kind::Usage, "max_shrink is a percentage, 0 to 100"));
        }
        let min_size = table.min_size.as_deref().map(size).transpose()?;
        let when = |text: &String| Schedule::parse(text, job.timezone.as_deref(), None, false);
        Ok(JobCheck {
            limits: Limits { max_age: Some(max_age), min_size, max_shrink: Some(max_shrink) },
            verify: match table.verify {
                Some(VerifyWord::Full) => Verification::Full,
                None | Some(VerifyWord::Quick) => Verification::Quick,
            },
            schedule: table.schedule.as_ref().map(when).transpose()?,
            notifiers: file.notify.settle(table.notify.as_deref().or(job.notify.as_deref()), lookup)?,
        })
    }
}

/// The longest pause between two runs, in hours, rounded up, with the jitter.
fn longest_pause(schedule: &Schedule) -> i32 {
    // A moment before a leap day, for schedules that know months.
    let mut last = schedule.next_after(Timestamp::from_second(1_704_067_199).unwrap_or_default());
    let mut longest = 0;
    for _ in 0..RUNS {
        let Some(next) = last.and_then(|last| schedule.next_after(last)) else { break };
        longest = longest.max(last.map_or(0, |last| next.duration_since(last).as_secs()));
        last = Some(next);
    }
    let seconds = longest + schedule.jitter().as_secs();
    i32::try_from(seconds.div_euclid(3600) + i64::from(seconds % 3600 > 0)).unwrap_or(DAILY_HOURS)
}

fn size(text: &str) -> Result<u64> {
    model::size::parse(text)
        .map_err(|error| Error::new(Kind::Usage, format!("min_size: {error}")).hint("write it as 500M or 2G"))
}

#[cfg(test)]
mod tests {
    use super::{Schedule, longest_pause, size};

    #[test]
    fn the_longest_pause_of_a_schedule_includes_weekends_the_change_of_clocks_and_jitter() {
        let pause = |text: &str, jitter: Option<&str>| {
            longest_pause(&Schedule::parse(text, Some("Europe/Madrid"), jitter, true).expect("a schedule"))
        };
        assert_eq!(pause("30 2 * * *", None), 25);
        assert_eq!(pause("30 2 * * *", Some("90m")), 27);
        assert_eq!(pause("0 * * * *", None), 1);
        assert_eq!(pause("0 12 * * mon-fri", None), 73);
        assert_eq!(pause("0 12 1 * *", None), 31 * 24 + 1);
    }

    #[test]
    fn a_size_is_read_as_on_the_command_line() {
        assert_eq!(["0", "500M", "2 GiB"].map(|text| size(text).ok()), [Some(0), Some(500 << 20), Some(2 << 30)]);
        for text in ["", "-1", "1.5G", "1 parsec", "99999999999T"] {
            size(text).expect_err(text);
        }
    }
}
