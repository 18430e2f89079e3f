//! What this process asks of S3, in the words of IAM: for policies that allow what a real run used, and nothing else.
//!
//! Always true here: nothing is noted unless somebody asked for it, and what is noted is bounded: what is named after a
//! moment, as every backup is, becomes `*`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation as op;
use aws_smithy_runtime_api::client::interceptors::context::Input;

use crate::error::{Error, Kind, Result};

/// Where requests are noted once somebody wants it.
static NOTED: OnceLock<Mutex<BTreeSet<Request>>> = OnceLock::new();

/// One kind of request: an action on a bucket, or on objects in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The action's name in IAM, such as `s3:PutObject`.
    pub action: String,
    /// The bucket.
    pub bucket: String,
    /// The objects, `*` standing for anything; for a listing the prefix that was listed. Empty: the bucket itself, or a
    /// listing of all of it.
    pub keys: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action, self.bucket, self.keys)
    }
}

impl FromStr for Request {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(action), Some(bucket), keys) if action.starts_with("s3:") && !bucket.is_empty() => {
                Ok(Request { action: action.into(), bucket: bucket.into(), keys: keys.unwrap_or_default().into() })
            }
            _ => Err(Error::new(Kind::Usage, format!("{line:?} is no request as `--note-requests` writes them"))),
        }
    }
}

/// From now on, requests of this process are noted.
pub fn note_requests() {
    NOTED.get_or_init(Mutex::default);
}

/// What was noted so far.
pub fn noted_requests() -> BTreeSet<Request> {
    NOTED.get().map(|noted| noted.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
}

/// Notes what the SDK sends.
#[derive(Debug)]
pub(super) struct Noting;

impl Noting {
    /// An interceptor, if requests are to be noted.
    pub(super) fn if_wanted() -> Option<Noting> {
        NOTED.get().map(|_| Noting)
    }
}

impl Intercept for Noting {
    fn name(&self) -> &'static str {
        "pgstow notes requests"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        if let Some(noted) = NOTED.get() {
            noted.lock().unwrap_or_else(PoisonError::into_inner).extend(requests(context.input()));
        }
        Ok(())
    }
}

/// What the input of an operation asks for, by the "Actions, resources, and condition keys for Amazon S3" of the Amazon S3
/// user guide.
fn requests(input: &Input) -> Vec<Request> {
    let request = |action: &str, bucket: Option<&str>, keys: Option<&str>| Request {
        action: format!("s3:{action}"),
        bucket: bucket.unwrap_or_default().to_owned(),
        keys: general(keys.unwrap_or_default()),
    };
    macro_rules! objects {
        ($($operation:ident $input:ident $action:literal)*) => {$(
            if let Some(input) = input.downcast_ref::<op::$operation::$input>() {
                return vec![request($action, input.bucket(), input.key())];
            }
        )*};
    }
    macro_rules! buckets {
        ($($operation:ident $input:ident $action:literal)*) => {$(
            if let Some(input) = input.downcast_ref::<op::$operation::$input>() {
                return vec![request($action, input.bucket(), None)];
            }
        )*};
    }
    macro_rules! copies {
        ($($operation:ident $input:ident)*) => {$(
            if let Some(input) = input.downcast_ref::<op::$operation::$input>() {
                let (bucket, key) = source(input.copy_source().unwrap_or_default());
                return vec![
                    request("PutObject", input.bucket(), input.key()),
                    request("GetObject", Some(&bucket), Some(&key)),
                ];
            }
        )*};
    }
    objects! {
        put_object PutObjectInput "PutObject"
        create_multipart_upload CreateMultipartUploadInput "PutObject"
        upload_part UploadPartInput "PutObject"
        complete_multipart_upload CompleteMultipartUploadInput "PutObject"
        abort_multipart_upload AbortMultipartUploadInput "AbortMultipartUpload"
        get_object GetObjectInput "GetObject"
        delete_object DeleteObjectInput "DeleteObject"
        restore_object RestoreObjectInput "RestoreObject"
    }
    // That something is missing is told only to those who may list it.
    if let Some(input) = input.downcast_ref::<op::head_object::HeadObjectInput>() {
        return ["GetObject", "ListBucket"].map(|action| request(action, input.bucket(), input.key())).into();
    }
    copies! { copy_object CopyObjectInput upload_part_copy UploadPartCopyInput }
    buckets! {
        head_bucket HeadBucketInput "ListBucket"
        create_bucket CreateBucketInput "CreateBucket"
        get_bucket_location GetBucketLocationInput "GetBucketLocation"
        get_bucket_versioning GetBucketVersioningInput "GetBucketVersioning"
        put_bucket_versioning PutBucketVersioningInput "PutBucketVersioning"
        get_bucket_encryption GetBucketEncryptionInput "GetEncryptionConfiguration"
        put_bucket_encryption PutBucketEncryptionInput "PutEncryptionConfiguration"
        get_public_access_block GetPublicAccessBlockInput "GetBucketPublicAccessBlock"
        put_public_access_block PutPublicAccessBlockInput "PutBucketPublicAccessBlock"
        get_bucket_policy GetBucketPolicyInput "GetBucketPolicy"
        put_bucket_policy PutBucketPolicyInput "PutBucketPolicy"
        get_bucket_lifecycle_configuration GetBucketLifecycleConfigurationInput "GetLifecycleConfiguration"
        put_bucket_lifecycle_configuration PutBucketLifecycleConfigurationInput "PutLifecycleConfiguration"
        get_object_lock_configuration GetObjectLockConfigurationInput "GetBucketObjectLockConfiguration"
        put_object_lock_configuration PutObjectLockConfigurationInput "PutBucketObjectLockConfiguration"
        list_multipart_uploads ListMultipartUploadsInput "ListBucketMultipartUploads"
    }
    if let Some(input) = input.downcast_ref::<op::list_objects_v2::ListObjectsV2Input>() {
        return vec![request("ListBucket", input.bucket(), input.prefix())];
    }
    if let Some(input) = input.downcast_ref::<op::delete_objects::DeleteObjectsInput>() {
        let objects = input.delete().map(aws_sdk_s3::types::Delete::objects).unwrap_or_default();
        return objects.iter().map(|object| request("DeleteObject", input.bucket(), Some(object.key()))).collect();
    }
    Vec::new()
}

