//! The chat platforms: store, desks and connections, started in this order and stopped in the reverse one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::house::ChatHouse;
use super::{App, AppError, Loaded};
use crate::chat::clock;
use crate::chat::connection::Connection;
use crate::chat::delivery::{Backoff, Surface};
use crate::chat::desk::{AccessRules, Desk, DeskLimits, QuotaLimits, Shared};
use crate::chat::house::House;
use crate::chat::records::Records;
use crate::chat::slack::{self, SlackError, SlackOptions, SlackSurface};
use crate::chat::telegram::{
    self, QuotedPassage, Quotes, TelegramError, TelegramOptions, TelegramSurface, WebhookOptions,
};
use crate::domain::{Platform, Principal};
use crate::settings::{Secret, Settings};
use crate::store::{Retention, Store};

/// How long answers that are being written may take to come to rest when the service stops.
const REST_MAX: Duration = Duration::from_secs(10);
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
/// Passages offered to an inline question.
const INLINE_QUOTES: usize = 5;

/// The running platforms.
pub struct Chats {
    store: Store,
    tasks: TaskTracker,
}

impl App {
    /// Starts the platforms that the settings name; `None` when there are none.
    ///
    /// # Errors
    /// The store cannot be opened, or a platform refuses a token. A platform that cannot be reached is no error: it is
    /// tried again for as long as the service runs.
    pub async fn open_chats(&self, loaded: &Loaded, stop: &CancellationToken) -> Result<Option<Chats>, AppError> {
        let settings = self.settings();
        if settings.slack.bot_token.is_empty() && settings.telegram.token.is_empty() {
            return Ok(None);
        }
        let folder = self.data().join("store");
        let store = tokio::task::spawn_blocking(move || Store::open(&folder)).await.map_err(AppError::Panicked)??;
        let house = ChatHouse::new(self, loaded, stop);
        let limits = DeskLimits {
            quota: QuotaLimits {
                person_per_hour: settings.chat.person_per_hour,
                all_per_hour: settings.chat.all_per_hour,
            },
            // One place in the model's queue is left to the chat page.
            answers_max: settings.inference.slots + settings.inference.queue_max - 1,
        };
        let records = Records::new(store.clone());
        let shared = Shared::new(house.clone(), records, limits, stop.clone()).await?;
        let opening = Opening { settings, shared, house: house.clone(), stop: stop.clone(), tasks: TaskTracker::new() };
        let slack = opening.slack().await?;
        let telegram = opening.telegram().await?;
        house.watch(vec![("Slack", slack), ("Telegram", telegram)]);
        opening.tasks.spawn(forget_regularly(store.clone(), stop.clone()));
        let tasks = opening.tasks;
        tasks.close();
        Ok(Some(Chats { store, tasks }))
    }
}

impl Chats {
    /// Waits until the platforms have come to rest; to be called after the stop token was cancelled. What did not come to
    /// rest in time is in the store, and the next start goes on with it.
    pub async fn rest(self) {
        if tokio::time::timeout(REST_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("the chat platforms did not come to rest in time");
        }
        let flushed = tokio::task::spawn_blocking(move || self.store.flush()).await;
        if let Ok(Err(error)) = flushed {
            tracing::error!(error = &error as &dyn std::error::Error, "the store could not be flushed");
        }
    }
}

