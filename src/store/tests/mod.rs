//! The store as its users see it.

mod crash;
mod damage;
mod export;
mod records;
mod sweep;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::domain::{Chat, MessageId, PassageId, Platform, Principal, Thread};

const NOW: i64 = 1_700_000_000;
const DAY: i64 = 24 * 60 * 60;

fn open(folder: &Path) -> Store {
    Store::open_with(folder, Duration::ZERO).unwrap()
}

fn chat(id: &str) -> Chat {
    Chat { platform: Platform::Slack, id: id.to_owned() }
}

fn message(id: &str) -> MessageId {
    MessageId(id.to_owned())
}

fn question(message_id: &str) -> QuestionKey {
    (chat("C1"), message(message_id))
}

fn person(id: &str) -> Principal {
    Principal { platform: Platform::Slack, id: id.to_owned() }
}

fn thread(chat_id: &str, id: Option<&str>) -> Thread {
    Thread { chat: chat(chat_id), id: id.map(str::to_owned) }
}

fn delivery(messages: Vec<DeliveredMessage>) -> Delivery {
    Delivery {
        thread: thread("C1", Some("1.0")),
        asker: person("U1"),
        question_text: "quanti giorni di ferie ho?".to_owned(),
        language: Some(crate::domain::Language::Italian),
        messages,
        finished: false,
        updated_at: NOW,
        trace_id: "t-1".to_owned(),
        sources: "> quote".to_owned(),
        cited: vec![PassageId([7; 16])],
        answer: None,
        answered_at: NOW,
        copy_of: None,
        private: true,
    }
}

fn posted(id: &str) -> DeliveredMessage {
    DeliveredMessage::Posted { id: message(id) }
}

fn accept(store: &Store, key: &str) -> InboxId {
    match store.accept(key, format!("event {key}").as_bytes(), NOW).unwrap() {
        Accepted::New(id) => id,
        Accepted::Seen => panic!("{key} was seen before"),
    }
}

fn pending(store: &Store) -> Vec<String> {
    store.pending().unwrap().into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
}
