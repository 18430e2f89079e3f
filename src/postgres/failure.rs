//! From the wire's errors to this crate's, with everything the server said.

use crate::error::{Error, Kind};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

/// A refusal by the server, with the fields that help a reader (PostgreSQL documentation, "Error and Notice Message
/// Fields").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The five characters of the SQLSTATE, such as `42501`.
    pub code: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
    /// CONTEXT: functions and internal queries it happened in; for COPY the line and column.
    pub context: Option<String>,
    /// The character of the statement that it is about, counted from 1.
    pub position: Option<u32>,
    /// The statement that a function ran when the position is inside that one.
    pub internal_query: Option<String>,
}

impl ServerError {
    fn new(error: &DbError) -> Self {
        let (position, internal_query) = match error.position() {
            Some(ErrorPosition::Original(position)) => (Some(*position), None),
            Some(ErrorPosition::Internal { position, query }) => (Some(*position), Some(query.clone())),
            None => (None, None),
        };
        ServerError {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            context: error.where_().map(str::to_owned),
            position,
            internal_query,
        }
    }
}

impl ServerError {
    /// From the fields of an `ErrorResponse` or a `NoticeResponse` that was read here and not by the driver.
    pub(super) fn of_fields(mut fields: ErrorFields<'_>) -> io::Result<Self> {
        let mut error = ServerError {
            code: String::new(),
            message: String::new(),
            detail: None,
            hint: None,
            context: None,
            position: None,
            internal_query: None,
        };
        while let Some(field) = fields.next()? {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                b'P' | b'p' => error.position = text.parse().ok(),
                b'q' => error.internal_query = Some(text),
                _ => {}
            }
        }
        Ok(error)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)?;
        if let Some(position) = self.position {
            write!(f, " at character {position}")?;
        }
        if let Some(query) = &self.internal_query {
            write!(f, " of the internal query {query}")?;
        }
        for (name, text) in [("detail", &self.detail), ("hint", &self.hint), ("context", &self.context)] {
            if let Some(text) = text {
                write!(f, "; {name}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// The SQLSTATE of the refusal that an error came from, such as `42501` (insufficient privilege) or `57014` (cancelled).
/// Looks through errors of this crate that were wrapped in others.
pub fn sqlstate(error: &Error) -> Option<&str> {
    let cause = error.cause()?;
    if let Some(refusal) = cause.downcast_ref::<ServerError>() {
        return Some(&refusal.code);
    }
    cause.downcast_ref::<Error>().and_then(sqlstate)
}

/// The CONTEXT of the refusal that an error came from: functions and internal queries it happened in, the innermost first.
pub fn context(error: &Error) -> Option<&str> {
    let cause = error.cause()?;
    if let Some(refusal) = cause.downcast_ref::<ServerError>() {
        return refusal.context.as_deref();
    }
    cause.downcast_ref::<Error>().and_then(context)
}

/// Why a connection ended, told by the task that drives it to whoever finds it closed.
pub(super) type Fate = Arc<OnceLock<String>>;

/// The refusal inside a wire error, if it is one.
pub(super) fn refusal(error: &tokio_postgres::Error) -> Option<ServerError> {
    error.as_db_error().map(ServerError::new)
}

/// A statement that failed: a refusal is of kind Database, a lost connection of kind Connection.
pub(super) fn statement_failed(error: tokio_postgres::Error, fate: &Fate) -> Error {
    if let Some(refusal) = refusal(&error) {
        return refused(Kind::Database, refusal);
    }
    let text = error.to_string();
    let is_lost = error.is_closed()
        || std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    if is_lost && !text.contains("parsing") {
        return lost(fate, error);
    }
    Error::new(Kind::Database, "the server's answer cannot be understood").because(error)
}

/// The connection is gone: for the reason that the driver was told, or else for this one.
pub(super) fn lost(fate: &Fate, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let failure = Error::new(Kind::Connection, "the connection to the server was lost");
    match fate.get() {
        Some(reason) => failure.because(reason.clone()),
        None => failure.because(error),
    }
}

/// An error made of a refusal, which stays its cause.
pub(super) fn refused(kind: Kind, refusal: ServerError) -> Error {
    Error::new(kind, refusal.to_string()).because(refusal)
}

/// What stopped a login, as far as it decides what to try next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginFailure {
    /// The server wants a password and none is known.
    PasswordWanted,
    /// The server knows the password or the user is wrong, or has another reason to refuse.
    Refused,
    /// The server's rules do not let this user in, encrypted or unencrypted as the session was.
    RuledOut,
    /// The server is starting, stopping or replaying: another one may do.
    NotYet,
    /// The TLS handshake failed, or the server has no TLS.
    Encryption,
    /// Nobody there, or the line broke.
    Unreachable,
}

/// Sorts a failed login.
pub(super) fn login_failure(error: &tokio_postgres::Error) -> LoginFailure {
    match error.code() {
        Some(&SqlState::CANNOT_CONNECT_NOW) => return LoginFailure::NotYet,
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => return LoginFailure::RuledOut,
        Some(_) => return LoginFailure::Refused,
        None => {}
    }
    // tokio-postgres does not publish its kinds of error, only their texts.
    match error.to_string().as_str() {
        "invalid configuration" => LoginFailure::PasswordWanted,
        "error performing TLS handshake" => LoginFailure::Encryption,
        "authentication error" => LoginFailure::Refused,
        _ => LoginFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerError, refused, sqlstate};
    use crate::error::{Error, Kind};

    fn refusal() -> ServerError {
        ServerError {
            code: "42501".to_owned(),
            message: "permission denied".to_owned(),
            detail: Some("d".to_owned()),
            hint: Some("h".to_owned()),
            context: Some("c".to_owned()),
            position: Some(7),
            internal_query: None,
        }
    }

    #[test]
    fn a_refusal_says_everything_the_server_said_and_says_it_once() {
        let error = refused(Kind::Database, refusal());
        assert_eq!(
            error.to_string(),
            "permission denied (SQLSTATE 42501) at character 7; detail: d; hint: h; context: c"
        );
    }

    #[test]
    fn the_sqlstate_is_found_through_wrapping_errors() {
        let error = refused(Kind::Database, refusal());
        assert_eq!(sqlstate(&error), Some("42501"));
        assert_eq!(sqlstate(&Error::new(Kind::Internal, "outer").because(error)), Some("42501"));
        assert_eq!(sqlstate(&Error::new(Kind::Internal, "none")), None);
    }
}
