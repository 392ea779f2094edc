//! One call to the Bot API: one attempt, bounded in time and size, its failure in words that hold neither the token nor
//! any text of a message. Teloxide's own sending is not used: it sleeps 10 s on every 5xx, takes answers of any size,
//! and fails a message that was sent when a field of the answer is new to it.

use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use teloxide::requests::Payload;
use teloxide::{Bot, RequestError};

use super::{TelegramError, TelegramOptions};

/// What a call may take: the interface of delivery allows 15 s.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(12);
/// What the HTTP client's own timeout may be late before the call is dropped.
const WATCHDOG: Duration = Duration::from_secs(2);
/// Connections that are kept open for the next call, besides the one that waits for updates.
const IDLE_MAX: usize = 2;
/// For how long: a busy minute has calls side by side, a quiet one follows, and each new connection is a TLS handshake.
const IDLE_FOR: Duration = Duration::from_secs(300);
/// A full batch of updates is about 10 MB at the very most.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest wait that is believed.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Characters that are kept of a refusal's text.
const REFUSAL_CHARACTERS: usize = 100;

#[derive(Clone)]
pub(super) struct Calls {
    bot: Bot,
}

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Too many calls.
    Wait(Duration),
    /// The network, Telegram's own failure, no answer in time.
    Unreachable(String),
    /// Telegram said yes in words that cannot be read.
    Unreadable,
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u16,
    /// Telegram's reason in lower case. It can quote the message: look into it, but do not show it.
    description: String,
    pub migrated_to: Option<i64>,
}

impl Refusal {
    pub fn says(&self, part: &str) -> bool {
        self.description.contains(part)
    }

    /// What may be shown and logged: the reason up to where Telegram begins to quote.
    pub fn shown(&self) -> String {
        let reason = self.description.split(['"', '\'', '`', '<', '\n']).next().unwrap_or_default().trim();
        let reason: String = reason.chars().take(REFUSAL_CHARACTERS).collect();
        match self.migrated_to {
            Some(chat) => format!("the group is now the supergroup {chat}"),
            None if reason.is_empty() => format!("error {}", self.code),
            None => format!("error {}, {reason}", self.code),
        }
    }
}

/// An answer as it came.
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    ok: bool,
    result: Option<T>,
    error_code: Option<u16>,
    description: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

impl Calls {
    /// # Errors
    /// The address is not one of HTTP, or the client cannot be made.
    pub fn new(options: &TelegramOptions) -> Result<Self, TelegramError> {
        let is_http = ["http://", "https://"].iter().any(|scheme| options.api_url.starts_with(scheme));
        if !is_http {
            return Err(TelegramError::ApiUrl);
        }
        let client = teloxide::net::default_reqwest_settings()
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_MAX)
            .tcp_keepalive(Duration::from_secs(20))
            .build()
            .map_err(|_| TelegramError::Client)?;
        let api_url = options.api_url.parse().map_err(|_| TelegramError::ApiUrl)?;
        Ok(Calls { bot: Bot::with_client(&options.token, client).set_api_url(api_url) })
    }

    /// Makes the call and reads its result as `T`, which needs not be all that Telegram tells.
    pub async fn call<T: DeserializeOwned>(&self, payload: &(impl Payload + Serialize)) -> Result<T, Failure> {
        self.fetch(payload, CALL_TIMEOUT).await?.read()
    }

    pub async fn fetch<P: Payload + Serialize>(&self, payload: &P, patience: Duration) -> Result<Answer, Failure> {
        // Futures of this function must not hold the payload: not every payload can be shared between threads.
        let body = serde_json::to_vec(payload);
        let attempt = self.attempt(P::NAME, body.map_err(|_| unreachable("the call cannot be written"))?, patience);
        match tokio::time::timeout(patience + WATCHDOG, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(unreachable("no answer in time")),
        }
    }

    async fn attempt(&self, method: &str, body: Vec<u8>, patience: Duration) -> Result<Answer, Failure> {
        let mut url = self.bot.api_url();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().push(&format!("bot{}", self.bot.token())).push(method),
            Err(()) => return Err(unreachable("the address of the api cannot be used")),
        };
        let request = self.bot.client().post(url).header("content-type", "application/json");
        let sent = request.timeout(patience).body(body).send().await;
        let mut response = sent.map_err(|error| network(error.into()))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| network(error.into()))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(unreachable("the answer is too large"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, body })
    }
}

