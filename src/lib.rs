//! Cervella answers a team's questions from the team's own documents.
//!
//! The rooms, from the top down; a room imports only from the rooms below it (`tests/it/tidy.rs` checks that):
//! `cli` -> `app` -> `settings`, `chat` -> `answer`, `ingest` -> `retrieval`, `inference`, `prompt`, `store`,
//! `models`, `telemetry` -> `domain`.


pub mod answer;
pub mod domain;
