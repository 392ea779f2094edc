//! What a platform can do with a message, in the words that delivery needs. Each platform implements this once; what is
//! sent when is decided in [`super`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::chat::event::Button;
use crate::domain::{Chat, Citation, Language, MessageId, Principal, Thread};

/// A platform's calls. Every call is bounded in time by the implementation (at most 15 s) and makes one attempt: what is
/// tried again, and when, is decided by the caller.
pub trait Surface: Send + Sync + 'static {
    fn limits(&self) -> Limits;

    /// A new message in a thread.
    fn post(&self, to: &Address, content: &Content) -> impl Future<Output = Result<MessageId, SendError>> + Send;

    /// Replaces the content of a message of the bot. The same content again is no error.
    fn edit(
        &self,
        to: &Address,
        message: &MessageId,
        content: &Content,
    ) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Removes a message of the bot. One that is gone already is no error.
    fn remove(&self, to: &Address, message: &MessageId) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Looks for a message that was posted when the receipt was lost (the process was killed between the platform's
    /// taking the message and our writing its id down).
    fn find(&self, to: &Address, lost: &Lost<'_>) -> impl Future<Output = Result<Option<MessageId>, SendError>> + Send;

    /// A message that somebody wrote, on platforms that number messages.
    fn heard(&self, _message: &MessageId, _private: bool) {}

    /// The newest message that is known, on platforms that number them: what is posted next comes behind it.
    fn newest(&self, _to: &Address) -> Option<MessageId> {
        None
    }

    /// Shows that the bot is at work (typing, status), or takes it away. Failures do not matter.
    fn working(&self, to: &Address, on: bool) -> impl Future<Output = ()> + Send;

    /// Confirms a button press, with a short notice for the person who pressed.
    fn confirm(&self, receipt: &Receipt<'_>, notice: &str) -> impl Future<Output = Result<(), SendError>> + Send;

    /// The conversation of a person with the bot.
    fn direct(&self, person: &Principal) -> impl Future<Output = Result<Chat, SendError>> + Send;

    /// Questions that are offered in an opened conversation.
    fn suggest(
        &self,
        to: &Address,
        language: Language,
        greeting: &str,
        questions: &[String],
    ) -> impl Future<Output = Result<(), SendError>> + Send;
}

/// A button press to be confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Receipt<'a> {
    pub to: &'a Address,
    pub person: &'a Principal,
    /// [`crate::chat::event::Press::receipt`]
    pub code: Option<&'a str>,
}

/// A message whose receipt was lost.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    /// What it was posted with.
    pub content: &'a Content,
    /// [`Surface::newest`] when it was posted.
    pub behind: Option<&'a MessageId>,
    /// The bot's messages in this chat that belong to other answers.
    pub known: &'a [MessageId],
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub thread: Thread,
    /// The question; answers refer to it where the platform can (Telegram: reply).
    pub question: MessageId,
    /// Who asked (Slack streams are made for a recipient).
    pub asker: Principal,
    /// A conversation of one person with the bot.
    pub private: bool,
}

/// What stands in one message.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// CommonMark with marks `[n]`.
    pub markdown: String,
    /// Named below the text, in their order.
    pub sources: Vec<Source>,
    pub buttons: Vec<Button>,
    /// `None`: English.
    pub language: Option<Language>,
    /// No more edits will follow: a stream can be ended.
    pub last: bool,
    /// The platform refused the markup before: send plain text.
    pub plain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub n: usize,
    pub title: String,
    /// Address of the document for its readers, if there is one.
    pub url: Option<String>,
}

impl From<&Citation> for Source {
    fn from(citation: &Citation) -> Self {
        Source { n: citation.n, title: citation.place(), url: citation.link.clone() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Characters of Markdown source that fit into one message for certain, sources and buttons aside.
    pub characters_max: usize,
    /// Least time between two edits of one message while it grows, in a private chat and elsewhere.
    pub edit_interval_private: Duration,
    pub edit_interval_shared: Duration,
    /// Least time between two calls in one chat.
    pub chat_interval: Duration,
    /// Calls in a shared chat in one minute.
    pub chat_per_minute: u32,
    /// Calls of the bot in one second, over all chats.
    pub per_second: u32,
}

#[derive(Debug, Error)]
pub enum SendError {
    /// The platform wants us to wait in this chat.
    #[error("the platform asks to wait {0:?}")]
    Wait(Duration),
    /// Not sent: a limit of the platform's that holds for all chats together is used up for so long.
    #[error("a limit of the platform is used up for {0:?}")]
    Spent(Duration),
    /// The network, the platform's own failure, no answer in time. Whether the call took effect is not known.
    #[error("the platform cannot be reached: {0}")]
    Unreachable(String),
    /// The markup was refused; the same as plain text may pass.
    #[error("the platform refused the markup")]
    Markup,
    /// The message to be edited is gone, or can no longer be edited.
    #[error("the message cannot be edited any more")]
    Gone,
    /// The bot may not write there, or the chat is gone. Trying again does not help.
    #[error("the platform refused: {0}")]
    Refused(String),
}
