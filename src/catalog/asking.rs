//! Many questions on several sessions of one snapshot: whichever is free asks the next.

use crate::error::{Error, Kind, Result};
use crate::model::Rows;
use crate::postgres::Session;
use futures::future;
use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;
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

/// The questions that wait, the shortest first.
struct Queue<T>(Mutex<Vec<(usize, Asked<T>)>>);

impl<T: Send + 'static> Queue<T> {
    /// `first` is the place of the first one in the order of answers.
    fn of(questions: Vec<Asked<T>>, first: usize) -> Self {
        let length = |about: &str| LONG.iter().position(|long| *long == about).unwrap_or(LONG.len());
        let mut waiting: Vec<(usize, Asked<T>)> = (first..).zip(questions).collect();
        waiting.sort_by_key(|(_, question)| Reverse(length(question.about)));
        Queue(Mutex::new(waiting))
    }

    fn next(&self) -> Option<(usize, Asked<T>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Asks on this session until no question is left. Rows are read on threads of their own as soon as they are there, while
    /// the session asks on.
    async fn ask(&self, session: &Session, answers: &mut Vec<(usize, JoinHandle<Result<T>>)>) -> Result<()> {
        while let Some((place, Asked { about, sql, read })) = self.next() {
            let named = move |error: Error| error.on(format!("reading {about}"));
            let rows = session.rows(&sql).await.map_err(named)?;
            tracing::debug!(about, count = rows.len(), "read");
            // Who reads last takes the answer itself.
            let last = read.len().saturating_sub(1);
            let mut rows = Some(rows);
            for (number, read) in read.into_iter().enumerate() {
                let rows = if number == last { rows.take() } else { rows.clone() }.unwrap_or_default();
                answers.push((place, tokio::task::spawn_blocking(move || read(rows).map_err(named))));
            }
        }
        Ok(())
    }
}

/// Asks every question once and gives the answers in the order of the questions, those `at_once` first.
///
/// The leader locks first. Until it has, the readers ask what the locks do not matter for; then all ask the rest.
pub(super) async fn all<T: Send + 'static, L>(
    (leader, locking): (&Session, impl Future<Output = Result<L>>),
    readers: &[Session],
    at_once: Vec<Asked<T>>,
    once_locked: Vec<Asked<T>>,
) -> Result<(L, Vec<T>)> {
    let once_locked = Queue::of(once_locked, at_once.len());
    let at_once = Queue::of(at_once, 0);
    let locked = watch::Sender::new(false);
    let lead = async {
        let found = locking.await?;
        locked.send_replace(true);
        let mut answers = Vec::new();
        once_locked.ask(leader, &mut answers).await?;
        at_once.ask(leader, &mut answers).await?;
        Ok((found, answers))
    };
    let follow = readers.iter().map(|reader| async {
        let mut answers = Vec::new();
        at_once.ask(reader, &mut answers).await?;
        // That the sender is gone cannot be, for it is here.
        let mut signal = locked.subscribe();
        signal.wait_for(|locked| *locked).await.map(drop).unwrap_or_default();
        once_locked.ask(reader, &mut answers).await?;
        Ok::<_, Error>(answers)
    });
    let ((found, mut answers), others) = future::try_join(lead, future::try_join_all(follow)).await?;
    answers.extend(others.into_iter().flatten());
    answers.sort_unstable_by_key(|(place, _)| *place);
    let mut read = Vec::with_capacity(answers.len());
    for (_, answer) in answers {
        read.push(answer.await.map_err(|error| Error::new(Kind::Internal, "a reader of rows failed").because(error))??);
    }
    Ok((found, read))
}
