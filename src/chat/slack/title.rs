//! Titles of conversations in the assistant panel: the first question of each.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::chat::event::{ChatEvent, Incoming};
use crate::domain::Thread;

/// Opened conversations that wait for their first question; people close most panels without one.
const WAITING_MAX: usize = 500;
const TITLE_MAX: usize = 60;

#[derive(Default)]
pub(super) struct Titles {
    waiting: Mutex<VecDeque<Thread>>,
}

impl Titles {
    /// The title that the conversation gets by this event.
    pub(super) fn note(&self, incoming: &Incoming) -> Option<(Thread, String)> {
        match &incoming.event {
            ChatEvent::Opened(opened) => {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.len() >= WAITING_MAX {
                    waiting.pop_front();
                }
                waiting.push_back(opened.thread.clone());
                None
            }
            ChatEvent::Message(message) if !message.by_bot && !message.text.is_empty() => {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let at = waiting.iter().position(|thread| *thread == message.thread)?;
                let thread = waiting.remove(at)?;
                let line = message.text.split_whitespace().collect::<Vec<_>>().join(" ");
                Some((thread, super::blocks::cut(&line, TITLE_MAX)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::slack::SlackIdentity;
    use crate::chat::slack::decode::{Frame, decode};

    fn incoming(event: &str) -> Incoming {
        let frame = format!(r#"{{"type":"events_api","envelope_id":"e","payload":{{"event":{event}}}}}"#);
        match decode(frame.as_bytes(), &SlackIdentity::default()) {
            Frame::Envelope { incoming: Some(incoming), .. } => *incoming,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_question_names_the_conversation() {
        let titles = Titles::default();
        let opened = incoming(
            r#"{"type":"assistant_thread_started","assistant_thread":{"user_id":"U1","channel_id":"D1","thread_ts":"1.000001"}}"#,
        );
        let question = incoming(
            r#"{"type":"message","channel":"D1","user":"U1","ts":"2.000001","thread_ts":"1.000001",
                "text":"Where do I find the rules for travel\nand the form for the refund of my train tickets?"}"#,
        );
        assert_eq!(titles.note(&question), None);
        assert_eq!(titles.note(&opened), None);
        let (thread, title) = titles.note(&question).unwrap();
        assert_eq!(thread.to_string(), "slack:D1/1.000001");
        assert_eq!(title, "Where do I find the rules for travel and the form for the r…");
        assert_eq!(titles.note(&question), None);
    }
}
