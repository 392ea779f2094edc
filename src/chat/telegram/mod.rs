//! Telegram: updates in, messages out. Updates are fetched by long polling, or received at a webhook where the settings
//! name one; each is handed to the intake before Telegram is told that it arrived. Teloxide gives the HTTP client and
//! the words of the Bot API; its dispatcher is not used, because it confirms updates before they are written down.

mod calls;
pub mod decode;
#[cfg(test)]
mod fake;
mod inline;
mod keyboard;
mod listen;
mod poll;
mod render;
mod start;
mod surface;
mod webhook;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

pub use inline::{QuotedPassage, Quotes};
pub use listen::listen;
pub use start::{TelegramIdentity, check, set_commands};
pub use surface::TelegramSurface;

#[derive(Clone)]
pub struct TelegramOptions {
    /// The bot's token. Never shown.
    pub token: String,
    /// Address of the Bot API without token and method.
    pub api_url: String,
    /// How long Telegram holds a poll open when there is nothing to tell; whole seconds.
    pub poll_timeout: Duration,
    /// What a poll may take beyond `poll_timeout` before the connection counts as dead and is replaced.
    pub poll_grace: Duration,
    /// `None`: long polling.
    pub webhook: Option<WebhookOptions>,
}

#[derive(Clone)]
pub struct WebhookOptions {
    /// Where Telegram reaches this process, usually through a proxy that ends TLS. The path is that of the route.
    pub url: String,
    /// Telegram sends it with every update: 1 to 256 of `A-Z a-z 0-9 _ -`. Never shown.
    pub secret: String,
    pub listen: SocketAddr,
}

impl TelegramOptions {
    /// Long polling at Telegram's own servers.
    pub fn new(token: impl Into<String>) -> Self {
        TelegramOptions {
            token: token.into(),
            api_url: "https://api.telegram.org".to_owned(),
            poll_timeout: Duration::from_secs(10),
            poll_grace: Duration::from_secs(7),
            webhook: None,
        }
    }
}

impl fmt::Debug for TelegramOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramOptions")
            .field("token", &"(hidden)")
            .field("api_url", &self.api_url)
            .field("poll_timeout", &self.poll_timeout)
            .field("poll_grace", &self.poll_grace)
            .field("webhook", &self.webhook)
            .finish()
    }
}

impl fmt::Debug for WebhookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookOptions")
            .field("url", &self.url)
            .field("secret", &"(hidden)")
            .field("listen", &self.listen)
            .finish()
    }
}

/// Why Telegram cannot be used. No text here holds the token.
#[derive(Debug, Error)]
pub enum TelegramError {
    #[error("telegram.token is refused by Telegram: copy it again from @BotFather (/mybots, API Token)")]
    Token,
    #[error("telegram.api_url is not an http or https address")]
    ApiUrl,
    #[error("telegram.webhook.url is not an http or https address")]
    WebhookUrl,
    #[error("telegram.webhook.secret must be 1 to 256 characters of A-Z, a-z, 0-9, _ and -")]
    WebhookSecret,
    #[error("telegram.webhook.listen cannot be listened on: {0}")]
    WebhookListen(#[source] std::io::Error),
    #[error("the HTTP client cannot be made")]
    Client,
    #[error("Telegram cannot be reached: {0}")]
    Unreachable(String),
    #[error("Telegram refused: {0}")]
    Refused(String),
}
