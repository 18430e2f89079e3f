//! COPY text and binary COPY, turned into each other: what the server would parse or write value by value is parsed and
//! written here, faster, and on processors that are not the server's.
//!
//! A restore sends rows in binary ([`ToBinary`]), a dump reads them in binary and keeps their text ([`ToText`]). Sources:
//! PostgreSQL documentation, "COPY", sections "Text Format" and "Binary Format"; what a value looks like is said by the
//! receive and send functions of its type (`int8recv` in `int8.c`, and so on), its text by the output function.
//!
//! Architecture invariant: what is not certain to mean the same in both formats is not converted. Whoever converts stops
//! before the first row that is not understood, and its caller has that row, and all that follow, from the server or to the
//! server as text. So the server has the last word on every value that is unusual.

mod layout;
mod to_binary;
mod to_text;

pub use layout::{Element, Layout};
pub use to_binary::ToBinary;
pub use to_text::ToText;

/// Signature, flags and the length of an extension that is not there.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// In place of a row's number of fields: there is no further row.
const TRAILER: &[u8] = &[0xff, 0xff];
/// In place of a value's length.
const NULL: i32 = -1;
/// The most dimensions that an array has (`MAXDIM`).
const MOST_DIMENSIONS: usize = 6;

/// A value that is not, or not for certain, what its type takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual;

type Outcome = Result<(), Unusual>;
