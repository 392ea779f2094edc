//! Answers in Slack: posted, streamed, updated, found again.

mod finding;
mod requests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slack_morphism::prelude::*;
use tokio::time::timeout;

use self::finding::mark;
use self::requests::{Quiet, Sent, channel_of, content_of, prompts, ts_of};
use super::blocks;
use super::client::{Api, CallError, Token};
use super::pace::MethodPace;
use super::stream::{Edit, Streams, app_may_not};
use super::{SlackError, SlackIdentity, SlackOptions};
use crate::chat::delivery::markup::slack_escape;
use crate::chat::delivery::{Address, Content, Limits, Lost, Receipt, SendError, Surface};
use crate::chat::event::Button;
use crate::domain::{Chat, Language, MessageId, Principal};

/// Longest wait for a status that nobody depends on.
const STATUS_MAX: Duration = Duration::from_secs(2);

pub struct SlackSurface {
    api: Api,
    identity: SlackIdentity,
    streams: Streams,
    pace: MethodPace,
    /// The app is no agent for Slack.
    sessions_off: AtomicBool,
}

/// The direct messages with a person.
#[derive(Deserialize)]
struct Opened {
    channel: OpenedChannel,
}

#[derive(Deserialize)]
struct OpenedChannel {
    id: String,
}

impl SlackSurface {
    pub fn new(options: &SlackOptions, identity: SlackIdentity) -> Result<Self, SlackError> {
        Ok(SlackSurface {
            api: Api::new(options)?,
            identity,
            streams: Streams::default(),
            pace: MethodPace::default(),
            sessions_off: AtomicBool::new(false),
        })
    }

    async fn call<Q: Serialize + Send + Sync>(
        &self,
        method: &'static str,
        request: &Q,
        needed: bool,
    ) -> Result<Sent, CallError> {
        self.pace.take(method, needed).map_err(CallError::Spent)?;
        let outcome = self.api.post(Token::Bot, method, request).await;
        if let Err(CallError::Wait(wait)) = &outcome {
            self.pace.hold(method, *wait);
        }
        outcome
    }

    /// A message that grows as a stream; `None`: it has to be posted.
    async fn stream(&self, to: &Address, content: &Content) -> Result<Option<MessageId>, SendError> {
        let Some(thread) = to.thread.id.as_ref().filter(|_| !content.last && self.streams.allowed()) else {
            return Ok(None);
        };
        let Some(text) = blocks::markdown(content) else { return Ok(None) };
        let request = SlackApiChatStartStreamRequest::new(channel_of(to))
            .with_thread_ts(SlackTs(thread.clone()))
            .with_recipient_user_id(SlackUserId(to.asker.id.clone()))
            .with_recipient_team_id(SlackTeamId(self.identity.team_id.clone()))
            .opt_markdown_text(Some(text.clone()).filter(|text| !text.is_empty()));
        match self.call("chat.startStream", &request, true).await {
            Ok(sent) => {
                let id = sent.id()?;
                self.streams.begin(&to.thread.chat, &id, text);
                if content.buttons.contains(&Button::Stop) {
                    self.begin_session(to, &id).await;
                }
                Ok(Some(id))
            }
            Err(error @ CallError::Unreachable(_)) => Err(error.into()),
            // The first words shall not wait for the stream.
            Err(CallError::Wait(wait) | CallError::Spent(wait)) => {
                self.streams.pause(wait);
                Ok(None)
            }
            Err(CallError::Refused { code, .. }) => {
                self.streams.refused(&code);
                Ok(None)
            }
        }
    }

