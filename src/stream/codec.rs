//! How frames are compressed, and how their concatenation is read back.

use super::compressors::Compressor;
use crate::error::{Error, Kind, Result};
use async_compression::tokio::{bufread, write};
use async_compression::{Level, lz4, zstd};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

const GZIP_LEVELS: std::ops::RangeInclusive<i32> = 1..=9;
const GZIP_DEFAULT: i32 = 6;
const ZSTD_LEVELS: std::ops::RangeInclusive<i32> = 1..=22;
const ZSTD_DEFAULT: i32 = 3;

/// The largest window, as a power of two, that a reader accepts unasked (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`, zstd.h); stock
/// `pg_restore` never asks for more.
const ZSTD_LARGEST_WINDOW_LOG: u32 = 27;

/// From this level on zstd's own choice is a window of 32 MiB and more, with tables to match.
const ZSTD_FIRST_WIDE_LEVEL: i32 = 20;

/// Up to this many raw bytes are compressed where they are: cheaper than a trip to another thread.
const INLINE_BYTES: usize = 16 * 1024;

/// A compression method and its level. Written and read as `none`, `lz4`, `gzip:6`, `zstd:3`; a missing level is the
/// method's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Codec {
    /// Bytes as they are.
    None,
    /// Gzip members at level 1 to 9.
    Gzip(i32),
    /// LZ4 frames with a content checksum.
    Lz4,
    /// Zstandard frames with a content checksum at level 1 to 22.
    Zstd(i32),
}

impl Default for Codec {
    fn default() -> Self {
        Codec::Zstd(ZSTD_DEFAULT)
    }
}

impl Codec {
    /// What a compressed file's name ends in; stock `pg_restore` finds the method by it (`compress_io.c`).
    pub fn suffix(&self) -> &'static str {
        match self {
            Codec::None => "",
            Codec::Gzip(_) => ".gz",
            Codec::Lz4 => ".lz4",
            Codec::Zstd(_) => ".zst",
        }
    }

    /// The method of a file by its name, at the method's default level, as stock `pg_restore` finds it.
    pub fn of_name(name: &str) -> Self {
        let methods = [Codec::Gzip(GZIP_DEFAULT), Codec::Lz4, Codec::Zstd(ZSTD_DEFAULT)];
        methods.into_iter().find(|codec| name.ends_with(codec.suffix())).unwrap_or(Codec::None)
    }

    /// The method's number in the header of a table of contents (`pg_compress_algorithm`, `common/compression.h`).
    pub fn archive_byte(&self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip(_) => 1,
            Codec::Lz4 => 2,
            Codec::Zstd(_) => 3,
        }
    }

    /// About how much memory a compressor takes for frames of up to a mebibyte, in bytes (zstd: tables of `clevels.h`, cut to
    /// the size of the frame).
    pub fn context_bytes(&self) -> u64 {
        const MEBIBYTE: u64 = 1 << 20;
        match self {
            Codec::None => 0,
            Codec::Gzip(_) | Codec::Lz4 => MEBIBYTE,
            Codec::Zstd(..=3) => 4 * MEBIBYTE,
            Codec::Zstd(..=12) => 12 * MEBIBYTE,
            Codec::Zstd(_) => 24 * MEBIBYTE,
        }
    }

    /// Compresses into one independent frame (zstd, lz4) or member (gzip) that carries a checksum of its content.
    /// Must be called on a Tokio runtime: larger input is compressed on its blocking threads, so that the threads that
    /// move bytes never wait for a compressor.
    pub async fn compress(&self, raw: Bytes) -> Result<Bytes> {
        let codec = *self;
        let compressed = if codec == Codec::None {
            return Ok(raw);
        } else if raw.len() <= INLINE_BYTES {
            codec.compress_in_memory(&raw).await
        } else {
            // The future reads from and writes to memory, so it never waits and any executor will do.
            tokio::task::spawn_blocking(move || futures::executor::block_on(codec.compress_in_memory(&raw)))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        compressed
            .map(Bytes::from)
            .map_err(|error| Error::new(Kind::Internal, format!("cannot compress a frame with {self}")).because(error))
    }

    async fn compress_in_memory(self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let target = Vec::with_capacity(raw.len() / 4 + 64);
        match self {
            Codec::None => Ok(raw.to_vec()),
            Codec::Gzip(level) => {
                let mut encoder = write::GzipEncoder::with_quality(target, Level::Precise(level));
                write_all(&mut encoder, raw).await?;
                Ok(encoder.into_inner())
            }
            Codec::Lz4 => {
                let parameters = lz4::EncoderParams::default().content_checksum(true);
                let mut encoder = write::Lz4Encoder::with_quality_and_params(target, Level::Default, parameters);
                write_all(&mut encoder, raw).await?;
                Ok(encoder.into_inner())
            }
            Codec::Zstd(level) => {
                let compressed = Compressor::new(level, raw.len())?.compress(raw)?;
                Ok(compressed.into())
            }
        }
    }

    /// Reads concatenated frames or members back. A frame that is cut off or does not match its checksum is an error of
    /// the reader, as is anything that follows the last frame and is not one; a file of zero bytes is empty. Frames
    /// missing as a whole cannot be noticed here: the terminator and the digest notice them.
    ///
    /// Decoding happens on the thread that polls, for at most one read buffer's worth of output at a time (tens of
    /// microseconds a read of 64 KiB), which does not starve its neighbours.
    pub fn decoder(&self, reader: impl AsyncBufRead + Send + Unpin + 'static) -> Pin<Box<dyn AsyncRead + Send>> {
        match self {
            Codec::None => Box::pin(reader),
            Codec::Gzip(_) => Box::pin(EmptyOr::new(reader, |reader| {
                let mut decoder = bufread::GzipDecoder::new(reader);
                decoder.multiple_members(true);
                decoder
            })),
            Codec::Lz4 => Box::pin(EmptyOr::new(reader, |reader| {
                let mut decoder = bufread::Lz4Decoder::new(reader);
                decoder.multiple_members(true);
                decoder
            })),
            Codec::Zstd(_) => Box::pin(EmptyOr::new(reader, |reader| {
                let largest_window = zstd::DParameter::window_log_max(ZSTD_LARGEST_WINDOW_LOG);
                let mut decoder = bufread::ZstdDecoder::with_params(reader, &[largest_window]);
                decoder.multiple_members(true);
                decoder
            })),
        }
    }
}

