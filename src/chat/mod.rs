//! Platform events to domain words and back: where people meet Cervella. How an answer comes about is not known here.

pub mod terminal;
pub mod web;
