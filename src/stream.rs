//! Bytes: row-aligned frames, codecs, digests, equal parts.
//!
//! May import: error. Always true here: no SQL and no object store; nothing here knows which table the bytes are of.
//!
//! On the way out, rows are digested ([`rows`]) and become raw frames ([`frames`]), each frame is compressed alone ([`codec`]), the compressed bytes
//! are digested ([`digest`]) and cut into equal parts ([`parts`]). On the way in, the stored bytes are checked against
//! their digest, decoded, lose their terminator ([`terminator`]), and go to the server in binary where they can ([`binary`]).
//!
//! Architecture invariant: a data object is a concatenation of independent frames whose decoded text ends in
//! [`TERMINATOR`]; whoever reads it to its end without an error has read all of it.

pub mod binary;
pub mod codec;
pub mod compressors;
pub mod copy_binary;
pub mod digest;
pub mod frames;
pub mod parts;
pub mod rows;
pub mod statements;
pub mod terminator;
pub mod windows;

pub use codec::Codec;
pub use compressors::Compressors;
pub use digest::{Digest, Expected, Run, frame_checksum, verified, verified_runs};
pub use frames::{FrameBuilder, RawFrame, TERMINATOR};
pub use parts::{PartCutter, part_size};
pub use rows::{RowsDigest, RowsDigester};
pub use statements::StatementCutter;
pub use terminator::TerminatorStripper;
pub use windows::{Window, Windows};
