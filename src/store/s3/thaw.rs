//! Objects in archive classes: how they stand, and asking for them.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{ArchiveStatus, GlacierJobParameters, RestoreRequest, StorageClass, Tier as SdkTier};

use crate::error::{Error, Kind, Result};

use super::super::frozen::{Thawing, Tier, is_archive_class};
use super::failure::describe_failure;
use super::{S3Store, time};

/// How an object stands, if it is one that has to be thawed.
pub(super) fn state(head: &HeadObjectOutput) -> Option<Thawing> {
    let archived = head.storage_class().is_some_and(|class| is_archive_class(class.as_str()));
    (archived || head.archive_status().is_some()).then(|| head.restore().map_or(Thawing::Frozen, parse))
}

/// The class of an object, or the tier that it is archived in.
pub(super) fn class(head: &HeadObjectOutput) -> Option<&str> {
    let tier = head.archive_status().map(ArchiveStatus::as_str);
    tier.or_else(|| head.storage_class().map(StorageClass::as_str))
}

/// Reads the header `x-amz-restore`: `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`.
fn parse(header: &str) -> Thawing {
    if !header.contains("ongoing-request=\"false\"") {
        return Thawing::UnderWay;
    }
    let date = header.split_once("expiry-date=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(date, _)| date);
    let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
    Thawing::Until(time(date.as_ref()))
}

/// What is asked for.
fn request(days: Option<u32>, tier: Tier) -> Result<RestoreRequest> {
    let tier = match tier {
        Tier::Bulk => SdkTier::Bulk,
        Tier::Standard => SdkTier::Standard,
        Tier::Expedited => SdkTier::Expedited,
    };
    let unusable = |error| Error::new(Kind::Internal, "a request to thaw cannot be made").because(error);
    let parameters = GlacierJobParameters::builder().tier(tier).build().map_err(unusable)?;
    let days = days.map(|days| i32::try_from(days).unwrap_or(i32::MAX));
    Ok(RestoreRequest::builder().set_days(days).glacier_job_parameters(parameters).build())
}

/// Asks for an object to be readable, for some days if it is a copy that goes again.
pub(super) async fn ask(store: &S3Store, key: &str, days: Option<u32>, tier: Tier) -> Result<()> {
    let answer = store
        .place
        .client()
        .restore_object()
        .bucket(&store.place.bucket)
        .key(store.full_key(key))
        .restore_request(request(days, tier)?)
        .send()
        .await;
    match answer {
        // Somebody has asked before, which is as good.
        Err(error)
            if error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("RestoreAlreadyInProgress") =>
        {
            Ok(())
        }
        answer => answer.map(drop).map_err(|error| describe_failure(&error, "cannot thaw", &store.name(key))),
    }
}

#[cfg(test)]
mod tests {
    use super::{ArchiveStatus, HeadObjectOutput, StorageClass, Thawing, Tier, class, parse, request, state};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn what_intelligent_tiering_archived_is_frozen_in_its_tier_and_thaws_without_days() {
        let head = |archived: Option<ArchiveStatus>, restore: Option<&str>| {
            let head = HeadObjectOutput::builder().storage_class(StorageClass::IntelligentTiering);
            let head = head.set_archive_status(archived).set_restore(restore.map(str::to_owned)).build();
            (class(&head).map(str::to_owned), state(&head))
        };
        let deep = Some(ArchiveStatus::DeepArchiveAccess);
        assert_eq!(head(None, None), (Some("INTELLIGENT_TIERING".to_owned()), None));
        let tier = || Some("DEEP_ARCHIVE_ACCESS".to_owned());
        assert_eq!(head(deep.clone(), None), (tier(), Some(Thawing::Frozen)));
        assert_eq!(head(deep, Some("ongoing-request=\"true\"")), (tier(), Some(Thawing::UnderWay)));
        assert_eq!(request(None, Tier::Bulk).expect("a request").days(), None);
        assert_eq!(request(Some(3), Tier::Bulk).expect("a request").days(), Some(3));
    }

    #[test]
    fn the_header_says_how_an_object_stands() {
        assert_eq!(parse("ongoing-request=\"true\""), Thawing::UnderWay);
        let until = UNIX_EPOCH + Duration::from_secs(1_356_048_000);
        let header = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"";
        assert_eq!(parse(header), Thawing::Until(Some(until)));
        assert_eq!(parse("ongoing-request=\"false\", expiry-date=\"soon\""), Thawing::Until(None));
        assert_eq!(parse("nonsense"), Thawing::UnderWay);
    }
}
