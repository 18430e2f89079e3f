//! Storage classes, as S3 spells them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// The name of a storage class, such as `STANDARD_IA`. Which names exist is the store's affair, for S3-compatible stores
/// have their own; a folder and memory ignore it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StorageClass(String);

impl StorageClass {
    /// The name as it is sent to the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageClass {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plausible = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() || text.len() > 64 || !text.chars().all(plausible) {
            return Err(Error::new(Kind::Usage, format!("{text:?} is not the name of a storage class")).hint(
                "AWS has STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER, DEEP_ARCHIVE",
            ));
        }
        Ok(StorageClass(text.to_ascii_uppercase()))
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::StorageClass;

    #[test]
    fn a_storage_class_is_a_word_in_upper_case() {
        assert_eq!("standard_ia".parse::<StorageClass>().expect("a word").as_str(), "STANDARD_IA");
        for bad in ["", "A B", "A\r\nx: y"] {
            bad.parse::<StorageClass>().expect_err("no word");
        }
    }
}
