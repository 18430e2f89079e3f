//! `pgstow doctor`: tries everything that a backup needs, and says of each thing how it stands and what to do about it.
//!
//! Nothing here is taken from documentation where it can be tried: snapshots are exported and imported, objects written,
//! read and deleted. What the examination writes into a store, it removes.

mod ease;
mod source;
mod store;

use super::Stop;
use crate::error::{Error, Kind, Result};
use crate::keep::lifecycle::Keeping;
use crate::postgres::ConnectionSettings;
use crate::store::{StorageClass, Store};
use std::sync::Arc;

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// A backup works, but something is not as it could be.
    Warn,
    /// A backup would fail, or would not be worth much.
    Fail,
}

impl Grade {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// How it stands.
    pub grade: Grade,
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// What was found.
    pub says: String,
    /// What to do about it.
    pub todo: Option<String>,
    /// For what failed: which sort of failure a backup would end with.
    pub kind: Option<Kind>,
}

impl Finding {
    fn ok(subject: &'static str, says: impl Into<String>) -> Finding {
        Finding { grade: Grade::Ok, subject, says: says.into(), todo: None, kind: None }
    }

    fn warn(subject: &'static str, says: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { grade: Grade::Warn, subject, says: says.into(), todo: Some(todo.into()), kind: None }
    }

    fn fail(subject: &'static str, kind: Kind, says: impl Into<String>, todo: impl Into<String>) -> Finding {
        Finding { grade: Grade::Fail, subject, says: says.into(), todo: Some(todo.into()), kind: Some(kind) }
    }

    /// A failure that came as an error.
    fn failed(subject: &'static str, error: &Error) -> Finding {
        Finding {
            grade: Grade::Fail,
            subject,
            says: error.to_string(),
            todo: error.hint_text().map(str::to_owned),
            kind: Some(error.kind()),
        }
    }
}

/// What to examine.
#[derive(Debug, Clone)]
pub struct DoctorOptions {
    /// The source, if it is to be examined.
    pub connection: Option<ConnectionSettings>,
    /// The store, if it is to be examined.
    pub store: Option<Arc<dyn Store>>,
    /// The storage class that backups get.
    pub class: Option<StorageClass>,
    /// The database's folder in the store, and how a job keeps its backups there; where no job is examined, the rules of
    /// the bucket are looked at for all that lies in the store.
    pub keeping: Option<(String, Keeping)>,
    /// How many connections a dump would use, at least 1.
    pub jobs: usize,
}

/// Examines source and store at once; findings in a fixed order.
///
/// Errors: only a stop; what fails is a finding.
pub async fn doctor(options: &DoctorOptions, stop: &Stop) -> Result<Vec<Finding>> {
    let of_source = async {
        match &options.connection {
            Some(connection) => source::examine(connection, options.jobs).await,
            None => (Vec::new(), None),
        }
    };
    let of_store = async {
        match &options.store {
            Some(store) => store::examine(store.as_ref(), options.class.as_ref(), options.keeping.as_ref()).await,
            None => Vec::new(),
        }
    };
    stop.unless(async {
        let ((mut findings, size), more) = tokio::join!(of_source, of_store);
        findings.extend(more);
        if let Some(store) = &options.store {
            findings.push(ease::space(&store.describe(), size).await);
        }
        Ok(findings)
    })
    .await
}

/// The error that a command ends with after such findings: of the kind of the first failure.
pub fn verdict(findings: &[Finding]) -> Result<()> {
    let failed: Vec<&Finding> = findings.iter().filter(|finding| finding.grade == Grade::Fail).collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(Error::new(
            first.kind.unwrap_or(Kind::Internal),
            format!("{} of {} things would fail a backup, or spoil it", failed.len(), findings.len()),
        )),
    }
}

/// Clocks further apart than this make ages, locks and signatures doubtful; AWS refuses requests from 15 minutes on.
const CLOCK_WARN: f64 = 30.0;
const CLOCK_FAIL: f64 = 600.0;

/// How far another clock is from this machine's, in seconds.
fn clock(subject: &'static str, whose: &str, ahead: f64, kind: Kind) -> Finding {
    let apart = ahead.abs();
    let words = format!("{whose} is {apart:.0} s {} this machine's", if ahead > 0.0 { "ahead of" } else { "behind" });
    let todo = "let both synchronize their clocks by NTP";
    if apart >= CLOCK_FAIL {
        Finding::fail(subject, kind, words, todo)
    } else if apart >= CLOCK_WARN {
        Finding::warn(subject, words, todo)
    } else {
        Finding::ok(subject, format!("{whose} agrees with this machine's"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Grade, clock, verdict};
    use crate::error::Kind;

    #[test]
    fn clocks_are_judged_by_their_distance() {
        for (ahead, grade) in [(0.4, Grade::Ok), (-45.0, Grade::Warn), (4000.0, Grade::Fail)] {
            assert_eq!(clock("clock", "the server's clock", ahead, Kind::Store).grade, grade);
        }
    }

    #[test]
    fn the_verdict_has_the_kind_of_the_first_failure() {
        verdict(&[Finding::ok("a", ""), Finding::warn("b", "", "")]).expect("nothing failed");
        let error = verdict(&[Finding::ok("a", ""), Finding::fail("b", Kind::Store, "", "")]).expect_err("one failed");
        assert_eq!((error.kind(), error.message()), (Kind::Store, "1 of 2 things would fail a backup, or spoil it"));
    }
}
