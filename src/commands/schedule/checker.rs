//! Checking a job's backups when the time comes. What was missed is not made up for: the next check sees the same.

use super::clock::Clock;
use super::state::State;
use super::{Prepare, Sink};
use crate::commands::check::{check_job, options_of};
use crate::commands::{Journal, Progress, Stop};
use crate::jobs::Schedule;
use crate::notify::{Checked, Grade};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;

/// What is done when the time comes.
#[async_trait]
pub(super) trait Look: Send + Sync {
    /// Says a word.
    fn say(&self, words: &str);

    /// Looks once.
    async fn look(&self, now: Timestamp, stop: &Stop);
}

/// Keeps the time of the checks of one job.
pub(super) struct Checker {
    pub(super) schedule: Schedule,
    pub(super) clock: Arc<dyn Clock>,
}

impl Checker {
    /// Looks whenever the time comes, until a stop is asked.
    pub(super) async fn keep(&self, look: &dyn Look, stop: &Stop) {
        while !stop.is_asked() {
            // From now on, so that a look which takes long is not followed by what came due meanwhile.
            let Some(slot) = self.schedule.next_after(self.clock.now()) else {
                look.say("the time of its checks does not come again");
                return stop.asked().await;
            };
            look.say(&format!("next check {}", self.schedule.show(slot)));
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.clock.wait_until(slot) => {}
            }
            look.look(self.clock.now(), stop).await;
        }
    }
}

/// Looks at a real job.
pub(super) struct JobLook {
    pub(super) name: String,
    pub(super) prepare: Prepare,
    pub(super) state: Arc<State>,
    pub(super) sink: Sink,
}

#[async_trait]
impl Look for JobLook {
    fn say(&self, words: &str) {
        (self.sink)(&self.name, words);
    }

    async fn look(&self, now: Timestamp, stop: &Stop) {
        let (name, sink) = (self.name.clone(), Arc::clone(&self.sink));
        let journal = Journal::new(move |line| sink(&name, line));
        let options = match stop.unless((self.prepare)()).await {
            Ok(options) => options,
            Err(error) => {
                journal.say(&format!("check failed before it began: {error}"));
                let unknown = Checked { severity: Grade::Unknown, findings: Vec::new(), newest: None, newest_at: None };
                return self.state.checked(&self.name, now, unknown);
            }
        };
        let check = options_of(&options, now);
        let checked = check_job(&options, check, Arc::new(Progress::default()), stop.clone()).await;
        match &checked.outcome {
            Ok(report) => report.lines(now).iter().for_each(|line| journal.say(&format!("check: {line}"))),
            Err(error) => journal.say(&format!("check failed: {error}")),
        }
        for told in &checked.told {
            match &told.outcome {
                Ok(()) => journal.say(&format!("told {} (check)", told.name)),
                Err(error) => journal.say(&format!("warning: could not notify: {error}")),
            }
        }
        if !stop.is_asked() {
            self.state.checked(&self.name, now, checked.facts());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Traveller;
    use super::{Checker, Clock, Look, Stop};
    use crate::jobs::Schedule;
    use async_trait::async_trait;
    use jiff::{SignedDuration, Timestamp, tz::TimeZone};
    use std::sync::{Arc, Mutex};

    /// Notes when it looked, takes its time, and asks for a stop in the end.
    struct Noted {
        clock: Arc<Traveller>,
        takes: SignedDuration,
        looked: Mutex<Vec<String>>,
        stop: Stop,
    }

    #[async_trait]
    impl Look for Noted {
        fn say(&self, _: &str) {}

        async fn look(&self, now: Timestamp, _: &Stop) {
            let zone = TimeZone::get("Europe/Madrid").expect("a zone");
            self.clock.wait_until(now + self.takes).await;
            let mut looked = self.looked.lock().expect("a list");
            looked.push(now.to_zoned_datetime(zone).strftime("%m-%d %H:%M %Z").to_string());
            if looked.len() == 3 {
                self.stop.now();
            }
        }
    }

    async fn looks(text: &str, takes: SignedDuration) -> Vec<String> {
        let clock = Arc::new(Traveller::at("2026-10-23T12:00:00Z"));
        let (stop, look) = (Stop::default(), Mutex::default());
        let look = Noted { clock: Arc::clone(&clock), takes, looked: look, stop: stop.clone() };
        let schedule = Schedule::parse(text, Some("Europe/Madrid"), None, false).expect("a schedule");
        Checker { schedule, clock }.keep(&look, &stop).await;
        look.looked.into_inner().expect("a list")
    }

    #[tokio::test]
    async fn checks_come_at_their_time_across_the_change_of_clocks_and_never_pile_up() {
        let daily = looks("0 9 * * *", SignedDuration::from_mins(5)).await;
        assert_eq!(daily, ["10-24 09:00 CEST", "10-25 09:00 CET", "10-26 09:00 CET"]);
        let slow = looks("0 * * * *", SignedDuration::from_mins(150)).await;
        assert_eq!(slow, ["10-23 15:00 CEST", "10-23 18:00 CEST", "10-23 21:00 CEST"]);
    }
}
