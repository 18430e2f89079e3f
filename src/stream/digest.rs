//! Digests of stored bytes, taken while they pass: SHA-256 of a whole object, a short checksum of each frame.

use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use sha2::{Digest as _, Sha256};

/// A digest in the making.
#[derive(Debug, Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Of nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes: 64 lower-case hexadecimal digits.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// The checksum of a frame as stored: XXH3 with 64 bits. It finds damage when frames are read out of order or in part,
/// where the object's SHA-256 cannot be had.
pub fn frame_checksum(stored: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(stored)
}

/// What an object should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its key, for messages.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its digest: 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Passes bytes through and ends with an error if their number or their digest is not as expected. An object that is
/// too long is noticed before its surplus is passed on.
pub fn verified(stream: BoxStream<'static, Result<Bytes>>, expected: Expected) -> BoxStream<'static, Result<Bytes>> {
    let begin = Some((stream, Digest::new(), 0u64, expected));
    stream::unfold(begin, async |state| {
        let (mut stream, mut digest, before, expected) = state?;
        match stream.next().await {
            Some(Ok(bytes)) => {
                let seen = before.saturating_add(bytes.len() as u64);
                if seen > expected.bytes {
                    return Some((Err(damaged(&expected, "is longer than the manifest says")), None));
                }
                digest.update(&bytes);
                Some((Ok(bytes), Some((stream, digest, seen, expected))))
            }
            Some(Err(error)) => Some((Err(error.on(expected.key)), None)),
            None if before < expected.bytes => {
                let message = format!("ends after {before} of {} bytes", expected.bytes);
                Some((Err(damaged(&expected, &message)), None))
            }
            None if digest.finish() != expected.sha256 => {
                Some((Err(damaged(&expected, "does not have the digest that the manifest says")), None))
            }
            None => None,
        }
    })
    .fuse()
    .boxed()
}

fn damaged(expected: &Expected, message: &str) -> Error {
    Error::new(Kind::Archive, message)
        .on(expected.key.clone())
        .hint("the object was damaged or replaced after the backup; restore from another backup")
}

#[cfg(test)]
mod tests {
    use super::{Digest, Expected, verified};
    use crate::error::{Error, Kind, Result};
    use bytes::Bytes;
    use futures::{StreamExt, TryStreamExt, stream};

    /// FIPS 180-2, appendix B.1.
    const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn check(pieces: &[&'static str], bytes: u64, sha256: &str) -> (String, Result<()>) {
        let expected = Expected { key: "data/7.dat".to_owned(), bytes, sha256: sha256.to_owned() };
        let pieces: Vec<Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        let mut passed = String::new();
        let result = futures::executor::block_on(async {
            let mut checked = verified(stream::iter(pieces).boxed(), expected);
            while let Some(bytes) = checked.try_next().await? {
                passed.push_str(std::str::from_utf8(&bytes).expect("text"));
            }
            assert!(checked.next().await.is_none(), "a stream that has ended stays ended");
            Ok(())
        });
        (passed, result)
    }

    #[test]
    fn a_digest_does_not_depend_on_how_the_bytes_come() {
        let mut digest = Digest::new();
        digest.update(b"a");
        digest.update(b"");
        digest.update(b"bc");
        assert_eq!(digest.finish(), SHA256_OF_ABC);
    }

    #[test]
    fn an_object_as_expected_passes_whole() {
        let (passed, result) = check(&["ab", "", "c"], 3, SHA256_OF_ABC);
        assert_eq!(passed, "abc");
        result.expect("as expected");
    }

    #[test]
    fn an_object_too_short_too_long_or_other_is_an_archive_error_that_names_the_key() {
        for (pieces, message) in [
            (&["ab"][..], "ends after 2 of 3 bytes"),
            (&[], "ends after 0 of 3 bytes"),
            (&["abc", "d"], "longer"),
            (&["abd"], "digest"),
        ] {
            let (passed, result) = check(pieces, 3, SHA256_OF_ABC);
            let error = result.expect_err("not as expected");
            assert_eq!((error.kind(), error.object()), (Kind::Archive, Some("data/7.dat")));
            assert!(error.message().contains(message), "{error}");
            assert!(passed.len() <= 3);
        }
    }

    #[test]
    fn an_error_of_the_store_passes_through() {
        let pieces = vec![Ok(Bytes::from_static(b"ab")), Err(Error::new(Kind::Store, "connection reset"))];
        let expected = Expected { key: "k".to_owned(), bytes: 3, sha256: SHA256_OF_ABC.to_owned() };
        let results: Vec<Result<Bytes>> =
            futures::executor::block_on(verified(stream::iter(pieces).boxed(), expected).collect());
        assert_eq!(results.len(), 2);
        assert_eq!(results[1].as_ref().expect_err("the error").kind(), Kind::Store);
    }
}
