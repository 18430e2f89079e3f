//! Nouns that every room shares: addresses, names and quoting, questions, Items.
//!
//! May import: error. Always true here: no I/O, no async, no knowledge of any one kind of object.
//!
//! Architecture invariant: everything that becomes SQL is quoted by [`name`]; no other file writes a quote mark around
//! something that came from a database.

pub mod address;
pub mod item;
pub mod name;
pub mod privilege;
pub mod question;
pub mod rows;
pub mod secret;
pub mod setting;
pub mod size;
pub mod version;

pub use address::{Address, AddressMap, AddressSet, Oid, QuickHash, class};
pub use item::{
    Belongs, BlobsData, Columns, Depend, Grantable, Item, Object, Opening, Payload, Section, TableData, Target,
};
pub use name::{SqlName, ident, ident_list, literal, one_line, qualified, turns};
pub use question::Question;
pub use rows::{Rows, list_or_null};
pub use secret::Secret;
pub use setting::{set_clause, split_identifier_list};
pub use version::ServerVersion;