/// A checksum always. The widest levels size window and tables (up to 768 MiB a compressor) for endless streams; a frame
/// is not one, so there they are cut to what its bytes can use.
pub(super) fn zstd_parameters(level: i32, raw_bytes: usize) -> Vec<::zstd::zstd_safe::CParameter> {
    use ::zstd::zstd_safe::CParameter;
    let mut parameters = vec![CParameter::ChecksumFlag(true)];
    if level >= ZSTD_FIRST_WIDE_LEVEL {
        let log = raw_bytes.next_power_of_two().ilog2().clamp(10, ZSTD_LARGEST_WINDOW_LOG - 2);
        parameters.push(CParameter::WindowLog(log));
        parameters.push(CParameter::HashLog(log));
        parameters.push(CParameter::ChainLog(log + 1));
    }
    parameters
}

async fn write_all(encoder: &mut (impl AsyncWrite + Unpin), raw: &[u8]) -> io::Result<()> {
    encoder.write_all(raw).await?;
    encoder.shutdown().await
}

/// A decoder that is not started when there is nothing to decode: the decoders call a file of zero bytes truncated, but
/// stock `pg_dump` writes one for an empty large object.
enum EmptyOr<R, F, D> {
    Unknown(Option<(R, F)>),
    Decoding(D),
}

impl<R, F: FnOnce(R) -> D, D> EmptyOr<R, F, D> {
    fn new(reader: R, start: F) -> Self {
        EmptyOr::Unknown(Some((reader, start)))
    }
}

