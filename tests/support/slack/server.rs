//! The server: calls come in over HTTP, meet faults and limits, and change the workspace.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Door, Link, Network};
use super::faults::Fault;
use super::limits::{Limit, Tier, Violation};
use super::message::Stream;
use super::methods::{self, Method, TokenKind};
use super::reply::{Answer, Refusal, refuse};
use super::request::Parameters;
use super::socket;
use super::world::{Call, World};

const BODY_MAX: usize = 1 << 20;
/// Times that a `response_url` may be used.
const RESPONSES_MAX: usize = 5;

#[derive(Debug)]
pub struct Server {
    world: Mutex<World>,
    /// Told after every change, so that tests wait without sleeping.
    pub changes: watch::Sender<u64>,
    /// Something may be due for the sockets.
    pub wake: Notify,
    pub stop: CancellationToken,
    pub network: Arc<Network>,
}

/// The workspace while it is changed; whoever waits for a change is told at its end.
pub struct Acting<'a> {
    world: Option<MutexGuard<'a, World>>,
    server: &'a Server,
}

impl Deref for Acting<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.world.as_deref().expect("the workspace is held until the drop")
    }
}

impl DerefMut for Acting<'_> {
    fn deref_mut(&mut self) -> &mut World {
        self.world.as_deref_mut().expect("the workspace is held until the drop")
    }
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        drop(self.world.take());
        self.server.changes.send_modify(|count| *count += 1);
        self.server.wake.notify_one();
    }
}

