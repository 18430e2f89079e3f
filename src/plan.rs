//! Order: from objects and dependency rows to a table of contents that can be run from top to bottom.
//!
//! May import: error, model. Always true here: kind-blind; nothing in this room compares a `desc`. Everything is pure, so
//! the order of a dump depends on the catalogs and on nothing else.
//!
//! How an order is found: every [`crate::model::Object`] starts as one statement. Rows of `pg_depend` between addresses
//! that objects provide become edges; rows that lead through something that is not dumped (a member of an extension, an
//! unselected object) are followed to what is. Objects inside a loop open into a head and parts, which breaks the loop;
//! a loop that remains is an error naming its members. An Item moves to the latest section of what it needs, opening
//! first if it can, so that only the part that must wait waits. Facets then follow their parent.
//!
//! Architecture invariant: an Item never stands before something that it needs.

mod facets;
mod graph;
mod order;
mod ready;

pub use order::{Planned, plan};
pub use ready::{Lock, Ready, Task};
