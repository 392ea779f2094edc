//! The buttons under an answer: helpful or not, its sources, stop.

use tokio::sync::watch;

use super::{Desk, Progress, phrases};
use crate::chat::clock;
use crate::chat::delivery::{Address, Content, Draft, Parcel, Receipt, Surface, markup};
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
            Button::Sources => self.show_sources(&press, &question, &record, language).await?,
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

    /// The quotes, as a message of their own, once for each answer.
    async fn show_sources(
        &self,
        press: &Press,
        question: &QuestionKey,
        record: &Delivery,
        language: Language,
    ) -> Result<String, StoreError> {
        if record.sources.is_empty() {
            return Ok(phrases::no_sources(language));
        }
        let key = (question.0.clone(), MessageId(format!("sources of {}", question.1)));
        if self.delivery(&key).await?.is_none_or(|shown| !shown.finished) {
            let to = Address {
                thread: press.thread.clone(),
                question: question.1.clone(),
                asker: record.asker.clone(),
                private: record.private,
            };
            let of_quotes =
                Delivery { messages: Vec::new(), finished: false, sources: String::new(), ..record.clone() };
            let parts = markup::split(&record.sources, self.courier.characters_max());
            let mut draft = Draft::said(String::new(), language);
            let template = draft.contents.remove(0);
            draft.contents = parts.into_iter().map(|markdown| Content { markdown, ..template.clone() }).collect();
            let (_drafts, seen) = watch::channel(draft);
            self.courier.deliver(Parcel { question: key, to, record: of_quotes }, seen, &self.shared.stop).await?;
        }
        Ok(phrases::sources_below(language))
    }
}
