//! What people confirmed, from the store to whoever answers.

use crate::answer::ConfirmedAnswers;
use crate::domain::{GivenAnswer, QuestionKey};
use crate::store::Store;

/// Answers to the same question that are looked at: readers of different collections have different ones.
const LOOKED_AT: usize = 16;

impl ConfirmedAnswers for Store {
    fn to(&self, asked: &str) -> Vec<(QuestionKey, GivenAnswer)> {
        self.confirmed(asked, LOOKED_AT).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a question is answered anew");
            Vec::new()
        })
    }
}
