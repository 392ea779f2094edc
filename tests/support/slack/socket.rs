//! One socket of Socket Mode, from its handshake to its end, and the task that sends events out.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::sync::CancellationToken;

use super::methods;
use super::server::Server;
use super::sockets::Frame;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const SEND_MAX: Duration = Duration::from_secs(10);
/// After this time the platform notices that a socket is dead, too.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Takes sockets until the server stops.
pub async fn accept(server: Arc<Server>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
            // Keeps the set small.
            Some(_) = tasks.join_next() => continue,
        };
        // The link is not needed: the network holds one as long as the stream lives.
        if let Ok((stream, link)) = stream.and_then(|(stream, _)| server.network.register(stream)) {
            let server = server.clone();
            tasks.spawn(async move {
                serve(&server, stream).await;
                drop(link);
            });
        }
    }
}

/// Sends what is due, for as long as the server runs.
pub async fn deliver(server: Arc<Server>) {
    loop {
        let (next, gave_up) = {
            let sockets = &mut server.quietly().sockets;
            let before = sockets.untaken.len();
            (sockets.deliver(), sockets.untaken.len() > before)
        };
        if gave_up {
            server.changes.send_modify(|count| *count += 1);
        }
        let due = async {
            match next {
                Some(moment) => sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = server.stop.cancelled() => return,
            () = server.wake.notified() => {}
            () = due => {}
        }
    }
}

async fn serve(server: &Server, stream: TcpStream) {
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| {
        let query = request.uri().query().unwrap_or_default();
        let ticket = query.split('&').find_map(|pair| pair.strip_prefix("ticket="));
        let mut world = server.act();
        let refused = world.sockets.refused > 0;
        world.sockets.refused -= usize::from(refused);
        let known = ticket.is_some_and(|ticket| world.sockets.tickets.remove(ticket));
        if known && !refused {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = if refused { 503 } else { 403 }.try_into().unwrap_or_default();
        Err(refusal)
    };
    let handshake = timeout(HANDSHAKE_MAX, accept_hdr_async(stream, check));
    let socket = tokio::select! {
        () = server.stop.cancelled() => return,
        socket = handshake => socket,
    };
    if let Ok(Ok(socket)) = socket {
        let (number, frames, half_open) = server.act().sockets.add();
        talk(server, socket, Line { number, frames, half_open }).await;
        server.act().sockets.remove(number);
    }
}

/// A socket's number and what comes for it.
struct Line {
    number: u64,
    frames: mpsc::Receiver<Frame>,
    half_open: CancellationToken,
}

async fn talk(server: &Server, mut socket: WebSocketStream<TcpStream>, mut line: Line) {
    let (hello, every) = {
        let world = server.look();
        (world.sockets.hello(line.number), world.sockets.ping_every)
    };
    if send(&mut socket, Message::text(hello.to_string())).await.is_err() {
        return;
    }
    let mut ping = interval_at(Instant::now() + every, every);
    let mut close_at: Option<Instant> = None;
    loop {
        let close = async {
            match close_at {
                Some(moment) => sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let sent = tokio::select! {
            biased;
            () = server.stop.cancelled() => return,
            () = line.half_open.cancelled() => return die(server, line.number, socket).await,
            () = close => {
                let _ = timeout(SEND_MAX, socket.close(None)).await;
                return;
            }
            frame = line.frames.recv() => match frame {
                Some(Frame::Text(text)) => send(&mut socket, Message::text(text)).await,
                Some(Frame::CloseAfter(grace)) => {
                    close_at = Some(Instant::now() + grace);
                    Ok(())
                }
                None => return,
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    heard(server, text.as_bytes());
                    Ok(())
                }
                Some(Ok(Message::Close(_))) => {
                    // The library answers it; what follows is the end.
                    let _ = timeout(SEND_MAX, socket.close(None)).await;
                    return;
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => return,
            },
            _ = ping.tick() => send(&mut socket, Message::Ping("Ping from fake-applink".into())).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, message: Message) -> Result<(), ()> {
    match timeout(SEND_MAX, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(()),
    }
}

/// The connection stays, and nothing goes over it any more.
async fn die(server: &Server, number: u64, socket: WebSocketStream<TcpStream>) {
    tokio::select! {
        () = server.stop.cancelled() => {}
        () = sleep(DEAD_AFTER) => {
            server.act().sockets.remove(number);
            server.stop.cancelled().await;
        }
    }
    drop(socket);
}

/// An acknowledgement; commands and presses may be answered along with it.
fn heard(server: &Server, text: &[u8]) {
    let Ok(frame) = serde_json::from_slice::<Value>(text) else { return };
    let mut world = server.act();
    let Some(payload) = frame["envelope_id"].as_str().and_then(|id| world.sockets.acknowledge(id)) else { return };
    if let (Some(trigger), Some(body)) = (payload["trigger_id"].as_str(), frame.get("payload")) {
        // A payload that cannot be shown is dropped by the platform.
        let _ = methods::respond(&mut world, trigger, body);
    }
}
