//! The only room that holds a connection: settings, TLS, login, session, snapshot, copy.
//!
//! May import: error, model. Always true here:
//!
//! - A password never leaves [`ConnectionSettings`] except into a login; it is in no error, no `Debug`, no log.
//! - What libpq would do with the same connection string, service file, password file and environment, this room does
//!   too, or it refuses with an error that names the setting. Nothing that bears on security is ignored in silence.
//! - Every [`Session`] is pinned before its first question: [`Session::connect`] is the only way to one.
//! - A [`Session`] knows which server answered; sessions opened from [`Session::settings`] reach the same one, which
//!   is what importing a snapshot needs.
//! - Parameters are set by SET after login, never in the startup message, because poolers refuse those
//!   (`application_name` and the user's own `options` excepted).
//! - A refusal by the server keeps its SQLSTATE: [`sqlstate`] finds it again in any error of this room.

mod asking;
mod conninfo;
mod conversation;
mod copy;
mod failure;
mod line;
mod login;
mod pgpass;
mod pin;
mod service;
mod session;
mod settings;
mod snapshot;
mod tls;

pub use asking::{LOOKED, is_asking};
pub use copy::{CopyIn, CopyOut, Piece};
pub use failure::{ServerError, context, sqlstate};
pub use pin::{Purpose, allow_foreign_tables};
pub use session::{Canceller, Session, decode};
pub use settings::ConnectionSettings;
pub use snapshot::{Snapshot, begin_snapshot, end_snapshot, export_snapshot, import_snapshot};
