//! The desk of a platform: takes what people write, decides what is wanted, and sees to it that each question gets one
//! answer. What is taken is in the store before the platform is told; it leaves the store when its answer has arrived.

mod access;
mod admin;
mod answering;
mod buttons;
mod lanes;
mod manners;
mod phrases;
mod private;
mod quota;
mod small_talk;
mod talk;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock;
use super::delivery::{Backoff, Courier, Surface};
use super::event::{Addressed, Button, ChatEvent, Incoming, Message};
use super::house::House;
use super::intake::{Intake, NotTaken};
use super::records::Records;
use crate::domain::{Chat, LanguageDetector, MessageId, Platform, Principal, Thread};
use crate::store::{Accepted, Delivery, InboxId, QuestionKey, StoreError};

pub use access::{Access, AccessRules};
pub use quota::{Quota, QuotaLimits};

use lanes::{Job, Lanes};

/// Jobs in work or waiting; beyond it nothing more is taken, and the platforms deliver again later.
const JOBS_MAX: usize = 2_000;
/// The flag in the store that keeps a pause over a restart.
const PAUSED: &str = "paused";

/// A setting as it is now: it may change while the service runs.
pub type Live<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// What the desks of all platforms share.
pub struct Shared {
    pub house: Arc<dyn House>,
    pub records: Records,
    quota: Quota,
    /// Answers in work at the same time.
    places: Semaphore,
    paused: AtomicBool,
    /// Held while an opinion is noted and all of them are counted.
    opinions: Arc<Mutex<()>>,
    stop: CancellationToken,
}

#[derive(Clone)]
pub struct DeskLimits {
    pub quota: Live<QuotaLimits>,
    /// Answers in work at the same time.
    pub answers_max: usize,
}

impl Shared {
    /// # Errors
    /// The store cannot be read.
    pub async fn new(
        house: Arc<dyn House>,
        records: Records,
        limits: DeskLimits,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let paused = records.with(|store| store.flag(PAUSED)).await?.is_some();
        Ok(Arc::new(Shared {
            house,
            records,
            quota: Quota::new(limits.quota),
            places: Semaphore::new(limits.answers_max),
            paused: AtomicBool::new(paused),
            opinions: Arc::default(),
            stop,
        }))
    }

    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    async fn set_paused(&self, paused: bool) -> Result<(), StoreError> {
        self.records.with(move |store| store.set_flag(PAUSED, paused.then_some("yes"))).await?;
        self.paused.store(paused, Ordering::Relaxed);
        Ok(())
    }
}

pub struct Desk<S> {
    platform: Platform,
    shared: Arc<Shared>,
    courier: Courier<S>,
    access: Access,
    lanes: Arc<Lanes>,
    tasks: TaskTracker,
    /// Answers that are being written, and how to stop them.
    running: Mutex<HashMap<QuestionKey, Running>>,
    /// Held while a conversation is read, changed and written.
    conversations: Arc<Mutex<()>>,
    detector: LanguageDetector,
}

/// An answer that is being written.
#[derive(Clone)]
struct Running {
    cancel: CancellationToken,
    /// Its question was edited or deleted.
    superseded: Arc<AtomicBool>,
}

impl<S: Surface> Desk<S> {
    pub fn new(platform: Platform, shared: Arc<Shared>, surface: Arc<S>, rules: Live<AccessRules>) -> Arc<Self> {
        let records = shared.records.clone();
        Arc::new(Desk {
            platform,
            courier: Courier::new(surface, records.clone()),
            access: Access::new(rules, records),
            shared,
            lanes: Arc::default(),
            tasks: TaskTracker::new(),
            running: Mutex::default(),
            conversations: Arc::default(),
            detector: LanguageDetector::new(),
        })
    }

