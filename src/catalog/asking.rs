//! Many questions on several sessions of one snapshot: whichever is free asks the next.

use crate::error::{Error, Result};
use crate::postgres::Session;
use futures::future;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Turns rows, each the JSON text of `row_to_json`, into an answer.
pub(super) type Read<T> = Box<dyn Fn(&[String]) -> Result<T> + Send + Sync>;

/// One question.
pub(super) struct Asked<T> {
    /// What it is about, for messages: `tables`.
    pub(super) about: &'static str,
    /// Its text for this server.
    pub(super) sql: String,
    /// Reads its answer.
    pub(super) read: Read<T>,
}

/// What takes longest where there is much of it, longest first: whoever asked it last would keep all others waiting.
const LONG: [&str; 7] = ["tables", "indexes", "constraints", "dependencies", "sequences", "comments", "privileges"];

/// Asks every question once and gives the answers in the order of the questions.
///
/// Rows are read as soon as they are there, so that only the rows of as many questions as there are sessions are held as
/// text at once.
pub(super) async fn all<T>(sessions: &[&Session], questions: &[Asked<T>]) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let length = |place: &usize| LONG.iter().position(|about| *about == questions[*place].about).unwrap_or(LONG.len());
    let mut places: Vec<usize> = (0..questions.len()).collect();
    places.sort_by_key(length);
    let answers = sessions.iter().map(|session| async {
        let mut answers = Vec::new();
        loop {
            let Some(&place) = places.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(answers) };
            let Asked { about, sql, read } = &questions[place];
            let named = |error: Error| error.on(format!("reading {about}"));
            let rows = session.json_rows(sql).await.map_err(named)?;
            tracing::debug!(about, count = rows.len(), "read");
            answers.push((place, read(&rows).map_err(named)?));
        }
    });
    let mut answers: Vec<(usize, T)> = future::try_join_all(answers).await?.into_iter().flatten().collect();
    answers.sort_unstable_by_key(|(place, _)| *place);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}
