//! The buttons under an answer: helpful or not, its sources, stop.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::access::Role;
use super::{Desk, Progress, phrases};
use crate::chat::clock;
use crate::chat::delivery::{Address, Delivered, Draft, Parcel, Receipt, Surface};
use crate::chat::event::{Button, Press};
use crate::domain::{Language, MessageId};
use crate::store::{Delivery, Feedback, FeedbackVerdict, QuestionKey, StoreError};

/// How many more people than say otherwise must find an answer helpful.
const PEOPLE_MORE: usize = 2;

impl<S: Surface> Desk<S> {
    pub(super) async fn pressed(&self, press: Press) -> Result<Progress, StoreError> {
        let (chat, message) = (press.thread.chat.clone(), press.message.clone());
        let found = self.shared.records.with(move |store| {
            let Some(question) = store.question_of(&chat, &message)? else { return Ok(None) };
            Ok(store.delivery(&question)?.map(|record| (question, record)))
        });
        let Some((question, record)) = found.await? else { return Ok(Progress::Finished) };
        let role = self.access.role(&press.author, &press.thread.chat, press.external).await?;
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
            Button::Helpful | Button::NotHelpful => {
                let about = self.origin(&question, &record).await?;
                self.feedback(&press, about, role == Role::Admin, language).await?
            }
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

    /// The question whose answer this is: a copy of a confirmed one is that one, unless it was answered anew since.
    async fn origin(&self, question: &QuestionKey, record: &Delivery) -> Result<QuestionKey, StoreError> {
        let Some(first) = &record.copy_of else { return Ok(question.clone()) };
        let is_it = self.delivery(first).await?.is_some_and(|origin| origin.answered_at <= record.answered_at);
        Ok(if is_it { first } else { question }.clone())
    }

    async fn feedback(
        &self,
        press: &Press,
        question: QuestionKey,
        by_admin: bool,
        language: Language,
    ) -> Result<String, StoreError> {
        let helpful = press.button == Button::Helpful;
        let feedback = Feedback {
            question,
            who: press.author.clone(),
            verdict: if helpful { FeedbackVerdict::Helpful } else { FeedbackVerdict::NotHelpful },
            by_admin,
            at: clock::now(),
        };
        let one_at_a_time = Arc::clone(&self.shared.opinions);
        let taken = self.shared.records.with(move |store| {
            let _counting = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
            store.set_feedback(&feedback)?;
            let question = &feedback.question;
            let Some(Delivery { answered_at, .. }) = store.delivery(question)? else { return Ok(()) };
            match is_confirmed(&store.feedback_on(question, answered_at)?) {
                true => store.confirm(question, answered_at, feedback.at),
                false => store.unconfirm(question),
            }
        });
        taken.await?;
        self.shared.house.rated(press.author.platform, helpful);
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
            let of_quotes = Delivery {
                messages: Vec::new(),
                finished: false,
                sources: String::new(),
                answer: None,
                copy_of: None,
                ..record.clone()
            };
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

/// Whether an answer is confirmed by these opinions: an admin's decide, else two more people say so than otherwise.
fn is_confirmed(opinions: &[Feedback]) -> bool {
    let count = |verdict: FeedbackVerdict, by_admin: bool| {
        opinions.iter().filter(|opinion| opinion.verdict == verdict && (opinion.by_admin || !by_admin)).count()
    };
    use FeedbackVerdict::{Helpful, NotHelpful};
    match (count(Helpful, true), count(NotHelpful, true)) {
        (_, against) if against > 0 => false,
        (admins, _) if admins > 0 => true,
        _ => count(Helpful, false) >= count(NotHelpful, false) + PEOPLE_MORE,
    }
}

/// The quotes are delivered like an answer, under a key of their own.
fn key_of_quotes(question: &QuestionKey) -> QuestionKey {
    (question.0.clone(), MessageId(format!("sources of {}", question.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Chat, Platform, Principal};

    #[test]
    fn an_admin_or_two_people_confirm_an_answer() {
        use FeedbackVerdict::{Helpful, NotHelpful};
        let opinion = |verdict, by_admin| Feedback {
            question: (Chat { platform: Platform::Slack, id: "C1".to_owned() }, MessageId("1.0".to_owned())),
            who: Principal { platform: Platform::Slack, id: "U1".to_owned() },
            verdict,
            by_admin,
            at: 0,
        };
        let (yes, no) = (opinion(Helpful, false), opinion(NotHelpful, false));
        let (admin_yes, admin_no) = (opinion(Helpful, true), opinion(NotHelpful, true));
        for (opinions, expect) in [
            (vec![], false),
            (vec![&yes], false),
            (vec![&yes, &yes], true),
            (vec![&yes, &yes, &no], false),
            (vec![&yes, &yes, &yes, &no], true),
            (vec![&admin_yes, &no, &no], true),
            (vec![&admin_no, &yes, &yes], false),
        ] {
            let opinions: Vec<Feedback> = opinions.into_iter().cloned().collect();
            assert_eq!(is_confirmed(&opinions), expect, "{opinions:?}");
        }
    }
}
