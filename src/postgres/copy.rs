//! COPY in both directions, straight on the line: no task stands between the socket and the caller, so nothing can run ahead
//! of either side.
//!
//! Source: PostgreSQL documentation, "Message Flow" (section "COPY Operations") and "Message Formats". A COPY goes by the
//! simple protocol, so it may have statements before and after it in the same message.

use super::conversation::{Answer, Conversation, Header};
use super::failure::Fate;
use super::line::Loan;
use crate::error::{Error, Kind, Result};
use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use postgres_protocol::message::frontend;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A piece of the rows that a COPY sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// One whole row with its line end, or a part of a row that is too long for the buffer.
    pub bytes: &'a [u8],
    /// How many bytes of the row are still to come.
    pub left: usize,
}

impl Piece<'_> {
    /// Whether the row ends here.
    pub fn ends_row(&self) -> bool {
        self.left == 0
    }
}

/// The data of a `COPY ... TO STDOUT`. The server sends each row in a CopyData message of its own (PostgreSQL
/// documentation, "COPY Operations"), so rows come out without being parsed.
///
/// Rows are taken by [`CopyOut::piece`] as long as it has one, and then by [`CopyOut::more`]; whoever does not mind a copy
/// of each may take them as a stream of pieces. Dropping it before its end ends the session, and with it the statement.
pub struct CopyOut {
    conversation: Conversation,
    /// What is still to come of the row that has begun.
    left: Option<usize>,
    ended: bool,
}

impl fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOut").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl CopyOut {
    /// Runs the statements, which hold one COPY, up to its first row.
    pub(super) async fn begin(loan: Loan, fate: Fate, sql: &str) -> Result<Self> {
        let mut conversation = Conversation::begin(loan, fate, sql).await?;
        match conversation.start_of_copy().await? {
            Answer::CopyOut => Ok(CopyOut { conversation, left: None, ended: false }),
            other => Err(other.unexpected()),
        }
    }

    /// The next piece of what was read already.
    pub fn piece(&mut self) -> Option<Piece<'_>> {
        let left = match self.left {
            Some(left) => left,
            None => match self.conversation.header() {
                Some(Header::Row { bytes, comes_whole: true }) => {
                    self.conversation.skip_header();
                    bytes
                }
                _ => return None,
            },
        };
        let bytes = self.conversation.take_up_to(left);
        let left = left - bytes.len();
        self.left = (left > 0).then_some(left);
        // Within a row that has begun, nothing read means nothing to give; an empty row is a piece all the same.
        (left == 0 || !bytes.is_empty()).then_some(Piece { bytes, left })
    }

    /// Reads on; false when all rows have come and the server is done with the statements.
    pub async fn more(&mut self) -> Result<bool> {
        poll_fn(|cx| self.poll_more(cx)).await
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        if self.left.is_some() || matches!(self.conversation.header(), None | Some(Header::Row { .. })) {
            return self.conversation.poll_read(cx).map_ok(|()| true);
        }
        // Whatever is no row ends the rows.
        let outcome = ready!(self.conversation.poll_rest(cx));
        self.ended = true;
        Poll::Ready(outcome.map(|_| false))
    }
}

impl Stream for CopyOut {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(piece) = self.piece() {
                return Poll::Ready(Some(Ok(Bytes::copy_from_slice(piece.bytes))));
            }
            match ready!(self.poll_more(cx)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

/// The way in for the data of a `COPY ... FROM STDIN`. It must end by [`CopyIn::finish`] or [`CopyIn::give_up`]; dropping it
/// before ends the session, and with it the statement.
pub struct CopyIn {
    conversation: Conversation,
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyIn").finish_non_exhaustive()
    }
}

impl CopyIn {
    /// Runs the statements, which hold a COPY, until it wants rows.
    pub(super) async fn begin(loan: Loan, fate: Fate, sql: &str) -> Result<Self> {
        let mut conversation = Conversation::begin(loan, fate, sql).await?;
        match conversation.start_of_copy().await? {
            Answer::CopyIn => Ok(CopyIn { conversation }),
            other => Err(other.unexpected()),
        }
    }

    /// Hands over some bytes, cut anywhere, at most a gigabyte; waits while the server is behind. A refusal of the server
    /// shows as soon as it is here; the session can go on after it.
    pub async fn send(&mut self, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let length = i32::try_from(data.len() + 4)
            .map_err(|error| Error::new(Kind::Internal, "too much for one message").because(error))?;
        let mut header = [0; 5];
        (&mut header[..]).put_u8(b'd');
        (&mut header[1..]).put_i32(length);
        self.conversation.write(&header).await?;
        self.conversation.write(data).await?;
        self.conversation.refusal_so_far().await
    }

    /// Ends the data of this COPY and goes on to the next one among the statements.
    pub async fn next(&mut self) -> Result<()> {
        self.end_data().await?;
        match self.conversation.start_of_copy().await? {
            Answer::CopyIn => Ok(()),
            other => Err(other.unexpected()),
        }
    }

    /// Ends the data and returns how many rows the server took, by all COPYs of the statements.
    pub async fn finish(mut self) -> Result<u64> {
        self.end_data().await?;
        self.conversation.rest().await
    }

    async fn end_data(&mut self) -> Result<()> {
        let mut done = BytesMut::new();
        frontend::copy_done(&mut done);
        self.conversation.write(&done).await
    }

    /// Makes the server forget the data, and frees the session for other statements.
    pub async fn give_up(mut self) -> Result<()> {
        let mut fail = BytesMut::new();
        frontend::copy_fail("given up", &mut fail)
            .map_err(|error| Error::new(Kind::Internal, "cannot say that a COPY is given up").because(error))?;
        self.conversation.write(&fail).await?;
        match self.conversation.rest().await {
            // The server's refusal is what was asked for.
            Err(error) if error.kind() == Kind::Connection => Err(error),
            _ => Ok(()),
        }
    }
}