impl Answer {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        match serde_json::from_slice::<Envelope<T>>(&self.body) {
            Ok(Envelope { ok: true, result: Some(result), .. }) => Ok(result),
            Ok(envelope) if !envelope.ok => Err(self.failure(envelope)),
            // The result has another form, or there is none: whether it was a yes is seen without looking into it.
            Ok(_) | Err(_) => match serde_json::from_slice::<Envelope<IgnoredAny>>(&self.body) {
                Ok(Envelope { ok: true, .. }) => Err(Failure::Unreadable),
                Ok(envelope) => Err(self.failure(envelope)),
                Err(_) => Err(Failure::Unreachable(format!("status {} without an answer of the bot api", self.status))),
            },
        }
    }

    fn failure<T>(&self, envelope: Envelope<T>) -> Failure {
        let parameters = envelope.parameters.unwrap_or_default();
        let code = envelope.error_code.unwrap_or(self.status);
        if code == 429 || parameters.retry_after.is_some() {
            let seconds = parameters.retry_after.unwrap_or(1);
            return Failure::Wait(Duration::from_secs(seconds).clamp(Duration::from_secs(1), WAIT_MAX));
        }
        if code >= 500 || self.status >= 500 {
            return Failure::Unreachable(format!("status {code}"));
        }
        Failure::Refused(Refusal {
            code,
            description: envelope.description.unwrap_or_default().to_lowercase(),
            migrated_to: parameters.migrate_to_chat_id,
        })
    }
}

fn unreachable(reason: &str) -> Failure {
    Failure::Unreachable(reason.to_owned())
}

/// Own words, because the client's hold the address and with it the token.
fn network(error: RequestError) -> Failure {
    let RequestError::Network(error) = error else { return unreachable("the call failed") };
    unreachable(if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_redirect() {
        "redirected too often"
    } else {
        "the connection broke off"
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn check(status: u16, body: &str, expect: &str) {
        let outcome = Answer { status, body: body.as_bytes().to_vec() }.read::<i64>();
        let told = match outcome {
            Ok(result) => format!("ok {result}"),
            Err(Failure::Wait(wait)) => format!("wait {}", wait.as_secs()),
            Err(Failure::Unreachable(reason)) => format!("unreachable: {reason}"),
            Err(Failure::Unreadable) => "unreadable".to_owned(),
            Err(Failure::Refused(refusal)) => format!("refused: {}", refusal.shown()),
        };
        assert_eq!(told, expect, "{status} {body}");
    }

    #[test]
    fn answers_are_told_apart() {
        check(200, r#"{"ok":true,"result":7}"#, "ok 7");
        check(200, r#"{"ok":true,"result":{"new":"shape"}}"#, "unreadable");
        check(200, r#"{"ok":true}"#, "unreadable");
        check(
            429,
            r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 5","parameters":{"retry_after":5}}"#,
            "wait 5",
        );
        check(429, r#"{"ok":false,"error_code":429,"parameters":{"retry_after":0}}"#, "wait 1");
        check(429, r#"{"ok":false,"error_code":429,"parameters":{"retry_after":99999999}}"#, "wait 600");
        check(429, r#"{"ok":false,"error_code":429,"description":"Too Many Requests"}"#, "wait 1");
        check(502, r#"{"ok":false,"error_code":502,"description":"Bad Gateway"}"#, "unreachable: status 502");
        check(502, "<html>Bad Gateway</html>", "unreachable: status 502 without an answer of the bot api");
        check(200, "", "unreachable: status 200 without an answer of the bot api");
        check(
            403,
            r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#,
            "refused: error 403, forbidden: bot was blocked by the user",
        );
        check(
            400,
            r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-100123}}"#,
            "refused: the group is now the supergroup -100123",
        );
    }

    #[test]
    fn what_telegram_quotes_of_a_message_is_not_shown() {
        check(
            400,
            r#"{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities: Unsupported start tag \"canary\" at byte offset 3"}"#,
            "refused: error 400, bad request: can",
        );
    }

    #[tokio::test]
    async fn no_failure_shows_the_token() {
        // Nobody listens there any more: the port was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut options = TelegramOptions::new("123:canary-token");
        options.api_url = format!("http://127.0.0.1:{port}");
        let calls = Calls::new(&options).unwrap();
        let failure = calls.call::<Value>(&teloxide::payloads::GetMe::new()).await.unwrap_err();
        assert_eq!(failure, unreachable("no connection"));
        assert!(!format!("{failure:?} {options:?}").contains("canary"));
    }

    #[test]
    fn only_addresses_of_http_are_taken() {
        for api_url in ["", "api.telegram.org", "ftp://api.telegram.org", "http://", "mailto:x"] {
            let options = TelegramOptions { api_url: api_url.to_owned(), ..TelegramOptions::new("1:a") };
            assert!(matches!(Calls::new(&options), Err(TelegramError::ApiUrl)), "{api_url}");
        }
    }
}
