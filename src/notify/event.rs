//! What there is to tell.

use jiff::Timestamp;
use serde::Serialize;

/// At which point of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// It began.
    Start,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// A check found its backups healthy.
    Healthy,
    /// A check found something that somebody should look at.
    Warning,
    /// A check found that there may be nothing to restore from, or could not find out.
    Unhealthy,
    /// Somebody tries whether telling works.
    Test,
}

impl Moment {
    /// Those of a run.
    pub const OF_RUNS: [Moment; 3] = [Moment::Start, Moment::Success, Moment::Failure];
    /// Those of a check.
    pub const OF_CHECKS: [Moment; 3] = [Moment::Healthy, Moment::Warning, Moment::Unhealthy];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Moment::Start => "start",
            Moment::Success => "success",
            Moment::Failure => "failure",
            Moment::Healthy => "healthy",
            Moment::Warning => "warning",
            Moment::Unhealthy => "unhealthy",
            Moment::Test => "test",
        }
    }
}

/// One thing to tell. Its JSON is what webhooks get unless they have a body of their own.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// At which point.
    pub moment: Moment,
    /// The job's name.
    pub job: String,
    /// The machine that runs it.
    pub host: String,
    /// When it happened, RFC 3339 in UTC.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// A name for this run, the same at its start and its end: 32 hexadecimal digits.
    pub run: String,
    /// The database, and where it is: `database shop on db:5432 as backup`.
    pub source: String,
    /// The store's URL.
    pub store: String,
    /// What was backed up; absent at the start, and when there is no backup.
    #[serde(flatten)]
    pub facts: Option<Facts>,
    /// What a check found; absent for runs.
    #[serde(flatten)]
    pub check: Option<Checked>,
    /// Why it failed.
    pub error: Option<String>,
    /// What can be done about it.
    pub hint: Option<String>,
    /// The process's exit code for it: 0 when it went well.
    pub exit_code: u8,
    /// The last lines of what the job said.
    pub log: Vec<String>,
}

/// What was backed up.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The backup's id.
    pub backup: String,
    /// The database's name.
    pub database: String,
    /// Tables in the backup.
    pub tables: u64,
    /// Rows in it.
    pub rows: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// What the reader should know about the backup.
    pub warnings: Vec<String>,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// How bad it is.
    pub severity: Grade,
    /// What is not as it should be, the worst first.
    pub findings: Vec<Found>,
    /// The id of the newest good backup.
    pub newest: Option<String>,
    /// When that was begun, RFC 3339 in UTC.
    #[serde(serialize_with = "as_text_if_any")]
    pub newest_at: Option<Timestamp>,
}

/// How bad it is, in the order of Nagios' exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// All is well.
    Ok,
    /// Somebody should look.
    Warning,
    /// There may be nothing to restore from.
    Critical,
    /// It could not be found out.
    Unknown,
}

/// One thing that a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// `warning` or `critical`.
    pub severity: String,
    /// A word for machines.
    pub rule: String,
    /// For people.
    pub message: String,
}

