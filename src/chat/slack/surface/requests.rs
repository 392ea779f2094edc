//! Pieces of requests to Slack, and what is read of the answers.

use serde::{Deserialize, Serialize};
use slack_morphism::prelude::*;

use crate::chat::delivery::{Address, Content, SendError};
use crate::chat::slack::blocks;
use crate::domain::MessageId;

/// Prompts that Slack shows.
const PROMPTS_MAX: usize = 4;
/// Characters of a prompt's title.
const PROMPT_TITLE_MAX: usize = 60;

/// A request whose `text` is shown as it is: the library's models lack the field.
#[derive(Serialize)]
pub(super) struct Quiet<R> {
    #[serde(flatten)]
    pub(super) request: R,
    pub(super) mrkdwn: bool,
}

/// What is needed of an answer to a message sent.
#[derive(Deserialize)]
pub(super) struct Sent {
    #[serde(default)]
    ts: String,
}

impl Sent {
    pub(super) fn id(self) -> Result<MessageId, SendError> {
        match self.ts.is_empty() {
            true => Err(SendError::Unreachable("an answer without the message's id".to_owned())),
            false => Ok(MessageId(self.ts)),
        }
    }
}

pub(super) fn channel_of(to: &Address) -> SlackChannelId {
    SlackChannelId(to.thread.chat.id.clone())
}

pub(super) fn ts_of(message: &MessageId) -> SlackTs {
    SlackTs(message.0.clone())
}

pub(super) fn content_of(content: &Content) -> Result<SlackMessageContent, SendError> {
    blocks::message(content).ok_or(SendError::Markup)
}

pub(super) fn prompts(questions: &[String]) -> Vec<SlackAssistantPrompt> {
    let prompt =
        |question: &String| SlackAssistantPrompt::new(blocks::cut(question, PROMPT_TITLE_MAX), question.clone());
    questions.iter().take(PROMPTS_MAX).map(prompt).collect()
}
