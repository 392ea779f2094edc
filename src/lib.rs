//! Cervella answers a team's questions from the team's own documents.
//!
//! The rooms from the top down, and what each may import, stand in `ARCHITECTURE.md`; `tests/tidy.rs` holds them to it.

pub mod answer;
pub mod app;
pub mod chat;
pub mod cli;
pub mod domain;
pub mod inference;
pub mod ingest;
pub mod models;
pub mod prompt;
pub mod retrieval;
pub mod settings;
pub mod store;
pub mod telemetry;