#[expect(clippy::ref_option, reason = "serde hands it in so")]
fn as_text_if_any<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl Event {
    /// An event that says it is a test; it has everything that an event can have.
    pub fn test(host: &str) -> Event {
        Event {
            moment: Moment::Test,
            job: "test".into(),
            host: host.to_owned(),
            at: Timestamp::now(),
            run: "0".repeat(32),
            source: "no database".into(),
            store: "no store".into(),
            facts: Some(Facts {
                backup: "none".into(),
                database: "none".into(),
                tables: 0,
                rows: 0,
                raw_bytes: 0,
                stored_bytes: 0,
                seconds: 0.0,
                warnings: Vec::new(),
            }),
            check: Some(Checked { severity: Grade::Ok, findings: Vec::new(), newest: None, newest_at: None }),
            error: None,
            hint: None,
            exit_code: 0,
            log: vec!["what a job says at its end will stand here".into()],
        }
    }

    /// The event in one line.
    pub fn headline(&self) -> String {
        match (self.moment, &self.facts) {
            (Moment::Test, _) => {
                format!("this is a test of pgstow's notifications on {}; nothing was backed up", self.host)
            }
            (Moment::Start, _) => format!("backup job {} begins on {}", self.job, self.host),
            (Moment::Success, Some(facts)) => format!(
                "backup job {} is done: {}, {} rows in {} tables, {} stored, {:.0} s",
                self.job,
                facts.backup,
                facts.rows,
                facts.tables,
                indicatif::HumanBytes(facts.stored_bytes),
                facts.seconds
            ),
            (Moment::Success, None) => format!("backup job {} is done", self.job),
            (Moment::Failure, _) => {
                format!("backup job {} FAILED: {}", self.job, self.error.as_deref().unwrap_or("for an unknown reason"))
            }
            (Moment::Healthy, _) => format!("the backups of job {} are healthy", self.job),
            (Moment::Warning | Moment::Unhealthy, _) => {
                let found = self.check.as_ref().and_then(|check| check.findings.first());
                let said = self.error.as_deref().or(found.map(|found| found.message.as_str()));
                let how = if self.moment == Moment::Warning { "need a look" } else { "are NOT HEALTHY" };
                format!("the backups of job {} {how}: {}", self.job, said.unwrap_or("for an unknown reason"))
            }
        }
    }

    /// The event for people: the headline, the circumstances, the end of the log.
    pub fn text(&self) -> String {
        let mut lines = vec![self.headline()];
        lines.extend(self.hint.iter().map(|hint| format!("what to do: {hint}")));
        if self.moment == Moment::Failure {
            lines.extend(self.facts.iter().map(|facts| format!("the backup {} was made before that", facts.backup)));
        }
        lines.extend(self.facts.iter().flat_map(|facts| &facts.warnings).map(|warning| format!("warning: {warning}")));
        if let Some(check) = self.check.as_ref().filter(|_| self.moment != Moment::Test) {
            let findings = check.findings.iter();
            lines.extend(findings.map(|found| format!("{}: {} [{}]", found.severity, found.message, found.rule)));
            lines.extend(check.newest.iter().map(|newest| format!("newest good backup: {newest}")));
        }
        lines.push(String::new());
        lines.push(format!("source: {}", self.source));
        lines.push(format!("store:  {}", self.store));
        lines.push(format!("host:   {}, {}", self.host, self.at.strftime("%Y-%m-%d %H:%M:%S UTC")));
        if !self.log.is_empty() {
            lines.push(String::new());
            lines.extend(self.log.iter().cloned());
        }
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Checked, Event, Facts, Found, Grade, Moment};

    /// An event of each moment.
    pub(crate) fn event(moment: Moment) -> Event {
        let failed = matches!(moment, Moment::Failure | Moment::Unhealthy);
        let grade = match moment {
            Moment::Healthy => Some(Grade::Ok),
            Moment::Warning => Some(Grade::Warning),
            Moment::Unhealthy => Some(Grade::Critical),
            _ => None,
        };
        let found = |grade| Found {
            severity: if grade == Grade::Warning { "warning" } else { "critical" }.into(),
            rule: "too-old".into(),
            message: "the newest good backup X is 2d old, allowed are 26h".into(),
        };
        Event {
            moment,
            job: "shop".into(),
            host: "db1".into(),
            at: "2026-11-24T02:30:00Z".parse().expect("a moment"),
            run: "0123456789abcdef0123456789abcdef".into(),
            source: "database shop on db:5432 as backup".into(),
            store: "s3://acme/x".into(),
            facts: (moment == Moment::Success).then(|| Facts {
                backup: "20261124T023000Z-4f7a2c".into(),
                database: "shop".into(),
                tables: 3,
                rows: 1000,
                raw_bytes: 4096,
                stored_bytes: 2048,
                seconds: 12.3,
                warnings: vec!["a \"quoted\" one".into()],
            }),
            check: grade.map(|severity| Checked {
                severity,
                findings: Vec::from_iter((severity != Grade::Ok).then(|| found(severity))),
                newest: Some("20261122T023000Z-4f7a2c".into()),
                newest_at: "2026-11-22T02:30:00Z".parse().ok(),
            }),
            error: failed.then(|| "table public.t: role \"x\" may not read it".into()),
            hint: failed.then(|| "grant it".into()),
            exit_code: if failed { 4 } else { 0 },
            log: vec!["connecting".into(), "dumping".into()],
        }
    }

    #[test]
    fn an_event_reads_well() {
        insta::assert_snapshot!(event(Moment::Failure).text(), @r#"
        backup job shop FAILED: table public.t: role "x" may not read it
        what to do: grant it

        source: database shop on db:5432 as backup
        store:  s3://acme/x
        host:   db1, 2026-11-24 02:30:00 UTC

        connecting
        dumping
        "#);
        assert_eq!(
            event(Moment::Success).headline(),
            "backup job shop is done: 20261124T023000Z-4f7a2c, 1000 rows in 3 tables, 2.00 KiB stored, 12 s"
        );
    }
}
