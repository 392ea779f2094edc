//! One socket of Socket Mode, from its opening to its end. The library's listener is not used: it waits for ever when
//! Slack does not answer, keeps reading on sockets that were given up, acknowledges what it cannot read, and logs the
//! address with its ticket. What is acknowledged here has been written down.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;

use super::SlackIdentity;
use super::client::{Api, CALL_MAX, CallError, Token, quiet};
use super::decode::{Frame, decode};
use super::locale::Locales;
use super::title::Titles;
use crate::chat::event::Incoming;
use crate::chat::intake::Intake;
use crate::domain::Thread;

/// Slack greets a new socket at once.
const HELLO_MAX: Duration = Duration::from_secs(15);
/// Longest time for one frame of ours to leave.
const SEND_MAX: Duration = Duration::from_secs(10);
/// Longest time for an event to be written down; Slack sends it again when it was not acknowledged.
const ACCEPT_MAX: Duration = Duration::from_secs(10);
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Bytes of one frame of Slack's; a message has 40,000 characters at most.
const FRAME_MAX: usize = 4 << 20;
/// Titles that are set at the same time; beyond them, conversations stay without.
const TITLES_MAX: usize = 4;

/// What all sockets share.
pub(super) struct Room<I> {
    pub(super) api: Api,
    pub(super) identity: SlackIdentity,
    pub(super) intake: Arc<I>,
    pub(super) silence_max: Duration,
    pub(super) locales: Locales,
    pub(super) titles: Titles,
    pub(super) titles_free: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

impl<I> Room<I> {
    pub(super) fn titles_free() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(TITLES_MAX))
    }
}

/// Why a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Stopped,
    /// Slack asked for a new one, as it does every few hours.
    Refreshed,
    Lost {
        reason: String,
        wait: Option<Duration>,
    },
}

fn lost(reason: &str) -> Ended {
    Ended::Lost { reason: reason.to_owned(), wait: None }
}

#[derive(Deserialize)]
struct Opened {
    url: String,
}

pub(super) async fn open<I>(room: &Room<I>) -> Result<WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>, Ended> {
    let opened: Opened =
        room.api.post(Token::App, "apps.connections.open", &json!({})).await.map_err(|error| match error {
            CallError::Wait(wait) | CallError::Spent(wait) => {
                Ended::Lost { reason: "too many connections asked for".to_owned(), wait: Some(wait) }
            }
            CallError::Unreachable(reason) => Ended::Lost { reason, wait: None },
            CallError::Refused { code, .. } => lost(&format!("slack.app_token is refused: {code}")),
        })?;
    let config = WebSocketConfig::default().max_message_size(Some(FRAME_MAX)).max_frame_size(Some(FRAME_MAX));
    let connector = Connector::Rustls(room.api.tls());
    let connect = connect_async_tls_with_config(opened.url, Some(config), true, Some(connector));
    match timeout(CALL_MAX, quiet(connect)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(lost(&format!("no socket: {}", kind(&error)))),
        Err(_) => Err(lost("no socket in time")),
    }
}

/// Reads until the socket ends. Events are taken one after the other, each acknowledged once it is written down.
pub(super) async fn serve<S, I>(room: &Arc<Room<I>>, mut socket: WebSocketStream<S>, ready: impl FnOnce()) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    I: Intake,
{
    let mut ready = Some(ready);
    let mut deadline = Instant::now() + HELLO_MAX;
    let every = (room.silence_max / 3).max(Duration::from_secs(1));
    let mut ping = interval_at(Instant::now() + every, every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            biased;
            () = room.stop.cancelled() => {
                let _ = timeout(CLOSE_MAX, quiet(socket.close(None))).await;
                return Ended::Stopped;
            }
            message = quiet(socket.next()) => message,
            () = sleep_until(deadline) => return lost(if ready.is_some() { "no greeting" } else { "silence" }),
            _ = ping.tick() => {
                if let Err(ended) = send(&mut socket, Message::Ping("cervella".into())).await {
                    return ended;
                }
                continue;
            }
        };
        let text = match message {
            None => return lost("the socket was closed"),
            Some(Err(error)) => return lost(kind(&error)),
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_))) => return lost("slack closed the socket"),
            Some(Ok(_)) => {
                if ready.is_none() {
                    deadline = Instant::now() + room.silence_max;
                }
                continue;
            }
        };
        match decode(text.as_bytes(), &room.identity) {
            Frame::Hello => {
                if let Some(ready) = ready.take() {
                    ready();
                }
            }
            Frame::Disconnect { reason } if reason == "link_disabled" => {
                return lost("socket mode is turned off for the app");
            }
            Frame::Disconnect { .. } => return Ended::Refreshed,
            Frame::Envelope { id, incoming } => {
                if let Err(ended) = envelope(room, &mut socket, id, incoming).await {
                    return ended;
                }
            }
            Frame::Other => {}
        }
        if ready.is_none() {
            deadline = Instant::now() + room.silence_max;
        }
    }
}

async fn envelope<S, I>(
    room: &Arc<Room<I>>,
    socket: &mut WebSocketStream<S>,
    id: String,
    incoming: Option<Box<Incoming>>,
) -> Result<(), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
    I: Intake,
{
    let mut title = None;
    if let Some(mut incoming) = incoming {
        room.locales.add(&room.api, &mut incoming).await;
        title = room.titles.note(&incoming);
        if !matches!(timeout(ACCEPT_MAX, room.intake.accept(*incoming)).await, Ok(Ok(()))) {
            tracing::warn!("an event of slack could not be written down: it is not acknowledged");
            return Ok(());
        }
    }
    send(socket, Message::text(json!({ "envelope_id": id }).to_string())).await?;
    if let Some((thread, title)) = title {
        set_title(room, thread, title);
    }
    Ok(())
}

fn set_title<I: Intake>(room: &Arc<Room<I>>, thread: Thread, title: String) {
    let Ok(free) = room.titles_free.clone().try_acquire_owned() else { return };
    let room = room.clone();
    tokio::spawn(async move {
        let request = json!({ "channel_id": thread.chat.id, "thread_ts": thread.id, "title": title });
        let set = room.api.post::<_, serde_json::Value>(Token::Bot, "assistant.threads.setTitle", &request);
        if set.await.is_err() {
            tracing::debug!("the title in the assistant panel was not set");
        }
        drop(free);
    });
}

async fn send<S>(socket: &mut WebSocketStream<S>, message: Message) -> Result<(), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(SEND_MAX, quiet(socket.send(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(lost(kind(&error))),
        Err(_) => Err(lost("a frame could not be sent in time")),
    }
}

/// The kind alone: errors of the library print addresses and frames.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "the socket was closed",
        Error::Io(_) => "the connection broke",
        Error::Tls(_) => "tls failed",
        Error::Capacity(_) => "a frame was too large",
        Error::Protocol(_) | Error::Utf8(_) => "a frame could not be read",
        Error::Http(_) | Error::HttpFormat(_) | Error::Url(_) => "slack refused the socket",
        _ => "the connection failed",
    }
}

#[cfg(test)]
mod tests;
