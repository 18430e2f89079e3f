//! What happens to backups after they exist: which stay, whether they are healthy, what they cost.
//!
//! May import: error, archive, store (for its nouns alone). Always true here: pure functions from facts and rules to verdicts. Nothing asks a store
//! or a clock; the moment is an argument, so that a test can travel in time.

pub mod age;
pub mod bucket;
pub mod cost;
pub mod health;
pub mod lifecycle;
pub mod missed;
pub mod policy;
pub mod retention;
pub mod sources;

pub use age::Age;
pub use retention::{Candidate, Condition, Rules, Verdict, decide};
pub use sources::decide_by_server;
