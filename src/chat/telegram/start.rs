//! What is settled with Telegram when the bot starts: whose token it is, and which commands people are shown.

use serde::Deserialize;
use teloxide::payloads::{GetMe, SetMyCommands, SetMyCommandsSetters};
use teloxide::types::BotCommand;

use super::calls::{Calls, Failure};
use super::{TelegramError, TelegramOptions};

/// The bot as Telegram knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelegramIdentity {
    pub id: i64,
    /// Without `@`.
    pub username: String,
    /// Inline mode was switched on at @BotFather.
    pub supports_inline_queries: bool,
    /// Privacy mode: in groups the bot is told only commands, mentions and replies to it, so a follow-up needs a
    /// mention. Worth a warning; it is switched off at @BotFather (/setprivacy), after which the bot must be added to
    /// the group again.
    pub privacy_mode: bool,
}

#[derive(Deserialize)]
struct Me {
    id: i64,
    #[serde(default)]
    username: String,
    #[serde(default)]
    supports_inline_queries: bool,
    #[serde(default)]
    can_read_all_group_messages: bool,
}

/// Asks Telegram whose token this is.
///
/// # Errors
/// The token is refused, or Telegram cannot be reached.
pub async fn check(options: &TelegramOptions) -> Result<TelegramIdentity, TelegramError> {
    if options.token.trim().is_empty() {
        return Err(TelegramError::Token);
    }
    let me: Me = Calls::new(options)?.call(&GetMe::new()).await.map_err(told)?;
    Ok(TelegramIdentity {
        id: me.id,
        username: me.username,
        supports_inline_queries: me.supports_inline_queries,
        privacy_mode: !me.can_read_all_group_messages,
    })
}

/// Name, description in Italian and in English.
const COMMANDS: [(&str, &str, &str); 7] = [
    ("ask", "Fai una domanda", "Ask a question"),
    ("sources", "Le fonti dell'ultima risposta", "Sources of the last answer"),
    ("lang", "Scegli la lingua: it o en", "Choose the language: it or en"),
    ("status", "Come sta il bot", "How the bot is doing"),
    ("help", "Che cosa posso chiedere, e come", "What can be asked, and how"),
    ("forget", "Dimentica questa conversazione", "Forget this conversation"),
    ("about", "Chi risponde e con quali documenti", "Who answers, and from which documents"),
];

/// Sets the commands that people are offered, in Italian for those whose Telegram is, in English for everybody else.
///
/// # Errors
/// Telegram refuses or cannot be reached.
pub async fn set_commands(options: &TelegramOptions) -> Result<(), TelegramError> {
    let calls = Calls::new(options)?;
    let english = COMMANDS.map(|(name, _, description)| BotCommand::new(name, description));
    let italian = COMMANDS.map(|(name, description, _)| BotCommand::new(name, description));
    let _: bool = calls.call(&SetMyCommands::new(english)).await.map_err(told)?;
    let _: bool = calls.call(&SetMyCommands::new(italian).language_code("it")).await.map_err(told)?;
    Ok(())
}

pub(super) fn told(failure: Failure) -> TelegramError {
    match failure {
        Failure::Wait(wait) => TelegramError::Unreachable(format!("it asks to wait {} s", wait.as_secs())),
        Failure::Unreachable(reason) => TelegramError::Unreachable(reason),
        Failure::Unreadable => TelegramError::Unreachable("its answer cannot be read".to_owned()),
        // A token of the wrong form is not found, one of the right form is not authorized.
        Failure::Refused(refusal) if matches!(refusal.code, 401 | 404) => TelegramError::Token,
        Failure::Refused(refusal) => TelegramError::Refused(refusal.shown()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::{Fake, refusal};
    use super::*;

    #[tokio::test]
    async fn the_bot_learns_who_it_is() {
        let fake = Fake::start().await;
        let me = json!({"id": 77, "is_bot": true, "first_name": "Cervella", "username": "CervellaBot",
            "can_read_all_group_messages": false, "supports_inline_queries": true, "some_new_field": []});
        fake.script("GetMe", [json!({"ok": true, "result": me})]);
        let identity = check(&fake.options()).await.unwrap();
        assert_eq!((identity.id, identity.username.as_str()), (77, "CervellaBot"));
        assert!(identity.privacy_mode && identity.supports_inline_queries);
    }

    #[tokio::test]
    async fn a_wrong_token_is_told_by_the_name_of_its_setting() {
        for (code, description) in [(401, "Unauthorized"), (404, "Not Found")] {
            let fake = Fake::start().await;
            fake.script("GetMe", [refusal(code, description)]);
            let text = check(&fake.options()).await.unwrap_err().to_string();
            assert!(text.contains("telegram.token") && !text.contains("canary"), "{text}");
        }
        assert!(matches!(check(&TelegramOptions::new(" ")).await, Err(TelegramError::Token)));
    }

    #[tokio::test]
    async fn commands_are_described_in_both_languages() {
        let fake = Fake::start().await;
        set_commands(&fake.options()).await.unwrap();
        let calls = fake.calls("SetMyCommands");
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].get("language_code"), None);
        assert_eq!(calls[0]["commands"][0], json!({"command": "ask", "description": "Ask a question"}));
        assert_eq!(calls[1]["language_code"], "it");
        assert_eq!(calls[1]["commands"][0], json!({"command": "ask", "description": "Fai una domanda"}));
        assert_eq!(calls[1]["commands"].as_array().unwrap().len(), 7);
    }
}
