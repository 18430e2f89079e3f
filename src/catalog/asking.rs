//! Many questions on several sessions of one snapshot: whichever is free asks the next.

use crate::error::{Error, Kind, Result};
use crate::model::Rows;
use crate::postgres::Session;
use futures::future;
use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};

/// Turns rows into an answer, or into a part of one that has several.
pub(super) type Read<T> = Box<dyn FnOnce(Rows) -> Result<T> + Send>;

/// One question.
pub(super) struct Asked<T> {
    /// What it is about, for messages: `tables`.
    pub(super) about: &'static str,
    /// Its text for this server.
    pub(super) sql: String,
    /// Each reads its answer for itself.
    pub(super) read: Vec<Read<T>>,
}

/// What takes longest where there is much of it, longest first: whoever asked it last would keep all others waiting.
const LONG: [&str; 7] = ["tables", "indexes", "constraints", "dependencies", "sequences", "comments", "privileges"];

/// Asks every question once and gives the answers in the order of the questions.
///
/// Rows are read on threads of their own as soon as they are there, while their session asks on.
pub(super) async fn all<T: Send + 'static>(sessions: &[&Session], questions: Vec<Asked<T>>) -> Result<Vec<T>> {
    let length = |about: &str| LONG.iter().position(|long| *long == about).unwrap_or(LONG.len());
    let mut waiting: Vec<(usize, Asked<T>)> = questions.into_iter().enumerate().collect();
    waiting.sort_by_key(|(_, question)| Reverse(length(question.about)));
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let answers = sessions.iter().map(|session| async {
        let mut answers = Vec::new();
        while let Some((place, Asked { about, sql, read })) = next() {
            let named = move |error: Error| error.on(format!("reading {about}"));
            let rows = session.rows(&sql).await.map_err(named)?;
            tracing::debug!(about, count = rows.len(), "read");
            for read in read {
                let rows = rows.clone();
                answers.push((place, tokio::task::spawn_blocking(move || read(rows).map_err(named))));
            }
        }
        Ok::<_, Error>(answers)
    });
    let mut answers: Vec<_> = future::try_join_all(answers).await?.into_iter().flatten().collect();
    answers.sort_unstable_by_key(|(place, _)| *place);
    let mut read = Vec::with_capacity(answers.len());
    for (_, answer) in answers {
        read.push(answer.await.map_err(|error| Error::new(Kind::Internal, "a reader of rows failed").because(error))??);
    }
    Ok(read)
}