    /// Goes on with what an earlier process has taken and not finished.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn resume(self: &Arc<Self>) -> Result<usize, StoreError> {
        let pending = self.shared.records.with(crate::store::Store::pending).await?;
        let mut jobs = Vec::new();
        for (id, payload) in pending {
            match serde_json::from_slice::<ChatEvent>(&payload) {
                Ok(event) if event.platform() == self.platform => jobs.push(Job { id, event }),
                Ok(_) => {}
                Err(error) => {
                    let category = error.classify();
                    tracing::error!(?category, "an event of the inbox cannot be read and is dropped");
                    self.done(id).await?;
                }
            }
        }
        for job in &jobs {
            self.heard(&job.event);
            if let ChatEvent::Message(message) = &job.event {
                let (chat, private) = (message.thread.chat.clone(), message.private);
                let newest = self.shared.records.with(move |store| store.messages_of(&chat, 1)).await?;
                newest.iter().for_each(|id| self.courier.surface().heard(id, private));
            }
        }
        let resumed = jobs.len();
        for job in jobs {
            self.dispatch(job).await?;
        }
        Ok(resumed)
    }

    fn heard(&self, event: &ChatEvent) {
        if let ChatEvent::Message(message) = event {
            self.courier.surface().heard(&message.id, message.private);
        }
    }

    /// Whether a person may ask, wherever they are.
    pub async fn may_ask(&self, person: &Principal) -> bool {
        let own = Chat { platform: self.platform, id: person.id.clone() };
        let role = self.access.role(person, &own, false).await;
        matches!(role, Ok(access::Role::Member | access::Role::Admin)) && !self.shared.is_paused()
    }

    /// Waits until everything that was begun has come to rest; to be called after the stop token was cancelled.
    pub async fn rest(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Puts an event where it is worked on: into its thread's queue, buttons beside it. A message that is edited or
    /// deleted is not answered any further as it was.
    async fn dispatch(self: &Arc<Self>, job: Job) -> Result<(), StoreError> {
        let desk = Arc::clone(self);
        let thread = match &job.event {
            // Quotes are messages of their own: they wait for their turn in the thread.
            ChatEvent::Pressed(press) if press.button == Button::Sources => press.thread.clone(),
            ChatEvent::Pressed(_) => {
                self.tasks.spawn(async move { desk.work(job).await });
                return Ok(());
            }
            ChatEvent::Message(message) => message.thread.clone(),
            ChatEvent::Edited(message) => {
                self.supersede(&question_key(message)).await?;
                message.thread.clone()
            }
            ChatEvent::Deleted { chat, message } => {
                let question = (chat.clone(), message.clone());
                let at_work = self.lanes.thread_of(&question);
                self.supersede(&question).await?;
                let chat = Thread { chat: chat.clone(), id: None };
                match at_work {
                    Some(thread) => thread,
                    None => self.delivery(&question).await?.map_or(chat, |record| record.thread),
                }
            }
            ChatEvent::Opened(opened) => opened.thread.clone(),
            ChatEvent::Moved { to, .. } => Thread { chat: to.clone(), id: None },
        };
        self.lanes.push(thread, job, &self.tasks, move |job| {
            let desk = Arc::clone(&desk);
            async move { desk.work(job).await }
        });
        Ok(())
    }

    /// A message is not worked on any further: what waits is dropped, an answer that is being written ends where it is.
    async fn supersede(&self, question: &QuestionKey) -> Result<(), StoreError> {
        if let Some(waiting) = self.lanes.take_waiting(question) {
            self.done(waiting).await?;
        }
        if let Some(running) = self.running(question) {
            running.superseded.store(true, Ordering::Relaxed);
            running.cancel.cancel();
        }
        Ok(())
    }

    fn running(&self, question: &QuestionKey) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(question).cloned()
    }

    async fn delivery(&self, question: &QuestionKey) -> Result<Option<Delivery>, StoreError> {
        let question = question.clone();
        self.shared.records.with(move |store| store.delivery(&question)).await
    }

    /// Works on one job until it is out of the inbox. A panic ends the job, not the desk.
    async fn work(self: Arc<Self>, job: Job) {
        let mut backoff = Backoff::default();
        let progress = loop {
            let (desk, event) = (Arc::clone(&self), job.event.clone());
            match tokio::spawn(async move { desk.handle(event).await }).await {
                Ok(Ok(progress)) => break progress,
                Ok(Err(error)) if self.waited_out(&error, &mut backoff).await => {}
                Ok(Err(_)) => return,
                Err(_panicked) => {
                    tracing::error!(row = job.id.0, "an event could not be worked on and is dropped");
                    break Progress::Finished;
                }
            }
        };
        if progress == Progress::Later {
            return;
        }
        while let Err(error) = self.done(job.id).await {
            if !self.waited_out(&error, &mut backoff).await {
                return;
            }
        }
    }

    /// Waits after a failure of the store, and tells whether to try again: not when the row is at fault and not the
    /// disk, nor when the service stops. Then the event stays in the inbox.
    async fn waited_out(&self, error: &StoreError, backoff: &mut Backoff) -> bool {
        let again = error.may_pass();
        tracing::error!(
            error = error as &dyn std::error::Error,
            again,
            "the store failed: an event stays in the inbox"
        );
        again && self.shared.stop.run_until_cancelled(tokio::time::sleep(backoff.wait())).await.is_some()
    }

    async fn handle(&self, event: ChatEvent) -> Result<Progress, StoreError> {
        if self.shared.stop.is_cancelled() {
            return Ok(Progress::Later);
        }
        match event {
            ChatEvent::Message(message) => self.message(message).await,
            ChatEvent::Edited(message) => self.edited(message).await,
            ChatEvent::Deleted { chat, message } => self.deleted(chat, message).await,
            ChatEvent::Pressed(press) => self.pressed(press).await,
            ChatEvent::Opened(opened) => self.opened(opened).await,
            ChatEvent::Moved { from, to } => {
                self.access.follow(&from, &to).await?;
                Ok(Progress::Finished)
            }
        }
    }

    async fn done(&self, id: InboxId) -> Result<(), StoreError> {
        self.shared.records.with(move |store| store.done(id)).await
    }

    /// Whether an event can want anything; what people say to each other is not even written down.
    async fn may_concern(&self, event: &ChatEvent) -> Result<bool, StoreError> {
        let message = match event {
            ChatEvent::Message(message) | ChatEvent::Edited(message) => message,
            ChatEvent::Deleted { chat, message } => {
                let question = (chat.clone(), message.clone());
                let at_work = self.lanes.thread_of(&question).is_some();
                return Ok(at_work || self.delivery(&question).await?.is_some());
            }
            ChatEvent::Pressed(_) | ChatEvent::Opened(_) | ChatEvent::Moved { .. } => return Ok(true),
        };
        if message.by_bot {
            return Ok(false);
        }
        let (question, thread) = (question_key(message), message.thread.clone());
        let is_edit = matches!(event, ChatEvent::Edited(_));
        let known = self.shared.records.with(move |store| {
            let answered = is_edit && store.delivery(&question)?.is_some();
            let conversation = store.conversation(&thread)?;
            Ok((answered, conversation))
        });
        let (answered, conversation) = known.await?;
        let participates = talk::takes_part(message, conversation.as_ref());
        if participates && !message.private && message.addressed == Addressed::SomebodyElse {
            self.step_back(message).await?;
            return Ok(answered);
        }
        let surroundings = manners::Surroundings {
            // An old message that gets a new text was for people, unless it calls the bot.
            participates: participates && !is_edit,
            mentions_only: self.access.mentions_only(&message.thread.chat),
        };
        Ok(answered || manners::wish(message, surroundings) != manners::Wish::Nothing)
    }

    /// People have begun to talk to each other in this thread: until the bot is called again, nothing in it is for it.
    async fn step_back(&self, message: &Message) -> Result<(), StoreError> {
        self.change_conversation_of(message.thread.clone(), |conversation| conversation.participates = false).await
    }

    async fn take(self: &Arc<Self>, incoming: Incoming) -> Result<(), StoreError> {
        if !self.may_concern(&incoming.event).await? {
            return Ok(());
        }
        let payload = serde_json::to_vec(&incoming.event).unwrap_or_default();
        let key = incoming.key;
        let accepted = self.shared.records.with(move |store| store.accept(&key, &payload, clock::now())).await?;
        if let Accepted::New(id) = accepted {
            self.dispatch(Job { id, event: incoming.event }).await?;
        }
        Ok(())
    }
}

