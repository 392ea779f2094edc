//! Conversations: what the bot remembers of a thread.

use serde::{Deserialize, Serialize};

use super::keys::{Key, Kind};
use super::{Store, StoreError, outbox};
use crate::domain::{Language, MessageId, Thread};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// The bot was asked here, so what follows may be for it.
    pub participates: bool,
    /// Chosen by the people, not guessed.
    pub language: Option<Language>,
    /// The people want the language of each question, whatever is set for the chat around.
    pub any_language: bool,
    /// What a follow-up refers to: the last question that was not one itself.
    pub last_question: Option<String>,
    /// The message whose answer is the newest here.
    pub last_answered: Option<MessageId>,
    /// Unix time in seconds of the last thing that happened.
    pub last_at: i64,
    /// People asked to forget what came before; the next question makes it `false` again.
    pub forgotten: bool,
}

impl Store {
    /// # Errors
    /// `DamagedRow` and errors of the disk.
    pub fn conversation(&self, thread: &Thread) -> Result<Option<Conversation>, StoreError> {
        self.with(|engine| engine.read(&key(thread)))
    }

    /// On the disk at the next flush.
    ///
    /// # Errors
    /// `TooLarge` and errors of the disk.
    pub fn set_conversation(&self, thread: &Thread, conversation: &Conversation) -> Result<(), StoreError> {
        self.with(|engine| engine.put(&key(thread), conversation))
    }

    /// Forgets what was asked in a thread, here and in its finished deliveries. That the bot takes part and in which
    /// language stays. On the disk when this returns.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn forget(&self, thread: &Thread) -> Result<(), StoreError> {
        let key = key(thread);
        self.with(|engine| {
            engine.change(|changes| match changes.read_or_none::<Conversation>(&key)? {
                Some(conversation) => changes.put(
                    &key,
                    &Conversation { last_question: None, last_answered: None, forgotten: true, ..conversation },
                ),
                // It may be there and damaged.
                None => changes.remove(&key),
            })?;
            outbox::forget(engine, thread)?;
            engine.flush()
        })
    }
}

fn key(thread: &Thread) -> Key {
    Key::new(Kind::Conversation).thread(thread)
}
