//! The languages that people have set in Slack.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::client::{Api, CallError};
use crate::chat::event::{ChatEvent, Incoming};
use crate::domain::Language;

/// An event waits for the language of its person no longer than this: its acknowledgement waits too.
const LOOKUP_MAX: Duration = Duration::from_millis(800);
/// People who are remembered; then all are forgotten and asked for again.
const PEOPLE_MAX: usize = 5_000;

#[derive(Default)]
pub(super) struct Locales {
    known: Mutex<HashMap<String, Option<Language>>>,
}

#[derive(Deserialize)]
struct Found {
    user: User,
}

#[derive(Deserialize)]
struct User {
    locale: Option<String>,
}

impl Locales {
    /// Adds the language to an event. Where there is no text to tell it, Slack is asked.
    pub(super) async fn add(&self, api: &Api, incoming: &mut Incoming) {
        let (author, language, ask) = match &mut incoming.event {
            ChatEvent::Message(message) if message.by_bot => return,
            ChatEvent::Message(message) => (&message.author, &mut message.language, message.command.is_some()),
            ChatEvent::Edited(message) => (&message.author, &mut message.language, false),
            ChatEvent::Pressed(press) => (&press.author, &mut press.language, false),
            ChatEvent::Opened(opened) => (&opened.author, &mut opened.language, true),
            ChatEvent::Deleted { .. } | ChatEvent::Moved { .. } => return,
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&author.id).copied();
        *language = match known {
            Some(known) => known,
            None if ask => self.ask(api, &author.id).await,
            None => None,
        };
    }

    async fn ask(&self, api: &Api, user: &str) -> Option<Language> {
        let query = [("user", Some(user)), ("include_locale", Some("true"))];
        let language = match timeout(LOOKUP_MAX, api.get::<Found>("users.info", &query)).await {
            Ok(Ok(found)) => found.user.locale.as_deref().and_then(language),
            // Slack does not tell: asking again at every event would not help.
            Ok(Err(CallError::Refused { .. })) => None,
            _ => return None,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PEOPLE_MAX {
            known.clear();
        }
        known.insert(user.to_owned(), language);
        language
    }
}

fn language(locale: &str) -> Option<Language> {
    locale.split(['-', '_']).next()?.to_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_are_languages() {
        let check = |locale: &str, expect: Option<Language>| assert_eq!(language(locale), expect, "{locale}");
        check("it-IT", Some(Language::Italian));
        check("en-GB", Some(Language::English));
        check("en_US", Some(Language::English));
        check("fr-FR", None);
        check("", None);
    }
}
