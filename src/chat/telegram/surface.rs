//! What delivery asks of Telegram: messages are posted, edited, removed and, after a lost receipt, found again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use teloxide::payloads::{
    AnswerCallbackQuery, AnswerCallbackQuerySetters, DeleteMessage, EditMessageText, EditMessageTextSetters,
    SendChatAction, SendChatActionSetters, SendMessage, SendMessageSetters,
};
use teloxide::types::{
    CallbackQueryId, ChatAction, ChatId, LinkPreviewOptions, MessageId as TelegramMessageId, ParseMode,
    ReplyParameters, ThreadId,
};
use tokio::time::Instant;

use super::calls::{Calls, Failure, Refusal};
use super::keyboard::keyboard;
use super::{TelegramError, TelegramIdentity, TelegramOptions, render};
use crate::chat::delivery::{Address, Content, Limits, Lost, Receipt, SendError, Surface};
use crate::domain::{Chat, Language, MessageId, Principal, Thread};

/// Messages that are tried when a lost one is looked for.
const PROBES_MAX: usize = 24;
/// What a search may take in one go.
const FIND_TIMEOUT: Duration = Duration::from_secs(14);
/// Least time between two calls in one chat, probes included.
const CHAT_INTERVAL: Duration = Duration::from_secs(1);
/// Interrupted searches that are remembered.
const SEARCHES_MAX: usize = 1000;
/// Nobody waits for the sign of being at work.
const WORKING_TIMEOUT: Duration = Duration::from_secs(3);
/// Questions that are offered in an opened conversation.
const SUGGESTIONS_MAX: usize = 3;
/// Telegram's limit for the notice of a button.
const NOTICE_UNITS_MAX: usize = 200;

pub struct TelegramSurface {
    calls: Calls,
    identity: TelegramIdentity,
    probe_interval: Duration,
    /// Where searches were interrupted, by thread and question: they go on there, or a slow connection would never see
    /// the end of one.
    searches: Mutex<HashMap<(Thread, MessageId), Search>>,
    /// The greatest number seen in a private chat: all of the bot's private chats share one sequence.
    newest_private: AtomicI32,
}

/// How far a search for a lost message came.
#[derive(Clone, Copy)]
struct Search {
    /// The last message that was tried.
    behind: i32,
    tried: usize,
}

#[derive(Deserialize)]
struct Sent {
    message_id: i64,
    reply_to_message: Option<IgnoredAny>,
}

/// Where a call goes, as Telegram numbers it.
struct Place {
    chat: ChatId,
    topic: Option<ThreadId>,
}

impl TelegramSurface {
    /// # Errors
    /// The address of the Bot API is none.
    pub fn new(options: &TelegramOptions, identity: TelegramIdentity) -> Result<Self, TelegramError> {
        let searches = Mutex::default();
        Ok(TelegramSurface {
            calls: Calls::new(options)?,
            identity,
            probe_interval: CHAT_INTERVAL,
            searches,
            newest_private: AtomicI32::new(0),
        })
    }

    pub fn identity(&self) -> &TelegramIdentity {
        &self.identity
    }

    fn searches(&self) -> MutexGuard<'_, HashMap<(Thread, MessageId), Search>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn rewrite(&self, to: &Address, message: i32, content: &Content) -> Result<(), Failure> {
        let (text, parse_mode) = rendered(content);
        let Ok(place) = Place::of(to) else { return Err(Failure::Unreadable) };
        let mut edit =
            EditMessageText::new(place.chat, TelegramMessageId(message), text).link_preview_options(no_preview());
        edit.parse_mode = parse_mode;
        edit.reply_markup = keyboard(&content.buttons, content.language.unwrap_or(Language::English));
        match self.calls.call::<IgnoredAny>(&edit).await {
            Err(Failure::Refused(refusal)) if refusal.says("message is not modified") => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }
}

impl Surface for TelegramSurface {
    fn limits(&self) -> Limits {
        Limits {
            // Of 4,096, so that headings, list marks and the sources find room.
            characters_max: 3500,
            edit_interval_private: Duration::from_millis(1500),
            edit_interval_shared: Duration::from_millis(3500),
            chat_interval: CHAT_INTERVAL,
            // Of 20 and 30: what people press is answered beside these.
            chat_per_minute: 18,
            per_second: 25,
        }
    }