/// Keys with `*` for what is named after a moment and all below it; a manifest keeps its name, for some may read manifests
/// alone.
fn general(key: &str) -> String {
    let mut folders = Vec::new();
    for name in key.split('/') {
        if name.starts_with("pgstow-doctor-") {
            folders.push("pgstow-doctor-*");
            break;
        }
        if names_a_moment(name) {
            folders.push("*");
            folders.extend(key.ends_with("/manifest.json").then_some("manifest.json"));
            break;
        }
        folders.push(name);
    }
    folders.join("/")
}

/// Whether a name begins like `20261124T023000Z`.
fn names_a_moment(name: &str) -> bool {
    let shape = name.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte }).take(16);
    shape.eq(*b"00000000T000000Z")
}

/// Bucket and key of a copy's source, which is `bucket/key` with escapes.
fn source(text: &str) -> (String, String) {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.trim_start_matches('/').bytes();
    while let Some(byte) = rest.next() {
        let escaped = || -> Option<u8> {
            let digits = [rest.clone().next()?, rest.clone().nth(1)?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        };
        match (byte, if byte == b'%' { escaped() } else { None }) {
            (_, Some(meant)) => {
                bytes.push(meant);
                rest.nth(1);
            }
            (byte, None) => bytes.push(byte),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once('/') {
        Some((bucket, key)) => (bucket.to_owned(), key.to_owned()),
        None => (text, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, Request, general, op, requests, source};

    #[test]
    fn keys_are_noted_without_what_differs_from_run_to_run() {
        let keys = |key: &str| general(key);
        assert_eq!(keys("db/shop/20261124T023000Z-4f7a2c/data_1.dat.zst"), "db/shop/*");
        assert_eq!(keys("db/shop/20261124T023000Z-4f7a2c/manifest.json"), "db/shop/*/manifest.json");
        assert_eq!(keys("db/shop/20261124T023000Z-4f7a2c/"), "db/shop/*");
        assert_eq!(keys("db/pgstow-doctor-0a1b2c-object"), "db/pgstow-doctor-*");
        assert_eq!(["", "db/", "db/2026"].map(keys), ["", "db/", "db/2026"]);
        assert_eq!(source("/from/db/a%2520b%2Fc"), ("from".into(), "db/a%20b/c".into()));
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_a_copy_reads_and_writes() {
        let copy = op::copy_object::CopyObjectInput::builder().bucket("to").key("a/b").copy_source("from/c");
        let found = requests(&Input::erase(copy.build().expect("an input")));
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["s3:PutObject to a/b", "s3:GetObject from c"]);
        assert_eq!(lines.iter().map(|line| line.parse().expect("a request")).collect::<Vec<Request>>(), found);
        assert!("PutObject to a".parse::<Request>().is_err());
        let whole = "s3:GetBucketVersioning b ".parse::<Request>().expect("a request");
        assert_eq!((whole.bucket.as_str(), whole.keys.as_str()), ("b", ""));
    }
}
