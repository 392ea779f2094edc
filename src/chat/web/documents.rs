//! `GET /api/documents/{passage_id}`: the document that holds a cited passage.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::Room;
use super::answering::DocumentError;
use super::refusal::{PageLanguage, Refusal, Refused};
use crate::domain::{Language, Passage, PassageId};

#[derive(Serialize)]
pub(super) struct Document {
    path: String,
    title: String,
    language: Language,
    passages: Vec<DocumentPassage>,
}

#[derive(Serialize)]
struct DocumentPassage {
    passage_id: PassageId,
    heading: String,
    text: String,
    /// The passage that was asked for.
    cited: bool,
}

pub(super) async fn document(
    State(room): State<Arc<Room>>,
    PageLanguage(language): PageLanguage,
    Path(passage): Path<String>,
) -> Result<Json<Document>, Refused> {
    let cited: PassageId = passage.parse().map_err(|_| Refusal::PassageGone.to(language))?;
    let answering = Arc::clone(&room.answering);
    let passages = tokio::task::spawn_blocking(move || answering.document(cited))
        .await
        .unwrap_or_else(|_panicked| Err(DocumentError::Unreadable("looking for it panicked".into())))
        .map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, passage = %cited, "no document for the page");
            Refusal::DocumentUnreadable.to(language)
        })?;
    document_of(passages, cited).map(Json).ok_or_else(|| Refusal::PassageGone.to(language))
}

fn document_of(passages: Vec<Passage>, cited: PassageId) -> Option<Document> {
    let Passage { path, title, language, .. } = passages.iter().find(|passage| passage.id == cited)?.clone();
    let passages = passages
        .into_iter()
        .map(|passage| DocumentPassage {
            passage_id: passage.id,
            heading: passage.heading(),
            cited: passage.id == cited,
            text: passage.text,
        })
        .collect();
    Some(Document { path, title, language, passages })
}
