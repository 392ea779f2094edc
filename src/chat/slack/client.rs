//! Calls to Slack's Web API: bounded in time, one attempt each, errors without the texts that Slack sends back.

use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, header};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slack_morphism::errors::SlackClientError;
use slack_morphism::hyper_tokio::SlackClientHyperHttpsConnector;
use slack_morphism::{SlackApiToken, SlackApiTokenValue, SlackClient};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::{SlackError, SlackOptions};
use crate::chat::delivery::SendError;

/// Longest time that one call may take.
pub(super) const CALL_MAX: Duration = Duration::from_secs(15);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Connections that are kept open for the next call.
const IDLE_MAX: usize = 2;
/// Waited when Slack limits us without saying for how long.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Which of the two tokens a call carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    App,
    Bot,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    Wait(Duration),
    /// Not called: our own share of the method's calls is used up.
    Spent(Duration),
    /// Whether the call took effect is not known.
    Unreachable(String),
    /// Slack's error code, and the scope that it misses.
    Refused {
        code: String,
        needed: Option<String>,
    },
}

impl CallError {
    pub(super) fn code(&self) -> &str {
        match self {
            CallError::Refused { code, .. } => code,
            _ => "",
        }
    }
}

impl From<CallError> for SendError {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::Wait(wait) => return SendError::Wait(wait),
            CallError::Spent(wait) => return SendError::Spent(wait),
            CallError::Unreachable(reason) => return SendError::Unreachable(reason),
            CallError::Refused { code, .. } => code,
        };
        match code.as_str() {
            "internal_error"
            | "fatal_error"
            | "service_unavailable"
            | "request_timeout"
            | "team_added_to_org"
            | "channel_operation_in_progress" => SendError::Unreachable(code),
            "invalid_blocks"
            | "invalid_blocks_format"
            | "invalid_arguments"
            | "invalid_attachments"
            | "msg_blocks_too_long"
            | "msg_too_long"
            | "markdown_text_conflict"
            | "too_many_attachments"
            | "cannot_parse_attachment"
            | "no_text" => SendError::Markup,
            "message_not_found"
            | "cant_update_message"
            | "edit_window_closed"
            | "cant_delete_message"
            | "thread_not_found" => SendError::Gone,
            _ => SendError::Refused(code),
        }
    }
}

pub(super) struct Api {
    client: SlackClient<SlackClientHyperHttpsConnector>,
    /// For what the client keeps to itself: the headers of an answer.
    plain: Client<HttpsConnector<HttpConnector>, String>,
    app: SlackApiToken,
    bot: SlackApiToken,
    url: String,
    tls: Arc<ClientConfig>,
}

impl Api {
    pub(super) fn new(options: &SlackOptions) -> Result<Self, SlackError> {
        let tls = tls(&options.api_url)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector());
        let slack = SlackClientHyperHttpsConnector::from(connector.clone()).with_slack_api_url(&options.api_url);
        Ok(Api {
            client: SlackClient::new(slack),
            plain: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_MAX).build(connector),
            app: SlackApiToken::new(SlackApiTokenValue(options.app_token.clone())),
            bot: SlackApiToken::new(SlackApiTokenValue(options.bot_token.clone())),
            url: options.api_url.clone(),
            tls: Arc::new(tls),
        })
    }

    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    fn token(&self, token: Token) -> &SlackApiToken {
        match token {
            Token::App => &self.app,
            Token::Bot => &self.bot,
        }
    }

    /// The answers that Slack's client models are not used: one new kind of block in them would turn a success into a
    /// failure, and the message would be posted again.
    pub(super) async fn post<Q, R>(&self, token: Token, method: &str, request: &Q) -> Result<R, CallError>
    where
        Q: Serialize + Send + Sync,
        R: DeserializeOwned + Send,
    {
        let session = self.client.open_session(self.token(token));
        bounded(session.http_session_api.http_post(method, request, None)).await
    }

    pub(super) async fn get<R>(&self, method: &str, query: &[(&str, Option<&str>)]) -> Result<R, CallError>
    where
        R: DeserializeOwned + Send,
    {
        let session = self.client.open_session(&self.bot);
        let query = query.to_vec();
        bounded(session.http_session_api.http_get(method, &query, None)).await
    }

    /// The scopes that the bot token has; `None` where Slack does not tell.
    pub(super) async fn scopes(&self) -> Option<Vec<String>> {
        let authorization = format!("Bearer {}", self.bot.token_value.0);
        let mut authorization = header::HeaderValue::try_from(authorization).ok()?;
        authorization.set_sensitive(true);
        let request = Request::post(format!("{}/auth.test", self.url))
            .header(header::AUTHORIZATION, authorization)
            .body(String::new())
            .ok()?;
        let answer = tokio::time::timeout(CALL_MAX, quiet(self.plain.request(request))).await.ok()?.ok()?;
        let scopes = answer.headers().get("x-oauth-scopes")?.to_str().ok()?;
        Some(scopes.split(',').map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect())
    }
}

/// A connection whose other end is gone is found out by the kernel: calls would wait on it again and again.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_MAX));
    connector.set_keepalive(Some(CALL_MAX));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(CALL_MAX));
    connector
}

