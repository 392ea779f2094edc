//! Updates to a webhook: one after the other, each until the bot has taken it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::server::Server;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: String,
    pub secret: Option<String>,
    pub connections: i64,
    /// When the last delivery failed (unix time) and why.
    pub last_error: Option<(i64, String)>,
}

const ANSWER_MAX: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Of an answer only its first line is read.
const STATUS_BYTES: usize = 12;

/// Runs until the server stops.
pub async fn deliver(server: Arc<Server>) {
    let mut changes = server.changes.subscribe();
    let mut pause = PAUSE_FIRST;
    loop {
        let next = {
            let state = server.state();
            state.webhook.clone().zip(state.updates.first(1).pop())
        };
        let Some((webhook, update)) = next else {
            tokio::select! {
                () = server.stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            continue;
        };
        let body = update.json().to_string();
        let sent = tokio::select! {
            () = server.stop.cancelled() => return,
            sent = timeout(ANSWER_MAX, send(&webhook, &body)) => sent,
        };
        let problem = match sent {
            Ok(Ok(200..300)) => None,
            Ok(Ok(status)) => Some(format!("Wrong response from the webhook: {status}")),
            Ok(Err(_)) => Some("Connection refused".to_owned()),
            Err(_) => Some("Read timeout expired".to_owned()),
        };
        let Some(problem) = problem else {
            server.change(|state| state.updates.confirm(update.id + 1));
            pause = PAUSE_FIRST;
            continue;
        };
        server.change(|state| {
            let now = state.unix();
            if let Some(webhook) = &mut state.webhook {
                webhook.last_error = Some((now, problem));
            }
        });
        tokio::select! {
            () = server.stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Posts an update and tells the status of the answer.
async fn send(webhook: &Webhook, body: &str) -> std::io::Result<u16> {
    let address = webhook.url.strip_prefix("http://").unwrap_or(&webhook.url);
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let mut head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n",
        body.len()
    );
    if let Some(secret) = &webhook.secret {
        head.push_str(&format!("X-Telegram-Bot-Api-Secret-Token: {secret}\r\n"));
    }
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status).await?;
    let code = std::str::from_utf8(&status[STATUS_BYTES - 3..]).ok().and_then(|code| code.parse().ok());
    code.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
