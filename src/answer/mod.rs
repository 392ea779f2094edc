//! From a question to a cited answer: retrieve, gate, prompt, generate, verify, cite.
//! What is done with the events (a terminal, a web page, a chat platform) is `chat`'s business.

mod event;

pub use event::AnswerEvent;
