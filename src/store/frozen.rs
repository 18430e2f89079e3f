//! Archive classes: objects that have to be thawed before they can be read.

use std::fmt;
use std::time::SystemTime;

use crate::error::Error;

use super::failure::{StoreProblem, store_error};

/// The classes whose objects cannot be read as they lie (Amazon S3 user guide, "Understanding archive retrieval options").
/// `GLACIER_IR` is none of them.
const ARCHIVE: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Whether objects of a class have to be thawed before they can be read.
pub fn is_archive_class(class: &str) -> bool {
    ARCHIVE.contains(&class)
}

/// How an object in an archive class stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thawing {
    /// It cannot be read, and nobody has asked for it.
    Frozen,
    /// It cannot be read yet.
    UnderWay,
    /// It can be read until then, if the store says until when.
    Until(Option<SystemTime>),
}

impl Thawing {
    /// Whether it can be read.
    pub fn is_readable(self) -> bool {
        matches!(self, Thawing::Until(_))
    }
}

/// How quickly a store thaws, and for how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The cheapest.
    Bulk,
    /// The usual one.
    Standard,
    /// The quickest, not for every class.
    Expedited,
}

impl Tier {
    /// Whether objects of a class can be had this way.
    pub fn serves(self, class: &str) -> bool {
        self != Tier::Expedited || class != "DEEP_ARCHIVE"
    }

    /// How long AWS says that it takes.
    pub fn takes(self, class: &str) -> &'static str {
        match (self, class) {
            (Tier::Expedited, _) => "1 to 5 minutes",
            (Tier::Standard, "DEEP_ARCHIVE") => "up to 12 hours",
            (Tier::Standard, _) => "3 to 5 hours",
            (Tier::Bulk, "DEEP_ARCHIVE") => "up to 48 hours",
            (Tier::Bulk, _) => "5 to 12 hours",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Bulk => "bulk",
            Tier::Standard => "standard",
            Tier::Expedited => "expedited",
        })
    }
}

/// The error of something that has to be thawed first.
pub fn frozen(message: impl Into<String>) -> Error {
    store_error(StoreProblem::Frozen, message)
}
