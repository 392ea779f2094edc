//! What is said to one person alone, although it was asked for in a chat of many.

use super::access::Role;
use super::talk::{Talk, unasked_message};
use super::{Desk, Progress, phrases};
use crate::chat::delivery::{Backoff, Delivered, Draft, SendError, Surface};
use crate::chat::event::Addressed;
use crate::domain::{Chat, MessageId, Principal, Thread};
use crate::store::StoreError;

/// How often a platform is asked for a private conversation.
const DIRECT_TRIES: usize = 10;

impl<S: Surface> Desk<S> {
    /// Says what is not for everybody in a shared chat to the person alone, and there only that it did.
    pub(super) async fn say_in_private(&self, talk: &Talk<'_>, markdown: String) -> Result<Progress, StoreError> {
        if talk.message.private {
            return self.say(talk, markdown).await;
        }
        match self.bring_in_private(talk, markdown).await? {
            Delivered::Interrupted => Ok(Progress::Later),
            Delivered::Whole => self.say(talk, phrases::told_in_private(talk.language)).await,
            Delivered::Refused | Delivered::GivenUp => self.say(talk, phrases::private_closed(talk.language)).await,
        }
    }

    /// Whoever may ask and called the bot where it may not write is told so where it may.
    pub(super) async fn apologise_in_private(&self, talk: &Talk<'_>) -> Result<Progress, StoreError> {
        let may_ask = matches!(talk.role, Role::Member | Role::Admin);
        if talk.message.private || talk.message.addressed != Addressed::Bot || !may_ask {
            return Ok(Progress::Finished);
        }
        let told = self.bring_in_private(talk, phrases::cannot_write_there(talk.language)).await?;
        Ok(if told == Delivered::Interrupted { Progress::Later } else { Progress::Finished })
    }

    async fn bring_in_private(&self, talk: &Talk<'_>, markdown: String) -> Result<Delivered, StoreError> {
        let person = &talk.message.author;
        let chat = match self.direct(person).await {
            Ok(chat) => chat,
            Err(outcome) => return Ok(outcome),
        };
        let id = MessageId(format!("asked in {}: {}", talk.message.thread.chat, talk.message.id));
        let message = unasked_message(Thread { chat, id: None }, person.clone(), id);
        let alone = Talk { message: &message, before: None, renewed: false, ..*talk };
        let parts = Draft::said_in_parts(&markdown, talk.language, self.courier.characters_max());
        self.bring(&alone, parts).await
    }

    /// The private conversation with a person, asked for until the platform answers; `Err` why there is none.
    async fn direct(&self, person: &Principal) -> Result<Chat, Delivered> {
        let mut backoff = Backoff::default();
        for _ in 0..DIRECT_TRIES {
            let wait = match self.courier.surface().direct(person).await {
                Ok(chat) => return Ok(chat),
                Err(SendError::Wait(wait) | SendError::Spent(wait)) => wait,
                Err(SendError::Unreachable(_)) => backoff.wait(),
                Err(error) => {
                    tracing::warn!(%person, %error, "a person cannot be written to in private");
                    return Err(Delivered::Refused);
                }
            };
            let waited = self.shared.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            waited.ok_or(Delivered::Interrupted)?;
        }
        tracing::warn!(%person, "the platform did not open a private conversation");
        Err(Delivered::GivenUp)
    }
}
