//! What is said on a borrowed line: statements by the simple protocol, and the server's answers, read where they lie.

use super::failure::{Fate, ServerError, lost, refused};
use super::line::Loan;
use crate::error::{Error, Kind, Result};
use bytes::{Buf, BytesMut};
use postgres_protocol::message::{backend, frontend};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is read from the socket at once, if the server has it ready. Rows up to half of this come out whole.
const READ_BYTES: usize = 128 << 10;
/// An error or a notice may be this long; nothing else but rows is longer than a few bytes.
const LONGEST_MESSAGE: usize = 64 << 20;
/// Tag and length of a message.
const HEADER_BYTES: usize = 5;

/// What the server said.
#[derive(Debug)]
pub(super) enum Answer {
    /// It waits for our rows.
    CopyIn,
    /// It begins to send rows.
    CopyOut,
    /// The end of a statement, with the number of rows if it was a COPY.
    Complete(Option<u64>),
    /// A refusal; the statements after it do not run.
    Refusal(ServerError),
    /// It waits for the next statement.
    Ready,
}

impl Answer {
    /// An error for an answer that nobody asked for.
    pub(super) fn unexpected(&self) -> Error {
        unintelligible(format!("{self:?} where nobody asked for it"))
    }
}

/// What begins in what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A row of so many bytes. `comes_whole` is false while the rest of a row that fits the buffer is on its way.
    Row { bytes: usize, comes_whole: bool },
    /// Anything else.
    Other,
}

/// A borrowed line with what was read ahead of it.
pub(super) struct Conversation {
    loan: Option<Loan>,
    fate: Fate,
    buffer: Vec<u8>,
    /// What was read and not taken.
    unread: std::ops::Range<usize>,
    /// What `rest` has learned so far: rows moved, and a refusal.
    moved: Option<u64>,
    refusal: Option<ServerError>,
}

impl Conversation {
    /// Sends the statements.
    pub(super) async fn begin(loan: Loan, fate: Fate, sql: &str) -> Result<Self> {
        let mut conversation = Conversation {
            loan: Some(loan),
            fate,
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
            moved: None,
            refusal: None,
        };
        let mut query = BytesMut::new();
        let sent = frontend::query(sql, &mut query);
        if let Err(error) = sent {
            conversation.end();
            return Err(Error::new(Kind::Internal, "a statement with a zero byte cannot be sent").because(error));
        }
        conversation.write(&query).await?;
        Ok(conversation)
    }

    /// Waits until the COPY among the statements has begun, in either direction.
    pub(super) async fn start_of_copy(&mut self) -> Result<Answer> {
        loop {
            match poll_fn(|cx| self.poll_answer(cx)).await? {
                Answer::Complete(rows) => self.add(rows),
                Answer::Refusal(refusal) => {
                    self.refusal = Some(refusal);
                    self.rest().await?;
                }
                Answer::Ready => {
                    self.end();
                    return Err(Error::new(Kind::Internal, "there is no COPY among the statements"));
                }
                answer @ (Answer::CopyIn | Answer::CopyOut) => return Ok(answer),
            }
        }
    }

    /// Looks at the next message without taking it; nothing when its header is not here yet.
    pub(super) fn header(&self) -> Option<Header> {
        let unread = &self.buffer[self.unread.clone()];
        let header = unread.get(..HEADER_BYTES)?;
        if header[0] != backend::COPY_DATA_TAG {
            return Some(Header::Other);
        }
        let bytes = ((&header[1..]).get_u32() as usize).saturating_sub(4);
        let comes_whole = unread.len() - HEADER_BYTES >= bytes || bytes > READ_BYTES / 2;
        Some(Header::Row { bytes, comes_whole })
    }

    /// Takes the header that was looked at.
    pub(super) fn skip_header(&mut self) {
        self.unread.start += HEADER_BYTES;
    }

    /// Takes so many bytes, or what there is.
    pub(super) fn take_up_to(&mut self, bytes: usize) -> &[u8] {
        let start = self.unread.start;
        self.unread.start += bytes.min(self.unread.len());
        &self.buffer[start..self.unread.start]
    }

