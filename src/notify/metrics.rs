//! Prometheus' text format, and the metrics that text files and `pgstow schedule` have in common.
//!
//! Source: Prometheus documentation, "Exposition formats".

use super::event::{Checked, Facts};
use jiff::Timestamp;

/// Metrics on their way to text: each family once, with its samples behind it.
#[derive(Debug, Default)]
pub struct Metrics {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// One value that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.sample("gauge", name, help, labels, value);
    }

    /// One value that only grows; the name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.sample("counter", name, help, labels, value);
    }

    /// That a run ended.
    pub fn last_run(&mut self, labels: &[(&str, &str)], at: Timestamp, success: bool) {
        let help = "When the job last ended, well or not.";
        self.gauge("pgstow_last_run_timestamp_seconds", help, labels, seconds(at));
        let help = "Whether the job last ended well.";
        self.gauge("pgstow_last_run_success", help, labels, if success { 1.0 } else { 0.0 });
    }

    /// That a run ended well, and what it made.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub fn last_success(&mut self, labels: &[(&str, &str)], at: Timestamp, facts: &Facts) {
        let mut gauge = |name, help, value| self.gauge(name, help, labels, value);
        gauge("pgstow_last_success_timestamp_seconds", "When the job last ended well.", seconds(at));
        gauge("pgstow_last_success_duration_seconds", "How long that run took.", facts.seconds);
        gauge("pgstow_last_success_stored_bytes", "How large that backup is in the store.", facts.stored_bytes as f64);
        gauge("pgstow_last_success_raw_bytes", "How large it is without compression.", facts.raw_bytes as f64);
        gauge("pgstow_last_success_rows", "How many rows it holds.", facts.rows as f64);
        gauge("pgstow_last_success_tables", "How many tables it holds.", facts.tables as f64);
        gauge("pgstow_last_success_warnings", "How many warnings it came with.", facts.warnings.len() as f64);
    }

    /// What a check found: when, and how bad it is, as Nagios counts.
    pub fn last_check(&mut self, labels: &[(&str, &str)], at: Timestamp, check: &Checked) {
        let help = "When the job's backups were last checked.";
        self.gauge("pgstow_last_check_timestamp_seconds", help, labels, seconds(at));
        let help = "What that found: 0 ok, 1 warning, 2 critical, 3 unknown.";
        self.gauge("pgstow_last_check_severity", help, labels, f64::from(check.severity as u8));
        if let Some(newest) = check.newest_at {
            let help = "When the newest good backup in the store was begun.";
            self.gauge("pgstow_newest_backup_timestamp_seconds", help, labels, seconds(newest));
        }
    }

    fn sample(
        &mut self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let family = match self.families.iter_mut().position(|family| family.name == name) {
            Some(at) => &mut self.families[at],
            None => {
                self.families.push(Family { name, kind, help, samples: Vec::new() });
                let last = self.families.len() - 1;
                &mut self.families[last]
            }
        };
        family.samples.push((labels, value));
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Family { name, kind, help, samples } in &self.families {
            text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (labels, value) in samples {
                text += &format!("{name}{labels} {value}\n");
            }
        }
        text
    }
}

/// A moment as Prometheus counts it.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn samples_stand_with_their_family_and_labels_are_escaped() {
        let mut metrics = Metrics::default();
        metrics.gauge("a", "About a.", &[("job", "x\"y")], 1.0);
        metrics.counter("b_total", "About b.", &[], 3.0);
        metrics.gauge("a", "About a.", &[("job", "z")], 0.5);
        assert_eq!(
            metrics.text(),
            "# HELP a About a.\n# TYPE a gauge\na{job=\"x\\\"y\"} 1\na{job=\"z\"} 0.5\n\
             # HELP b_total About b.\n# TYPE b_total counter\nb_total 3\n"
        );
    }
}
