//! The buttons under an answer: helpful or not, its sources, stop.

use tokio::sync::watch;

use super::access::Role;
use super::{Desk, Progress, phrases};
use crate::chat::clock;
use crate::chat::delivery::{Address, Delivered, Draft, Parcel, Receipt, Surface};
use crate::chat::event::{Button, Press};
use crate::domain::{Language, MessageId};
use crate::store::{Delivery, Feedback, FeedbackVerdict, QuestionKey, StoreError};

impl<S: Surface> Desk<S> {
    pub(super) async fn pressed(&self, press: Press) -> Result<Progress, StoreError> {
        let (chat, message) = (press.thread.chat.clone(), press.message.clone());
        let found = self.shared.records.with(move |store| {
            let Some(question) = store.question_of(&chat, &message)? else { return Ok(None) };
            Ok(store.delivery(&question)?.map(|record| (question, record)))
        });
        let Some((question, record)) = found.await? else { return Ok(Progress::Finished) };
        let role = self.access.role(&press.author, &press.thread.chat, false).await?;
        if !matches!(role, Role::Member | Role::Admin) {
            return Ok(Progress::Finished);
        }
        let language = record.language.or(press.language).unwrap_or(Language::English);
        let to = Address {
            thread: press.thread.clone(),
            question: question.1.clone(),
            asker: record.asker.clone(),
            private: record.private,
        };
        let notice = match press.button {
            Button::Helpful | Button::NotHelpful => self.feedback(&press, &question, language).await?,
            Button::Stop if press.author != record.asker => phrases::not_your_button(language),
            Button::Stop => {
                if let Some(running) = self.running(&question) {
                    running.cancel.cancel();
                }
                phrases::stopping(language)
            }
            Button::Sources => match self.show_sources(&press, &question, &record, language).await? {
                Some(notice) => notice,
                None => return Ok(Progress::Later),
            },
        };
        let receipt = Receipt { to: &to, person: &press.author, code: press.receipt.as_deref() };
        if let Err(error) = self.courier.surface().confirm(&receipt, &notice).await {
            tracing::debug!(%error, "a button press was not confirmed");
        }
        Ok(Progress::Finished)
    }

    async fn feedback(&self, press: &Press, question: &QuestionKey, language: Language) -> Result<String, StoreError> {
        let helpful = press.button == Button::Helpful;
        let feedback = Feedback {
            question: question.clone(),
            who: press.author.clone(),
            verdict: if helpful { FeedbackVerdict::Helpful } else { FeedbackVerdict::NotHelpful },
            at: clock::now(),
        };
        self.shared.records.with(move |store| store.set_feedback(&feedback)).await?;
        Ok(phrases::feedback_taken(language, helpful))
    }

    /// The quotes, as messages of their own, once for each answer. `None`: the service stops.
    async fn show_sources(
        &self,
        press: &Press,
        question: &QuestionKey,
        record: &Delivery,
        language: Language,
    ) -> Result<Option<String>, StoreError> {
        if record.sources.is_empty() {
            return Ok(Some(phrases::no_sources(language)));
        }
        if !self.still_shows(record).await {
            return Ok(Some(phrases::sources_gone(language)));
        }
        let key = key_of_quotes(question);
        if self.delivery(&key).await?.is_none_or(|shown| !shown.finished || shown.messages.is_empty()) {
            let to = Address {
                thread: press.thread.clone(),
                question: question.1.clone(),
                asker: record.asker.clone(),
                private: record.private,
            };
            let of_quotes =
                Delivery { messages: Vec::new(), finished: false, sources: String::new(), ..record.clone() };
            let of_quotes = self.delivery(&key).await?.unwrap_or(of_quotes);
            let draft = Draft::said_in_parts(&record.sources, language, self.courier.characters_max());
            let (_drafts, seen) = watch::channel(draft);
            let parcel = Parcel { question: key, to, record: of_quotes };
            if self.courier.deliver(parcel, seen, &self.shared.stop).await? == Delivered::Interrupted {
                return Ok(None);
            }
        }
        Ok(Some(phrases::sources_below(language)))
    }

    /// Takes the quotes of an answer back that is renewed or withdrawn.
    pub(super) async fn withdraw_quotes(&self, question: &QuestionKey) -> Result<Progress, StoreError> {
        let key = key_of_quotes(question);
        let Some(record) = self.delivery(&key).await? else { return Ok(Progress::Finished) };
        let to = Address {
            thread: record.thread.clone(),
            question: question.1.clone(),
            asker: record.asker.clone(),
            private: record.private,
        };
        let withdrawn = self.courier.withdraw(Parcel { question: key, to, record }, &self.shared.stop).await?;
        Ok(if withdrawn == Delivered::Interrupted { Progress::Later } else { Progress::Finished })
    }
}

/// The quotes are delivered like an answer, under a key of their own.
fn key_of_quotes(question: &QuestionKey) -> QuestionKey {
    (question.0.clone(), MessageId(format!("sources of {}", question.1)))
}
