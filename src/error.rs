//! What failed, on which object, why, and what to do about it.
//!
//! May import: nothing. Always true here: a message is lower case without a full stop, names the object it is about,
//! and never holds a secret; every [`Kind`] has one documented exit code, and codes are never reused.

use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What sort of failure it was; decides the exit code and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something inside pgstow that must not happen; exit code 1.
    Internal,
    /// Arguments, environment or configuration that cannot be used; exit code 2.
    Usage,
    /// The PostgreSQL server cannot be reached or refuses the login; exit code 3.
    Connection,
    /// The server refused a question or a statement of ours; exit code 4.
    Database,
    /// The object store cannot be reached, refuses, or lacks what was asked for; exit code 5.
    Store,
    /// The archive is missing, incomplete, damaged, or of a newer format, or what was restored differs from it; exit code 6.
    Archive,
    /// The database holds something that cannot be dumped; exit code 7.
    Incomplete,
    /// A restore went to its end, but some statements failed, or a dump of all databases, or a copy of
    /// all new backups, but some of those, or a job's backup was made and a copy of it was not; exit code 8.
    Partial,
    /// The target is not fit for this restore, for it already has the objects or lacks what they need; exit code 9.
    Target,
    /// A check went to its end and found something that needs attention; exit code 10.
    Unhealthy,
    /// A notification did not arrive, which ends no command but `pgstow notify test`; exit code 12.
    Notify,
    /// Another process runs the job already; exit code 13.
    Busy,
    /// A signal stopped it; exit code 130.
    Interrupted,
}

impl Kind {
    /// The process's exit code for this kind of failure (README, "Exit codes").
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Usage => 2,
            Kind::Connection => 3,
            Kind::Database => 4,
            Kind::Store => 5,
            Kind::Archive => 6,
            Kind::Incomplete => 7,
            Kind::Partial => 8,
            Kind::Target => 9,
            Kind::Unhealthy => 10,
            Kind::Notify => 12,
            Kind::Busy => 13,
            Kind::Interrupted => 130,
        }
    }
}

/// A failure with its object, its hint and its cause.
pub struct Error {
    kind: Kind,
    message: String,
    object: Option<String>,
    hint: Option<String>,
    source: Option<Cause>,
}

impl Error {
    /// A failure of this kind; the message is lower case, without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), object: None, hint: None, source: None }
    }

    /// Names the object the failure is about, such as `table public.t` or a store key. The innermost name stays.
    #[must_use]
    pub fn on(mut self, object: impl Into<String>) -> Self {
        self.object.get_or_insert_with(|| object.into());
        self
    }

    /// Says what the reader can do about it. The innermost hint stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Says one more thing beside the hint, where there is one.
    #[must_use]
    pub fn also(mut self, words: &str) -> Self {
        self.hint = Some(self.hint.map_or_else(|| words.to_owned(), |hint| format!("{hint}; {words}")));
        self
    }

    /// Keeps what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What caused it, if that was kept. `std`'s `source` stays empty, because `Display` already says the causes.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    /// What sort of failure it was.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message alone, without object, hint and causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The object it is about, if one was named.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// What the reader can do about it, if that is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    /// One line: the object, the message, and the causes after colons. The hint is printed apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)?;
        let mut cause: Option<&dyn std::error::Error> = self.source.as_ref().map(|c| &**c as _);
        let mut last = self.message.clone();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many libraries repeat their cause in their own message; say it once.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::{Error, Kind};

    #[test]
    fn an_error_reads_object_message_cause() {
        let cause = std::io::Error::other("disk full");
        let error = Error::new(Kind::Store, "cannot write").on("key a/b").on("outer").because(cause);
        assert_eq!(error.to_string(), "key a/b: cannot write: disk full");
    }
}
