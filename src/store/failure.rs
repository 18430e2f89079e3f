//! Failures of stores: what callers can match on, and the text a store gave for it.

use std::fmt;

use crate::error::{Error, Kind};

/// What went wrong in a store, for callers that act on it; get it from an error by [`problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreProblem {
    /// There is no such object (or no such upload).
    NotFound,
    /// There is an object where none may be.
    AlreadyExists,
    /// The store knows us and says no, or does not know us.
    Denied,
    /// The credentials have expired, or can not be had right now.
    Expired,
    /// There is no such bucket, or no such folder.
    NoBucket,
    /// Nobody answers there, or not in time.
    Unreachable,
    /// Somebody answers, but not in words of S3.
    Garbled,
    /// The object lies in an archive class, and has to be thawed first.
    Frozen,
    /// The store does not offer what was asked.
    Unsupported,
    /// Anything else.
    Other,
}

/// The problem that an error of this room carries, also through errors wrapped around it.
pub fn problem(error: &Error) -> Option<StoreProblem> {
    let cause = error.cause()?;
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.problem);
    }
    problem(cause.downcast_ref::<Error>()?)
}

/// The cause of every error of this room.
#[derive(Debug)]
struct Failure {
    problem: StoreProblem,
    /// What the store or the operating system said, printable; empty when the message says all.
    detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}

/// An error of this room without more to say than its message.
pub(super) fn store_error(problem: StoreProblem, message: impl Into<String>) -> Error {
    store_error_with(problem, message, "")
}

/// An error of this room with what the store said. The detail is cleaned, for it comes from outside.
pub(super) fn store_error_with(problem: StoreProblem, message: impl Into<String>, detail: &str) -> Error {
    Error::new(Kind::Store, message).because(Failure { problem, detail: printable(detail) })
}

/// Text from outside as one line that cannot move a terminal's cursor.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 1000;
    let mut clean: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        clean.push('…');
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{StoreProblem, problem, store_error, store_error_with};
    use crate::error::{Error, Kind};

    #[test]
    fn a_problem_is_found_through_errors_around_it() {
        let inner = store_error(StoreProblem::AlreadyExists, "there is an object already");
        assert_eq!(problem(&inner), Some(StoreProblem::AlreadyExists));
        let outer = Error::new(Kind::Archive, "cannot write the manifest").because(inner);
        assert_eq!(problem(&outer), Some(StoreProblem::AlreadyExists));
        assert_eq!(problem(&Error::new(Kind::Store, "plain")), None);
    }

    #[test]
    fn what_a_store_says_cannot_move_the_cursor() {
        let error = store_error_with(StoreProblem::Other, "cannot put", "\u{1b}[2Jgone\nnext");
        assert_eq!(error.to_string(), "cannot put: [2Jgone next");
        assert_eq!(store_error(StoreProblem::Other, "cannot put").to_string(), "cannot put");
    }
}