    /// Reads what the socket has, at least a byte.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // What is left, less than a row, moves to the front.
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let Some(loan) = &mut self.loan else { return Poll::Ready(Err(ended())) };
        let mut target = ReadBuf::new(&mut self.buffer[self.unread.end..]);
        let outcome = ready!(Pin::new(loan).poll_read(cx, &mut target));
        let read = target.filled().len();
        self.unread.end += read;
        Poll::Ready(match outcome {
            Ok(()) if read == 0 => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(error)),
        })
    }

    fn broken(&self, error: io::Error) -> Error {
        lost(&self.fate, error)
    }

    /// The next answer that is here as a whole.
    fn answer(&mut self) -> Result<Option<Answer>> {
        loop {
            let unread = &self.buffer[self.unread.clone()];
            let Some(header) = unread.get(..HEADER_BYTES) else { return Ok(None) };
            let length = 1 + (&header[1..]).get_u32() as usize;
            if !(HEADER_BYTES..LONGEST_MESSAGE).contains(&length) {
                return Err(unintelligible("a message longer or shorter than any"));
            }
            let Some(message) = unread.get(..length) else {
                if self.buffer.len() < length {
                    self.buffer.resize(length.next_power_of_two(), 0);
                }
                return Ok(None);
            };
            let mut message = BytesMut::from(message);
            self.unread.start += length;
            match backend::Message::parse(&mut message).map_err(unintelligible)? {
                Some(backend::Message::CopyInResponse(_)) => return Ok(Some(Answer::CopyIn)),
                Some(backend::Message::CopyOutResponse(_)) => return Ok(Some(Answer::CopyOut)),
                Some(backend::Message::CommandComplete(body)) => {
                    let tag = body.tag().map_err(unintelligible)?;
                    return Ok(Some(Answer::Complete(tag.strip_prefix("COPY ").and_then(|rows| rows.parse().ok()))));
                }
                Some(backend::Message::ErrorResponse(body)) => {
                    return Ok(Some(Answer::Refusal(ServerError::of_fields(body.fields()).map_err(unintelligible)?)));
                }
                Some(backend::Message::NoticeResponse(body)) => {
                    let notice = ServerError::of_fields(body.fields()).map_err(unintelligible)?;
                    tracing::debug!(code = notice.code, "{}", notice.message);
                }
                Some(backend::Message::ReadyForQuery(_)) => return Ok(Some(Answer::Ready)),
                // The end of rows, rows of statements beside the COPY, settings that changed.
                _ => {}
            }
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        loop {
            if let Some(answer) = self.answer()? {
                return Poll::Ready(Ok(answer));
            }
            ready!(self.poll_read(cx))?;
        }
    }

    /// Reads to the end of the statements and hands the line back. The number of rows that COPY moved, or the refusal.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        loop {
            match ready!(self.poll_answer(cx)) {
                Ok(Answer::Complete(rows)) => self.add(rows),
                Ok(Answer::Refusal(refusal)) => self.refusal = Some(refusal),
                Ok(Answer::Ready) => {
                    self.end();
                    return Poll::Ready(match (self.refusal.take(), self.moved) {
                        (Some(refusal), _) => Err(refused(Kind::Database, refusal)),
                        (None, Some(rows)) => Ok(rows),
                        (None, None) => Err(unintelligible("a COPY without its number of rows")),
                    });
                }
                Ok(other) => return Poll::Ready(Err(other.unexpected())),
                // A refusal that ends the session (57P01, say) is what happened; that the line is gone follows from it.
                Err(error) => {
                    let refusal = self.refusal.take();
                    return Poll::Ready(Err(refusal.map_or(error, |refusal| refused(Kind::Database, refusal))));
                }
            }
        }
    }

    /// [`Conversation::poll_rest`] as a future.
    pub(super) async fn rest(&mut self) -> Result<u64> {
        poll_fn(|cx| self.poll_rest(cx)).await
    }

    /// The refusal that the server has sent while we were talking, if it has; then the statements are over.
    pub(super) async fn refusal_so_far(&mut self) -> Result<()> {
        let answer = poll_fn(|cx| match self.poll_answer(cx) {
            Poll::Ready(answer) => Poll::Ready(answer.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await?;
        match answer {
            None => Ok(()),
            Some(Answer::Refusal(refusal)) => {
                self.refusal = Some(refusal);
                self.rest().await.map(drop)
            }
            Some(other) => Err(other.unexpected()),
        }
    }

    /// Writes all of it. A server that refuses rows goes on reading and throws them away, so this cannot wait forever.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| match &mut self.loan {
                Some(loan) => Pin::new(loan).poll_write(cx, bytes),
                None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            })
            .await;
            match written {
                Ok(0) => return Err(self.broken(io::ErrorKind::WriteZero.into())),
                Ok(written) => bytes = &bytes[written..],
                Err(error) => return Err(self.last_words(error).await),
            }
        }
        let flushed = poll_fn(|cx| match &mut self.loan {
            Some(loan) => Pin::new(loan).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        });
        flushed.await.map_err(|error| self.broken(error))
    }

    /// Why the server hung up, if it said so before.
    async fn last_words(&mut self, error: io::Error) -> Error {
        let lost = self.broken(error);
        match self.rest().await {
            Err(error) if error.kind() == Kind::Database => error,
            _ => lost,
        }
    }

    /// Notes what a statement has moved, if it was a COPY.
    fn add(&mut self, rows: Option<u64>) {
        if let Some(rows) = rows {
            self.moved = Some(self.moved.unwrap_or(0) + rows);
        }
    }

    fn end(&mut self) {
        if let Some(loan) = self.loan.take() {
            loan.give_back();
        }
    }
}

fn ended() -> Error {
    Error::new(Kind::Internal, "the COPY has ended already")
}

fn unintelligible(what: impl fmt::Display) -> Error {
    Error::new(Kind::Database, format!("the server's answer cannot be understood: {what}"))
}
