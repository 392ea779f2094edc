//! Answers that people confirmed, found by what was asked.

use serde::{Deserialize, Serialize};

use super::engine::{Changes, Range};
use super::keys::{Key, Kind};
use super::outbox::{DeliveryRow, delivery_key};
use super::{Store, StoreError};
use crate::domain::{GivenAnswer, QuestionKey};

#[derive(Serialize, Deserialize)]
pub(super) struct ConfirmedRow {
    question: QuestionKey,
    answer: GivenAnswer,
    /// Unix time in seconds.
    pub at: i64,
}

impl Store {
    /// From now on the answer to this question is given again to those who ask the same; one that was taken back, or that
    /// cannot be given again, is not. On the disk at the next flush.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn confirm(&self, question: &QuestionKey, at: i64) -> Result<(), StoreError> {
        self.with(|engine| {
            engine.change(|changes| {
                let row = changes.read_or_none::<DeliveryRow>(&delivery_key(question))?;
                let Some(delivery) = row.map(|row| row.delivery) else { return Ok(()) };
                match delivery.answer {
                    Some(answer) if !delivery.messages.is_empty() => {
                        let key = key(&answer.asked, question);
                        changes.put(&key, &ConfirmedRow { question: question.clone(), answer, at })
                    }
                    _ => Ok(()),
                }
            })
        })
    }

    /// It is given no more. On the disk at the next flush.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn unconfirm(&self, question: &QuestionKey) -> Result<(), StoreError> {
        self.with(|engine| {
            engine.change(|changes| {
                let row = changes.read_or_none::<DeliveryRow>(&delivery_key(question))?;
                row.map_or(Ok(()), |row| remove(changes, question, row.delivery.answer.as_ref()))
            })
        })
    }

    /// Confirmed answers to what was asked (by its key), each with the question that it was given to first; up to `limit`.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn confirmed(&self, asked: &str, limit: usize) -> Result<Vec<(QuestionKey, GivenAnswer)>, StoreError> {
        let range = Range::of(&Key::new(Kind::Confirmed).text(asked));
        self.with(|engine| {
            let rows = engine.values::<ConfirmedRow>(&range).take(limit);
            rows.map(|row| row.map(|(_, row)| (row.question, row.answer))).collect()
        })
    }
}

/// `answer`: the one that may be confirmed.
pub(super) fn remove(
    changes: &mut Changes<'_>,
    question: &QuestionKey,
    answer: Option<&GivenAnswer>,
) -> Result<(), StoreError> {
    answer.map_or(Ok(()), |answer| changes.remove(&key(&answer.asked, question)))
}

fn key(asked: &str, (chat, message): &QuestionKey) -> Key {
    Key::new(Kind::Confirmed).text(asked).chat(chat).message(message)
}
