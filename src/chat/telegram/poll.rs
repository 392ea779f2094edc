//! Long polling. An update is confirmed by asking for the one behind it, and that happens only after it was written
//! down: what a killed process had fetched and not written down comes again.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use teloxide::payloads::{DeleteWebhook, DeleteWebhookSetters};
use teloxide::requests::Payload;
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, Failure};
use super::decode::ALLOWED_UPDATES;
use super::inline::Quotes;
use super::listen::{Health, Reception};
use crate::chat::delivery::Backoff;
use crate::chat::intake::Intake;

const BATCH: u8 = 100;
/// A server that holds no poll open is not asked more often than this.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Poll {
    calls: Calls,
    timeout: Duration,
    grace: Duration,
    /// The first update that is not yet taken.
    offset: Option<i64>,
    batch: u8,
    /// The next poll must come back at once: it shows that the connection is there.
    is_probe: bool,
    backoff: Backoff,
}

/// Teloxide's own payload has the offset in 32 bits and reads updates into its types.
#[derive(Serialize)]
struct GetUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    limit: u8,
    timeout: u64,
    allowed_updates: [&'static str; 4],
}

impl Payload for GetUpdates {
    type Output = Vec<Value>;
    const NAME: &'static str = "GetUpdates";
}

/// All that is read of an update that cannot be read.
#[derive(Deserialize)]
struct Numbered {
    update_id: i64,
}

impl Poll {
    pub fn new(calls: Calls, timeout: Duration, grace: Duration) -> Self {
        Poll { calls, timeout, grace, offset: None, batch: BATCH, is_probe: true, backoff: Backoff::default() }
    }

    pub async fn listen<I: Intake, Q: Quotes>(
        mut self,
        reception: &Reception<I, Q>,
        health: &Health,
        stop: &CancellationToken,
    ) {
        loop {
            let round = async {
                let wait = self.round(reception, health).await;
                tokio::time::sleep(wait).await;
            };
            tokio::select! {
                // An update that is being written down when the process stops comes again at the next start.
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// One poll and what it brought; returns how long to wait before the next.
    async fn round<I: Intake, Q: Quotes>(&mut self, reception: &Reception<I, Q>, health: &Health) -> Duration {
        let asked = Instant::now();
        let updates = match self.poll().await {
            Ok(updates) => updates,
            Err(failure) => return self.failed(failure, health).await,
        };
        self.is_probe = false;
        health.connected();
        if updates.is_empty() {
            self.backoff.reset();
            // Everything before the offset is confirmed now. Numbers can begin anew below it, so it is let go.
            self.offset = None;
            return POLL_INTERVAL.saturating_sub(asked.elapsed());
        }
        reception.announce(&updates);
        for update in &updates {
            if reception.take(update).await.is_err() {
                let wait = self.backoff.wait();
                tracing::error!(wait_ms = wait.as_millis(), "an update could not be written down: it is fetched again");
                return wait;
            }
            if let Some(id) = update["update_id"].as_i64() {
                self.offset = Some(id.saturating_add(1));
            }
        }
        self.backoff.reset();
        Duration::ZERO
    }

    async fn poll(&mut self) -> Result<Vec<Value>, Failure> {
        let timeout = if self.is_probe { Duration::ZERO } else { self.timeout };
        let payload = GetUpdates {
            offset: self.offset,
            limit: self.batch,
            timeout: timeout.as_secs(),
            allowed_updates: ALLOWED_UPDATES,
        };
        let answer = self.calls.fetch(&payload, timeout + self.grace).await?;
        match answer.read::<Vec<Value>>() {
            Err(Failure::Unreadable) => self.step_over(&answer.read::<Vec<Numbered>>()?),
            updates => {
                self.batch = BATCH;
                updates
            }
        }
    }

    /// One of these updates is no JSON that can be read: they are fetched one by one, and that one is left behind.
    fn step_over(&mut self, unreadable: &[Numbered]) -> Result<Vec<Value>, Failure> {
        match (self.batch, unreadable) {
            (1, [one]) => {
                tracing::warn!(update = one.update_id, "an update that cannot be read was skipped");
                self.offset = Some(one.update_id.saturating_add(1));
                self.batch = BATCH;
            }
            (1, _) => return Err(Failure::Unreadable),
            _ => self.batch = 1,
        }
        // Nothing to take in this round.
        Err(Failure::Wait(POLL_INTERVAL))
    }

    async fn failed(&mut self, failure: Failure, health: &Health) -> Duration {
        let refusal = match failure {
            Failure::Wait(wait) => return wait,
            Failure::Unreachable(reason) => {
                self.is_probe = true;
                health.lost(&reason);
                return self.backoff.wait();
            }
            Failure::Unreadable => {
                health.lost("the answer cannot be read");
                return self.backoff.wait();
            }
            Failure::Refused(refusal) => refusal,
        };
        self.is_probe = true;
        match refusal.code {
            409 if refusal.says("webhook") => {
                // A poll is what the settings ask for. What waits at Telegram is kept.
                tracing::warn!("a webhook is set for this bot: it is taken away, because telegram.webhook is not set");
                let removed = self.calls.call::<bool>(&DeleteWebhook::new().drop_pending_updates(false)).await;
                if removed.is_ok() {
                    return POLL_INTERVAL;
                }
                health.lost("a webhook is set for this bot");
            }
            409 => health
                .lost("another program polls with the same telegram.token: stop it, or give this one a bot of its own"),
            401 | 404 => health.lost("telegram.token is refused by Telegram"),
            _ => health.lost(&refusal.shown()),
        }
        self.backoff.wait()
    }
}

#[cfg(test)]
mod tests;
