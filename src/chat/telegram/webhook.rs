//! Updates that Telegram brings by itself. The route believes only who knows the secret, and says yes only after the
//! update was written down; everything else Telegram brings again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teloxide::requests::Payload;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, Failure};
use super::decode::ALLOWED_UPDATES;
use super::inline::Quotes;
use super::listen::{Health, Reception};
use super::{TelegramError, WebhookOptions, start};
use crate::chat::delivery::Backoff;
use crate::chat::intake::Intake;
use crate::chat::secrets::is_same;

const SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";
const UPDATE_BYTES_MAX: usize = 1 << 20;
/// How long the bytes of an update may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether Telegram still knows the address.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long open requests may take when the process stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Teloxide's own payload is sent as a form, for the sake of certificates that are not used here.
#[derive(Serialize)]
struct SetWebhook<'a> {
    url: &'a str,
    secret_token: &'a str,
    /// One after the other, so that a person's messages keep their order.
    max_connections: u8,
    allowed_updates: [&'static str; 4],
}

impl Payload for SetWebhook<'_> {
    type Output = bool;
    const NAME: &'static str = "SetWebhook";
}

#[derive(Deserialize)]
struct WebhookInfo {
    #[serde(default)]
    url: String,
}

pub(super) async fn listen<I: Intake, Q: Quotes>(
    options: WebhookOptions,
    calls: Calls,
    reception: Arc<Reception<I, Q>>,
    health: &Health,
    stop: &CancellationToken,
) {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let outcome = match bind(&options).await {
            Ok(listener) => {
                let router = router(&options, Arc::clone(&reception));
                tokio::select! {
                    outcome = serve(listener, router, stop) => outcome,
                    () = keep_set(&options, &calls, health, stop) => Ok(()),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            health.lost(&error.to_string());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff.wait()) => {}
            }
        }
    }
}

async fn bind(options: &WebhookOptions) -> Result<TcpListener, TelegramError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !(1..=256).contains(&options.secret.len()) || !options.secret.chars().all(is_allowed) {
        return Err(TelegramError::WebhookSecret);
    }
    path(&options.url).ok_or(TelegramError::WebhookUrl)?;
    TcpListener::bind(options.listen).await.map_err(TelegramError::WebhookListen)
}

async fn serve(listener: TcpListener, router: Router, stop: &CancellationToken) -> Result<(), TelegramError> {
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        outcome = server.into_future() => outcome.map_err(TelegramError::WebhookListen),
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// Tells Telegram the address, and again when Telegram has lost it. Ends only with the process.
async fn keep_set(options: &WebhookOptions, calls: &Calls, health: &Health, stop: &CancellationToken) {
    let mut backoff = Backoff::default();
    let mut is_set = false;
    loop {
        let wait = match set_or_look(options, calls, is_set).await {
            Ok(()) => {
                is_set = true;
                backoff.reset();
                health.connected();
                LOOK_AGAIN
            }
            Err(failure) => {
                is_set = false;
                let wait = if let Failure::Wait(wait) = &failure { *wait } else { backoff.wait() };
                health.lost(&start::told(failure).to_string());
                wait
            }
        };
        tokio::select! {
            // The server drains by itself.
            () = stop.cancelled() => return std::future::pending().await,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn set_or_look(options: &WebhookOptions, calls: &Calls, is_set: bool) -> Result<(), Failure> {
    if is_set {
        let info: WebhookInfo = calls.call(&teloxide::payloads::GetWebhookInfo::new()).await?;
        if info.url == options.url {
            return Ok(());
        }
        tracing::warn!("telegram no longer knows the webhook: it is set again");
    }
    let payload = SetWebhook {
        url: &options.url,
        secret_token: &options.secret,
        max_connections: 1,
        allowed_updates: ALLOWED_UPDATES,
    };
    calls.call::<bool>(&payload).await.map(|_| ())
}

/// The path of an address of HTTP, without what follows `?`.
fn path(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.split_once('/') {
        Some(("", _)) => None,
        // Braces are the router's.
        Some((_, path)) if path.contains(['{', '}']) => None,
        Some((_, path)) => Some(format!("/{path}")),
        None if rest.is_empty() => None,
        None => Some("/".to_owned()),
    }
}

struct Route<I, Q> {
    secret: String,
    reception: Arc<Reception<I, Q>>,
}

fn router<I: Intake, Q: Quotes>(options: &WebhookOptions, reception: Arc<Reception<I, Q>>) -> Router {
    let route = Route { secret: options.secret.clone(), reception };
    let path = path(&options.url).unwrap_or_else(|| "/".to_owned());
    Router::new().route(&path, post(receive::<I, Q>)).with_state(Arc::new(route))
}

async fn receive<I: Intake, Q: Quotes>(State(route): State<Arc<Route<I, Q>>>, request: Request<Body>) -> StatusCode {
    let told = request.headers().get(SECRET_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
    if !is_same(told, route.secret.as_bytes()) {
        return StatusCode::UNAUTHORIZED;
    }
    let body = axum::body::to_bytes(request.into_body(), UPDATE_BYTES_MAX);
    let Ok(Ok(body)) = tokio::time::timeout(BODY_TIMEOUT, body).await else { return StatusCode::BAD_REQUEST };
    let Ok(update) = serde_json::from_slice::<Value>(&body) else {
        // Telegram would bring it again and again, and nothing else before it.
        tracing::warn!("an update that cannot be read was skipped");
        return StatusCode::OK;
    };
    match route.reception.take(&update).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests;
