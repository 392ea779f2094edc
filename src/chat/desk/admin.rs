//! What admins do from the chat. Every use is written to the audit log, also one that was refused.

use tokio::sync::watch;

use super::access::Role;
use super::manners::AdminCommand;
use super::talk::{Talk, unasked_message};
use super::{Desk, Progress, phrases, unasked};
use crate::chat::clock;
use crate::chat::delivery::{Delivered, Draft, DraftState, Surface};
use crate::chat::house::ReindexEvent;
use crate::domain::{Chat, Language, Platform, Principal, Thread};
use crate::store::{AuditEntry, Standing, StoreError};

impl<S: Surface> Desk<S> {
    pub(super) async fn administer(&self, talk: &Talk<'_>, command: AdminCommand) -> Result<Progress, StoreError> {
        let language = talk.language;
        if talk.role != Role::Admin {
            self.audit(talk, &command, None, "refused").await?;
            return self.say(talk, phrases::admins_only(language)).await;
        }
        match &command {
            AdminCommand::Pause | AdminCommand::Resume => {
                let paused = command == AdminCommand::Pause;
                self.shared.set_paused(paused).await?;
                self.audit(talk, &command, None, "done").await?;
                self.say(talk, phrases::pause_done(language, paused)).await
            }
            AdminCommand::Allow(who) | AdminCommand::Deny(who) => {
                let allow = matches!(command, AdminCommand::Allow(_));
                let subject = self.access.subject(who, self.platform, &talk.message.thread.chat).await?;
                let Some(subject) = subject else {
                    self.audit(talk, &command, None, "not understood").await?;
                    return self.say(talk, phrases::subject_unknown(language)).await;
                };
                let standing = if allow { Standing::Member } else { Standing::Denied };
                self.access.set(&subject, standing, &talk.message.author).await?;
                self.audit(talk, &command, Some(subject.clone()), "done").await?;
                if allow {
                    self.welcome(&subject, language).await?;
                }
                let text = match allow {
                    true => phrases::allowed(language, &subject),
                    false => phrases::denied(language, &subject),
                };
                self.say(talk, text).await
            }
            AdminCommand::Who => {
                self.audit(talk, &command, None, "done").await?;
                let lines = self.access.listed().await?;
                let text = if lines.is_empty() { phrases::nobody(language) } else { lines.join("\n") };
                self.say_in_private(talk, text).await
            }
            AdminCommand::Reindex(name) => {
                let collection = Some(name.trim()).filter(|name| !name.is_empty()).map(str::to_owned);
                let known = self.shared.house.collections();
                if collection.as_ref().is_some_and(|name| !known.contains(name)) {
                    self.audit(talk, &command, collection, "not understood").await?;
                    return self.say(talk, phrases::no_such_collection(language, &known)).await;
                }
                self.audit(talk, &command, collection.clone(), "begun").await?;
                self.reindex(talk, collection).await
            }
        }
    }

    /// Tells a person who was waiting for it that the bot answers now.
    async fn welcome(&self, subject: &str, language: Language) -> Result<(), StoreError> {
        let id = subject.strip_prefix("telegram:").filter(|id| !id.starts_with('-'));
        let Some(id) = id.filter(|_| self.platform == Platform::Telegram) else { return Ok(()) };
        let chat = Chat { platform: self.platform, id: id.to_owned() };
        let person = Principal { platform: self.platform, id: id.to_owned() };
        let key = unasked(&chat, "welcome");
        let message = unasked_message(Thread { chat, id: None }, person, key.1);
        let talk =
            Talk { message: &message, language, set_language: None, role: Role::Member, before: None, renewed: false };
        self.say(&talk, phrases::welcome(language)).await.map(drop)
    }

    /// An index run, its progress shown in one message.
    async fn reindex(&self, talk: &Talk<'_>, collection: Option<String>) -> Result<Progress, StoreError> {
        let Some(parcel) = self.parcel(talk).await? else { return Ok(Progress::Finished) };
        let language = talk.language;
        let mut events = self.shared.house.reindex(collection);
        let first = phrases::reindex(language, &ReindexEvent::Reading { files: 0, of: 0 });
        let (drafts, seen) = watch::channel(Draft::growing(first, language));
        let telling = async {
            let mut last = ReindexEvent::Failed;
            while let Some(event) = events.recv().await {
                drafts.send_replace(Draft::growing(phrases::reindex(language, &event), language));
                last = event;
            }
            let last = if matches!(last, ReindexEvent::Reading { .. }) { ReindexEvent::Failed } else { last };
            let mut draft = Draft::said(phrases::reindex(language, &last), language);
            if self.shared.stop.is_cancelled() {
                draft.state = DraftState::Abandoned;
            }
            drafts.send_replace(draft);
        };
        let ((), delivered) = tokio::join!(telling, self.courier.deliver(parcel, seen, &self.shared.stop));
        Ok(if delivered? == Delivered::Interrupted { Progress::Later } else { Progress::Finished })
    }

    async fn audit(
        &self,
        talk: &Talk<'_>,
        command: &AdminCommand,
        subject: Option<String>,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry {
            at: clock::now(),
            who: talk.message.author.to_string(),
            action: command.name().to_owned(),
            subject,
            outcome: outcome.to_owned(),
        };
        // For the operator: the store is not theirs to read while the service runs.
        let AuditEntry { who, action, subject, .. } = &entry;
        tracing::info!(who, action, subject, outcome, "an order of an admin");
        self.shared.records.with(move |store| store.audit(&entry)).await
    }
}