    async fn post(&self, to: &Address, content: &Content) -> Result<MessageId, SendError> {
        let place = Place::of(to)?;
        let (text, parse_mode) = rendered(content);
        let mut send = SendMessage::new(place.chat, text).link_preview_options(no_preview());
        send.parse_mode = parse_mode;
        send.message_thread_id = place.topic;
        send.reply_markup = keyboard(&content.buttons, content.language.unwrap_or(Language::English)).map(Into::into);
        let question = number(&to.question).filter(|_| !to.private);
        if let Some(question) = question {
            // A question can be deleted while it is answered: then the answer stands alone.
            send.reply_parameters =
                Some(ReplyParameters::new(TelegramMessageId(question)).allow_sending_without_reply());
        }
        let sent: Sent = self.calls.call(&send).await.map_err(refused)?;
        if question.is_some() && sent.reply_to_message.is_none() {
            tracing::info!(chat = %to.thread.chat, question = %to.question, "answered a question that was deleted");
        }
        let id = MessageId(sent.message_id.to_string());
        self.heard(&id, to.private);
        Ok(id)
    }

    async fn edit(&self, to: &Address, message: &MessageId, content: &Content) -> Result<(), SendError> {
        Place::of(to)?;
        let Some(message) = number(message) else { return Err(SendError::Gone) };
        self.rewrite(to, message, content).await.or_else(|failure| match failure {
            // It was done; only the answer tells something new.
            Failure::Unreadable => Ok(()),
            failure => Err(refused(failure)),
        })
    }

    async fn remove(&self, to: &Address, message: &MessageId) -> Result<(), SendError> {
        let place = Place::of(to)?;
        let Some(message) = number(message) else { return Ok(()) };
        match self.calls.call::<IgnoredAny>(&DeleteMessage::new(place.chat, TelegramMessageId(message))).await {
            Ok(_) | Err(Failure::Unreadable) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.says("message to delete not found") => Ok(()),
            Err(failure) => Err(refused(failure)),
        }
    }

    /// A bot cannot read a chat. But a lost message has a greater number than its question, and an edit tells what
    /// stands behind a number: the bot's own message takes the content ("ok") or has it already ("not modified"),
    /// nobody's is "not found", and somebody else's "can't be edited". So the content is offered to the numbers behind
    /// the question, those of other answers left out. In private chats and basic groups all chats of the bot share one
    /// sequence; numbers of another chat are "not found" then.
    ///
    /// Not found: a message more than [`PROBES_MAX`] numbers behind what is known. Then the answer is posted again.
    /// A greeting between question and answer would be overwritten; nobody misses it.
    async fn find(&self, to: &Address, lost: &Lost<'_>) -> Result<Option<MessageId>, SendError> {
        Place::of(to)?;
        let Lost { content, behind, known } = *lost;
        let key = (to.thread.clone(), to.question.clone());
        // Where nothing tells what was known then, the lost one is taken to have come after all that are known now.
        let newest = known.iter().filter_map(number).max().filter(|_| to.private && behind.is_none());
        let behind = [number(&to.question), newest, behind.and_then(number)].into_iter().flatten().max();
        let Some(behind) = behind else { return Ok(None) };
        let mut search = self.searches().remove(&key).unwrap_or(Search { behind, tried: 0 });
        let started = Instant::now();
        while search.tried < PROBES_MAX {
            let Some(candidate) = search.behind.checked_add(1) else { return Ok(None) };
            if known.iter().any(|id| number(id) == Some(candidate)) {
                search.behind = candidate;
                continue;
            }
            if search.tried > 0 {
                tokio::time::sleep(self.probe_interval).await;
            }
            let left = FIND_TIMEOUT.saturating_sub(started.elapsed());
            let probe = tokio::time::timeout(left, self.rewrite(to, candidate, content)).await;
            match probe.unwrap_or_else(|_| Err(Failure::Unreachable("no answer in time".to_owned()))) {
                Ok(()) | Err(Failure::Unreadable) => return Ok(Some(MessageId(candidate.to_string()))),
                Err(failure) => match refused(failure) {
                    SendError::Gone => search = Search { behind: candidate, tried: search.tried + 1 },
                    error => {
                        let mut searches = self.searches();
                        if searches.len() < SEARCHES_MAX {
                            searches.insert(key, search);
                        }
                        return Err(error);
                    }
                },
            }
        }
        Ok(None)
    }

    fn heard(&self, message: &MessageId, private: bool) {
        if let Some(number) = number(message).filter(|_| private) {
            self.newest_private.fetch_max(number, Ordering::Relaxed);
        }
    }

