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
type Answers<T> = Vec<(usize, &'static str, JoinHandle<Result<T>>)>;

/// The questions that wait, the first one last.
struct Queue<T> {
    waiting: Mutex<Vec<(usize, Asked<T>)>>,
    /// Somebody has failed: nobody takes another one.
    is_over: AtomicBool,
}

impl<T: Send + 'static> Queue<T> {
    /// `first` is asked before all others: what changes often is asked for as soon as possible after the snapshot.
    fn of(questions: Vec<Asked<T>>, first: &[&str]) -> Self {
        let length = |about: &str| LONG.iter().position(|long| *long == about).unwrap_or(LONG.len());
        let mut waiting: Vec<(usize, Asked<T>)> = questions.into_iter().enumerate().collect();
        waiting.sort_by_key(|(_, question)| (first.contains(&question.about), Reverse(length(question.about))));
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

/// Asks every question once and gives the answers in the order of the questions. Readers that could not wait for a lock are
/// taken out, for their transactions have failed.
pub(super) async fn all<T: Send + 'static>(
    leader: &Session,
    readers: &mut Vec<Session>,
    questions: Vec<Asked<T>>,
    first: &[&str],
) -> Result<Vec<T>, Unread> {
    let queue = Queue::of(questions, first);
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