/// What the platforms are opened with.
struct Opening<'a> {
    settings: &'a Settings,
    shared: Arc<Shared>,
    house: Arc<ChatHouse>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Opening<'_> {
    async fn slack(&self) -> Result<watch::Receiver<Connection>, AppError> {
        let settings = &self.settings.slack;
        if settings.bot_token.is_empty() {
            return Ok(watch::channel(Connection::Off).1);
        }
        let text = |secret: &Secret| secret.reveal().to_owned();
        let options = SlackOptions {
            api_url: settings.api_url.trim_end_matches('/').to_owned(),
            ..SlackOptions::new(text(&settings.app_token), text(&settings.bot_token))
        };
        let (health, watched) = watch::channel(Connection::Connecting);
        let Some(identity) = self
            .until_reached(&health, || slack::check(&options), |error| matches!(error, SlackError::Unreachable(_)))
            .await?
        else {
            return Ok(watched);
        };
        tracing::info!(workspace = identity.team_name, "Slack knows the bot");
        let surface = Arc::new(SlackSurface::new(&options, identity.clone())?);
        let desk = self.desk(Platform::Slack, surface, settings.everyone).await?;
        let (stop, resting) = (self.stop.clone(), Arc::clone(&desk));
        self.tasks.spawn(async move {
            slack::listen(options, identity, Arc::new(desk), health, stop).await;
            resting.rest().await;
        });
        Ok(watched)
    }

    async fn telegram(&self) -> Result<watch::Receiver<Connection>, AppError> {
        let settings = &self.settings.telegram;
        if settings.token.is_empty() {
            return Ok(watch::channel(Connection::Off).1);
        }
        let webhook = (!settings.webhook_url.is_empty()).then(|| WebhookOptions {
            url: settings.webhook_url.clone(),
            secret: settings.webhook_secret.reveal().to_owned(),
            listen: settings.webhook_listen,
        });
        let options = TelegramOptions {
            api_url: settings.api_url.clone(),
            webhook,
            ..TelegramOptions::new(settings.token.reveal())
        };
        let (health, watched) = watch::channel(Connection::Connecting);
        let Some(identity) = self
            .until_reached(
                &health,
                || telegram::check(&options),
                |error| matches!(error, TelegramError::Unreachable(_)),
            )
            .await?
        else {
            return Ok(watched);
        };
        tracing::info!(bot = identity.username, privacy_mode = identity.privacy_mode, "Telegram knows the bot");
        if let Err(error) = telegram::set_commands(&options).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the list of commands was not set");
        }
        let surface = Arc::new(TelegramSurface::new(&options, identity.clone())?);
        let desk = self.desk(Platform::Telegram, surface, false).await?;
        let quotes = Arc::new(InlineQuotes { house: self.house.clone(), desk: Arc::clone(&desk) });
        let (stop, resting) = (self.stop.clone(), Arc::clone(&desk));
        self.tasks.spawn(async move {
            telegram::listen(options, identity, Arc::new(desk), quotes, health, stop).await;
            resting.rest().await;
        });
        Ok(watched)
    }

    async fn desk<S: Surface>(
        &self,
        platform: Platform,
        surface: Arc<S>,
        everyone: bool,
    ) -> Result<Arc<Desk<S>>, AppError> {
        let settings = &self.settings.chat;
        let rules = AccessRules {
            admins: settings.admins.clone(),
            members: settings.members.clone(),
            everyone,
            mentions_only: settings.mentions_only.clone(),
        };
        let desk = Desk::new(platform, Arc::clone(&self.shared), surface, rules);
        let resumed = desk.resume().await?;
        if resumed > 0 {
            tracing::info!(%platform, events = resumed, "going on with what was not finished");
        }
        Ok(desk)
    }

    /// Asks until the platform answers; `None` when the service is stopped meanwhile.
    async fn until_reached<T, E, F>(
        &self,
        health: &watch::Sender<Connection>,
        ask: impl Fn() -> F,
        is_unreachable: impl Fn(&E) -> bool,
    ) -> Result<Option<T>, E>
    where
        E: std::error::Error,
        F: Future<Output = Result<T, E>>,
    {
        let mut backoff = Backoff::default();
        loop {
            match ask().await {
                Ok(identity) => return Ok(Some(identity)),
                Err(error) if is_unreachable(&error) => {
                    tracing::warn!(%error, "trying again");
                    health.send_replace(Connection::Lost { reason: error.to_string() });
                    if self.stop.run_until_cancelled(tokio::time::sleep(backoff.wait())).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Removes what is older than it is kept, a bounded piece at a time.
async fn forget_regularly(store: Store, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let store = store.clone();
        let swept = tokio::task::spawn_blocking(move || store.sweep(clock::now(), &Retention::default())).await;
        match swept {
            Ok(Ok(swept)) if swept.removed > 0 => tracing::info!(rows = swept.removed, "forgotten by age"),
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "old rows were not removed"),
            _ => {}
        }
    }
}

/// Quotes for Telegram's inline mode, for those who may ask.
struct InlineQuotes<S> {
    house: Arc<ChatHouse>,
    desk: Arc<Desk<S>>,
}

impl<S: Surface> Quotes for InlineQuotes<S> {
    async fn quotes(&self, person: Principal, text: String) -> Vec<QuotedPassage> {
        if !self.desk.may_ask(&person).await {
            return Vec::new();
        }
        let house = Arc::clone(&self.house);
        let found = tokio::task::spawn_blocking(move || house.quotes(&text, INLINE_QUOTES)).await.unwrap_or_default();
        let passage = |citation: crate::domain::Citation| QuotedPassage {
            title: citation.title,
            heading: citation.heading,
            quote: citation.quote,
            path: citation.path,
        };
        found.into_iter().map(passage).collect()
    }
}
