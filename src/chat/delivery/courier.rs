//! Brings drafts to a platform until the whole one has arrived, whatever the platform does in between, and writes down
//! how far it came, so that a killed process goes on where it was.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::draft::{Draft, DraftState};
use super::pace::{Pace, Urgency};
use super::{Address, Content, Lost, SendError, Surface};
use crate::chat::clock;
use crate::chat::records::Records;
use crate::domain::{Chat, MessageId};
use crate::store::{DeliveredMessage, Delivery, QuestionKey, StoreError};

/// How long the whole text is tried for. What is older interests nobody any more.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The bot's own messages of a chat that a lost one is not mistaken for.
const KNOWN_MESSAGES: usize = 200;
/// How soon it is tried again to post in a chat in which another answer is just being posted.
const DISTURBED: Duration = Duration::from_millis(200);
/// Waited beyond what the platform asks for.
const WAIT_MARGIN: Duration = Duration::from_millis(200);
/// How often the sign of being at work is given again: platforms take it away after some seconds.
const WORKING_AGAIN: Duration = Duration::from_secs(4);

pub struct Courier<S> {
    surface: Arc<S>,
    records: Records,
    pace: Arc<Pace>,
    /// Chats in which a message is being posted or looked for: a search would take a message for the lost one that
    /// another answer has just posted.
    undisturbed: Mutex<HashSet<Chat>>,
}

/// What is delivered, and where to.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub question: QuestionKey,
    pub to: Address,
    /// As the store knows it so far.
    pub record: Delivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    Whole,
    /// The bot may not write there.
    Refused,
    /// The platform takes no form of it, or did not take it for a day.
    GivenUp,
    /// The process is going down; the record tells how far it came.
    Interrupted,
}

impl<S: Surface> Courier<S> {
    pub fn new(surface: Arc<S>, records: Records) -> Self {
        let pace = Arc::new(Pace::new(surface.limits()));
        Courier { surface, records, pace, undisturbed: Mutex::default() }
    }

    pub fn surface(&self) -> &Arc<S> {
        &self.surface
    }

    pub fn characters_max(&self) -> usize {
        self.pace.characters_max()
    }

    /// Follows `drafts` until the whole one stands in the chat.
    ///
    /// # Errors
    /// The store cannot be written: then nothing is sent any more, because it could be sent twice.
    pub async fn deliver(
        &self,
        parcel: Parcel,
        drafts: watch::Receiver<Draft>,
        stop: &CancellationToken,
    ) -> Result<Delivered, StoreError> {
        let resumed = !parcel.record.messages.is_empty();
        let shown = vec![None; parcel.record.messages.len()];
        let mut round = Round {
            courier: self,
            parcel,
            shown,
            resumed,
            plain: false,
            frozen: false,
            last_edit: None,
            backoff: Backoff::default(),
        };
        let outcome = round.run(drafts, stop).await;
        self.surface.working(&round.parcel.to, false).await;
        outcome
    }

    /// `None` while another answer is posted or looked for in this chat.
    fn undisturbed(&self, chat: &Chat) -> Option<Undisturbed<'_>> {
        let is_free = self.undisturbed.lock().unwrap_or_else(PoisonError::into_inner).insert(chat.clone());
        is_free.then(|| Undisturbed { chats: &self.undisturbed, chat: chat.clone() })
    }

    /// Takes all messages of an answer back.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn withdraw(&self, parcel: Parcel, stop: &CancellationToken) -> Result<Delivered, StoreError> {
        let (_sender, drafts) = watch::channel(Draft { state: DraftState::Whole, ..Draft::default() });
        self.deliver(parcel, drafts, stop).await
    }
}

/// Nobody else posts or searches in the chat for as long as it lives.
struct Undisturbed<'a> {
    chats: &'a Mutex<HashSet<Chat>>,
    chat: Chat,
}

impl Drop for Undisturbed<'_> {
    fn drop(&mut self) {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.chat);
    }
}

/// Of an answer that does not stand in the chat yet: what people say is about the one before.
const NOT_YET: i64 = i64::MAX;