impl<R, F, D> AsyncRead for EmptyOr<R, F, D>
where
    R: AsyncBufRead + Unpin,
    F: FnOnce(R) -> D + Unpin,
    D: AsyncRead + Unpin,
{
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let EmptyOr::Unknown(source) = this {
            let Some((mut reader, start)) = source.take() else { return Poll::Ready(Ok(())) };
            let empty = match Pin::new(&mut reader).poll_fill_buf(cx) {
                Poll::Ready(Ok(bytes)) => bytes.is_empty(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    *source = Some((reader, start));
                    return Poll::Pending;
                }
            };
            if empty {
                return Poll::Ready(Ok(()));
            }
            *this = EmptyOr::Decoding(start(reader));
        }
        match this {
            EmptyOr::Decoding(decoder) => Pin::new(decoder).poll_read(cx, buffer),
            EmptyOr::Unknown(_) => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codec::None => f.write_str("none"),
            Codec::Gzip(level) => write!(f, "gzip:{level}"),
            Codec::Lz4 => f.write_str("lz4"),
            Codec::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Codec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => (method, Some(level)),
            None => (text, None),
        };
        match method {
            "zstd" => Ok(Codec::Zstd(level_within(method, level, &ZSTD_LEVELS, ZSTD_DEFAULT)?)),
            "gzip" => Ok(Codec::Gzip(level_within(method, level, &GZIP_LEVELS, GZIP_DEFAULT)?)),
            "lz4" | "none" => match level {
                None => Ok(if method == "lz4" { Codec::Lz4 } else { Codec::None }),
                Some(_) => Err(Error::new(Kind::Usage, format!("compression method {method} takes no level"))),
            },
            _ => Err(Error::new(Kind::Usage, format!("unknown compression method {method:?}"))
                .hint("use zstd, gzip, lz4 or none, the first two with a level if you like: zstd:3")),
        }
    }
}

fn level_within(method: &str, level: Option<&str>, range: &std::ops::RangeInclusive<i32>, default: i32) -> Result<i32> {
    let Some(text) = level else { return Ok(default) };
    text.parse().ok().filter(|level| range.contains(level)).ok_or_else(|| {
        let message = format!("{method} has no compression level {text:?}");
        Error::new(Kind::Usage, message).hint(format!("use a level from {} to {}", range.start(), range.end()))
    })
}

impl TryFrom<String> for Codec {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Codec;
    use crate::error::Kind;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::io;
    use tokio::io::{AsyncReadExt, BufReader};

