//! Archive classes: objects that have to be thawed before they can be read.

use std::fmt;
use std::time::SystemTime;

use crate::error::Error;

use super::failure::{StoreProblem, store_error};

/// The classes whose objects cannot be read as they lie (Amazon S3 user guide, "Understanding archive retrieval options").
/// `GLACIER_IR` is none of them.
const ARCHIVE: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// The class that archives objects by itself after a time where its bucket says so: what is archived is told of each object
/// alone, as the tier that it is in (`ARCHIVE_ACCESS`, `DEEP_ARCHIVE_ACCESS`).
const ARCHIVES_BY_ITSELF: &str = "INTELLIGENT_TIERING";

/// Whether objects of a class have to be thawed before they can be read.
pub fn is_archive_class(class: &str) -> bool {
    ARCHIVE.contains(&class)
}

/// Whether objects of a class may have to be, which each tells for itself.
pub fn may_be_archived(class: &str) -> bool {
    is_archive_class(class) || class == ARCHIVES_BY_ITSELF
}

/// Whether what is thawed from a class or tier is a copy that goes again after some days. What `INTELLIGENT_TIERING` thaws
/// moves back to its readable tier, and a request that says days is refused (Amazon S3 user guide, "Restoring an archived
/// object").
pub fn thaws_for_days(class: &str) -> bool {
    is_archive_class(class)
}

fn is_deep(class: &str) -> bool {
    matches!(class, "DEEP_ARCHIVE" | "DEEP_ARCHIVE_ACCESS")
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
        self != Tier::Expedited || !is_deep(class)
    }

    /// How long AWS says that it takes.
    pub fn takes(self, class: &str) -> &'static str {
        match (self, is_deep(class)) {
            (Tier::Expedited, _) => "1 to 5 minutes",
            (Tier::Standard, true) => "up to 12 hours",
            (Tier::Standard, false) => "3 to 5 hours",
            (Tier::Bulk, true) => "up to 48 hours",
            (Tier::Bulk, false) => "5 to 12 hours",
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
