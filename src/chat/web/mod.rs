//! The chat page and the HTTP interface behind it, made for loopback: no accounts, no outside resource. Where it is reached
//! from elsewhere, whoever asks has to know a token.
//!
//! | address | what it gives |
//! |---|---|
//! | `GET /`, `GET /assets/…` | the page |
//! | `POST /api/ask` | one answer as server-sent events |
//! | `GET /api/documents/{passage_id}` | the document that holds a passage |
//! | `GET /api/status` | model, number of documents, sample questions |
//! | `GET /healthz`, `GET /readyz` | for scripts: its parts do their work, questions are answered |
//! | `GET /metrics` | for Prometheus |
//!
//! How an answer comes about is not known here: the room calls [`Answering`].

mod answering;
mod ask;
mod assets;
mod documents;
mod guard;
mod refusal;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use answering::{Answering, DocumentError, SampleQuestion, ServiceStatus};
pub use ask::QUESTION_CHARACTERS_MAX;
pub use guard::Exposure;

use guard::Door;
use refusal::{PageLanguage, Refusal, Refused};

/// Answers that are streamed at the same time; the next one is refused. The model writes one answer at a time, so
/// more open streams would only wait in its queue.
pub const STREAMS_MAX: usize = 8;

/// A question of [`QUESTION_CHARACTERS_MAX`] characters fits in, whatever its script and however it is escaped.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long open connections may finish after the stop signal. The streams end at once by themselves; this is for
/// a client that does not read.
const DRAIN_MAX: Duration = Duration::from_millis(1500);

/// What every handler needs.
struct Room {
    answering: Arc<dyn Answering>,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Serves the page until `shutdown` is cancelled: then nothing new is accepted, every running answer is cancelled
/// and its stream ends. Returns within two seconds of that, also when a client does not read.
///
/// # Errors
/// The listener has no local address any more.
pub async fn serve(
    listener: TcpListener,
    exposure: Exposure,
    answering: Arc<dyn Answering>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let door = Door::of(listener.local_addr()?, exposure);
    let room = Room { answering, streams: Arc::new(Semaphore::new(STREAMS_MAX)), shutdown: shutdown.clone() };
    // Tokens are small packets: without this they would wait for each other.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY on a connection of the chat page");
        }
    });
    let server = axum::serve(listener, router(room, door)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        result = server => result,
        () = drained_too_long(&shutdown) => {
            tracing::info!("a client of the chat page did not close its connection in time");
            Ok(())
        }
    }
}

async fn drained_too_long(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

fn router(room: Room, door: Door) -> Router {
    Router::new()
        .route("/", get(assets::page))
        .route("/assets/{name}", get(assets::asset))
        .route("/api/ask", post(ask::ask))
        .route("/api/documents/{passage_id}", get(documents::document))
        .route("/api/status", get(status))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(door), guard::guard))
        .with_state(Arc::new(room))
}

async fn status(State(room): State<Arc<Room>>) -> Json<ServiceStatus> {
    Json(room.answering.status())
}

async fn health(State(room): State<Arc<Room>>) -> (StatusCode, String) {
    match room.answering.failing() {
        None => (StatusCode::OK, "alive\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn ready(State(room): State<Arc<Room>>) -> (StatusCode, String) {
    match room.answering.failing() {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        None if room.answering.status().ready => (StatusCode::OK, "ready\n".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "loading\n".to_owned()),
    }
}

async fn metrics(State(room): State<Arc<Room>>) -> impl IntoResponse {
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    // It looks at files.
    let metrics = tokio::task::spawn_blocking(move || room.answering.metrics()).await;
    metrics.map(|metrics| ([(header::CONTENT_TYPE, form)], metrics)).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn nothing_here(PageLanguage(language): PageLanguage) -> Refused {
    Refusal::NothingHere.to(language)
}
