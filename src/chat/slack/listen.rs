//! Keeps the sockets open for ever: one replaced when it ends, a little later each time that it cannot be had.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::Api;
use super::locale::Locales;
use super::socket::{Ended, Room, open, serve};
use super::title::Titles;
use super::{SlackIdentity, SlackOptions};
use crate::chat::connection::Connection;
use crate::chat::delivery::Backoff;
use crate::chat::intake::Intake;

/// Wait before the task of a socket that failed is started again.
const TASK_PAUSE: Duration = Duration::from_secs(1);
/// A socket that lived this long was a good one: the next is opened at once.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// Hands every event to the intake until `stop` is cancelled.
pub async fn listen<I: Intake>(
    options: SlackOptions,
    identity: SlackIdentity,
    intake: Arc<I>,
    health: watch::Sender<Connection>,
    stop: CancellationToken,
) {
    let board = Arc::new(Board { health, up: Mutex::new(0) });
    board.health.send_replace(Connection::Connecting);
    let api = match Api::new(&options) {
        Ok(api) => api,
        Err(error) => {
            // The same was built at the check at start: only a change of the machine brings this about.
            tracing::error!(%error, "slack cannot be listened to");
            board.health.send_replace(Connection::Lost { reason: error.to_string() });
            return stop.cancelled().await;
        }
    };
    let room = Arc::new(Room {
        api,
        identity,
        intake,
        silence_max: options.silence_max,
        locales: Locales::default(),
        titles: Titles::default(),
        titles_free: Room::<I>::titles_free(),
        stop: stop.clone(),
    });
    let mut sockets = JoinSet::new();
    for _ in 0..options.connections.max(1) {
        sockets.spawn(keep(room.clone(), board.clone()));
    }
    while let Some(ended) = sockets.join_next().await {
        if ended.is_err() && !stop.is_cancelled() {
            tracing::error!("the task of a slack socket failed: it is started again");
            board.lost("a task failed");
            sleep(TASK_PAUSE).await;
            sockets.spawn(keep(room.clone(), board.clone()));
        }
    }
}

/// One socket after the other.
async fn keep<I: Intake>(room: Arc<Room<I>>, board: Arc<Board>) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            () = room.stop.cancelled() => Ended::Stopped,
            opened = open(&room) => match opened {
                Ok(socket) => {
                    let mut up = None;
                    let ended = serve(&room, socket, || up = Some(board.up())).await;
                    drop(up);
                    ended
                }
                Err(ended) => ended,
            },
        };
        let good = began.elapsed() >= GOOD_AFTER;
        if good {
            backoff.reset();
        }
        let wait = match ended {
            Ended::Stopped => return,
            Ended::Refreshed if good => Duration::ZERO,
            Ended::Refreshed => backoff.wait(),
            Ended::Lost { reason, wait } => {
                board.lost(&reason);
                backoff.wait().max(wait.unwrap_or_default())
            }
        };
        tokio::select! {
            () = room.stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

/// How the connection stands, over all sockets: one that is up is enough.
struct Board {
    health: watch::Sender<Connection>,
    up: Mutex<u32>,
}

impl Board {
    fn up(self: &Arc<Self>) -> Counted {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        *up += 1;
        if *up == 1 {
            tracing::info!("connected to slack");
        }
        self.health.send_replace(Connection::Connected);
        Counted(self.clone())
    }

    fn lost(&self, reason: &str) {
        let up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        if *up == 0 {
            tracing::warn!(reason, "not connected to slack");
            self.health.send_replace(Connection::Lost { reason: reason.to_owned() });
        } else {
            tracing::debug!(reason, "a slack socket is replaced");
        }
    }
}

/// Counts a socket that is up, also when its task fails.
struct Counted(Arc<Board>);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut up = self.0.up.lock().unwrap_or_else(PoisonError::into_inner);
        *up = up.saturating_sub(1);
    }
}
