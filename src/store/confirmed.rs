//! Answers that people confirmed, found by what was asked.

use serde::{Deserialize, Serialize};

use super::engine::{Changes, Range};
use super::keys::{Key, Kind};
use super::outbox::{DeliveryRow, delivery_key};
use super::{Store, StoreError};
use crate::domain::{GivenAnswer, QuestionKey};

/// The answer itself is the one of the delivery, so that nothing outlives it.
#[derive(Serialize, Deserialize)]
pub(super) struct ConfirmedRow {
    question: QuestionKey,
    /// Unix time in seconds.
    pub at: i64,
}

impl Store {
    /// From now on the answer to this question, if it is still the one of `answered_at`, is given again to those who ask the
    /// same; one that was taken back, or that cannot be given again, is not. On the disk at the next flush.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn confirm(&self, question: &QuestionKey, answered_at: i64, at: i64) -> Result<(), StoreError> {
        self.with(|engine| {
            engine.change(|changes| {
                let row = changes.read_or_none::<DeliveryRow>(&delivery_key(question))?;
                let Some(delivery) = row.map(|row| row.delivery) else { return Ok(()) };
                match delivery.answer {
                    Some(answer) if !delivery.messages.is_empty() && delivery.answered_at == answered_at => {
                        changes.put(&key(&answer.asked, question), &ConfirmedRow { question: question.clone(), at })
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
            let mut found = Vec::new();
            for row in engine.values::<ConfirmedRow>(&range).take(limit) {
                let (_, ConfirmedRow { question, .. }) = row?;
                let delivery = engine.read::<DeliveryRow>(&delivery_key(&question))?.map(|row| row.delivery);
                let answer = delivery.filter(|delivery| !delivery.messages.is_empty()).and_then(|known| known.answer);
                found.extend(answer.filter(|answer| answer.asked == asked).map(|answer| (question, answer)));
            }
            Ok(found)
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
