//! What other commands may ask of the running service, over a socket in the data folder: whoever can write there may.
//! One word for a request, one line of JSON for the reply.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::chat::clock;
use crate::store::Store;

const SOCKET: &str = "control.sock";
const EXPORT: &str = "export";
const REQUEST_BYTES_MAX: u64 = 64;
const REPLY_BYTES_MAX: u64 = 64 << 10;
/// For the other side to say what it wants.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// For the service to do it.
const REPLY_TIME: Duration = Duration::from_secs(300);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    /// The file of the export.
    Exported(PathBuf),
    Failed(String),
}

/// Answers requests until `stop` is cancelled. What cannot be listened to is told to the log.
pub(super) async fn serve(data: PathBuf, store: Store, stop: CancellationToken) {
    let path = data.join(SOCKET);
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, socket = %path.display(), "no backups while the service runs: nobody can ask for one");
            return;
        }
    };
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let reply = tokio::time::timeout(REPLY_TIME, reply(stream, store.clone()));
                if !matches!(stop.run_until_cancelled(reply).await, Some(Ok(Ok(())))) {
                    tracing::debug!("a request over the control socket came to nothing");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket");
                stop.run_until_cancelled(tokio::time::sleep(REQUEST_TIME)).await;
            }
        }
    }
    let _ = std::fs::remove_file(path);
}

fn listen(path: &Path) -> std::io::Result<UnixListener> {
    // A killed service leaves it behind; the store is locked by us, so nobody else listens.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn reply(mut stream: UnixStream, store: Store) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = tokio::io::BufReader::new((&mut stream).take(REQUEST_BYTES_MAX));
    tokio::time::timeout(REQUEST_TIME, reader.read_line(&mut request)).await??;
    let reply = match request.trim() {
        EXPORT => match tokio::task::spawn_blocking(move || store.export(clock::now())).await {
            Ok(Ok(path)) => Reply::Exported(path),
            Ok(Err(error)) => Reply::Failed(error.to_string()),
            Err(_panicked) => Reply::Failed(AppError::Panicked.to_string()),
        },
        _ => Reply::Failed("the service does not know this request".to_owned()),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// Has the service that runs on this data folder export its store; `None`: none runs there. Blocks.
///
/// # Errors
/// The service did not do it, in a sentence.
pub(super) fn ask_for_export(data: &Path) -> Result<Option<PathBuf>, String> {
    let mut stream = match BlockingStream::connect(data.join(SOCKET)) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        connected => connected.map_err(|e| format!("the service cannot be asked: {e}"))?,
    };
    let mut line = String::new();
    let asked = stream
        .set_read_timeout(Some(REPLY_TIME))
        .and_then(|()| writeln!(stream, "{EXPORT}"))
        .and_then(|()| BufReader::new(stream.take(REPLY_BYTES_MAX)).read_line(&mut line));
    asked.map_err(|e| format!("the service did not reply: {e}"))?;
    match serde_json::from_str(&line) {
        Ok(Reply::Exported(path)) => Ok(Some(path)),
        Ok(Reply::Failed(reason)) => Err(reason),
        Err(_) => Err("the service stopped before it replied".to_owned()),
    }
}
