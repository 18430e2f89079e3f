//! A server's version, as `server_version_num` gives it.

use std::fmt;

/// For instance 150018 for 15.18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion(pub u32);

impl ServerVersion {
    /// The oldest major that pgstow reads.
    pub const OLDEST: u32 = 12;
    /// The newest major that pgstow knows; a newer one works with a warning.
    pub const NEWEST: u32 = 19;

    /// The major version, such as 15.
    pub fn major(self) -> u32 {
        self.0 / 10_000
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
    }
}
