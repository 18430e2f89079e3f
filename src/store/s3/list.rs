//! Listings: objects, folders and uploads, page by page.

use std::collections::BTreeSet;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;

use crate::error::{Error, Result};

use super::super::failure::{StoreProblem, store_error};
use super::super::{Entry, OpenUpload, Store};
use super::failure::{describe_failure, is_unreadable};
use super::{S3Store, length, time};

/// All objects whose keys start with `prefix`.
pub(super) async fn entries(store: &S3Store, prefix: &str) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    pages(store, prefix, None, &mut |page, decode| {
        for object in page.contents() {
            let full = decode(object.key().unwrap_or_default());
            if let (Some(key), Some(size)) = (store.own_key(&full), length(object.size())) {
                let class = object.storage_class().map(|class| class.as_str().to_owned());
                found.push(Entry { key: key.to_owned(), size, modified: time(object.last_modified()), class });
            }
        }
    })
    .await?;
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// The next path components below `folder`, which is empty or ends in a slash.
pub(super) async fn folders(store: &S3Store, folder: &str) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    pages(store, folder, Some("/"), &mut |page, decode| {
        for common in page.common_prefixes() {
            let full = decode(common.prefix().unwrap_or_default());
            let component =
                store.own_key(&full).and_then(|key| key.strip_prefix(folder)).map(|key| key.trim_end_matches('/'));
            found.extend(component.filter(|component| !component.is_empty()).map(str::to_owned));
        }
    })
    .await?;
    Ok(found.into_iter().collect())
}

type Decode<'a> = &'a dyn Fn(&str) -> String;

/// Shows every page of a listing to `visit`, with the function that turns its keys into keys.
async fn pages(
    store: &S3Store,
    prefix: &str,
    delimiter: Option<&str>,
    visit: &mut (dyn FnMut(&ListObjectsV2Output, Decode<'_>) + Send),
) -> Result<()> {
    let place = &store.place;
    let mut encoding = None;
    let mut continuation: Option<String> = None;
    loop {
        let answer = store
            .place
            .client()
            .list_objects_v2()
            .bucket(&place.bucket)
            .prefix(store.full_key(prefix))
            .set_delimiter(delimiter.map(str::to_owned))
            .set_continuation_token(continuation.clone())
            .set_encoding_type(encoding.clone())
            .send()
            .await;
        let page = match answer {
            Ok(page) => page,
            // XML 1.0 has no way to write most control characters. A page that does not parse is asked for again with
            // its keys encoded; not always so, because some stores echo that they encode and do not.
            Err(error) if encoding.is_none() && is_unreadable(&error) => {
                encoding = Some(EncodingType::Url);
                continue;
            }
            Err(error) => return Err(describe_failure(&error, "cannot list", &store.name(prefix))),
        };
        if page.encoding_type().is_some() && encoding.is_some() {
            visit(&page, &percent_decoded);
        } else {
            visit(&page, &str::to_owned);
        }
        if page.is_truncated() != Some(true) {
            return Ok(());
        }
        let next = page.next_continuation_token().map(str::to_owned);
        if next.is_none() || next == continuation {
            return Err(stuck(store, prefix));
        }
        continuation = next;
    }
}

/// All uploads below a prefix that are neither completed nor aborted.
pub(super) async fn uploads(store: &S3Store, prefix: &str) -> Result<Vec<OpenUpload>> {
    let place = &store.place;
    let mut found = Vec::new();
    let mut markers: (Option<String>, Option<String>) = (None, None);
    loop {
        let page = store
            .place
            .client()
            .list_multipart_uploads()
            .bucket(&place.bucket)
            .prefix(store.full_key(prefix))
            .set_key_marker(markers.0.clone())
            .set_upload_id_marker(markers.1.clone())
            .send()
            .await
            .map_err(|error| describe_failure(&error, "cannot list the open uploads", &store.name(prefix)))?;
        for upload in page.uploads() {
            let key = upload.key().and_then(|key| store.own_key(key));
            if let (Some(key), Some(id)) = (key, upload.upload_id()) {
                found.push(OpenUpload { key: key.to_owned(), id: id.to_owned(), started: time(upload.initiated()) });
            }
        }
        if page.is_truncated() != Some(true) {
            return Ok(found);
        }
        let next = (page.next_key_marker().map(str::to_owned), page.next_upload_id_marker().map(str::to_owned));
        if next.0.is_none() || next == markers {
            return Err(stuck(store, prefix));
        }
        markers = next;
    }
}

fn stuck(store: &S3Store, prefix: &str) -> Error {
    store_error(StoreProblem::Other, "the store says there is more to list, but not where")
        .on(store.describe_below(prefix))
}

impl S3Store {
    fn describe_below(&self, prefix: &str) -> String {
        format!("{}/{prefix}", self.describe())
    }
}

/// Undoes the encoding of keys in a listing: percent signs, and plus for space as forms have it.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail.get(..2).and_then(|digits| faster_hex::hex_decode_vec(digits).ok())) {
            (b'%', Some(byte)) => {
                bytes.extend(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn encoded_keys_are_decoded() {
        assert_eq!(percent_decoded("a%2Fb+c%2B%C3%BC%01"), "a/b c+ü\u{1}");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }
}
