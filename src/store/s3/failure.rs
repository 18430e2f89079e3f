//! What an S3 store answers, as errors with hints.
//!
//! The codes are those of the "Error responses" page of the Amazon S3 API reference, and what compatible stores make
//! of them.

use std::error::Error as _;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::Error;

use super::super::failure::{StoreProblem, printable, store_error_with};

type Failed<E> = SdkError<E, HttpResponse>;

/// One failed request as an error of this room. `doing` says what was tried, `name` on which object.
pub(super) fn describe_failure<E>(error: &Failed<E>, doing: &str, name: &str) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let (problem, hint) = classify(error);
    let described = store_error_with(problem, doing, &detail(error)).on(name);
    match hint {
        Some(hint) => described.hint(hint),
        None => described,
    }
}

/// Whether the store said yes, but with an answer that does not parse.
pub(super) fn is_unreadable<E: ProvideErrorMetadata>(error: &Failed<E>) -> bool {
    error.raw_response().is_some_and(|response| response.status().is_success()) && code(error).is_none()
}

/// The code of a failed request, such as `NoSuchKey`.
pub(super) fn code<E: ProvideErrorMetadata>(error: &Failed<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn detail<E>(error: &Failed<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    if is_unreadable(error) {
        return "the store's answer makes no sense".to_owned();
    }
    if let Some(service) = error.as_service_error() {
        let said = match (service.code(), service.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => String::new(),
        };
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        return if said.is_empty() { format!("the store answered {status}") } else { format!("{said} ({status})") };
    }
    if let Some(CredentialsError::CredentialsNotLoaded(_)) = cause_of::<CredentialsError>(error) {
        // The SDK's own text lists every place it looked in, in one breath.
        return "no credentials were found".to_owned();
    }
    // The outer texts say "dispatch failure" and the like; the innermost says what happened.
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

fn classify<E>(error: &Failed<E>) -> (StoreProblem, Option<String>)
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        _ if is_unreadable(error) => (
            StoreProblem::Garbled,
            Some("the answer was cut short or is not S3's: check that the endpoint is an S3 server".to_owned()),
        ),
        SdkError::ServiceError(_) => {
            let status = error.raw_response().map_or(0, |response| response.status().as_u16());
            let region = error.raw_response().and_then(|response| response.headers().get("x-amz-bucket-region"));
            by_code(code(error).unwrap_or(""), status, region)
        }
        _ if cause_of::<CredentialsError>(error).is_some() => (
            // A provider that fails or is late may do better later; one that has nothing, or nonsense, will not.
            match cause_of::<CredentialsError>(error) {
                Some(CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_)) => {
                    StoreProblem::Expired
                }
                _ => StoreProblem::Denied,
            },
            Some(
                "no usable S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE".to_owned(),
            ),
        ),
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => (
            StoreProblem::Unreachable,
            Some("check the endpoint, the network and the proxy settings, and whether the server runs".to_owned()),
        ),
        _ => (StoreProblem::Other, None),
    }
}

fn by_code(code: &str, status: u16, region: Option<&str>) -> (StoreProblem, Option<String>) {
    let (problem, hint) = match (code, status) {
        ("NoSuchBucket", _) => (StoreProblem::NoBucket, "create the bucket first, or check its name and the endpoint"),
        ("NoSuchKey" | "NotFound" | "NoSuchUpload", _) => (StoreProblem::NotFound, ""),
        ("PreconditionFailed", _) => (StoreProblem::AlreadyExists, ""),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => {
            let hint = match region {
                Some(region) => format!("the bucket is in the region {}: set AWS_REGION to it", printable(region)),
                None => "the bucket is in another region: set AWS_REGION to it".to_owned(),
            };
            return (StoreProblem::Other, Some(hint));
        }
        ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => (
            StoreProblem::Expired,
            "the S3 credentials have expired: get new ones, or let the SDK get them (AWS_PROFILE, an instance's role)",
        ),
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken", _) => (
            StoreProblem::Denied,
            "check the S3 credentials: the store does not accept this key, its secret, or its token",
        ),
        ("RequestTimeTooSkewed", _) => (StoreProblem::Denied, "set this machine's clock"),
        ("InvalidObjectState", _) => (
            StoreProblem::Frozen,
            "the object lies in an archive class: `pgstow thaw BACKUP` asks the store to make it readable",
        ),
        // Object Lock wants one on every write (Amazon S3 API reference, PutObject).
        ("MissingUploadObjectWithObjectLockHeaders", _) => (
            StoreProblem::Other,
            "the bucket locks objects, so writes need checksums: set AWS_REQUEST_CHECKSUM_CALCULATION=when_supported",
        ),
        ("InvalidBucketState", _) => (
            StoreProblem::Other,
            "this store locks only buckets that were made with a lock: use a new one, or no --lock",
        ),
        ("InvalidStorageClass", _) => (StoreProblem::Other, "this store does not have that storage class"),
        ("EntityTooSmall", _) => (StoreProblem::Other, "all parts except the last need at least 5 MiB"),
        ("NotImplemented" | "MethodNotAllowed", _) | (_, 405 | 501) => (StoreProblem::Unsupported, ""),
        ("SlowDown" | "ServiceUnavailable" | "RequestTimeout" | "InternalError", _) => {
            (StoreProblem::Unreachable, "the store is overloaded or failing: try again later, or with fewer workers")
        }
        (_, 401 | 403) => (
            StoreProblem::Denied,
            "these credentials may not do that: check the policy for the bucket and the prefix, and the bucket's name",
        ),
        (_, 404) => (StoreProblem::NotFound, ""),
        (_, 412) => (StoreProblem::AlreadyExists, ""),
        (_, 408 | 429 | 500 | 502..=599) => {
            (StoreProblem::Unreachable, "the store is overloaded or failing: try again later")
        }
        _ => (StoreProblem::Other, ""),
    };
    (problem, (!hint.is_empty()).then(|| hint.to_owned()))
}

/// The first error of this type in the chain of causes.
fn cause_of<'a, C: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a C> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::{StoreProblem, by_code};

    #[test]
    fn codes_and_bare_statuses_say_what_to_do() {
        for (code, status, problem, has_hint) in [
            ("NoSuchBucket", 404, StoreProblem::NoBucket, true),
            ("NoSuchKey", 404, StoreProblem::NotFound, false),
            ("", 404, StoreProblem::NotFound, false),
            ("AccessDenied", 403, StoreProblem::Denied, true),
            ("", 403, StoreProblem::Denied, true),
            ("InvalidAccessKeyId", 403, StoreProblem::Denied, true),
            ("RequestTimeTooSkewed", 403, StoreProblem::Denied, true),
            ("PreconditionFailed", 412, StoreProblem::AlreadyExists, false),
            ("NotImplemented", 501, StoreProblem::Unsupported, false),
            ("SlowDown", 503, StoreProblem::Unreachable, true),
            ("", 500, StoreProblem::Unreachable, true),
            ("", 429, StoreProblem::Unreachable, true),
            ("ExpiredToken", 400, StoreProblem::Expired, true),
            ("Unheard", 400, StoreProblem::Other, false),
        ] {
            let (found, hint) = by_code(code, status, None);
            assert_eq!((found, hint.is_some()), (problem, has_hint), "{code} {status}");
        }
    }

    #[test]
    fn a_wrong_region_names_the_right_one() {
        let (_, hint) = by_code("PermanentRedirect", 301, Some("eu-west-3"));
        assert!(hint.expect("a hint").contains("eu-west-3"));
        let (_, hint) = by_code("", 301, None);
        assert!(hint.is_some());
    }
}
