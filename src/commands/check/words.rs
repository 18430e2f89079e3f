//! What a check found, in lines for people.

use super::{CheckReport, Checked};
use crate::keep::health::{Severity, words};
use indicatif::HumanBytes;
use jiff::Timestamp;

impl Checked {
    /// The worst of its findings.
    pub fn severity(&self) -> Severity {
        self.findings.first().map_or(Severity::Fine, |finding| finding.severity)
    }

    /// The state in a few words: `newest 3h 2m old, 1.20 GiB, 31 backups`, or the worst finding.
    pub fn state(&self, now: Timestamp) -> String {
        match (self.findings.first(), &self.newest) {
            (Some(finding), _) => finding.message.clone(),
            (None, Some(newest)) => {
                let age = words(now.duration_since(newest.begun));
                let backups = if self.backups == 1 { "backup" } else { "backups" };
                format!("newest {age} old, {}, {} {backups}", HumanBytes(newest.stored_bytes), self.backups)
            }
            (None, None) => "no backup".to_owned(),
        }
    }

    /// The findings that the first line does not say.
    fn details(&self) -> impl Iterator<Item = String> {
        let more = self.findings.iter().skip(1);
        more.map(|finding| format!("  {}: {} [{}]", finding.severity, finding.message, finding.rule))
    }
}

impl CheckReport {
    /// A line for each database, and more lines for further findings. Names in them come from the store.
    pub fn lines(&self, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        for checked in &self.databases {
            lines.push(format!("{}: {}: {}", checked.severity(), checked.database, checked.state(now)));
            lines.extend(checked.details());
        }
        lines
    }
}
