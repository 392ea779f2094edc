//! Slack: Socket Mode traffic to events of people, answers to messages with blocks and streams. Nothing is decided here
//! about who is answered, or what with.

mod blocks;
mod client;
pub mod decode;
mod listen;
mod locale;
mod pace;
mod socket;
mod start;
mod stream;
mod surface;
mod title;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use listen::listen;
pub use start::check;
pub use surface::SlackSurface;

/// How to reach the workspace.
#[derive(Clone)]
pub struct SlackOptions {
    /// App-level token (`xapp-…`) with the scope `connections:write`: opens sockets.
    pub app_token: String,
    /// Token of the bot user (`xoxb-…`): everything else.
    pub bot_token: String,
    /// `https://slack.com/api`, without a slash at its end.
    pub api_url: String,
    /// Sockets held at the same time: Slack replaces each of them every few hours, and events come over any.
    pub connections: u32,
    /// A socket on which nothing has arrived for this long, pings included, is replaced.
    pub silence_max: Duration,
}

impl SlackOptions {
    pub fn new(app_token: String, bot_token: String) -> Self {
        SlackOptions {
            app_token,
            bot_token,
            api_url: "https://slack.com/api".to_owned(),
            connections: 2,
            silence_max: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for SlackOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlackOptions")
            .field("app_token", &"redacted")
            .field("bot_token", &"redacted")
            .field("api_url", &self.api_url)
            .field("connections", &self.connections)
            .field("silence_max", &self.silence_max)
            .finish()
    }
}

/// Who the bot is in its workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlackIdentity {
    pub team_id: String,
    pub team_name: String,
    /// The bot's user, as it is mentioned.
    pub user_id: String,
    /// As its messages name it.
    pub bot_id: Option<String>,
}

#[derive(Debug, Error)]
pub enum SlackError {
    #[error("{setting} is not a token of this kind: expected one that begins with `{prefix}`")]
    WrongKind { setting: &'static str, prefix: &'static str },
    #[error("slack refuses {setting} ({code}): copy it again from the app's settings")]
    TokenRefused { setting: &'static str, code: String },
    #[error("{setting} lacks the scopes {}: add them to the app and install it again", scopes.join(", "))]
    MissingScopes { setting: &'static str, scopes: Vec<String> },
    #[error("slack answers `{code}` when {setting} is used")]
    Refused { setting: &'static str, code: String },
    #[error("slack cannot be reached: {0}")]
    Unreachable(String),
    #[error("cannot read the system's root certificates")]
    Certificates(#[source] std::io::Error),
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_never_printed() {
        let options = SlackOptions::new("xapp-1-canary".to_owned(), "xoxb-canary".to_owned());
        assert!(!format!("{options:?}").contains("canary"));
    }
}
