//! Copies that a store makes by itself, without the bytes passing here: who can, and what it says of the copy.

use super::{S3Options, StorageClass};

/// Where an S3 store is, and as whom it is spoken to.
#[derive(Debug, Clone)]
pub struct Address {
    /// The server's address; `None` is AWS itself.
    pub(super) endpoint: Option<String>,
    /// What else was said about reaching it, credentials among it.
    pub(super) options: S3Options,
    /// The bucket.
    pub(super) bucket: String,
    /// The path in the bucket, empty or ending in a slash.
    pub(super) prefix: String,
}

impl Address {
    /// Whether one request can read here and write there: one server (regions of AWS are one), one set of credentials.
    pub fn shares_a_server_with(&self, other: &Address) -> bool {
        self.endpoint == other.endpoint
            && self.options.credentials == other.options.credentials
            && self.options.profile == other.options.profile
    }

    /// A key as the header `x-amz-copy-source` has it: bucket and key, percent-encoded.
    pub(super) fn copy_source(&self, key: &str) -> String {
        let mut encoded = String::new();
        for byte in format!("{}/{}{key}", self.bucket, self.prefix).bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        encoded
    }
}

/// One object that a store is asked to copy by itself.
#[derive(Debug, Clone, Copy)]
pub struct ServerCopy<'a> {
    /// The store it lies in.
    pub from: &'a Address,
    /// Its key there.
    pub source: &'a str,
    /// The key of the copy.
    pub key: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// The storage class of the copy.
    pub class: Option<&'a StorageClass>,
}

/// What a store says of a copy that it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// The SHA-256 of the whole copy, 64 lower-case hexadecimal digits.
    Sha256(String),
    /// The copy has the source's `ETag`, which S3 takes from the contents.
    SameEtag,
    /// Nothing that would tell whether the bytes are the same.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::{Address, S3Options};
    use crate::model::Secret;

    fn address(endpoint: Option<&str>, key: &str) -> Address {
        let credentials = Some((key.to_owned(), Secret::new("secret")));
        let options = S3Options { credentials, ..S3Options::default() };
        let endpoint = endpoint.map(str::to_owned);
        Address { endpoint, options, bucket: "b".to_owned(), prefix: "p/".to_owned() }
    }

    #[test]
    fn a_server_copies_only_within_itself_and_for_one_user() {
        assert!(address(None, "a").shares_a_server_with(&address(None, "a")));
        assert!(!address(None, "a").shares_a_server_with(&address(None, "b")));
        assert!(!address(None, "a").shares_a_server_with(&address(Some("http://h"), "a")));
        let mut with_region = address(None, "a");
        with_region.options.region = Some("eu-west-1".to_owned());
        assert!(address(None, "a").shares_a_server_with(&with_region), "regions of AWS copy from each other");
    }

    #[test]
    fn a_copy_source_is_encoded() {
        assert_eq!(address(None, "a").copy_source("my%20shop/ü+?.dat"), "b/p/my%2520shop/%C3%BC%2B%3F.dat");
    }
}
