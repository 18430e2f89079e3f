//! Uploads under watch: a body that stands still, or a store that has all of it and says nothing, is a broken transfer.
//!
//! It stands beneath the SDK, which signs a body in memory by its content and repeats a request whose connection broke; its
//! own timeouts begin with a request's first byte, and so have to leave time for the slowest upload of a whole part.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::connect::SLOWEST_UPLOAD;
use super::dialect;

/// So much is handed to the connection at once; taking it is what shows that the upload moves.
const PIECE: usize = 64 << 10;
/// The system takes so much of a slow upload before the store has any of it.
const TAKEN_AHEAD: u64 = 512 << 10;

/// Passes requests on, and ends uploads that stand still for too long.
pub(super) struct Watched {
    pub(super) inner: SharedHttpConnector,
    pub(super) stall: Duration,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("stall", &self.stall).finish_non_exhaustive()
    }
}

impl HttpConnector for Watched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let expected =
            dialect::root(request.method(), request.uri(), request.headers().get("x-amz-copy-source").is_some());
        let answer = self.send(request);
        let Some(expected) = expected else { return answer };
        HttpConnectorFuture::new(async move { dialect::translated(answer.await?, expected).await })
    }
}

impl Watched {
    fn send(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let length = request.body().content_length().unwrap_or(0);
        // Completions have bodies, too, and are a matter of minutes.
        if request.method() != "PUT" || length == 0 {
            return self.inner.call(request);
        }
        let ahead = Duration::from_millis(length.min(TAKEN_AHEAD) * 1000 / SLOWEST_UPLOAD);
        let due = Due::new(self.stall, ahead);
        let body = std::mem::replace(request.body_mut(), SdkBody::taken());
        let body = Moving { inner: body, pending: Bytes::new(), left: length, due: due.clone() };
        *request.body_mut() = SdkBody::from_body_1_x(body);
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = pin!(answer);
            loop {
                let at = due.at();
                tokio::select! {
                    answer = &mut answer => return answer,
                    () = tokio::time::sleep_until(at) => {
                        if due.at() <= Instant::now() {
                            return Err(ConnectorError::timeout("the upload stands still".into()));
                        }
                    }
                }
            }
        })
    }
}

/// When the next sign of life is due.
#[derive(Clone)]
struct Due {
    at: Arc<Mutex<Instant>>,
    stall: Duration,
    ahead: Duration,
}

impl Due {
    fn new(stall: Duration, ahead: Duration) -> Self {
        // Until the first piece is taken a connection has to be made.
        Due { at: Arc::new(Mutex::new(Instant::now() + stall + ahead)), stall, ahead }
    }

    fn at(&self) -> Instant {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + self.stall + self.ahead;
    }
}

/// A body in small pieces.
struct Moving {
    inner: SdkBody,
    pending: Bytes,
    left: u64,
    due: Due,
}

impl Body for Moving {
    type Data = Bytes;
    type Error = aws_smithy_types::body::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.due.moved();
        if self.pending.is_empty() {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            match frame.into_data() {
                Ok(data) => self.pending = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = self.pending.len().min(PIECE);
        let piece = self.pending.split_to(piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