    fn newest(&self, to: &Address) -> Option<MessageId> {
        let newest = self.newest_private.load(Ordering::Relaxed);
        (to.private && newest > 0).then(|| MessageId(newest.to_string()))
    }

    async fn working(&self, to: &Address, on: bool) {
        let Ok(place) = Place::of(to) else { return };
        if on {
            let mut action = SendChatAction::new(place.chat, ChatAction::Typing);
            if let Some(topic) = place.topic {
                action = action.message_thread_id(topic);
            }
            // It ends by itself after five seconds, or when a message arrives.
            let _ = self.calls.fetch(&action, WORKING_TIMEOUT).await;
        }
    }

    async fn confirm(&self, receipt: &Receipt<'_>, notice: &str) -> Result<(), SendError> {
        let Some(code) = receipt.code else { return Ok(()) };
        let mut answer = AnswerCallbackQuery::new(CallbackQueryId(code.to_owned()));
        if !notice.is_empty() {
            answer = answer.text(render::cut(notice, NOTICE_UNITS_MAX));
        }
        match self.calls.call::<IgnoredAny>(&answer).await {
            Ok(_) | Err(Failure::Unreadable) => Ok(()),
            // Nobody waits for it any more.
            Err(Failure::Refused(refusal)) if refusal.says("query is too old") || refusal.says("query_id_invalid") => {
                Ok(())
            }
            Err(failure) => Err(refused(failure)),
        }
    }

    /// A private chat has the id of its person. It can be written to when the person has written first.
    async fn direct(&self, person: &Principal) -> Result<Chat, SendError> {
        Ok(Chat { platform: person.platform, id: person.id.clone() })
    }

    async fn suggest(
        &self,
        to: &Address,
        language: Language,
        greeting: &str,
        questions: &[String],
    ) -> Result<(), SendError> {
        let place = Place::of(to)?;
        let mut text = greeting.trim().to_owned();
        if !questions.is_empty() {
            text.push_str(match language {
                Language::Italian => "\n\nPer esempio:",
                Language::English => "\n\nFor example:",
            });
        }
        for question in questions.iter().take(SUGGESTIONS_MAX) {
            text.push_str("\n• ");
            text.push_str(question);
        }
        let text = render::cut(&text, render::MESSAGE_UNITS_MAX);
        let mut send = SendMessage::new(place.chat, text).link_preview_options(no_preview());
        send.message_thread_id = place.topic;
        match self.calls.call::<IgnoredAny>(&send).await {
            Ok(_) | Err(Failure::Unreadable) => Ok(()),
            Err(failure) => Err(refused(failure)),
        }
    }
}

impl Place {
    fn of(to: &Address) -> Result<Self, SendError> {
        let foreign = || SendError::Refused("this is no chat of telegram".to_owned());
        let chat = to.thread.chat.id.parse().map_err(|_| foreign())?;
        let topic = match &to.thread.id {
            Some(id) => Some(ThreadId(TelegramMessageId(id.parse().map_err(|_| foreign())?))),
            None => None,
        };
        Ok(Place { chat: ChatId(chat), topic })
    }
}

fn rendered(content: &Content) -> (String, Option<ParseMode>) {
    match content.plain {
        true => (render::text(content), None),
        false => (render::html(content), Some(ParseMode::Html)),
    }
}

pub(super) fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

fn number(message: &MessageId) -> Option<i32> {
    message.0.parse().ok()
}

fn refused(failure: Failure) -> SendError {
    match failure {
        Failure::Wait(wait) => SendError::Wait(wait),
        Failure::Unreachable(reason) => SendError::Unreachable(reason),
        Failure::Unreadable => SendError::Unreachable("the answer cannot be read".to_owned()),
        Failure::Refused(refusal) => of_refusal(&refusal),
    }
}

/// Telegram's refusals differ in their texts only.
fn of_refusal(refusal: &Refusal) -> SendError {
    let says = |parts: &[&str]| parts.iter().any(|part| refusal.says(part));
    if refusal.code == 400 {
        let of_markup = ["can't parse entities", "message is too long", "message_too_long", "entities_too_long"];
        let of_empty = ["message text is empty", "text must be non-empty"];
        if says(&of_markup) || says(&of_empty) {
            return SendError::Markup;
        }
        let of_gone = ["message to edit not found", "message can't be edited", "message can't be deleted"];
        if says(&of_gone) || says(&["message_id_invalid", "message identifier is not specified"]) {
            return SendError::Gone;
        }
    }
    SendError::Refused(refusal.shown())
}

#[cfg(test)]
mod tests;
