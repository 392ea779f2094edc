//! Updates on their way to the intake, whichever way they come.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::decode::{Decoded, decode};
use super::inline::{InlineDesk, Quotes};
use super::{TelegramIdentity, TelegramOptions, poll, webhook};
use crate::chat::connection::Connection;
use crate::chat::intake::{Intake, NotTaken};

/// How long writing an event down may take before the platform is asked to tell it again.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Hears Telegram until `stop`; ends only then. Whatever fails is tried again, and told in `health`.
pub async fn listen<I: Intake, Q: Quotes>(
    options: TelegramOptions,
    identity: TelegramIdentity,
    intake: Arc<I>,
    quotes: Arc<Q>,
    health: watch::Sender<Connection>,
    stop: CancellationToken,
) {
    let health = Health(health);
    health.tell(Connection::Connecting);
    let calls = match Calls::new(&options) {
        Ok(calls) => calls,
        Err(error) => {
            tracing::error!(%error, "telegram cannot be listened to");
            health.lost(&error.to_string());
            return stop.cancelled().await;
        }
    };
    let inline = Arc::new(InlineDesk::new(calls.clone(), quotes, stop.clone()));
    let reception = Reception { identity, intake, inline };
    match options.webhook {
        Some(webhook) => webhook::listen(webhook, calls, Arc::new(reception), &health, &stop).await,
        None => {
            let poll = poll::Poll::new(calls, options.poll_timeout, options.poll_grace);
            poll.listen(&reception, &health, &stop).await;
        }
    }
}

/// Takes updates one by one.
pub(super) struct Reception<I, Q> {
    pub identity: TelegramIdentity,
    pub intake: Arc<I>,
    pub inline: Arc<InlineDesk<Q>>,
}

impl<I: Intake, Q: Quotes> Reception<I, Q> {
    /// Tells what a batch of updates holds before they are taken one by one.
    pub fn announce(&self, updates: &[Value]) {
        for update in updates {
            if let Decoded::Event(incoming) = decode(update, &self.identity) {
                self.intake.announce(&incoming.event);
            }
        }
    }

    /// When it returns `Ok`, Telegram may forget the update.
    pub async fn take(&self, update: &Value) -> Result<(), NotTaken> {
        match decode(update, &self.identity) {
            Decoded::Event(incoming) => {
                tokio::time::timeout(ACCEPT_TIMEOUT, self.intake.accept(incoming)).await.unwrap_or(Err(NotTaken))
            }
            Decoded::Inline(query) => {
                self.inline.take(query);
                Ok(())
            }
            Decoded::Skipped(why) => {
                tracing::debug!(update = update["update_id"].as_i64(), why, "an update was skipped");
                Ok(())
            }
        }
    }
}

/// Tells the house how the connection stands, each change once.
pub(super) struct Health(pub watch::Sender<Connection>);

impl Health {
    pub fn connected(&self) {
        if self.tell(Connection::Connected) {
            tracing::info!("telegram is connected");
        }
    }

    pub fn lost(&self, reason: &str) {
        if self.tell(Connection::Lost { reason: reason.to_owned() }) {
            tracing::warn!(reason, "telegram is lost");
        }
    }

    fn tell(&self, connection: Connection) -> bool {
        self.0.send_if_modified(|told| {
            let changed = *told != connection;
            *told = connection;
            changed
        })
    }
}
