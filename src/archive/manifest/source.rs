//! Which server a backup is of.

use crate::model::name::one_line;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The server that was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// `server_version`, free text.
    pub version: String,
    /// `server_version_num`, such as 180004.
    pub version_num: u32,
    /// Whether it was a standby.
    pub in_recovery: bool,
    /// What tells it from other servers; absent in earlier backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceFacts>,
}

/// What tells a server from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// What initdb gave it, which its standbys have, too; absent where it may not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The host, or the folder of the socket, that it answered on.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl SourceFacts {
    /// Whether both are one server: by the identifiers, or by host and port where one has none.
    pub fn is_same_server(&self, other: &SourceFacts) -> bool {
        match (&self.system_identifier, &other.system_identifier) {
            (Some(one), Some(other)) => one == other,
            _ => (&self.host, self.port) == (&other.host, other.port),
        }
    }
}

impl fmt::Display for SourceFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", one_line(&self.host), self.port)?;
        match &self.system_identifier {
            Some(identifier) => write!(f, ", system identifier {}", one_line(identifier)),
            None => Ok(()),
        }
    }
}

/// What the beginning of a manifest says of the server; `None` where it does not come as far, or is no manifest. It is not held
/// against the manifest's digest.
pub fn server_of_beginning(text: &[u8]) -> Option<ServerFacts> {
    struct Seeker<'a>(&'a mut Option<ServerFacts>);
    impl<'de> Visitor<'de> for Seeker<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a manifest")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == "server" {
                    *self.0 = Some(map.next_value()?);
                    break;
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut found = None;
    // That the rest is missing is no fault here.
    let _unread = serde_json::Deserializer::from_slice(text).deserialize_map(Seeker(&mut found));
    found
}
