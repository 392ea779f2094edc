//! The server: takes calls, meets them with faults, and lets `getUpdates` wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, RawQuery, State as Shared};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::{Door, Link, Network};
use super::faults::Fault;
use super::places::ChatId;
use super::reply::{Refusal, success};
use super::request::Parameters;
use super::state::State;
use super::webhook;

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const POLL_SECONDS_MAX: i64 = 50;
const UPDATES_MAX: i64 = 100;

#[derive(Debug)]
pub struct Server {
    state: Mutex<State>,
    /// Told after every change.
    pub changes: watch::Sender<u64>,
    pub stop: CancellationToken,
    pub network: Arc<Network>,
}

impl Server {
    /// Serves on this listener until `stop` is cancelled.
    pub fn start(listener: TcpListener, state: State) -> Arc<Server> {
        let server = Arc::new(Server {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            stop: CancellationToken::new(),
            network: Arc::new(Network::default()),
        });
        let routes = Router::new()
            .route("/{bot}/{method}", any(call))
            .fallback(|| async { Refusal::UnknownMethod })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(server.clone());
        let door = Door { listener, network: server.network.clone() };
        let stop = server.stop.clone();
        let service = routes.into_make_service_with_connect_info::<Link>();
        tokio::spawn(async move {
            let serving = axum::serve(door, service);
            tokio::select! {
                _ = serving => {}
                () = stop.cancelled() => {}
            }
        });
        tokio::spawn(webhook::deliver(server.clone()));
        server
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells everybody who waits.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changes.send_modify(|version| *version += 1);
        result
    }
}

async fn call(
    Shared(server): Shared<Arc<Server>>,
    ConnectInfo(link): ConnectInfo<Link>,
    Path((bot, method)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(body) = body else { return Refusal::TooLarge.into_response() };
    let Some(token) = bot.strip_prefix("bot") else { return Refusal::UnknownMethod.into_response() };
    if token != server.state().token {
        return Refusal::Unauthorized.into_response();
    }
    let parameters = match Parameters::read(query.as_deref(), &headers, &body) {
        Ok(parameters) => parameters,
        Err(refusal) => return refusal.into_response(),
    };
    let method = method.to_ascii_lowercase();
    let result = match server.meet(&method, &parameters) {
        None => server.apply(&method, &parameters, None).await,
        Some(Fault::Hang) => {
            server.stop.cancelled().await;
            link.cut();
            Err(Refusal::ServerError(500))
        }
        Some(Fault::Drop) => {
            link.cut();
            Err(Refusal::ServerError(500))
        }
        Some(Fault::LostReceipt) => {
            let result = server.apply(&method, &parameters, None).await;
            link.cut();
            result
        }
        Some(Fault::RetryAfter(seconds)) => Err(Refusal::RetryAfter(seconds)),
        Some(Fault::ServerError(code)) => Err(Refusal::ServerError(code)),
        Some(Fault::RefuseMarkup) => {
            let text = "Can't find end tag corresponding to start tag \"b\"".to_owned();
            Err(Refusal::Markup(text))
        }
        Some(fault @ (Fault::Gone | Fault::Redeliver | Fault::OutOfOrder)) => {
            server.apply(&method, &parameters, Some(fault)).await
        }
    };
    match result {
        Ok(result) => success(result),
        Err(refusal) => refusal.into_response(),
    }
}

impl Server {
    /// Counts a call and tells the fault that it meets.
    fn meet(&self, method: &str, parameters: &Parameters) -> Option<Fault> {
        self.change(|state| {
            *state.calls.entry(method.to_owned()).or_default() += 1;
            let chat = parameters.integer("chat_id").map(ChatId);
            let fault = state.faults.meet(method, chat, parameters, &state.updates);
            let writes = method.starts_with("send") && method != "sendchataction" || method.starts_with("editmessage");
            if let (Some(Fault::RetryAfter(seconds)), Some(chat), true) = (fault, chat, writes) {
                state.limiter.ask_to_wait(chat, seconds, Instant::now());
            }
            fault
        })
    }

    async fn apply(&self, method: &str, parameters: &Parameters, fault: Option<Fault>) -> Result<Value, Refusal> {
        if method == "getupdates" {
            return self.get_updates(parameters, fault).await;
        }
        self.change(|state| {
            if fault == Some(Fault::Gone) {
                state.remove(parameters);
            }
            state.apply(method, parameters)
        })
    }

    async fn get_updates(&self, parameters: &Parameters, fault: Option<Fault>) -> Result<Value, Refusal> {
        let limit = parameters.integer("limit").filter(|limit| (1..=UPDATES_MAX).contains(limit));
        let limit = limit.unwrap_or(UPDATES_MAX) as usize;
        let seconds = parameters.integer("timeout").unwrap_or(0).clamp(0, POLL_SECONDS_MAX);
        let deadline = Instant::now() + Duration::from_secs(seconds as u64);
        let poll = self.change(|state| {
            if state.webhook.is_some() {
                return Err(Refusal::WebhookActive);
            }
            state.allow(parameters);
            state.updates.confirm(parameters.integer("offset").unwrap_or(0));
            match fault {
                Some(Fault::Redeliver) => state.updates.redeliver(),
                Some(Fault::OutOfOrder) => state.updates.disorder(),
                _ => {}
            }
            state.updates.poll += 1;
            Ok(state.updates.poll)
        })?;
        let mut changes = self.changes.subscribe();
        loop {
            {
                let mut state = self.state();
                if state.updates.poll != poll {
                    state.updates.conflicts += 1;
                    return Err(Refusal::OtherPoller);
                }
                if state.webhook.is_some() {
                    return Err(Refusal::WebhookActive);
                }
                let batch = state.updates.first(limit);
                if !batch.is_empty() || Instant::now() >= deadline {
                    return Ok(batch.iter().map(|update| update.json()).collect());
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep_until(deadline) => {}
                () = self.stop.cancelled() => return Ok(Value::Array(Vec::new())),
            }
        }
    }
}

impl State {
    /// Somebody deletes the message that a call is about.
    fn remove(&mut self, parameters: &Parameters) {
        let room = parameters.integer("chat_id").and_then(|chat| self.rooms.get_mut(&ChatId(chat)));
        let message = room.zip(parameters.integer("message_id")).and_then(|(room, id)| room.messages.get_mut(&id));
        if let Some(message) = message {
            message.deleted = true;
        }
    }
}
