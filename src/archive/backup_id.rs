//! A backup's name: when it was begun, and a tail that tells two of the same second apart.

use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// For instance `20261123T234711Z-4f7a2c`: UTC time to the second, and six random lower-case hexadecimal digits. Ids
/// sort by time as text does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const TIME_LENGTH: usize = "20261123T234711Z".len();

impl BackupId {
    /// A new id for a backup that begins now.
    pub fn new(now: Timestamp) -> Self {
        let tail = rand::random::<u32>() & 0x00ff_ffff;
        BackupId(format!("{}-{tail:06x}", now.strftime(TIME_FORMAT)))
    }

    /// Reads an id; anything but the exact form is refused, for ids become parts of keys.
    pub fn parse(text: &str) -> Result<Self> {
        if created(text).is_none() {
            return Err(Error::new(Kind::Usage, format!("{text:?} is not the id of a backup"))
                .hint("ids look like 20261123T234711Z-4f7a2c; `pgstow list` shows them"));
        }
        Ok(BackupId(text.to_owned()))
    }

    /// When the backup was begun, to the second.
    pub fn created(&self) -> Timestamp {
        created(&self.0).expect("an id is checked when it is made")
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn created(text: &str) -> Option<Timestamp> {
    let (time, tail) = text.split_at_checked(TIME_LENGTH)?;
    let digits = |range: std::ops::Range<usize>| time.as_bytes()[range].iter().all(u8::is_ascii_digit);
    let tail = tail.strip_prefix('-')?;
    if !digits(0..8)
        || !digits(9..15)
        || tail.len() != 6
        || !tail.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let civil = DateTime::strptime(TIME_FORMAT, time).ok()?;
    Some(civil.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp())
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        BackupId::parse(text)
    }
}

impl TryFrom<String> for BackupId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        BackupId::parse(&text)
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::BackupId;
    use jiff::Timestamp;

    #[test]
    fn ids_sort_by_time_and_give_it_back_to_the_second() {
        let first: Timestamp = "2026-11-23T23:47:11.999Z".parse().expect("a time");
        let second: Timestamp = "2026-11-23T23:47:12Z".parse().expect("a time");
        let (first, second) = (BackupId::new(first), BackupId::new(second));
        assert!(first < second);
        assert!(first.as_str().starts_with("20261123T234711Z-"));
        assert_eq!(second.created().to_string(), "2026-11-23T23:47:12Z");
        assert_eq!(BackupId::parse(first.as_str()).expect("an id"), first);
    }

    #[test]
    fn two_ids_of_one_moment_differ() {
        let now = Timestamp::now();
        let ids: std::collections::HashSet<BackupId> = (0..4).map(|_| BackupId::new(now)).collect();
        assert!(ids.len() > 1);
    }

    #[test]
    fn nothing_but_the_exact_form_is_an_id() {
        for text in [
            "",
            "latest",
            "20261123T234711Z-4f7a2",
            "20261123T234711Z-4f7a2cc",
            "20261123T234711Z-4F7A2C",
            "20261123T234711Z-../..",
            "20261323T234711Z-4f7a2c",
            "20261123T254711Z-4f7a2c",
            "+0261123T234711Z-4f7a2c",
            "20261123t234711Z-4f7a2c",
            "2026112äT234711Z-4f7a2c",
        ] {
            assert!(BackupId::parse(text).is_err(), "{text:?}");
        }
    }
}
