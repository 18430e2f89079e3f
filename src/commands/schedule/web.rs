//! Health and metrics over HTTP: `/health` and `/metrics`, for reading only.

use super::state::State;
use crate::commands::Stop;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// So many clients are served at once.
const CLIENTS: usize = 32;
/// A client may take so long with one question, and stay so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens, and serves until a stop is asked; the address says which port was taken when 0 was asked for.
pub(super) async fn listen(address: SocketAddr, state: Arc<State>, stop: Stop) -> Result<(SocketAddr, JoinHandle<()>)> {
    let failed =
        |error: std::io::Error| Error::new(Kind::Usage, "cannot be listened on").on(address.to_string()).because(error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((address, tokio::spawn(serve(listener, state, stop))))
}

async fn serve(listener: TcpListener, state: Arc<State>, stop: Stop) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let socket = tokio::select! {
            () = stop.asked() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                // Out of file descriptors, for instance; that passes.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            },
        };
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        let (state, stop) = (Arc::clone(&state), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &state, &stop);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(socket), service);
            // A client that hangs up, or is too slow, is no news.
            let _outcome = tokio::time::timeout(PATIENCE, connection).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, state: &State, stop: &Stop) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/health") if stop.is_asked() => {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
        }
        (&Method::GET | &Method::HEAD, "/health") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, state.metrics()),
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "there are /health and /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "this is for reading only\n".to_owned()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}
