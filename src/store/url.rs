//! Store URLs: `s3://bucket/prefix` and `file:///folder`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// Where a store is. `Display` writes what parses to the same value again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A bucket, and a path within it without slashes at its ends; an empty prefix is the whole bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The path within it, perhaps empty.
        prefix: String,
    },
    /// A folder, as an absolute path. The text of a `file://` URL is the path as it is; nothing in it is decoded.
    Folder(PathBuf),
}

const FORMS: &str = "a store is s3://bucket/prefix or file:///absolute/folder";

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.chars().any(char::is_control) {
            return Err(Error::new(Kind::Usage, "the store URL holds a control character").hint(FORMS));
        }
        match text.split_once("://") {
            Some(("s3", rest)) => bucket(rest),
            Some(("file", rest)) => folder(rest),
            // The text is not repeated from here on: a URL of another kind may hold a password.
            Some((scheme, _)) => {
                Err(Error::new(Kind::Usage, format!("no store is spelt {scheme}://")).hint(match scheme {
                    "http" | "https" => {
                        "give the bucket as s3://bucket/prefix and the server's address as the endpoint"
                    }
                    _ => FORMS,
                }))
            }
            None if text.starts_with('/') => Err(Error::new(Kind::Usage, format!("{text} is a path, not a store URL"))
                .hint(format!("write file://{text}"))),
            None => Err(Error::new(Kind::Usage, "this is not a store URL").hint(FORMS)),
        }
    }
}

/// The part after `s3://`.
fn bucket(rest: &str) -> Result<StoreUrl> {
    let usage = |message: String| Error::new(Kind::Usage, message);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(usage("the store URL names no bucket".into()).hint(FORMS));
    }
    if bucket.contains('@') {
        return Err(usage("a store URL holds no credentials".into())
            .hint("S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from an AWS profile"));
    }
    if bucket.contains(':') {
        return Err(usage(format!("{bucket} is not the name of a bucket"))
            .hint("give the server's address as the endpoint, not in the URL"));
    }
    // Laxer than AWS is today (lower case only), for other stores and old buckets have more; strict enough for a host.
    let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bucket.len() > 255 || !bucket.chars().all(plausible) || !bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Err(usage(format!("{bucket} is not the name of a bucket"))
            .hint("bucket names are made of letters, digits, dots and hyphens"));
    }
    let prefix = prefix.trim_matches('/');
    if prefix.contains('?') {
        return Err(usage("a store URL takes no parameters after `?`".into())
            .hint("endpoint, region and path style are options and environment variables"));
    }
    if !prefix.is_empty() && prefix.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err(usage("the prefix holds an empty path component, `.` or `..`".into()).hint(FORMS));
    }
    Ok(StoreUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// The part after `file://`.
fn folder(rest: &str) -> Result<StoreUrl> {
    let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
    if !Path::new(path).is_absolute() {
        return Err(Error::new(Kind::Usage, "the folder of a file:// store must be an absolute path")
            .hint("write three slashes: file:///var/backups"));
    }
    Ok(StoreUrl::Folder(Path::new(path).components().collect()))
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            StoreUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            StoreUrl::Folder(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, StoreUrl};

    #[test]
    fn a_store_url_reads_and_writes_the_same() {
        for (text, written) in [
            ("s3://backups", "s3://backups"),
            ("s3://backups/", "s3://backups"),
            ("s3://backups/a/b c/", "s3://backups/a/b c"),
            ("s3://my.Old_bucket-1/x%20y", "s3://my.Old_bucket-1/x%20y"),
            ("file:///var/backups/", "file:///var/backups"),
            ("file:///a b%20c", "file:///a b%20c"),
            ("file://localhost/var", "file:///var"),
            ("file:///", "file:///"),
        ] {
            let url: StoreUrl = text.parse().expect("a store URL");
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse::<StoreUrl>().expect("its own text"), url);
        }
    }

    #[test]
    fn a_bad_store_url_is_a_usage_error_with_a_hint() {
        for text in [
            "",
            "backups",
            "/var/backups",
            "s3:/x",
            "s3://",
            "s3:///x",
            "s3://b:9000/x",
            "s3://b/../x",
            "s3://b/a//b",
            "s3://b/x?region=y",
            "s3://-b",
            "s3://b ü/x",
            "file://var",
            "file://",
            "gs://b",
            "https://host/b",
            "s3://b/\n",
        ] {
            let error = text.parse::<StoreUrl>().expect_err(text);
            assert_eq!(error.kind(), Kind::Usage, "{text}");
            assert!(error.hint_text().is_some(), "{text}");
        }
    }

    #[test]
    fn credentials_in_a_store_url_are_refused_and_not_repeated() {
        for text in ["s3://KEY:geheim@bucket/x", "https://u:geheim@host/x", "KEY:geheim@bucket"] {
            let error = text.parse::<StoreUrl>().expect_err(text);
            assert!(!format!("{error} {error:?} {:?}", error.hint_text()).contains("geheim"));
        }
    }
}
