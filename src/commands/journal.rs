//! What a job says while it runs: passed on line by line, and the last lines kept for whoever is told how it ended.

use jiff::Timestamp;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

/// So many lines are kept.
const KEPT: usize = 100;

/// A running log of one job.
pub struct Journal {
    lines: Mutex<VecDeque<String>>,
    sink: Box<dyn Fn(&str) + Send + Sync>,
}

impl Journal {
    /// Every line goes to the sink at once.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Journal { lines: Mutex::default(), sink: Box::new(sink) }
    }

    /// Says one thing; it gets the time, and control characters become spaces.
    pub fn say(&self, words: &str) {
        let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = format!("{}  {words}", Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC"));
        (self.sink)(&line);
        if let Ok(mut lines) = self.lines.lock() {
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }

    /// The last lines, the oldest first.
    pub fn tail(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}
