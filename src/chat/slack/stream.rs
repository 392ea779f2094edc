//! Which of the bot's messages are open streams, and what their next edit has to be. A stream ends about five minutes
//! after its start, whatever is written to it; a process that starts again knows none and edits instead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Chat, MessageId};

/// Slack ends a stream after five minutes.
const AGE_MAX: Duration = Duration::from_secs(270);
/// Streams that are remembered; the oldest is forgotten, and its message edited from then on.
const KEPT: usize = 256;

type Key = (Chat, MessageId);

#[derive(Debug)]
struct Stream {
    since: Instant,
    /// What Slack was given so far.
    text: String,
    /// A call was lost: whether its text stands in the message is not known, so nothing may be added to it.
    doubtful: bool,
    /// Slack shows its own stop button until the session is told to be over.
    session: bool,
}

/// How a message gets a new text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// It is no stream: it is updated.
    Update,
    /// The rest is added.
    Append(String),
    /// The stream is stopped, the message updated.
    Replace,
}

/// A refusal that every other try would meet as well.
pub(super) fn app_may_not(code: &str) -> bool {
    matches!(
        code,
        "unknown_method"
            | "method_deprecated"
            | "method_not_supported"
            | "feature_not_enabled"
            | "not_enabled"
            | "streaming_not_enabled"
            | "not_allowed"
            | "not_allowed_token_type"
            | "access_denied"
            | "missing_scope"
            | "no_permission"
    )
}

#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<Key, Stream>>,
    /// Slack does not let this app stream.
    off: AtomicBool,
    paused: Mutex<Option<Instant>>,
}

impl Streams {
    pub(super) fn allowed(&self) -> bool {
        let paused = *self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        !self.off.load(Ordering::Relaxed) && paused.is_none_or(|until| until <= Instant::now())
    }

    /// A start was refused: for good, if it is the app that may not.
    pub(super) fn refused(&self, code: &str) {
        if app_may_not(code) && !self.off.swap(true, Ordering::Relaxed) {
            tracing::info!(code, "slack does not let this app stream: answers grow by edits");
        }
    }

    pub(super) fn pause(&self, wait: Duration) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + wait);
    }

    pub(super) fn begin(&self, chat: &Chat, message: &MessageId, text: String) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= KEPT {
            let oldest = open.iter().min_by_key(|(_, stream)| stream.since).map(|(key, _)| key.clone());
            oldest.and_then(|key| open.remove(&key));
        }
        open.insert(
            (chat.clone(), message.clone()),
            Stream { since: Instant::now(), text, doubtful: false, session: false },
        );
    }

    /// What has to be done for `text` to stand in the message; `None`: it cannot be streamed.
    pub(super) fn edit(&self, chat: &Chat, message: &MessageId, text: Option<&str>) -> Edit {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = open.get(&(chat.clone(), message.clone())) else { return Edit::Update };
        match text.and_then(|text| text.strip_prefix(stream.text.as_str())) {
            Some(rest) if !stream.doubtful && stream.since.elapsed() < AGE_MAX => Edit::Append(rest.to_owned()),
            _ => Edit::Replace,
        }
    }

    pub(super) fn appended(&self, chat: &Chat, message: &MessageId, rest: &str) {
        self.change(chat, message, |stream| stream.text.push_str(rest));
    }

    pub(super) fn doubt(&self, chat: &Chat, message: &MessageId) {
        self.change(chat, message, |stream| stream.doubtful = true);
    }

    pub(super) fn session(&self, chat: &Chat, message: &MessageId) {
        self.change(chat, message, |stream| stream.session = true);
    }

    pub(super) fn has_session(&self, chat: &Chat, message: &MessageId) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&(chat.clone(), message.clone())).is_some_and(|stream| stream.session)
    }

    /// `true`: it was a stream.
    pub(super) fn end(&self, chat: &Chat, message: &MessageId) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&(chat.clone(), message.clone())).is_some()
    }

    fn change(&self, chat: &Chat, message: &MessageId, change: impl FnOnce(&mut Stream)) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = open.get_mut(&(chat.clone(), message.clone())) {
            change(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Platform;

    fn place() -> (Chat, MessageId) {
        (Chat { platform: Platform::Slack, id: "C1".to_owned() }, MessageId("2.0".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn text_that_goes_on_is_added() {
        let (chat, message) = place();
        let streams = Streams::default();
        assert_eq!(streams.edit(&chat, &message, Some("anything")), Edit::Update);
        streams.begin(&chat, &message, "The wifi".to_owned());
        assert_eq!(streams.edit(&chat, &message, Some("The wifi password")), Edit::Append(" password".to_owned()));
        streams.appended(&chat, &message, " password");
        assert_eq!(streams.edit(&chat, &message, Some("The wifi password is")), Edit::Append(" is".to_owned()));
        assert_eq!(streams.edit(&chat, &message, Some("Another text")), Edit::Replace);
        assert_eq!(streams.edit(&chat, &message, None), Edit::Replace);
        assert!(streams.end(&chat, &message));
        assert_eq!(streams.edit(&chat, &message, Some("The wifi password is")), Edit::Update);
    }

    #[tokio::test(start_paused = true)]
    async fn old_and_doubtful_streams_are_replaced() {
        let (chat, message) = place();
        let streams = Streams::default();
        streams.begin(&chat, &message, "a".to_owned());
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(streams.edit(&chat, &message, Some("ab")), Edit::Replace);

        streams.begin(&chat, &message, "a".to_owned());
        streams.doubt(&chat, &message);
        assert_eq!(streams.edit(&chat, &message, Some("ab")), Edit::Replace);
    }

    #[tokio::test(start_paused = true)]
    async fn streaming_is_off_for_good_only_when_the_app_may_not() {
        let streams = Streams::default();
        streams.refused("thread_not_found");
        assert!(streams.allowed());
        streams.pause(Duration::from_secs(5));
        assert!(!streams.allowed());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(streams.allowed());
        streams.refused("feature_not_enabled");
        assert!(!streams.allowed());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_streams_are_kept() {
        let (chat, first) = place();
        let streams = Streams::default();
        streams.begin(&chat, &first, String::new());
        for n in 0..KEPT {
            tokio::time::advance(Duration::from_millis(1)).await;
            streams.begin(&chat, &MessageId(format!("{n}.5")), String::new());
        }
        assert_eq!(streams.edit(&chat, &first, Some("a")), Edit::Update);
        assert_eq!(streams.open.lock().unwrap().len(), KEPT);
    }
}