/// An address without TLS needs no certificates: a machine that has none can still be tested.
fn tls(api_url: &str) -> Result<ClientConfig, SlackError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match api_url.starts_with("http://") {
        true => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        false => builder.with_native_roots().map_err(SlackError::Certificates)?.with_no_client_auth(),
    })
}

/// Runs a call of a library without what it would log: addresses with tickets, bodies with people's texts.
pub(super) fn quiet<F: Future>(call: F) -> impl Future<Output = F::Output> {
    call.with_subscriber(Dispatch::none())
}

async fn bounded<R>(call: impl Future<Output = Result<R, SlackClientError>>) -> Result<R, CallError> {
    match tokio::time::timeout(CALL_MAX, quiet(call)).await {
        Ok(answer) => answer.map_err(|error| call_error(&error)),
        Err(_) => Err(CallError::Unreachable("no answer in time".to_owned())),
    }
}

/// The client's errors print the bodies of answers: only codes and kinds are taken from them.
fn call_error(error: &SlackClientError) -> CallError {
    match error {
        SlackClientError::RateLimitError(limit) => {
            CallError::Wait(limit.retry_after.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX))
        }
        SlackClientError::ApiError(refusal) if matches!(refusal.code.as_str(), "ratelimited" | "rate_limited") => {
            CallError::Wait(WAIT_DEFAULT)
        }
        SlackClientError::ApiError(refusal) => {
            let needed = refusal
                .http_response_body
                .as_deref()
                .and_then(|body| serde_json::from_str::<serde_json::Value>(body).ok())
                .and_then(|body| body.get("needed")?.as_str().map(clean));
            CallError::Refused { code: clean(&refusal.code), needed }
        }
        SlackClientError::HttpError(status) => {
            CallError::Unreachable(format!("http status {}", status.status_code.as_u16()))
        }
        SlackClientError::ProtocolError(_) => CallError::Unreachable("unreadable answer".to_owned()),
        other => CallError::Unreachable(match io_kind(other) {
            Some(kind) => format!("connection failed: {kind}"),
            None => "connection failed".to_owned(),
        }),
    }
}

/// What is left of a word of Slack's when it is printed: a code or a list of scopes, and never a text.
fn clean(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | ',')).take(100).collect()
}

fn io_kind(error: &SlackClientError) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn Error + 'static)> = match error {
        SlackClientError::HttpProtocolError(protocol) => match &protocol.cause {
            Some(cause) => Some(cause.as_ref()),
            None => None,
        },
        SlackClientError::SystemError(system) => match &system.cause {
            Some(cause) => Some(cause.as_ref()),
            None => None,
        },
        _ => None,
    };
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use slack_morphism::errors::{SlackClientApiError, SlackClientHttpError, SlackRateLimitError};

    use super::*;

    fn sent(error: &SlackClientError) -> SendError {
        call_error(error).into()
    }

    fn api(code: &str) -> SlackClientError {
        SlackClientError::ApiError(
            SlackClientApiError::new(code.to_owned())
                .with_http_response_body(r#"{"ok":false,"text":"canary","needed":"chat:write"}"#.to_owned()),
        )
    }

    #[test]
    fn refusals_tell_what_helps() {
        let check = |code: &str, expect: fn(&SendError) -> bool| {
            let error = sent(&api(code));
            assert!(expect(&error), "{code}: {error:?}");
            assert!(!format!("{error:?} {error}").contains("canary"));
        };
        for code in ["invalid_blocks", "msg_blocks_too_long", "msg_too_long"] {
            check(code, |error| matches!(error, SendError::Markup));
        }
        for code in ["message_not_found", "cant_update_message", "edit_window_closed"] {
            check(code, |error| matches!(error, SendError::Gone));
        }
        for code in ["channel_not_found", "is_archived", "not_in_channel", "account_inactive", "some_new_code"] {
            check(code, |error| matches!(error, SendError::Refused(_)));
        }
        check("internal_error", |error| matches!(error, SendError::Unreachable(_)));
        check("ratelimited", |error| matches!(error, SendError::Wait(_)));
    }

    #[test]
    fn a_limit_waits_as_long_as_slack_says() {
        let limit = SlackRateLimitError::new().with_retry_after(Duration::from_secs(7));
        assert_eq!(call_error(&SlackClientError::RateLimitError(limit)), CallError::Wait(Duration::from_secs(7)));
    }

    #[test]
    fn a_failing_server_is_unreachable() {
        let status = axum::http::StatusCode::BAD_GATEWAY;
        let error = SlackClientHttpError::new(status).with_http_response_body("canary".to_owned());
        let error = sent(&SlackClientError::HttpError(error));
        assert_eq!(error.to_string(), "the platform cannot be reached: http status 502");
    }

    #[test]
    fn the_missing_scope_is_kept() {
        let error = call_error(&api("missing_scope"));
        assert_eq!(
            error,
            CallError::Refused { code: "missing_scope".to_owned(), needed: Some("chat:write".to_owned()) }
        );
    }
}
