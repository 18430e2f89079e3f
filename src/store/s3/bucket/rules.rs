//! Lifecycle rules: reading them, and replacing one of them without losing the others.

use aws_sdk_s3::types as sdk;

use crate::error::Result;

use super::super::super::bucket::{Answer, LifecycleRule};
use super::super::super::failure::{StoreProblem, store_error};
use super::{S3Store, answered, unsendable};

/// The rules as the store wrote them.
pub(super) async fn raw(store: &S3Store) -> Result<Answer<Vec<sdk::LifecycleRule>>> {
    let place = &store.place;
    let sent = place.client().get_bucket_lifecycle_configuration().bucket(&place.bucket).send().await;
    Ok(answered(store, "cannot ask for the lifecycle rules of", sent)?.and_then(|answer| answer.rules))
}

/// Puts a rule in the place of the one with its id. The store takes all rules at once, so the others are sent back as
/// they came.
pub(super) async fn replace(store: &S3Store, rule: &LifecycleRule) -> Result<()> {
    let mut rules = match raw(store).await? {
        Answer::Set(rules) => rules,
        Answer::Unset => Vec::new(),
        Answer::Unsupported => {
            return Err(
                store_error(StoreProblem::Unsupported, "the store has no lifecycle rules").on(store.bucket_name())
            );
        }
        Answer::Denied => {
            return Err(store_error(StoreProblem::Denied, "cannot read the lifecycle rules, so cannot add to them")
                .on(store.bucket_name())
                .hint("s3:GetLifecycleConfiguration is needed"));
        }
    };
    rules.retain(|old| old.id() != Some(rule.id.as_str()));
    rules.push(written(rule)?);
    let configuration = sdk::BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
    let configuration = configuration.map_err(|error| unsendable(&error))?;
    let request = store.place.client().put_bucket_lifecycle_configuration().bucket(&store.place.bucket);
    let sent = request.lifecycle_configuration(configuration).send().await;
    store.changed("cannot set the lifecycle rules of", sent)
}

/// A rule as far as it is understood.
pub(super) fn understood(rule: &sdk::LifecycleRule) -> LifecycleRule {
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    let filter = rule.filter();
    #[expect(deprecated, reason = "rules from before filters have their prefix there")]
    let old_prefix = rule.prefix();
    let and = filter.and_then(|filter| filter.and());
    let prefix = filter.and_then(|filter| filter.prefix()).or(and.and_then(|and| and.prefix())).or(old_prefix);
    let narrowed = and.is_some()
        || filter.is_some_and(|filter| {
            filter.tag().is_some()
                || filter.object_size_greater_than().is_some()
                || filter.object_size_less_than().is_some()
        });
    let transitions = rule
        .transitions()
        .iter()
        .filter_map(|transition| Some((days(transition.days())?, transition.storage_class()?.as_str().to_owned())));
    let hidden = rule.noncurrent_version_expiration();
    LifecycleRule {
        id: rule.id().unwrap_or_default().to_owned(),
        prefix: prefix.unwrap_or_default().to_owned(),
        enabled: rule.status() == &sdk::ExpirationStatus::Enabled,
        narrowed,
        transitions: transitions.collect(),
        expire_days: days(rule.expiration().and_then(sdk::LifecycleExpiration::days)),
        hidden_days: hidden
            .filter(|hidden| hidden.newer_noncurrent_versions().is_none())
            .and_then(|hidden| days(hidden.noncurrent_days())),
        abort_days: days(
            rule.abort_incomplete_multipart_upload()
                .and_then(sdk::AbortIncompleteMultipartUpload::days_after_initiation),
        ),
    }
}

/// A rule as the store takes it.
fn written(rule: &LifecycleRule) -> Result<sdk::LifecycleRule> {
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let mut builder = sdk::LifecycleRule::builder()
        .id(&rule.id)
        .status(sdk::ExpirationStatus::Enabled)
        .filter(sdk::LifecycleRuleFilter::builder().prefix(&rule.prefix).build());
    for (after, class) in &rule.transitions {
        let class = sdk::TransitionStorageClass::from(class.as_str());
        builder = builder.transitions(sdk::Transition::builder().days(days(*after)).storage_class(class).build());
    }
    if let Some(after) = rule.expire_days {
        builder = builder.expiration(sdk::LifecycleExpiration::builder().days(days(after)).build());
    } else if rule.hidden_days.is_some() {
        // Otherwise the marks that deletions leave would stay when the versions below them are gone.
        builder = builder.expiration(sdk::LifecycleExpiration::builder().expired_object_delete_marker(true).build());
    }
    if let Some(after) = rule.hidden_days {
        let expiration = sdk::NoncurrentVersionExpiration::builder().noncurrent_days(days(after)).build();
        builder = builder.noncurrent_version_expiration(expiration);
    }
    if let Some(after) = rule.abort_days {
        let abort = sdk::AbortIncompleteMultipartUpload::builder().days_after_initiation(days(after)).build();
        builder = builder.abort_incomplete_multipart_upload(abort);
    }
    builder.build().map_err(|error| unsendable(&error))
}
