//! The outbox: how far the delivery of each answer is, and which question a message of the bot belongs to.

use serde::{Deserialize, Serialize};

use super::engine::{Changes, Engine, Range};
use super::keys::{Key, Kind};
use super::{Store, StoreError, confirmed};
use crate::domain::{Chat, GivenAnswer, Language, MessageId, PassageId, Principal, QuestionKey, Thread};

/// How far the delivery of an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub thread: Thread,
    pub asker: Principal,
    pub question_text: String,
    pub language: Option<Language>,
    /// The messages of the answer, in their order.
    pub messages: Vec<DeliveredMessage>,
    /// The quotes of the answer in Markdown, shown when somebody asks for them.
    #[serde(default)]
    pub sources: String,
    /// The passages that these stand in: what is gone, or closed to its readers by now, is not shown again.
    #[serde(default)]
    pub cited: Vec<PassageId>,
    /// The answer, if it may be given again to whoever asks the same.
    #[serde(default)]
    pub answer: Option<GivenAnswer>,
    /// Unix time in seconds from which on opinions are about this answer: since when it stands in the chat.
    #[serde(default)]
    pub answered_at: i64,
    /// The question that its answer was given to first, if people had confirmed it.
    #[serde(default)]
    pub copy_of: Option<QuestionKey>,
    /// A conversation of one person with the bot.
    #[serde(default)]
    pub private: bool,
    /// The last text is in place, nothing is left to do.
    pub finished: bool,
    /// Unix time in seconds.
    pub updated_at: i64,
    pub trace_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveredMessage {
    /// Written before the platform is called. Found like this after a restart, the message may be there or not: it is
    /// looked for.
    Posting {
        at: i64,
        content: String,
        /// The newest message that was known then, where the platform numbers them: this one comes behind it.
        #[serde(default)]
        behind: Option<MessageId>,
    },
    Posted {
        id: MessageId,
    },
}

/// As it is kept: the key cannot be read back.
#[derive(Serialize, Deserialize)]
pub(super) struct DeliveryRow {
    pub question: QuestionKey,
    pub delivery: Delivery,
}

#[derive(Serialize, Deserialize)]
struct MessageRow {
    message: MessageId,
    question: QuestionKey,
}

impl Store {
    /// # Errors
    /// `DamagedRow` and errors of the disk.
    pub fn delivery(&self, question: &QuestionKey) -> Result<Option<Delivery>, StoreError> {
        self.with(|engine| Ok(read(engine, question)?.map(|row| row.delivery)))
    }

    /// Writes how far the delivery is. `durable`: on the disk when this returns, else at the next flush.
    ///
    /// # Errors
    /// `TooLarge` and errors of the disk.
    pub fn set_delivery(&self, question: &QuestionKey, delivery: &Delivery, durable: bool) -> Result<(), StoreError> {
        self.with(|engine| {
            engine.change(|changes| set(changes, question, delivery))?;
            if durable { engine.flush() } else { Ok(()) }
        })
    }

    /// The question that a message of the bot belongs to.
    ///
    /// # Errors
    /// `DamagedRow` and errors of the disk.
    pub fn question_of(&self, chat: &Chat, message: &MessageId) -> Result<Option<QuestionKey>, StoreError> {
        self.with(|engine| {
            let row = engine.read::<MessageRow>(&message_key(chat, message))?;
            Ok(row.map(|row| row.question))
        })
    }

    /// The bot's own messages in a chat, newest first.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn messages_of(&self, chat: &Chat, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        let range = Range::of(&Key::new(Kind::Message).chat(chat)).backwards();
        self.with(|engine| {
            engine.values::<MessageRow>(&range).take(limit).map(|row| row.map(|(_, row)| row.message)).collect()
        })
    }
}

pub(super) fn delivery_key(question: &QuestionKey) -> Key {
    Key::question(question, Kind::Delivery)
}

fn message_key(chat: &Chat, message: &MessageId) -> Key {
    Key::new(Kind::Message).chat(chat).message(message)
}

fn read(engine: &Engine, question: &QuestionKey) -> Result<Option<DeliveryRow>, StoreError> {
    engine.read(&delivery_key(question))
}

fn posted(delivery: &Delivery) -> impl Iterator<Item = &MessageId> {
    delivery.messages.iter().filter_map(|message| match message {
        DeliveredMessage::Posted { id } => Some(id),
        DeliveredMessage::Posting { .. } => None,
    })
}

fn set(changes: &mut Changes<'_>, question: &QuestionKey, delivery: &Delivery) -> Result<(), StoreError> {
    let key = delivery_key(question);
    let old = changes.read_or_none::<DeliveryRow>(&key)?.map(|row| row.delivery);
    for message in old.iter().flat_map(posted).filter(|old| !posted(delivery).any(|new| new == *old)) {
        changes.remove(&message_key(&question.0, message))?;
    }
    for message in posted(delivery).filter(|new| !old.iter().flat_map(posted).any(|old| old == *new)) {
        let row = MessageRow { message: message.clone(), question: question.clone() };
        changes.put(&message_key(&question.0, message), &row)?;
    }
    // What people confirmed is gone or another one; so it is when its messages were taken back.
    let known = old.and_then(|old| old.answer);
    if known != delivery.answer || delivery.messages.is_empty() {
        confirmed::remove(changes, question, known.as_ref())?;
    }
    changes.put(&key, &DeliveryRow { question: question.clone(), delivery: delivery.clone() })
}

pub(super) fn remove(changes: &mut Changes<'_>, question: &QuestionKey) -> Result<(), StoreError> {
    let key = delivery_key(question);
    if let Some(row) = changes.read_or_none::<DeliveryRow>(&key)? {
        for message in posted(&row.delivery) {
            changes.remove(&message_key(&question.0, message))?;
        }
        confirmed::remove(changes, question, row.delivery.answer.as_ref())?;
    }
    changes.remove(&key)
}

/// Forgets what was asked in a thread, of the deliveries that are finished: the others still need it.
pub(super) fn forget(engine: &Engine, thread: &Thread) -> Result<(), StoreError> {
    let range = Range::of(&Key::new(Kind::Delivery).chat(&thread.chat));
    for row in engine.values::<DeliveryRow>(&range) {
        let (key, row) = row?;
        if row.delivery.thread != *thread || row.delivery.question_text.is_empty() {
            continue;
        }
        engine.change(|changes| match changes.read_or_none::<DeliveryRow>(&key)? {
            Some(mut row) if row.delivery.finished => {
                row.delivery.question_text.clear();
                confirmed::remove(changes, &row.question, row.delivery.answer.take().as_ref())?;
                changes.put(&key, &row)
            }
            _ => Ok(()),
        })?;
    }
    Ok(())
}