    const CODECS: [Codec; 4] = [Codec::None, Codec::Gzip(6), Codec::Lz4, Codec::Zstd(3)];

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    async fn decode(codec: Codec, stored: Vec<u8>, buffer: usize) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        let reader = BufReader::with_capacity(buffer, io::Cursor::new(stored));
        codec.decoder(reader).read_to_end(&mut decoded).await?;
        Ok(decoded)
    }

    async fn concatenated(codec: Codec, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut stored = Vec::new();
        for frame in frames {
            stored.extend(codec.compress(Bytes::from(frame.clone())).await.expect("compresses"));
        }
        stored
    }

    #[test]
    fn a_codec_reads_what_it_writes_and_fills_in_the_default_level() {
        for (text, expected) in [
            ("zstd", "zstd:3"),
            ("zstd:22", "zstd:22"),
            ("gzip", "gzip:6"),
            ("gzip:9", "gzip:9"),
            ("lz4", "lz4"),
            ("none", "none"),
        ] {
            let codec: Codec = text.parse().expect("a codec");
            assert_eq!(codec.to_string(), expected);
            let json = serde_json::to_string(&codec).expect("json");
            assert_eq!(json, format!("\"{expected}\""));
            assert_eq!(serde_json::from_str::<Codec>(&json).expect("reads"), codec);
        }
    }

    #[test]
    fn a_level_out_of_range_is_a_usage_error_that_tells_the_range() {
        for (text, range) in [("zstd:0", "1 to 22"), ("zstd:23", "1 to 22"), ("gzip:x", "1 to 9"), ("gzip:", "1 to 9")]
        {
            let error = text.parse::<Codec>().expect_err("no such level");
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hint_text().expect("a hint").contains(range), "{error}");
        }
        for text in ["lz4:1", "none:0", "brotli", ""] {
            assert_eq!(text.parse::<Codec>().expect_err("not a codec").kind(), Kind::Usage);
        }
    }

    #[test]
    fn a_frame_can_be_compressed_on_any_thread() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        for codec in CODECS {
            let raw = Bytes::from(vec![b'x'; 100_000]);
            let compressed = runtime.block_on(runtime.spawn(async move { codec.compress(raw).await }));
            assert!(!compressed.expect("no panic").expect("compresses").is_empty());
        }
    }

    #[test]
    fn zstd_frames_carry_a_checksum_and_lz4_frames_too() {
        run(async {
            let zstd = Codec::Zstd(3).compress(Bytes::from_static(b"row\n")).await.expect("compresses");
            assert_eq!(zstd[..4], [0x28, 0xb5, 0x2f, 0xfd]);
            assert_eq!(zstd[4] & 0b100, 0b100, "Content_Checksum_flag (RFC 8878, 3.1.1.1.1)");
            let lz4 = Codec::Lz4.compress(Bytes::from_static(b"row\n")).await.expect("compresses");
            assert_eq!(lz4[..4], [0x04, 0x22, 0x4d, 0x18]);
            assert_eq!(lz4[4] & 0b100, 0b100, "C.Checksum of FLG (lz4_Frame_format.md)");
        });
    }

    #[test]
    fn a_flipped_bit_anywhere_is_never_a_different_text() {
        run(async {
            for codec in [Codec::Gzip(6), Codec::Lz4, Codec::Zstd(3)] {
                let text: Vec<u8> = (0..2000u32).flat_map(|n| format!("{n}\trow\n").into_bytes()).collect();
                let stored = concatenated(codec, std::slice::from_ref(&text)).await;
                for at in (0..stored.len()).step_by(7) {
                    let mut damaged = stored.clone();
                    damaged[at] ^= 0x10;
                    if let Ok(decoded) = decode(codec, damaged, 8192).await {
                        assert_eq!(decoded, text, "{codec}, bit flipped in byte {at}");
                    }
                }
            }
        });
    }

    #[test]
    fn a_file_of_zero_bytes_is_empty_and_garbage_after_the_frames_is_an_error() {
        run(async {
            for codec in CODECS {
                assert_eq!(decode(codec, Vec::new(), 64).await.expect("empty"), b"");
            }
            for codec in [Codec::Gzip(6), Codec::Lz4, Codec::Zstd(3)] {
                let mut stored = concatenated(codec, &[b"row\n".to_vec()]).await;
                stored.extend_from_slice(b"garbage that is no frame");
                assert!(decode(codec, stored, 64).await.is_err(), "{codec}");
            }
        });
    }

    #[test]
    fn the_widest_zstd_level_stays_within_the_window_that_readers_accept() {
        run(async {
            for raw in [Vec::new(), b"row\n".repeat(10), b"another row\n".repeat(400_000)] {
                let stored = concatenated(Codec::Zstd(22), std::slice::from_ref(&raw)).await;
                assert_eq!(decode(Codec::Zstd(22), stored, 8192).await.expect("decodes"), raw);
            }
        });
    }

    /// Frames from empty to beyond the size that is compressed elsewhere.
    fn some_frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let small = proptest::collection::vec(any::<u8>(), 0..300);
        let large = (any::<u8>(), 16_000usize..200_000).prop_map(|(seed, len)| {
            (0..len).map(|n| (n.wrapping_mul(usize::from(seed) + 7) >> 3).to_le_bytes()[0]).collect()
        });
        proptest::collection::vec(prop_oneof![4 => small, 1 => large], 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn concatenated_frames_decode_to_the_concatenated_text(frames in some_frames(), buffer in 1usize..5000) {
            run(async {
                for codec in CODECS {
                    let stored = concatenated(codec, &frames).await;
                    let decoded = decode(codec, stored, buffer).await.expect("decodes");
                    prop_assert!(decoded == frames.concat(), "{}", codec);
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_cut_inside_a_frame_is_an_error_wherever_it_falls() {
        run(async {
            for codec in [Codec::Gzip(1), Codec::Lz4, Codec::Zstd(1)] {
                let frames = [b"first\n".repeat(40), Vec::new(), b"last\n".to_vec()];
                let mut boundaries = vec![0];
                for count in 1..=frames.len() {
                    boundaries.push(concatenated(codec, &frames[..count]).await.len());
                }
                let stored = concatenated(codec, &frames).await;
                for length in 0..=stored.len() {
                    for buffer in [1, 8192] {
                        let result = decode(codec, stored[..length].to_vec(), buffer).await;
                        let whole = boundaries.contains(&length);
                        assert_eq!(result.is_ok(), whole, "{codec} cut to {length} of {} bytes", stored.len());
                    }
                }
            }
        });
    }
}