/// The delivery of one parcel.
struct Round<'a, S> {
    courier: &'a Courier<S>,
    parcel: Parcel,
    /// What each message shows, as far as this process knows.
    shown: Vec<Option<Content>>,
    /// Messages stand there from an earlier attempt: they are not overwritten with less.
    resumed: bool,
    /// The platform refused the markup.
    plain: bool,
    /// A message that was growing can no longer be edited.
    frozen: bool,
    last_edit: Option<Instant>,
    backoff: Backoff,
}

/// What to do next with the platform.
enum Next<'d> {
    Nothing,
    Put {
        at: usize,
        content: &'d Content,
    },
    /// Messages of an earlier, longer text.
    Remove {
        at: usize,
    },
}

enum Step {
    Done,
    Wait(Duration),
    /// Growing text waits; the whole text need not.
    LeaveOut(Duration),
    GiveUp(Delivered),
}

impl<S: Surface> Round<'_, S> {
    async fn run(
        &mut self,
        mut drafts: watch::Receiver<Draft>,
        stop: &CancellationToken,
    ) -> Result<Delivered, StoreError> {
        let started = Instant::now();
        let mut not_before = started;
        let mut growth_not_before = started;
        let mut working_at = started;
        loop {
            let draft = drafts.borrow_and_update().clone();
            let record = &mut self.parcel.record;
            let is_known =
                record.sources == draft.quotes && record.answer == draft.answer && record.copy_of == draft.copy_of;
            if draft.state == DraftState::Whole && !is_known {
                // Before the buttons are there that ask for them.
                record.sources.clone_from(&draft.quotes);
                record.cited.clone_from(&draft.cited);
                record.answer.clone_from(&draft.answer);
                record.copy_of.clone_from(&draft.copy_of);
                record.answered_at = NOT_YET;
                self.save(false).await?;
            }
            let next = self.next(&draft);
            match (&next, draft.state) {
                (Next::Nothing, DraftState::Whole) => return self.finish().await,
                (_, DraftState::Abandoned) => return Ok(Delivered::Interrupted),
                _ if started.elapsed() > PATIENCE => {
                    tracing::error!(chat = %self.parcel.to.thread.chat, "an answer could not be delivered for a day");
                    return self.finish().await.map(|_| Delivered::GivenUp);
                }
                _ => {}
            }
            let due_at = match draft.state {
                DraftState::Growing => not_before.max(growth_not_before),
                _ => not_before,
            };
            let is_due = !matches!(next, Next::Nothing) && due_at <= Instant::now();
            if is_due {
                match self.step(next, draft.state).await? {
                    Step::Done => not_before = Instant::now(),
                    Step::Wait(wait) => not_before = Instant::now() + wait,
                    Step::LeaveOut(wait) => growth_not_before = Instant::now() + wait,
                    Step::GiveUp(outcome) => return self.finish().await.map(|_| outcome),
                }
                continue;
            }
            let wakes = if matches!(next, Next::Nothing) { working_at } else { due_at.min(working_at) };
            let closed = tokio::select! {
                () = stop.cancelled() => return Ok(Delivered::Interrupted),
                changed = drafts.changed(), if draft.state == DraftState::Growing => changed.is_err(),
                () = tokio::time::sleep_until(wakes.max(Instant::now())) => false,
            };
            if closed {
                return Ok(Delivered::Interrupted);
            }
            if working_at <= Instant::now() {
                working_at = Instant::now() + WORKING_AGAIN;
                if draft.state == DraftState::Growing && self.courier.pace.spare() {
                    self.courier.surface.working(&self.parcel.to, true).await;
                }
            }
        }
    }

    fn next<'d>(&self, draft: &'d Draft) -> Next<'d> {
        if draft.state == DraftState::Growing && (self.resumed || self.frozen) {
            return Next::Nothing;
        }
        let shown = |at: usize| self.shown.get(at).and_then(Option::as_ref);
        let differs = draft.contents.iter().enumerate().find(|(at, content)| shown(*at) != Some(content));
        match differs {
            Some((at, content)) => Next::Put { at, content },
            None if self.shown.len() > draft.contents.len() => Next::Remove { at: self.shown.len() - 1 },
            None => Next::Nothing,
        }
    }

    async fn step(&mut self, next: Next<'_>, state: DraftState) -> Result<Step, StoreError> {
        let at = match next {
            Next::Nothing => return Ok(Step::Done),
            Next::Put { at, .. } | Next::Remove { at } => at,
        };
        let (chat, private) = (&self.parcel.to.thread.chat, self.parcel.to.private);
        let stands = self.parcel.record.messages.get(at);
        let is_growth = state == DraftState::Growing && stands.is_some();
        if is_growth && let Some(last) = self.last_edit {
            let interval = self.courier.pace.edit_interval(private);
            let wait = interval.saturating_sub(last.elapsed());
            if wait > Duration::ZERO {
                return Ok(Step::LeaveOut(wait));
            }
        }
        let _undisturbed = match stands {
            Some(DeliveredMessage::Posted { .. }) => None,
            Some(DeliveredMessage::Posting { .. }) | None => match self.courier.undisturbed(chat) {
                Some(undisturbed) => Some(undisturbed),
                None => return Ok(Step::Wait(DISTURBED)),
            },
        };
        let urgency = if is_growth { Urgency::Welcome } else { Urgency::Needed };
        if let Err(wait) = self.courier.pace.turn(chat, private, urgency) {
            return Ok(if is_growth { Step::LeaveOut(wait) } else { Step::Wait(wait) });
        }
        let outcome = match next {
            Next::Put { content, .. } => self.put(at, content).await?,
            Next::Remove { .. } | Next::Nothing => self.remove(at).await?,
        };
        Ok(match outcome {
            Ok(()) => {
                self.last_edit = Some(Instant::now());
                self.backoff.reset();
                Step::Done
            }
            Err(error) => self.after(error, state),
        })
    }

    /// What follows from a call that did not work.
    fn after(&mut self, error: SendError, state: DraftState) -> Step {
        match error {
            SendError::Wait(wait) => {
                // A little more: our clock and the platform's are not the same.
                let wait = wait + WAIT_MARGIN;
                let chat = &self.parcel.to.thread.chat;
                tracing::info!(%chat, wait_ms = wait.as_millis(), "the platform asks to wait");
                self.courier.pace.hold(chat, wait);
                Step::Wait(wait)
            }
            SendError::Spent(wait) if state == DraftState::Growing => Step::LeaveOut(wait),
            SendError::Spent(wait) => Step::Wait(wait),
            SendError::Unreachable(reason) => {
                let (chat, wait) = (&self.parcel.to.thread.chat, self.backoff.wait());
                if self.backoff.begins_to_last() {
                    tracing::warn!(%chat, reason, "an answer cannot be sent: it is tried until the platform takes it");
                } else {
                    tracing::debug!(%chat, reason, wait_ms = wait.as_millis(), "sending again");
                }
                Step::Wait(wait)
            }
            SendError::Markup if !self.plain => {
                tracing::warn!(chat = %self.parcel.to.thread.chat, "the platform refused the markup: sending plain text");
                self.plain = true;
                Step::Done
            }
            // Growing text may be refused: the whole text is tried all the same.
            SendError::Gone | SendError::Markup | SendError::Refused(_)
                if state == DraftState::Growing && !self.parcel.record.messages.is_empty() =>
            {
                self.frozen = true;
                Step::Done
            }
            error @ (SendError::Markup | SendError::Gone | SendError::Refused(_)) => {
                tracing::error!(chat = %self.parcel.to.thread.chat, %error, "an answer cannot be delivered");
                let is_refused = matches!(error, SendError::Refused(_));
                Step::GiveUp(if is_refused { Delivered::Refused } else { Delivered::GivenUp })
            }
        }
    }

    async fn put(&mut self, at: usize, content: &Content) -> Result<Result<(), SendError>, StoreError> {
        let sent = Content { plain: self.plain, ..content.clone() };
        let surface = Arc::clone(&self.courier.surface);
        let to = self.parcel.to.clone();
        let outcome = match self.parcel.record.messages.get(at).cloned() {
            Some(DeliveredMessage::Posted { id }) => match surface.edit(&to, &id, &sent).await {
                // The final text always arrives: what cannot be edited is said anew, in a step of its own.
                Err(SendError::Gone) if content.last => {
                    self.parcel.record.messages.truncate(at);
                    self.shown.truncate(at);
                    return Ok(Ok(()));
                }
                other => other,
            },
            Some(DeliveredMessage::Posting { content: lost, behind, .. }) => return self.find(at, &lost, behind).await,
            None => self.post(&sent).await?,
        };
        if outcome.is_ok() {
            self.shown.resize(self.parcel.record.messages.len(), None);
            self.shown[at] = Some(content.clone());
        }
        Ok(outcome)
    }

    /// Writes down that a message is about to be posted, posts it, and writes down which one it became.
    async fn post(&mut self, content: &Content) -> Result<Result<(), SendError>, StoreError> {
        let text = serde_json::to_string(content).unwrap_or_default();
        let behind = self.courier.surface.newest(&self.parcel.to);
        self.parcel.record.messages.push(DeliveredMessage::Posting { at: clock::now(), content: text, behind });
        self.save(true).await?;
        let posted = self.courier.surface.post(&self.parcel.to, content).await;
        match posted {
            Ok(id) => {
                self.parcel.record.messages.pop();
                self.parcel.record.messages.push(DeliveredMessage::Posted { id });
                self.save(true).await?;
                Ok(Ok(()))
            }
            // Nobody knows whether it arrived: the record stays, and it is looked for.
            Err(error @ SendError::Unreachable(_)) => {
                self.shown.resize(self.parcel.record.messages.len(), None);
                Ok(Err(error))
            }
            Err(error) => {
                self.parcel.record.messages.pop();
                self.save(false).await?;
                Ok(Err(error))
            }
        }
    }

    /// Looks for a message whose receipt was lost; it is posted again only if it is not there.
    async fn find(
        &mut self,
        at: usize,
        lost: &str,
        behind: Option<MessageId>,
    ) -> Result<Result<(), SendError>, StoreError> {
        let content: Content = serde_json::from_str(lost).unwrap_or_default();
        let chat = self.parcel.to.thread.chat.clone();
        let known = self.courier.records.with(move |store| store.messages_of(&chat, KNOWN_MESSAGES)).await?;
        let lost = Lost { content: &content, behind: behind.as_ref(), known: &known };
        match self.courier.surface.find(&self.parcel.to, &lost).await {
            Ok(Some(id)) => self.parcel.record.messages[at] = DeliveredMessage::Posted { id },
            Ok(None) => {
                self.parcel.record.messages.truncate(at);
                self.shown.truncate(at);
            }
            Err(error) => return Ok(Err(error)),
        }
        self.save(true).await?;
        Ok(Ok(()))
    }

    async fn remove(&mut self, at: usize) -> Result<Result<(), SendError>, StoreError> {
        match self.parcel.record.messages.get(at).cloned() {
            Some(DeliveredMessage::Posted { id }) => {
                let surface = Arc::clone(&self.courier.surface);
                match surface.remove(&self.parcel.to.clone(), &id).await {
                    Ok(()) | Err(SendError::Gone) => {}
                    Err(error) => return Ok(Err(error)),
                }
            }
            Some(DeliveredMessage::Posting { content, behind, .. }) => return self.find(at, &content, behind).await,
            None => {}
        }
        self.parcel.record.messages.truncate(at);
        self.shown.truncate(at);
        self.save(true).await?;
        Ok(Ok(()))
    }

    async fn finish(&mut self) -> Result<Delivered, StoreError> {
        self.parcel.record.finished = true;
        if self.parcel.record.answered_at == NOT_YET {
            self.parcel.record.answered_at = clock::now();
        }
        self.save(true).await?;
        Ok(Delivered::Whole)
    }

    async fn save(&mut self, durable: bool) -> Result<(), StoreError> {
        self.parcel.record.updated_at = clock::now();
        let (question, record) = (self.parcel.question.clone(), self.parcel.record.clone());
        self.courier.records.with(move |store| store.set_delivery(&question, &record, durable)).await
    }
}

#[cfg(test)]
mod tests;
