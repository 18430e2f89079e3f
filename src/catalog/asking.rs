//! Many questions on several sessions of one snapshot: whichever is free asks the next.
//!
//! Only the leader holds locks on the tables. A question on another session may have to wait for a lock that somebody wants
//! who waits for the leader, which no server can see. So the others wait for a second at most, and leave the question to
//! the leader then.

use super::Unread;
use crate::error::{Error, Kind, Result};
use crate::model::Rows;
use crate::postgres::{Session, sqlstate};
use futures::future;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::task::JoinHandle;

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
const LONG: [&str; 7] = ["tables", "constraints", "indexes", "dependencies", "sequences", "comments", "privileges"];

/// `lock_not_available`: the wait for a lock was over.
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The answers that are being read, each with the place and the name of its question.
pub(super) type Answers<T> = Vec<(usize, &'static str, JoinHandle<Result<T>>)>;

/// Questions with their places in the order of answers.
pub(super) type Questions<T> = Vec<(usize, Asked<T>)>;

/// The questions that wait, the first one last.
struct Queue<T> {
    waiting: Mutex<Vec<(usize, Asked<T>)>>,
    /// Somebody has failed: nobody takes another one.
    is_over: AtomicBool,
}

impl<T: Send + 'static> Queue<T> {
    fn of(mut waiting: Questions<T>) -> Self {
        let length = |about: &str| LONG.iter().position(|long| *long == about).unwrap_or(LONG.len());
        waiting.sort_by_key(|(_, question)| Reverse(length(question.about)));
        Queue { waiting: Mutex::new(waiting), is_over: AtomicBool::new(false) }
    }

    fn next(&self) -> Option<(usize, Asked<T>)> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Asks on this session until no question is left. Rows are read on threads of their own as soon as they are there, while
    /// the session asks on.
    async fn ask(&self, session: &Session, answers: &mut Answers<T>) -> Result<(), Unread> {
        while let Some((place, asked)) = self.next() {
            let rows = match session.rows(&asked.sql).await {
                Ok(rows) => rows,
                Err(error) => return Err(self.failed(place, asked, error)),
            };
            if rows.has(holds_types, is_gone) {
                let error = Error::new(Kind::Internal, "a type was dropped while the dump was reading the schema");
                return Err(self.failed(place, asked, error));
            }
            let Asked { about, read, .. } = asked;
            tracing::debug!(about, count = rows.len(), "read");
            // Who reads last takes the answer itself.
            let last = read.len().saturating_sub(1);
            let mut rows = Some(rows);
            for (number, read) in read.into_iter().enumerate() {
                let rows = if number == last { rows.take() } else { rows.clone() }.unwrap_or_default();
                let named = move |error: Error| error.on(format!("reading {about}"));
                answers.push((place, about, tokio::task::spawn_blocking(move || read(rows).map_err(named))));
            }
        }
        Ok(())
    }

    /// Puts a question back that only the leader can ask, or ends the asking.
    fn failed(&self, place: usize, asked: Asked<T>, error: Error) -> Unread {
        let about = asked.about;
        if sqlstate(&error) == Some(LOCK_NOT_AVAILABLE) {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((place, asked));
        } else {
            self.is_over.store(true, Ordering::Relaxed);
        }
        Unread { about: Some(about), ..Unread::from(error.on(format!("reading {about}"))) }
    }
}

/// Whether a column of a question holds the name of a type, or of several.
fn holds_types(column: &str) -> bool {
    ["type", "types", "element"].iter().any(|end| column.ends_with(end))
}

/// What `format_type` writes for a type that is gone (`src/backend/utils/adt/format_type.c`). A type of that name has quotes.
fn is_gone(types: &str) -> bool {
    types.contains("???") && types.split(", ").any(|name| name == "???" || name.starts_with("???["))
}

/// Asks some questions at once, on one session.
pub(super) async fn some<T: Send + 'static>(session: &Session, questions: Questions<T>) -> Result<Answers<T>, Unread> {
    let mut answers = Vec::new();
    Queue::of(questions).ask(session, &mut answers).await?;
    Ok(answers)
}

/// Asks every question once and gives all answers, with those that are there already, in the order of the questions. Readers
/// that could not wait for a lock are taken out, for their transactions have failed.
pub(super) async fn all<T: Send + 'static>(
    leader: &Session,
    readers: &mut Vec<Session>,
    questions: Questions<T>,
    early: Answers<T>,
) -> Result<Vec<T>, Unread> {
    let queue = Queue::of(questions);
    let lead = async {
        let mut answers = Vec::new();
        let outcome = queue.ask(leader, &mut answers).await;
        if outcome.is_err() {
            queue.is_over.store(true, Ordering::Relaxed);
        }
        outcome.map(|()| answers)
    };
    let follow = readers.iter().map(|reader| async {
        let mut answers = Vec::new();
        let outcome = queue.ask(reader, &mut answers).await;
        (answers, outcome)
    });
    // Nobody is left in the middle of a statement: what failed may begin again on the same sessions.
    let (lead, follow) = future::join(lead, future::join_all(follow)).await;
    let mut answers = lead?;
    answers.extend(early);
    let mut good = Vec::new();
    for (more, outcome) in follow {
        answers.extend(more);
        good.push(outcome.is_ok());
        match outcome {
            Err(unread) if sqlstate(&unread.error) != Some(LOCK_NOT_AVAILABLE) => return Err(unread),
            _ => {}
        }
    }
    let mut good = good.into_iter();
    readers.retain(|_| good.next().unwrap_or(true));
    queue.ask(leader, &mut answers).await?;
    answers.sort_unstable_by_key(|(place, ..)| *place);
    let mut read = Vec::with_capacity(answers.len());
    for (_, about, answer) in answers {
        let answer = answer.await.map_err(|error| Error::new(Kind::Internal, "a reader of rows failed").because(error));
        read.push(
            answer.and_then(|answer| answer).map_err(|error| Unread { about: Some(about), ..Unread::from(error) })?,
        );
    }
    Ok(read)
}
