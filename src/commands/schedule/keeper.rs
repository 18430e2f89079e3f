//! Keeping the time of one job.

use super::Sink;
use super::clock::Clock;
use super::state::{LastBackup, State};
use crate::commands::Stop;
use crate::error::Result;
use crate::jobs::Schedule;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A run that begins so much later than it should was missed: the machine slept, or other jobs took its place.
const LATE: SignedDuration = SignedDuration::from_mins(15);

/// When the store could not be asked at the start, it is asked again after so long.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// What a job's time is kept for.
#[async_trait]
pub(super) trait Work: Send + Sync {
    /// Its newest backup.
    async fn newest(&self) -> Result<Option<LastBackup>>;

    /// Runs it once.
    async fn run(&self, stop: &Stop) -> Ended;
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// Well.
    Success(LastBackup),
    /// Badly; whoever wanted to know was told.
    Failed,
    /// Another process does it.
    Elsewhere,
    /// A stop was asked.
    Stopped,
}

/// Keeps the time of one job.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) schedule: Schedule,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) state: Arc<State>,
}

impl Keeper {
    /// Runs the job whenever its time comes, until a stop is asked.
    pub(super) async fn keep(&self, work: &dyn Work, sink: &Sink, stop: &Stop) {
        let say = |words: &str| sink(&self.name, words);
        let mut handled = self.first(work, &say, stop).await;
        while !stop.is_asked() {
            let Some(slot) = self.schedule.next_after(handled) else {
                say("its time does not come again");
                return stop.asked().await;
            };
            let begin = slot.max(self.clock.now()) + self.delay();
            self.state.next(&self.name, begin);
            say(&format!("next run {}", self.schedule.show(begin)));
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.clock.wait_until(begin) => {}
            }
            // Of several that were missed, the last one is made up for.
            let now = self.clock.now();
            let slot = self.schedule.last_until(now).map_or(slot, |last| last.max(slot));
            handled = slot;
            if !self.schedule.catches_up() && now.duration_since(slot) > self.schedule.jitter() + LATE {
                say(&format!("missed the run of {}", self.schedule.show(slot)));
                continue;
            }
            if self.done_elsewhere(work, slot, &say, stop).await {
                continue;
            }
            self.state.begins(&self.name);
            let ended = work.run(stop).await;
            let now = self.clock.now();
            self.state.ended(&self.name, &ended, now);
            // What came due meanwhile is done with: a job that takes longer than its interval must not run for ever.
            handled = self.schedule.last_until(now).map_or(slot, |last| last.max(slot));
            if handled > slot {
                say(&format!("it took so long that the run of {} is left out", self.schedule.show(handled)));
            }
        }
    }

    /// Up to when everything is done, at the start: that of the newest backup, if what came due since is to be made up for.
    /// A store that cannot be asked is asked again, until the job's own time comes.
    async fn first(&self, work: &dyn Work, say: &(dyn Fn(&str) + Sync), stop: &Stop) -> Timestamp {
        let start = self.clock.now();
        let mut told = false;
        loop {
            let error = match stop.unless(work.newest()).await {
                Ok(Some(newest)) => {
                    self.state.found(&self.name, &newest);
                    let now = self.clock.now();
                    let missed = self.schedule.next_after(newest.begun).is_some_and(|next| next <= now);
                    if missed && self.schedule.catches_up() {
                        say("a run was missed since the newest backup, and is made up for");
                        return newest.begun;
                    }
                    return start;
                }
                Ok(None) => return start,
                Err(_) if stop.is_asked() => return start,
                Err(error) => error,
            };
            let next = self.schedule.next_after(start);
            if !told {
                told = true;
                say(&format!("warning: cannot look for its newest backup, and tries again: {error}"));
                next.inspect(|next| self.state.next(&self.name, *next));
            }
            let again = self.clock.now() + LOOK_AGAIN;
            if next.is_some_and(|next| next <= again) {
                return start;
            }
            tokio::select! {
                biased;
                () = stop.asked() => return start,
                () = self.clock.wait_until(again) => {}
            }
        }
    }

    /// Whether another instance made the backup that is due. When that cannot be found out, the run will say why.
    async fn done_elsewhere(&self, work: &dyn Work, slot: Timestamp, say: &(dyn Fn(&str) + Sync), stop: &Stop) -> bool {
        let Ok(Some(newest)) = stop.unless(work.newest()).await else { return false };
        if newest.begun < slot {
            return false;
        }
        self.state.found(&self.name, &newest);
        say(&format!("backup {} is there already", newest.id));
        true
    }

    /// A random part of the jitter.
    fn delay(&self) -> SignedDuration {
        let longest = self.schedule.jitter().as_secs();
        SignedDuration::from_secs(if longest > 0 { rand::random_range(0..=longest) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Traveller;
    use super::{Clock, Ended, Keeper, LastBackup, State, Work};
    use crate::commands::Stop;
    use crate::error::{Error, Kind, Result};
    use crate::jobs::Schedule;
    use async_trait::async_trait;
    use jiff::{SignedDuration, Timestamp};
    use std::sync::{Arc, Mutex};

    /// Work that takes its time, notes when it began, and asks for a stop in the end.
    struct Noted {
        clock: Arc<Traveller>,
        newest: Mutex<Option<Timestamp>>,
        takes: SignedDuration,
        outcome: fn(LastBackup) -> Ended,
        begun: Mutex<Vec<String>>,
        runs: usize,
        stop: Stop,
        /// Until then the store is down.
        down_until: Timestamp,
    }

    #[async_trait]
    impl Work for Noted {
        async fn newest(&self) -> Result<Option<LastBackup>> {
            if self.clock.now() < self.down_until {
                return Err(Error::new(Kind::Store, "it is down"));
            }
            Ok(self.newest.lock().expect("a moment").map(LastBackup::begun_at))
        }

        async fn run(&self, _: &Stop) -> Ended {
            let now = self.clock.now();
            let mut begun = self.begun.lock().expect("a list");
            begun.push(now.strftime("%m-%d %H:%M").to_string());
            *self.clock.0.lock().expect("a clock") = now + self.takes;
            if begun.len() == self.runs {
                self.stop.now();
            }
            let ended = (self.outcome)(LastBackup::begun_at(now));
            if matches!(ended, Ended::Success(_)) {
                *self.newest.lock().expect("a moment") = Some(now);
            }
            ended
        }
    }

    struct Case {
        schedule: &'static str,
        catch_up: bool,
        jitter: Option<&'static str>,
        newest: Option<&'static str>,
        takes: SignedDuration,
        outcome: fn(LastBackup) -> Ended,
        down_until: &'static str,
    }

    const DAILY: Case = Case {
        schedule: "30 2 * * *",
        catch_up: true,
        jitter: None,
        newest: None,
        takes: SignedDuration::from_mins(5),
        outcome: Ended::Success,
        down_until: "2026-11-01T00:00:00Z",
    };

    /// When the first runs begin, for a service that starts on 24 November at noon.
    async fn runs(case: Case, count: usize) -> Vec<String> {
        let moment = |text: &str| text.parse::<Timestamp>().expect("a moment");
        let clock = Arc::new(Traveller::at("2026-11-24T12:00:00Z"));
        let stop = Stop::default();
        let work = Noted {
            clock: Arc::clone(&clock),
            newest: Mutex::new(case.newest.map(moment)),
            takes: case.takes,
            outcome: case.outcome,
            begun: Mutex::default(),
            runs: count,
            stop: stop.clone(),
            down_until: moment(case.down_until),
        };
        let schedule = Schedule::parse(case.schedule, Some("UTC"), case.jitter, case.catch_up).expect("a schedule");
        let keeper = Keeper { name: "j".into(), schedule, clock, state: Arc::new(State::new(["j".to_owned()])) };
        let sink: super::Sink = Arc::new(|_, _| {});
        keeper.keep(&work, &sink, &stop).await;
        work.begun.into_inner().expect("a list")
    }

    #[tokio::test]
    async fn a_job_runs_at_its_time_and_a_new_one_waits_for_it() {
        assert_eq!(runs(DAILY, 2).await, ["11-25 02:30", "11-26 02:30"]);
    }

    #[tokio::test]
    async fn runs_that_were_missed_are_made_up_for_once() {
        let case = Case { newest: Some("2026-11-20T02:31:00Z"), ..DAILY };
        assert_eq!(runs(case, 2).await, ["11-24 12:00", "11-25 02:30"]);
        let case = Case { newest: Some("2026-11-20T02:31:00Z"), catch_up: false, ..DAILY };
        assert_eq!(runs(case, 1).await, ["11-25 02:30"]);
        let case = Case { newest: Some("2026-11-24T02:30:00Z"), ..DAILY };
        assert_eq!(runs(case, 1).await, ["11-25 02:30"]);
    }

    #[tokio::test]
    async fn a_missed_run_is_made_up_for_when_a_store_that_was_down_at_the_start_is_back() {
        let case = || Case { newest: Some("2026-11-20T02:31:00Z"), down_until: "2026-11-24T13:30:00Z", ..DAILY };
        assert_eq!(runs(case(), 2).await, ["11-24 13:30", "11-25 02:30"]);
        let none_missed = Case { newest: Some("2026-11-24T02:31:00Z"), ..case() };
        assert_eq!(runs(none_missed, 1).await, ["11-25 02:30"]);
        // A run at its time says by itself what is the matter.
        let long = Case { down_until: "2026-11-26T00:00:00Z", outcome: |_| Ended::Failed, ..case() };
        assert_eq!(runs(long, 2).await, ["11-25 02:30", "11-26 02:30"]);
    }

    #[tokio::test]
    async fn a_run_that_takes_longer_than_its_interval_is_not_followed_at_once_by_another() {
        let case = Case { schedule: "0 * * * *", takes: SignedDuration::from_mins(150), ..DAILY };
        assert_eq!(runs(case, 3).await, ["11-24 13:00", "11-24 16:00", "11-24 19:00"]);
    }

    #[tokio::test]
    async fn a_run_that_failed_waits_for_the_next_time() {
        let case = Case { outcome: |_| Ended::Failed, newest: Some("2026-11-20T02:31:00Z"), ..DAILY };
        assert_eq!(runs(case, 2).await, ["11-24 12:00", "11-25 02:30"]);
    }

    #[tokio::test]
    async fn a_backup_that_another_instance_made_is_not_made_again() {
        // It has everything up to the evening of the 26th.
        let case = Case { newest: Some("2026-11-26T20:00:00Z"), ..DAILY };
        assert_eq!(runs(case, 1).await, ["11-27 02:30"]);
    }

    #[tokio::test]
    async fn jitter_delays_and_never_hurries() {
        for _ in 0..20 {
            let begun = runs(Case { jitter: Some("10m"), ..DAILY }, 1).await;
            assert!(("11-25 02:30"..="11-25 02:40").contains(&begun[0].as_str()), "{begun:?}");
        }
    }
}
