//! From a question to its delivered answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::talk::Talk;
use super::{Desk, Progress, Running, phrases};
use crate::answer::{QUESTIONS, questions, refers_back};
use crate::chat::clock;
use crate::chat::delivery::{Delivered, Draft, DraftState, Ending, Form, Parcel, Surface, write};
use crate::domain::{Language, Platform, Question, Thread};
use crate::store::{Conversation, QuestionKey, StoreError};

/// Questions that waited longer are answered with an apology.
const QUESTION_AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// Of a question that is kept for the conversation.
const CHARACTERS_OF_QUESTION_KEPT: usize = 500;

impl<S: Surface> Desk<S> {
    /// Answers a question in its thread, or renews the answer that stands there.
    pub(super) async fn answer(&self, talk: &Talk<'_>, text: &str) -> Result<Progress, StoreError> {
        if talk.renewed && self.shared.is_paused() {
            // The answer that stands there is better than a notice.
            return Ok(Progress::Finished);
        }
        let age = clock::now().saturating_sub(talk.message.sent_at);
        if talk.message.sent_at > 0 && age > QUESTION_AGE_MAX.as_secs() as i64 {
            return self.say(talk, phrases::too_late(talk.language)).await;
        }
        if self.shared.is_paused() {
            return self.say(talk, phrases::paused(talk.language)).await;
        }
        let Some(mut parcel) = self.parcel(talk).await? else { return Ok(Progress::Finished) };
        if talk.renewed && self.withdraw_quotes(&parcel.question).await? == Progress::Later {
            return Ok(Progress::Later);
        }
        if talk.renewed {
            // What people said of its answer was about the question as it stood.
            let question = parcel.question.clone();
            self.shared.records.with(move |store| store.unconfirm(&question)).await?;
            parcel.record.answer = None;
        }
        text.clone_into(&mut parcel.record.question_text);
        self.take_part(talk).await?;
        let cancel = self.shared.stop.child_token();
        let running = Running { cancel: cancel.clone(), superseded: Arc::default() };
        let noted = Noted::new(self, parcel.question.clone(), running.clone());
        let question =
            Question { after: talk.before.clone(), language: talk.set_language, ..Question::new(text, talk.reader()) };
        let (drafts, seen) = watch::channel(Draft::default());
        let form = Form { characters_max: self.courier.characters_max(), preface: preface(talk, text) };
        let delivering = async {
            let delivered = self.courier.deliver(parcel, seen, &self.shared.stop).await;
            // What the platform refuses needs not be written to its end.
            cancel.cancel();
            delivered
        };
        let writing = async {
            // Meanwhile the platform shows that the bot is at work.
            let place = cancel.run_until_cancelled(self.shared.places.acquire()).await;
            let ending = match &place {
                Some(_) => write(self.shared.house.ask(question, cancel.clone()), &form, &drafts).await,
                None => Ending::Stopped,
            };
            // The model is free; what is left is the platform's time.
            drop(place);
            self.end(&ending, &running, talk.language, &drafts);
            ending
        };
        let (ending, delivered) = tokio::join!(writing, delivering);
        drop(noted);
        let delivered = delivered?;
        if delivered == Delivered::Refused {
            return self.apologise_in_private(talk).await;
        }
        if delivered == Delivered::Interrupted {
            // The job that superseded this one goes on with its messages.
            let superseded = running.superseded.load(Ordering::Relaxed);
            return Ok(if superseded { Progress::Finished } else { Progress::Later });
        }
        self.remember(talk, text, &ending).await?;
        Ok(Progress::Finished)
    }

    /// What an answer ends with that was stopped.
    fn end(&self, ending: &Ending, running: &Running, language: Language, drafts: &watch::Sender<Draft>) {
        if *ending != Ending::Stopped {
            return;
        }
        if self.shared.stop.is_cancelled() || running.superseded.load(Ordering::Relaxed) {
            drafts.send_modify(|draft| draft.state = DraftState::Abandoned);
            return;
        }
        drafts.send_modify(|draft| {
            let mut said = Draft::said(phrases::stopped(language), language);
            if let (Some(last), Some(stopped)) = (draft.contents.last_mut(), said.contents.first_mut()) {
                stopped.markdown = format!("{}\n\n{}", last.markdown, stopped.markdown);
                draft.contents.pop();
            }
            for content in &mut draft.contents {
                content.last = true;
            }
            draft.contents.append(&mut said.contents);
            draft.state = DraftState::Whole;
        });
    }

