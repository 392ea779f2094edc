//! What a test sees of the workspace, and how it waits for it.

use std::time::Duration;

use serde_json::Value;

use super::super::waiting;
use super::message::Message;
use super::world::BOT_USER;
use super::{Call, Ephemeral, FakeSlack, Prompts, Response, Shown, Status, Violation};

impl FakeSlack {
    /// All messages of a channel in their order, deleted ones too.
    pub fn messages(&self, channel: &str) -> Vec<Shown> {
        let mut world = self.server.quietly();
        world.end_old_streams();
        let said = |message: &&Message| message.subtype != Some("assistant_app_thread");
        world.channel(channel).messages.values().filter(said).map(|message| Shown::of(message, BOT_USER)).collect()
    }

    pub fn message(&self, channel: &str, ts: &str) -> Option<Shown> {
        self.messages(channel).into_iter().find(|message| message.ts == ts)
    }

    /// The messages of the bot that are there.
    pub fn answers(&self, channel: &str) -> Vec<Shown> {
        self.messages(channel).into_iter().filter(|message| message.ours && !message.deleted).collect()
    }

    /// The messages of the bot in the thread that `ts` began.
    pub fn answers_to(&self, channel: &str, ts: &str) -> Vec<Shown> {
        let here = |message: &Shown| message.thread_ts.as_deref() == Some(ts);
        self.answers(channel).into_iter().filter(here).collect()
    }

    pub fn statuses(&self) -> Vec<Status> {
        self.server.look().deeds.statuses.clone()
    }

    pub fn prompts(&self) -> Vec<Prompts> {
        self.server.look().deeds.prompts.clone()
    }

    /// (channel, thread, title)
    pub fn titles(&self) -> Vec<(String, String, String)> {
        self.server.look().deeds.titles.clone()
    }

    pub fn ephemerals(&self) -> Vec<Ephemeral> {
        self.server.look().deeds.ephemerals.clone()
    }

    /// What was sent to a `response_url`, or along with an acknowledgement.
    pub fn responses(&self) -> Vec<Response> {
        self.server.look().deeds.responses.clone()
    }

    pub fn views(&self) -> Vec<Value> {
        self.server.look().deeds.views.clone()
    }

    /// (channel, thread, status of the agent's session)
    pub fn sessions(&self) -> Vec<(String, String, String)> {
        self.server.look().deeds.sessions.clone()
    }

    /// The calls of a method; an empty name: all calls.
    pub fn calls(&self, method: &str) -> Vec<Call> {
        let world = self.server.look();
        world.deeds.calls.iter().filter(|call| method.is_empty() || call.method == method).cloned().collect()
    }

    /// Calls above a published limit: too often, or too much at once.
    pub fn violations(&self) -> Vec<Violation> {
        self.server.look().limiter.violations.clone()
    }

    /// A channel as text, without anything that depends on time.
    pub fn transcript(&self, channel: &str) -> String {
        self.server.look().transcript(channel)
    }

    /// Whether it came true in time.
    pub async fn wait_until(&self, mut predicate: impl FnMut(&Self) -> bool, patience: Duration) -> bool {
        self.wait_for(|fake| predicate(fake).then_some(()), patience).await.is_some()
    }

    /// Waits until there is something to see.
    pub async fn wait_for<T>(&self, mut look: impl FnMut(&Self) -> Option<T>, patience: Duration) -> Option<T> {
        waiting::wait_for(self.server.changes.subscribe(), patience, || look(self)).await
    }
}
