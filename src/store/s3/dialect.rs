//! Answers of stores that speak S3 with words of their own.
//!
//! The SDK reads an answer only if its root element has the name that AWS gives it (Amazon S3 API reference). Some stores name
//! it after the operation, or answer with nothing at all where nothing is set; other clients do not look. So the root of
//! an answer to a known request is given its name before the SDK reads it.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};

/// Maximum bytes of an answer that is read whole. A page of a listing has a thousand keys of a kilobyte at the most.
const LONGEST_ANSWER: usize = 16 << 20;

/// The root element of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    /// As AWS names it.
    name: &'static str,
    /// What is part of it under any other name, too. A page of a proxy is no answer.
    word: &'static str,
}

const fn named(name: &'static str, word: &'static str) -> Root {
    Root { name, word }
}

/// Where nothing is set, some say nothing.
const VERSIONING: Root = named("VersioningConfiguration", "Versioning");

/// The root element that the answer to this request has, if it is one of those that stores name otherwise.
pub(super) fn root(method: &str, uri: &str, is_copy: bool) -> Option<Root> {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    let has = |wanted: &str| query.split('&').any(|pair| pair.split('=').next() == Some(wanted));
    Some(match method {
        "POST" if has("uploads") => named("InitiateMultipartUploadResult", "MultipartUpload"),
        "POST" if has("uploadId") => named("CompleteMultipartUploadResult", "MultipartUpload"),
        "POST" if has("delete") => named("DeleteResult", "Delete"),
        "PUT" if is_copy && has("uploadId") => named("CopyPartResult", "Copy"),
        "PUT" if is_copy => named("CopyObjectResult", "Copy"),
        "GET" if has("list-type") => named("ListBucketResult", "List"),
        "GET" if has("uploads") => named("ListMultipartUploadsResult", "MultipartUploads"),
        "GET" if has("versioning") => VERSIONING,
        _ => return None,
    })
}

/// The answer with its root named as expected. Failures stay as they are, also those within an answer of success.
pub(super) async fn translated(mut answer: HttpResponse, expected: Root) -> Result<HttpResponse, ConnectorError> {
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
    let whole = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(ConnectorError::io)?;
    let renamed = renamed(whole.to_bytes(), expected);
    if answer.headers().contains_key("content-length") {
        answer.headers_mut().insert("content-length", renamed.len().to_string());
    }
    *answer.body_mut() = SdkBody::from(renamed);
    Ok(answer)
}

/// The document with its root renamed. What is no XML, or something else, stays as it is.
fn renamed(document: Bytes, expected: Root) -> Bytes {
    let Ok(text) = std::str::from_utf8(&document) else { return document };
    if expected == VERSIONING && text.trim().is_empty() {
        return Bytes::from(format!("<{}/>", expected.name));
    }
    let Some((start, name)) = root_of(text) else { return document };
    if name == expected.name || !name.contains(expected.word) {
        return document;
    }
    let (wanted, behind) = (expected.name, start + name.len());
    // The end of the root is the last one of its name.
    let end = format!("</{name}");
    match text.rfind(&end).filter(|end| *end > behind) {
        Some(end) => {
            let (middle, after) = (&text[behind..end], &text[end + 2 + name.len()..]);
            Bytes::from(format!("{}{wanted}{middle}</{wanted}{after}", &text[..start]))
        }
        None => Bytes::from(format!("{}{wanted}{}", &text[..start], &text[behind..])),
    }
}

/// Where the name of the root begins, and the name.
fn root_of(text: &str) -> Option<(usize, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('<')? + 1;
        let rest = &text[start..];
        let skipped = if rest.starts_with('?') {
            rest.find("?>")?
        } else if rest.starts_with("!--") {
            rest.find("-->")?
        } else if rest.starts_with('!') {
            rest.find('>')?
        } else {
            let length = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/')?;
            return (length > 0).then(|| (start, &rest[..length]));
        };
        from = start + skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::{Root, VERSIONING, renamed, root};
    use bytes::Bytes;

    fn as_text(document: &str, expected: Root) -> String {
        String::from_utf8(renamed(Bytes::from(document.to_owned()), expected).to_vec()).expect("text")
    }

    #[test]
    fn the_root_gets_its_name_and_nothing_else_changes() {
        let expected = Root { name: "ListResult", word: "List" };
        for (document, answer) in [
            (
                "<?xml version='1.0'?>\n<List x='1'><List>1</List></List>\n",
                "<?xml version='1.0'?>\n<ListResult x='1'><List>1</List></ListResult>\n",
            ),
            ("<!-- <B> --><AList/>", "<!-- <B> --><ListResult/>"),
            ("<ListResult><b/></ListResult>", "<ListResult><b/></ListResult>"),
            ("<Error><Code>SlowDown</Code></Error>", "<Error><Code>SlowDown</Code></Error>"),
            // A proxy's page must not be taken for an empty list.
            ("<!DOCTYPE html><html><b/></html>", "<!DOCTYPE html><html><b/></html>"),
            ("", ""),
            ("no answer", "no answer"),
            ("<", "<"),
            ("<List", "<List"),
        ] {
            assert_eq!(as_text(document, expected), answer, "{document}");
        }
        assert_eq!(as_text(" \n", VERSIONING), "<VersioningConfiguration/>");
    }

    #[test]
    fn requests_are_known_by_their_method_and_query() {
        for (method, uri, is_copy, expected) in [
            ("POST", "http://h/b/k?uploads", false, Some("InitiateMultipartUploadResult")),
            ("POST", "http://h/b/k?uploadId=1&x-id=C", false, Some("CompleteMultipartUploadResult")),
            ("GET", "http://h/b?list-type=2&prefix=uploads", false, Some("ListBucketResult")),
            ("GET", "http://h/b/k?x-id=GetObject", false, None),
            ("PUT", "http://h/b/k?x-id=PutObject", false, None),
            ("PUT", "http://h/b/k", true, Some("CopyObjectResult")),
            ("GET", "http://h/b?versioning", false, Some("VersioningConfiguration")),
        ] {
            assert_eq!(root(method, uri, is_copy).map(|root| root.name), expected, "{method} {uri}");
        }
    }
}
