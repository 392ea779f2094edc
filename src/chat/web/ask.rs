//! `POST /api/ask`: one question in, one answer out as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Room;
use super::refusal::{PageLanguage, Refusal, Refused};
use crate::answer::AnswerEvent;
use crate::domain::{Language, Question, Reader};

/// Longest question that is taken, in characters after trimming.
pub const QUESTION_CHARACTERS_MAX: usize = 4_000;

/// A comment in the stream when nothing else was sent for so long: the page takes a silent stream for a lost one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    question: String,
    /// Missing or null: detected from the question.
    #[serde(default)]
    language: Option<Language>,
}

pub(super) async fn ask(
    State(room): State<Arc<Room>>,
    PageLanguage(language): PageLanguage,
    body: Result<Json<Ask>, JsonRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    let question = question_of(body).map_err(|refusal| refusal.to(language))?;
    if !room.answering.status().ready {
        return Err(Refusal::NotReady.to(language));
    }
    let place = room.streams.clone().try_acquire_owned().map_err(|_| Refusal::TooManyStreams.to(language))?;
    let cancel = room.shutdown.child_token();
    let events = room.answering.ask(question, cancel.clone());
    let stream = OpenStream { events, cancel: cancel.clone(), _stops_work: cancel.drop_guard(), _place: place };
    Ok(Sse::new(sse_events(stream)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn question_of(body: Result<Json<Ask>, JsonRejection>) -> Result<Question, Refusal> {
    let Json(ask) = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::QuestionTooLong,
        _ => Refusal::NotAQuestion,
    })?;
    let text = ask.question.trim();
    if text.is_empty() {
        return Err(Refusal::QuestionEmpty);
    }
    if text.chars().count() > QUESTION_CHARACTERS_MAX {
        return Err(Refusal::QuestionTooLong);
    }
    Ok(Question { language: ask.language, ..Question::new(text, Reader::Page) })
}

/// An answer on its way to one reader. Dropped when the reader goes away, which stops the work and frees the place.
struct OpenStream {
    events: mpsc::Receiver<AnswerEvent>,
    cancel: CancellationToken,
    _stops_work: DropGuard,
    _place: OwnedSemaphorePermit,
}

fn sse_events(stream: OpenStream) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(Some(stream), |open| async {
        let mut stream = open?;
        let event = tokio::select! {
            biased;
            () = stream.cancel.cancelled() => None,
            event = stream.events.recv() => event,
        }?;
        let is_last = matches!(event, AnswerEvent::Done(_) | AnswerEvent::Failed { .. });
        Some((Ok(sse_event(event)), (!is_last).then_some(stream)))
    })
}

fn sse_event(event: AnswerEvent) -> Event {
    let (name, data) = match event {
        AnswerEvent::Started { trace_id, language } => {
            ("started", json!({ "trace_id": trace_id, "language": language }))
        }
        AnswerEvent::Quote(citation) => ("quote", json!({ "citation": citation })),
        AnswerEvent::Waiting { ahead, seconds } => ("waiting", json!({ "ahead": ahead, "seconds": seconds })),
        AnswerEvent::Text(delta) => ("text", json!({ "delta": delta })),
        AnswerEvent::Done(answer) => ("done", json!(answer)),
        AnswerEvent::Failed { message, trace_id } => ("failed", json!({ "message": message, "trace_id": trace_id })),
    };
    // JSON keeps line breaks escaped, so one event is one `data:` line.
    Event::default().event(name).data(data.to_string())
}