impl Server {
    pub fn start(http: TcpListener, sockets: TcpListener, world: World) -> Arc<Self> {
        let server = Arc::new(Server {
            world: Mutex::new(world),
            changes: watch::Sender::new(0),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            network: Arc::default(),
        });
        let router = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .with_state(server.clone())
            .into_make_service_with_connect_info::<Link>();
        let door = Door { listener: http, network: server.network.clone() };
        let stop = server.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = axum::serve(door, router) => {}
            }
        });
        tokio::spawn(socket::accept(server.clone(), sockets));
        tokio::spawn(socket::deliver(server.clone()));
        server
    }

    pub fn act(&self) -> Acting<'_> {
        Acting { world: Some(self.quietly()), server: self }
    }

    pub fn look(&self) -> MutexGuard<'_, World> {
        self.quietly()
    }

    /// A change that nobody waits for. A test that failed while it held the workspace is told by its own panic.
    pub fn quietly(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn handle(
    State(server): State<Arc<Server>>,
    ConnectInfo(link): ConnectInfo<Link>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path();
    if let Some(trigger) = path.strip_prefix("/respond/") {
        return response_url(&server, trigger, &body);
    }
    let Some(name) = path.strip_prefix("/api/") else { return StatusCode::NOT_FOUND.into_response() };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let outcome = match Parameters::read(kind, uri.query().unwrap_or_default(), &body) {
        Some(parameters) => call(&server, name, &headers, &parameters),
        None => Outcome::Answered(refuse("invalid_json")),
    };
    match outcome {
        Outcome::Answered(answer) => answered(&server, answer),
        Outcome::Failed(status) => {
            (StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "upstream error").into_response()
        }
        Outcome::Cut => {
            link.cut();
            StatusCode::BAD_GATEWAY.into_response()
        }
        Outcome::Hang => {
            server.stop.cancelled().await;
            link.cut();
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

enum Outcome {
    Answered(Answer),
    Failed(u16),
    Cut,
    Hang,
}

fn call(server: &Server, name: &str, headers: &HeaderMap, parameters: &Parameters) -> Outcome {
    let mut world = server.act();
    let world = &mut *world;
    world.deeds.calls.push(Call {
        method: name.to_owned(),
        parameters: parameters.without_token(),
        at: Instant::now(),
    });
    let Some(method) = methods::find(name) else { return Outcome::Answered(refuse("unknown_method")) };
    if let Err(refusal) = authorized(world, method, headers, parameters) {
        return Outcome::Answered(Err(refusal));
    }
    let channel = parameters.text("channel").map(str::to_owned);
    let fault = world.faults.meet(name, parameters);
    match fault {
        Some(Fault::RetryAfter(seconds)) => {
            let posts = channel.as_deref().filter(|_| method.tier == Tier::Posts);
            world.limiter.ask_to_wait(method.name, posts, Duration::from_secs(seconds));
            return Outcome::Answered(Err(Refusal::limited(seconds)));
        }
        Some(Fault::ServerError(status)) => return Outcome::Failed(status),
        Some(Fault::Hang) => return Outcome::Hang,
        Some(Fault::Drop) => return Outcome::Cut,
        Some(Fault::Error(code)) => return Outcome::Answered(refuse(code)),
        Some(Fault::RefuseBlocks) => return Outcome::Answered(refuse("invalid_blocks")),
        Some(Fault::DeadStream) => end_stream(world, parameters),
        Some(Fault::LostReceipt) | None => {}
    }
    if let Err(seconds) = world.limiter.admit(method.name, method.tier, channel.as_deref()) {
        return Outcome::Answered(Err(Refusal::limited(seconds)));
    }
    let answer = (method.run)(world, parameters);
    if let Err(Refusal { broken: Some(what), code, .. }) = &answer {
        world.limiter.violations.push(Violation {
            limit: Limit::Size,
            method: name.to_owned(),
            channel,
            what: format!("{code}: {what}"),
            at: Instant::now(),
            retry_after: None,
        });
    }
    if fault == Some(Fault::LostReceipt) { Outcome::Cut } else { Outcome::Answered(answer) }
}

fn end_stream(world: &mut World, parameters: &Parameters) {
    let place = parameters.text("channel").and_then(|channel| world.channels.get_mut(channel));
    let message = place.zip(parameters.text("ts")).and_then(|(place, ts)| place.messages.get_mut(ts));
    if let Some(message) = message.filter(|message| matches!(message.stream, Stream::Open { .. })) {
        message.stream = Stream::Ended { stopped_by_person: false };
    }
}

fn authorized(world: &World, method: &Method, headers: &HeaderMap, parameters: &Parameters) -> Result<(), Refusal> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).or_else(|| parameters.text("token"));
    if method.token == TokenKind::None {
        return Ok(());
    }
    let Some(token) = token else { return refuse("not_authed") };
    let kind = match token {
        token if token == world.bot_token => TokenKind::Bot,
        token if token == world.app_token => TokenKind::App,
        _ => return refuse("invalid_auth"),
    };
    if kind != method.token {
        return refuse("not_allowed_token_type");
    }
    match method.scope {
        Some(scope) if !world.has_scope(scope) => Err(Refusal::missing_scope(scope, &world.scopes)),
        _ => Ok(()),
    }
}

fn answered(server: &Server, answer: Answer) -> Response {
    let (status, body, retry_after) = match answer {
        Ok(mut body) => {
            body["ok"] = json!(true);
            (StatusCode::OK, body, None)
        }
        Err(refusal) => {
            let status = if refusal.retry_after.is_some() { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            (status, refusal.json(), refusal.retry_after)
        }
    };
    let scopes = server.look().scopes.join(",");
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    if let Ok(scopes) = HeaderValue::try_from(scopes) {
        headers.insert("x-oauth-scopes", scopes);
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A `response_url` takes JSON without a token.
fn response_url(server: &Server, trigger: &str, body: &[u8]) -> Response {
    let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(body) else {
        return (StatusCode::BAD_REQUEST, "invalid_payload").into_response();
    };
    let mut world = server.act();
    let used = world.deeds.responses.iter().filter(|response| response.trigger == trigger).count();
    if !world.triggers.contains_key(trigger) || used >= RESPONSES_MAX {
        return (StatusCode::NOT_FOUND, "used_url").into_response();
    }
    match methods::respond(&mut world, trigger, &body) {
        Ok(()) => "ok".into_response(),
        Err(refusal) => (StatusCode::BAD_REQUEST, refusal.code).into_response(),
    }
}
