//! Cervella as its users meet it: the built program, real models, real documents, a real browser. One binary, so that
//! the library is linked once.

mod answers;
mod attacks;
mod browser;
mod chats;
mod commands;
mod contract_slack;
mod contract_telegram;
mod damaged_files;
mod decoders;
mod embedding;
#[path = "../support/mod.rs"]
mod fakes;
mod faults;
mod handbook;
mod http;
mod index;
mod index_kills;
mod index_safety;
mod inference;
mod models;
mod read_ahead;
mod rendering;
mod reranking;
mod rewriting;
mod scripted;
mod scripted_model;
mod service;
mod skip;
mod support;
mod traces;
mod watch;
mod web;
mod webdriver;