impl<S: Surface> Intake for Arc<Desk<S>> {
    fn announce(&self, event: &ChatEvent) {
        self.heard(event);
    }

    async fn accept(&self, incoming: Incoming) -> Result<(), NotTaken> {
        self.heard(&incoming.event);
        if self.lanes.len() >= JOBS_MAX || self.shared.stop.is_cancelled() {
            tracing::warn!("an event was not taken: too many are waiting, or the service is stopping");
            return Err(NotTaken);
        }
        // In a task of its own: an event that is written down must be worked on, also when the platform's side gives up
        // waiting.
        let desk = Arc::clone(self);
        let taken = tokio::spawn(async move { desk.take(incoming).await }).await;
        taken.map_err(|_panicked| NotTaken)?.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "an event could not be written down");
            NotTaken
        })
    }
}

/// Whether an event can leave the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Finished,
    /// The process is going down: the next one goes on with it.
    Later,
}

fn question_key(message: &Message) -> QuestionKey {
    (message.thread.chat.clone(), message.id.clone())
}

impl ChatEvent {
    pub fn chat(&self) -> &Chat {
        match self {
            ChatEvent::Message(message) | ChatEvent::Edited(message) => &message.thread.chat,
            ChatEvent::Deleted { chat, .. } => chat,
            ChatEvent::Pressed(press) => &press.thread.chat,
            ChatEvent::Opened(opened) => &opened.thread.chat,
            ChatEvent::Moved { to, .. } => to,
        }
    }

    pub fn platform(&self) -> Platform {
        self.chat().platform
    }
}

/// The key of what the bot says without a question, so that it is said once.
fn unasked(chat: &Chat, what: &str) -> QuestionKey {
    (chat.clone(), MessageId(what.to_owned()))
}
