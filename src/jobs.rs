//! Jobs: what is backed up, from where, to where, when, and for how long, as `pgstow.toml` or a script's environment
//! says it.
//!
//! May import: error, model, stream, store, keep, postgres, catalog, notify. Always true here: nothing reads the process's
//! environment, it is handed in as a function; nothing is written; the clock is handed in. A secret is read from its
//! place (`${NAME}` or `file:`) when a job is settled, and is never in an error, a description or `Debug`. An unknown key
//! is an error that says which key was meant.

mod check;
mod choice;
mod config;
mod env_file;
mod example;
mod expand;
mod job;
mod notifiers;
mod parse;
mod schedule;
mod script;
mod stores;
mod tables;
mod tuning;

pub use check::JobCheck;
pub use config::{Config, DEFAULT_FILES};
pub use env_file::EnvFile;
pub use example::EXAMPLE;
pub use expand::Lookup;
pub use job::{Job, Verification};
pub use schedule::Schedule;
pub use script::{Script, script_store};
pub use stores::JobStore;
pub use tuning::Tuning;