    /// From now on what is said in this thread may be for the bot. Noted before the answer is there: what people begin to
    /// say to each other meanwhile ends it.
    async fn take_part(&self, talk: &Talk<'_>) -> Result<(), StoreError> {
        self.change_conversation(talk, |conversation| conversation.participates = true).await
    }

    async fn remember(&self, talk: &Talk<'_>, text: &str, ending: &Ending) -> Result<(), StoreError> {
        let Ending::Answered(answer) = ending else { return Ok(()) };
        let parts = questions(text);
        let subject = match &parts[..] {
            // Of several the last answered one is what people go on from.
            parts @ [_, _, ..] => parts[parts.len().min(QUESTIONS) - 1].as_str(),
            // The subject stays what it is as long as people follow it up.
            _ if refers_back(text) => talk.before.as_deref().unwrap_or(text),
            // Or, where only the model knew what it goes on from, the question as that said it.
            _ => answer.question.as_deref().unwrap_or(text),
        };
        let question: String = subject.chars().take(CHARACTERS_OF_QUESTION_KEPT).collect();
        let answered = talk.message.id.clone();
        let noted = move |conversation: &mut Conversation| {
            conversation.last_question = Some(question);
            conversation.last_answered = Some(answered);
            conversation.forgotten = false;
        };
        self.change_conversation(talk, noted).await
    }

    pub(super) async fn change_conversation(
        &self,
        talk: &Talk<'_>,
        change: impl FnOnce(&mut Conversation) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.change_conversation_of(talk.message.thread.clone(), change).await
    }

    pub(super) async fn change_conversation_of(
        &self,
        thread: Thread,
        change: impl FnOnce(&mut Conversation) + Send + 'static,
    ) -> Result<(), StoreError> {
        let one_at_a_time = Arc::clone(&self.conversations);
        self.shared
            .records
            .with(move |store| {
                let _changing = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
                let mut conversation = store.conversation(&thread)?.unwrap_or_default();
                change(&mut conversation);
                conversation.last_at = clock::now();
                store.set_conversation(&thread, &conversation)
            })
            .await
    }

    pub(super) async fn parcel(&self, talk: &Talk<'_>) -> Result<Option<Parcel>, StoreError> {
        let (question, to) = (talk.question(), talk.address());
        let record = self.delivery(&question).await?;
        if record.as_ref().is_some_and(|record| record.finished && !talk.renewed) {
            return Ok(None);
        }
        let record = record.unwrap_or_else(|| talk.record());
        Ok(Some(Parcel { question, to, record }))
    }

    /// Says one text in reply.
    pub(super) async fn say(&self, talk: &Talk<'_>, markdown: String) -> Result<Progress, StoreError> {
        self.deliver(talk, Draft::said_in_parts(&markdown, talk.language, self.courier.characters_max())).await
    }

    async fn deliver(&self, talk: &Talk<'_>, draft: Draft) -> Result<Progress, StoreError> {
        match self.bring(talk, draft).await? {
            Delivered::Refused => self.apologise_in_private(talk).await,
            Delivered::Interrupted => Ok(Progress::Later),
            Delivered::Whole | Delivered::GivenUp => Ok(Progress::Finished),
        }
    }

    pub(super) async fn bring(&self, talk: &Talk<'_>, draft: Draft) -> Result<Delivered, StoreError> {
        let Some(parcel) = self.parcel(talk).await? else {
            // An earlier process came to the end of it.
            let stands = self.delivery(&talk.question()).await?.is_some_and(|record| !record.messages.is_empty());
            return Ok(if stands { Delivered::Whole } else { Delivered::GivenUp });
        };
        let (_drafts, seen) = watch::channel(draft);
        self.courier.deliver(parcel, seen, &self.shared.stop).await
    }
}

/// The question itself, where it stands in no message: nobody sees a slash command of Slack's.
fn preface(talk: &Talk<'_>, text: &str) -> Option<String> {
    let unseen = talk.message.command.is_some() && talk.message.author.platform == Platform::Slack;
    unseen.then(|| text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n"))
}

/// Keeps an answer in the list of those that can be stopped, for as long as it lives.
struct Noted<'a, S: Surface> {
    desk: &'a Desk<S>,
    question: QuestionKey,
}

impl<'a, S: Surface> Noted<'a, S> {
    fn new(desk: &'a Desk<S>, question: QuestionKey, running: Running) -> Self {
        desk.running.lock().unwrap_or_else(PoisonError::into_inner).insert(question.clone(), running);
        Noted { desk, question }
    }
}

impl<S: Surface> Drop for Noted<'_, S> {
    fn drop(&mut self) {
        self.desk.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.question);
    }
}
