//! What people say about answers: one verdict of each person on each question, the last one.

use serde::{Deserialize, Serialize};

use super::engine::Range;
use super::keys::{Key, Kind};
use super::{Store, StoreError};
use crate::domain::{Principal, QuestionKey};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackVerdict {
    Helpful,
    NotHelpful,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    pub question: QuestionKey,
    pub who: Principal,
    pub verdict: FeedbackVerdict,
    /// Given by an admin.
    #[serde(default)]
    pub by_admin: bool,
    /// Unix time in seconds.
    pub at: i64,
}

impl Store {
    /// Takes the place of what the person said before about this answer. On the disk at the next flush.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn set_feedback(&self, feedback: &Feedback) -> Result<(), StoreError> {
        let key = Key::question(&feedback.question, Kind::Feedback).person(&feedback.who);
        self.with(|engine| engine.put(&key, feedback))
    }

    /// The verdicts on one answer that are not older than `since`.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn feedback_on(&self, question: &QuestionKey, since: i64) -> Result<Vec<Feedback>, StoreError> {
        let range = Range::of(&Key::question(question, Kind::Feedback));
        self.with(|engine| {
            let rows = engine.values::<Feedback>(&range).map(|row| row.map(|(_, feedback)| feedback));
            rows.filter(|row| row.as_ref().map_or(true, |feedback| feedback.at >= since)).collect()
        })
    }

    /// The newest verdicts that are not older than `since`, up to `limit`, newest last.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn feedback_since(&self, since: i64, limit: usize) -> Result<Vec<Feedback>, StoreError> {
        self.with(|engine| {
            let mut newest = Vec::new();
            for row in engine.values::<Feedback>(&Range::kind(Kind::Feedback)) {
                let (_, feedback) = row?;
                if feedback.at >= since {
                    newest.push(feedback);
                }
                // Cut now and then, so that a few are held however many there are.
                if newest.len() > limit.saturating_mul(2).max(1024) {
                    keep_newest(&mut newest, limit);
                }
            }
            keep_newest(&mut newest, limit);
            Ok(newest)
        })
    }
}

fn keep_newest(feedback: &mut Vec<Feedback>, limit: usize) {
    feedback.sort_by_key(|feedback| feedback.at);
    feedback.drain(..feedback.len().saturating_sub(limit));
}
