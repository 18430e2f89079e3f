//! Digests of stored bytes, taken while they pass: SHA-256 of a whole object, a short checksum of each frame.

use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::Xxh3;

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
        faster_hex::hex_string(&self.0.finalize())
    }
}

/// The checksum of a frame as stored: XXH3 with 64 bits. It finds damage when frames are read out of order or in part,
/// where the object's SHA-256 cannot be had.
pub fn frame_checksum(stored: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(stored)
}

/// Some bytes of an object that follow those of the run before it, and what [`frame_checksum`] must say of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub bytes: u64,
    /// Their checksum.
    pub checksum: u64,
}

/// Passes bytes through and ends with an error if they are not these runs, one after the other: what [`verified`] is for a
/// whole object, for a part of one. The error comes before the stream ends, so whoever waits for its end knows.
pub fn verified_runs(
    stream: BoxStream<'static, Result<Bytes>>,
    key: String,
    runs: Vec<Run>,
) -> BoxStream<'static, Result<Bytes>> {
    let begin = Some((stream, key, runs.into_iter().peekable(), Xxh3::new(), 0u64));
    stream::unfold(begin, async |state| {
        let (mut stream, key, mut runs, mut hash, mut seen) = state?;
        let bytes = match stream.next().await {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => return Some((Err(error.on(key)), None)),
            None if runs.peek().is_none() => return None,
            None => return Some((Err(damaged(&key, "ends before all of its frames")), None)),
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some(&run) = runs.peek() else {
                return Some((Err(damaged(&key, "goes on after its frames")), None));
            };
            let left = usize::try_from(run.bytes - seen).unwrap_or(usize::MAX);
            let (now, after) = rest.split_at(left.min(rest.len()));
            hash.update(now);
            (seen, rest) = (seen + now.len() as u64, after);
            if seen == run.bytes {
                if hash.digest() != run.checksum {
                    let message = "has a frame without the checksum that the manifest says";
                    return Some((Err(damaged(&key, message)), None));
                }
                hash.reset();
                seen = 0;
                runs.next();
            }
        }
        Some((Ok(bytes), Some((stream, key, runs, hash, seen))))
    })
    .fuse()
    .boxed()
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
                    return Some((Err(damaged(&expected.key, "is longer than the manifest says")), None));
                }
                digest.update(&bytes);
                Some((Ok(bytes), Some((stream, digest, seen, expected))))
            }
            Some(Err(error)) => Some((Err(error.on(expected.key)), None)),
            None if before < expected.bytes => {
                let message = format!("ends after {before} of {} bytes", expected.bytes);
                Some((Err(damaged(&expected.key, &message)), None))
            }
            None if digest.finish() != expected.sha256 => {
                Some((Err(damaged(&expected.key, "does not have the digest that the manifest says")), None))
            }
            None => None,
        }
    })
    .fuse()
    .boxed()
}

fn damaged(key: &str, message: &str) -> Error {
    Error::new(Kind::Archive, message)
        .on(key)
        .hint("the object was damaged or replaced after the backup; restore from another backup")
}

#[cfg(test)]
mod tests {
    use super::{Digest, Expected, Run, frame_checksum, verified, verified_runs};
    use crate::error::{Error, Kind, Result};
    use bytes::Bytes;
    use futures::{StreamExt, TryStreamExt, stream};

    /// FIPS 180-2, appendix B.1.
    const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn check(pieces: &[&'static str], bytes: u64, sha256: &str) -> (String, Result<()>) {
        let expected = Expected { key: "data_7.dat".to_owned(), bytes, sha256: sha256.to_owned() };
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
            assert_eq!((error.kind(), error.object()), (Kind::Archive, Some("data_7.dat")));
            assert!(error.message().contains(message), "{error}");
            assert!(passed.len() <= 3);
        }
    }

    #[test]
    fn runs_pass_at_any_cut_and_damage_is_an_error_before_the_end() {
        let text = b"one run, another, and the last";
        let run =
            |range: std::ops::Range<usize>| Run { bytes: range.len() as u64, checksum: frame_checksum(&text[range]) };
        let runs = vec![run(0..7), run(7..16), run(16..text.len())];
        let check = |text: &[u8], cut: usize| {
            let pieces: Vec<Result<Bytes>> = text.chunks(cut).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let checked = verified_runs(stream::iter(pieces).boxed(), "data_7.dat".to_owned(), runs.clone());
            futures::executor::block_on(checked.try_collect::<Vec<Bytes>>())
        };
        for cut in 1..40 {
            assert_eq!(check(text, cut).expect("as expected").concat(), text);
            for at in 0..text.len() {
                let mut damaged = text.to_vec();
                damaged[at] ^= 4;
                let error = check(&damaged, cut).expect_err("damaged");
                assert_eq!((error.kind(), error.object()), (Kind::Archive, Some("data_7.dat")));
                assert!(check(&text[..at], cut).is_err());
            }
            assert!(check(&[&text[..], b"x"].concat(), cut).is_err());
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
