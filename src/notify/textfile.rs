//! Files for the textfile collector of Prometheus' node exporter.
//!
//! Three a job: one that every run writes, one that only a good run writes, so that the last success outlives failures
//! without reading anything back, and one that checks write. A file appears whole, by a rename.

use super::event::{Event, Moment};
use super::metrics::Metrics;
use crate::error::{Error, Kind, Result};
use std::io::Write;
use std::path::PathBuf;

/// A folder that node exporter collects from.
#[derive(Debug, Clone)]
pub struct Textfile {
    /// The folder (`--collector.textfile.directory`).
    pub folder: PathBuf,
}

impl Textfile {
    pub(super) fn write(&self, event: &Event) -> Result<()> {
        let mut run = Metrics::default();
        let job = [("job", event.job.as_str())];
        match event.moment {
            Moment::Start => return Ok(()),
            // An empty file is a fine one for the collector, and shows that the folder can be written.
            Moment::Test => return self.replace("pgstow_test.prom", ""),
            Moment::Success | Moment::Failure => {
                run.last_run(&job, event.at, event.moment == Moment::Success);
            }
            Moment::Healthy | Moment::Warning | Moment::Unhealthy => {
                let Some(check) = &event.check else { return Ok(()) };
                let mut metrics = Metrics::default();
                metrics.last_check(&job, event.at, check);
                return self.replace(&format!("pgstow_{}_check.prom", event.job), &metrics.text());
            }
        }
        self.replace(&format!("pgstow_{}.prom", event.job), &run.text())?;
        if let (Moment::Success, Some(facts)) = (event.moment, &event.facts) {
            let mut success = Metrics::default();
            success.last_success(&job, event.at, facts);
            self.replace(&format!("pgstow_{}_success.prom", event.job), &success.text())?;
        }
        Ok(())
    }

    fn replace(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        // node exporter reads *.prom only, so nobody sees the half-written file.
        let unfinished = self.folder.join(format!(".{name}.{}", std::process::id()));
        let written = std::fs::File::create(&unfinished)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&unfinished, &path));
        written.map_err(|error| {
            let _nothing_more_to_do = std::fs::remove_file(&unfinished);
            Error::new(Kind::Notify, "cannot be written").on(path.display().to_string()).because(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::{Moment, Textfile};

    #[test]
    fn the_last_success_outlives_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let textfile = Textfile { folder: folder.path().to_owned() };
        for moment in [Moment::Start, Moment::Success, Moment::Failure, Moment::Unhealthy] {
            textfile.write(&event(moment)).expect("written");
        }
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["pgstow_shop.prom", "pgstow_shop_check.prom", "pgstow_shop_success.prom"]);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
        assert!(read("pgstow_shop.prom").contains("pgstow_last_run_success{job=\"shop\"} 0\n"));
        assert!(
            read("pgstow_shop_success.prom")
                .contains("pgstow_last_success_timestamp_seconds{job=\"shop\"} 1795487400\n")
        );
        let check = read("pgstow_shop_check.prom");
        assert!(check.contains("pgstow_last_check_severity{job=\"shop\"} 2\n"), "{check}");
        assert!(check.contains("pgstow_newest_backup_timestamp_seconds{job=\"shop\"} 1795314600\n"), "{check}");
        let gone = Textfile { folder: folder.path().join("none") };
        assert!(gone.write(&event(Moment::Failure)).is_err());
    }
}
