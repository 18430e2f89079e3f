//! Deleting objects, a thousand at a time where the store can.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, Result};

use super::super::failure::{StoreProblem, problem, store_error_with};
use super::S3Store;
use super::failure::{code, describe_failure};

/// `DeleteObjects` takes this many keys (Amazon S3 API reference).
const BATCH: usize = 1000;
const AT_ONCE: usize = 8;

/// Deletes these objects; those that are not there count as deleted.
pub(super) async fn keys(store: &S3Store, keys: &[String]) -> Result<()> {
    // XML 1.0 cannot write most control characters, so those keys go alone, in the request's path.
    let (alone, together): (Vec<&String>, Vec<&String>) =
        keys.iter().partition(|key| key.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')));
    one_by_one(store, &alone).await?;
    for batch in together.chunks(BATCH) {
        match *batch {
            [only] => one(store, only).await?,
            _ if !many(store, batch).await? => one_by_one(store, batch).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Deletes a batch in one request. `false`: this store does not take such requests as we send them.
async fn many(store: &S3Store, batch: &[&String]) -> Result<bool> {
    let place = &store.place;
    let mut delete = Delete::builder().quiet(true);
    for key in batch {
        let object = ObjectIdentifier::builder().key(store.full_key(key)).build();
        delete = delete.objects(object.map_err(|error| unsendable(&error))?);
    }
    let delete = delete.build().map_err(|error| unsendable(&error))?;
    let answer = store.place.client().delete_objects().bucket(&place.bucket).delete(delete).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let status = error.raw_response().map_or(0, |response| response.status().as_u16());
            // Google's store has no such request, and older ones want an MD5 that the SDK no longer sends.
            let unsupported = matches!(status, 405 | 411 | 501)
                || matches!(
                    code(&error),
                    Some("MissingContentMD5" | "InvalidArgument" | "InvalidRequest" | "NotImplemented")
                );
            if unsupported {
                return Ok(false);
            }
            return Err(describe_failure(&error, "cannot delete", &store.name("")));
        }
    };
    let failed: Vec<_> = answer.errors().iter().filter(|error| error.code() != Some("NoSuchKey")).collect();
    let Some(first) = failed.first() else { return Ok(true) };
    let key = first.key().and_then(|key| store.own_key(key)).unwrap_or_default();
    let (code, message) = (first.code().unwrap_or_default(), first.message().unwrap_or_default());
    let kind = if code == "AccessDenied" { StoreProblem::Denied } else { StoreProblem::Other };
    let count = failed.len();
    let error = store_error_with(
        kind,
        format!("cannot delete {count} of {} objects", batch.len()),
        &format!("{code}: {message}"),
    );
    Err(error
        .on(store.name(key))
        .hint("check the policy for deleting below the prefix, and whether the objects are locked"))
}

async fn one_by_one(store: &S3Store, keys: &[&String]) -> Result<()> {
    let deletions = keys.iter().map(|key| one(store, key)).collect::<Vec<_>>();
    stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect().await
}

async fn one(store: &S3Store, key: &str) -> Result<()> {
    let place = &store.place;
    let answer = store.place.client().delete_object().bucket(&place.bucket).key(store.full_key(key)).send().await;
    match answer.map_err(|error| describe_failure(&error, "cannot delete", &store.name(key))) {
        Err(error) if problem(&error) != Some(StoreProblem::NotFound) => Err(error),
        _ => Ok(()),
    }
}

fn unsendable(error: &(dyn std::error::Error + 'static)) -> Error {
    store_error_with(StoreProblem::Other, "cannot delete", &error.to_string())
}