    /// A stream has no blocks before its end: Slack's own stop button stands for ours. Where the app is no agent, there
    /// is none.
    async fn begin_session(&self, to: &Address, message: &MessageId) {
        if self.sessions_off.load(Ordering::Relaxed) {
            return;
        }
        let request = SlackApiAgentsSessionsSetStatusRequest::new(SlackAgentSessionStatus::Processing)
            .with_channel_id(channel_of(to))
            .opt_thread_ts(to.thread.id.clone().map(SlackTs))
            .with_initiator_user_id(SlackUserId(to.asker.id.clone()));
        let call = self.api.post::<_, Value>(Token::Bot, "agents.sessions.setStatus", &request);
        match timeout(STATUS_MAX, call).await {
            Ok(Ok(_)) => self.streams.session(&to.thread.chat, message),
            Ok(Err(error)) if app_may_not(error.code()) => self.sessions_off.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    async fn append(&self, to: &Address, message: &MessageId, rest: String) -> Result<(), CallError> {
        if rest.is_empty() {
            return Ok(());
        }
        let request = SlackApiChatAppendStreamRequest::new(channel_of(to), ts_of(message)).with_markdown_text(rest);
        let result = self.call("chat.appendStream", &request, false).await;
        match &result {
            Ok(_) => {
                let rest = request.markdown_text.as_deref().unwrap_or_default();
                self.streams.appended(&to.thread.chat, message, rest);
            }
            Err(CallError::Unreachable(_)) => self.streams.doubt(&to.thread.chat, message),
            Err(_) => {}
        }
        result.map(|_| ())
    }

    /// The last words of a stream, with what stands below them.
    async fn finish(
        &self,
        to: &Address,
        message: &MessageId,
        content: &Content,
        rest: String,
    ) -> Result<(), CallError> {
        let mut last = SlackMessageContent::new()
            .opt_markdown_text(Some(rest).filter(|rest| !rest.is_empty()))
            .with_metadata(mark(to, content));
        let below = blocks::below(content);
        if !below.is_empty() {
            last = last.with_blocks(below);
        }
        let result = self.stop(to, message, last).await;
        match &result {
            Ok(()) => {
                self.streams.end(&to.thread.chat, message);
            }
            Err(CallError::Unreachable(_)) => self.streams.doubt(&to.thread.chat, message),
            Err(_) => {}
        }
        result
    }

    async fn stop(&self, to: &Address, message: &MessageId, last: SlackMessageContent) -> Result<(), CallError> {
        let session = self.streams.has_session(&to.thread.chat, message).then_some(SlackAgentSessionStatus::Active);
        let request =
            SlackApiChatStopStreamRequest::new(channel_of(to), ts_of(message), last).opt_session_status(session);
        self.call("chat.stopStream", &request, true).await.map(|_| ())
    }

    /// Ends a stream so that its message can be updated. That Slack knows of no stream is as good.
    async fn stop_for_update(&self, to: &Address, message: &MessageId) -> Result<(), SendError> {
        match self.stop(to, message, SlackMessageContent::new()).await {
            Ok(()) | Err(CallError::Refused { .. }) => {
                self.streams.end(&to.thread.chat, message);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, to: &Address, message: &MessageId, content: &Content) -> Result<(), SendError> {
        match self.update_content(to, message, content_of(content)?, content.last).await {
            Err(SendError::Markup) if content.plain => {
                let bare = blocks::bare_message(content);
                self.update_content(to, message, bare, content.last).await.map_err(nothing_plainer)
            }
            result => result,
        }
    }

    async fn update_content(
        &self,
        to: &Address,
        message: &MessageId,
        content: SlackMessageContent,
        needed: bool,
    ) -> Result<(), SendError> {
        let request = SlackApiChatUpdateRequest::new(channel_of(to), content, ts_of(message))
            .with_link_names(false)
            .with_parse("none".to_owned());
        let request = Quiet { request, mrkdwn: false };
        match self.call("chat.update", &request, needed).await {
            // A stream of before a restart: nothing is known of it here.
            Err(error) if error.code().contains("streaming") => {
                self.stop_for_update(to, message).await?;
                self.call("chat.update", &request, needed).await?;
            }
            result => {
                result?;
            }
        }
        Ok(())
    }

    async fn post_content(&self, to: &Address, content: SlackMessageContent) -> Result<MessageId, SendError> {
        let request = SlackApiChatPostMessageRequest::new(channel_of(to), content)
            .opt_thread_ts(to.thread.id.clone().map(SlackTs))
            .with_link_names(false)
            .with_parse("none".to_owned())
            .with_unfurl_links(false)
            .with_unfurl_media(false);
        self.call("chat.postMessage", &Quiet { request, mrkdwn: false }, true).await?.id()
    }
}

/// Text without a block is the end of what can be tried.
fn nothing_plainer(error: SendError) -> SendError {
    match error {
        SendError::Markup => SendError::Refused("markup".to_owned()),
        error => error,
    }
}

impl Surface for SlackSurface {
    fn limits(&self) -> Limits {
        Limits {
            characters_max: 11_000,
            edit_interval_private: Duration::from_millis(1_200),
            edit_interval_shared: Duration::from_millis(1_500),
            chat_interval: Duration::from_millis(1_050),
            chat_per_minute: 50,
            per_second: 10,
        }
    }

    async fn post(&self, to: &Address, content: &Content) -> Result<MessageId, SendError> {
        if let Some(id) = self.stream(to, content).await? {
            return Ok(id);
        }
        let message = content_of(content)?.with_metadata(mark(to, content));
        match self.post_content(to, message).await {
            Err(SendError::Markup) if content.plain => {
                let bare = blocks::bare_message(content).with_metadata(mark(to, content));
                self.post_content(to, bare).await.map_err(nothing_plainer)
            }
            result => result,
        }
    }

    async fn edit(&self, to: &Address, message: &MessageId, content: &Content) -> Result<(), SendError> {
        let text = blocks::markdown(content);
        let streamed = match self.streams.edit(&to.thread.chat, message, text.as_deref()) {
            Edit::Update => None,
            Edit::Replace => {
                self.stop_for_update(to, message).await?;
                None
            }
            Edit::Append(rest) if content.last => Some(self.finish(to, message, content, rest).await),
            Edit::Append(rest) => Some(self.append(to, message, rest).await),
        };
        match streamed {
            Some(Ok(())) => return Ok(()),
            // The stream is over, or takes nothing any more: the message can still be updated.
            Some(Err(CallError::Refused { code, .. })) => {
                if code == "message_not_in_streaming_state" {
                    self.streams.end(&to.thread.chat, message);
                } else {
                    self.stop_for_update(to, message).await?;
                }
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        self.update(to, message, content).await
    }

    async fn remove(&self, to: &Address, message: &MessageId) -> Result<(), SendError> {
        self.streams.end(&to.thread.chat, message);
        let request = SlackApiChatDeleteRequest::new(channel_of(to), ts_of(message));
        match self.call("chat.delete", &request, true).await {
            Err(error) if error.code() == "message_not_found" => Ok(()),
            Err(error) if error.code().contains("streaming") => {
                self.stop_for_update(to, message).await?;
                self.call("chat.delete", &request, true).await?;
                Ok(())
            }
            result => Ok(result.map(|_| ())?),
        }
    }

    async fn find(&self, to: &Address, lost: &Lost<'_>) -> Result<Option<MessageId>, SendError> {
        let history = match finding::history(&self.api, to).await {
            Err(error) if error.code() == "thread_not_found" => return Ok(None),
            history => history?,
        };
        Ok(finding::posted(&history, &self.identity, to, lost.content, lost.known))
    }

    /// Only the assistant panel shows a status; it clears itself when an answer is posted, and after two minutes.
    async fn working(&self, to: &Address, on: bool) {
        let Some(thread) = to.thread.id.as_ref().filter(|_| to.private) else { return };
        // Slack shows it behind the bot's name, so it is in nobody's language.
        let status = if on { "🔎 …" } else { "" };
        let request =
            SlackApiAssistantThreadsSetStatusRequest::new(channel_of(to), status.to_owned(), SlackTs(thread.clone()));
        let call = self.api.post::<_, Value>(Token::Bot, "assistant.threads.setStatus", &request);
        if !matches!(timeout(STATUS_MAX, call).await, Ok(Ok(_))) {
            tracing::debug!("the status in the assistant panel was not set");
        }
    }

    /// Slack wants no confirmation: the notice is shown to the person alone.
    async fn confirm(&self, receipt: &Receipt<'_>, notice: &str) -> Result<(), SendError> {
        if notice.trim().is_empty() {
            return Ok(());
        }
        let content = SlackMessageContent::new().with_text(slack_escape(notice));
        let request = SlackApiChatPostEphemeralRequest::new(
            channel_of(receipt.to),
            SlackUserId(receipt.person.id.clone()),
            content,
        )
        .opt_thread_ts(receipt.to.thread.id.clone().map(SlackTs))
        .with_link_names(false)
        .with_parse("none".to_owned());
        self.api.post::<_, Value>(Token::Bot, "chat.postEphemeral", &Quiet { request, mrkdwn: false }).await?;
        Ok(())
    }

    async fn direct(&self, person: &Principal) -> Result<Chat, SendError> {
        // The library's own request holds a list, where Slack documents names with commas between them.
        let request = serde_json::json!({"users": person.id});
        let opened: Opened = self.api.post(Token::Bot, "conversations.open", &request).await?;
        Ok(Chat { platform: person.platform, id: opened.channel.id })
    }

    /// The prompts first: setting them twice is no harm, greeting twice is.
    async fn suggest(
        &self,
        to: &Address,
        language: Language,
        greeting: &str,
        questions: &[String],
    ) -> Result<(), SendError> {
        let mut markdown = greeting.to_owned();
        match &to.thread.id {
            Some(thread) if !questions.is_empty() => {
                let title = match language {
                    Language::Italian => "Prova a chiedere:",
                    Language::English => "Try asking:",
                };
                let request = SlackApiAssistantThreadsSetSuggestedPromptsRequest::new(
                    channel_of(to),
                    SlackTs(thread.clone()),
                    prompts(questions),
                )
                .with_title(title.to_owned());
                let method = "assistant.threads.setSuggestedPrompts";
                self.api.post::<_, Value>(Token::Bot, method, &request).await?;
            }
            _ => {
                for question in questions {
                    markdown.push_str(&format!("\n- {question}"));
                }
            }
        }
        if markdown.trim().is_empty() {
            return Ok(());
        }
        let content = Content { markdown, language: Some(language), last: true, ..Content::default() };
        self.post_content(to, content_of(&content)?).await?;
        Ok(())
    }
}
