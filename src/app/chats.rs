//! The chat platforms: store, desks and connections, started in this order and stopped in the reverse one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control;
use super::house::ChatHouse;
use super::service::Watched;
use super::{App, AppError, Loaded};
use crate::chat::clock;
use crate::chat::connection::Connection;
use crate::chat::delivery::{Backoff, Surface};
use crate::chat::desk::{AccessRules, Desk, DeskLimits, Live, QuotaLimits, Shared};
use crate::chat::house::House;
use crate::chat::records::Records;
use crate::chat::slack::{self, SlackError, SlackOptions, SlackSurface};
use crate::chat::telegram::{
    self, QuotedPassage, Quotes, TelegramError, TelegramOptions, TelegramSurface, WebhookOptions,
};
use crate::domain::{Platform, Principal, Reader};
use crate::settings::{Secret, Settings};
use crate::store::{Retention, Store};

/// How long answers that are being written may take to come to rest when the service stops.
const REST_MAX: Duration = Duration::from_secs(10);
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);
const EXPORT_INTERVAL: Duration = Duration::from_secs(3600);
const EXPORT_LOOKED_AT_EVERY: Duration = Duration::from_secs(600);
/// Passages offered to an inline question.
const INLINE_QUOTES: usize = 5;

/// The running platforms.
pub struct Chats {
    store: Store,
    tasks: TaskTracker,
    connections: Vec<Watched>,
}

impl App {
    /// Starts the platforms that the settings name; `None` when there are none.
    ///
    /// # Errors
    /// The store cannot be opened, or a platform refuses a token. A platform that cannot be reached is no error: it is
    /// asked again for as long as the service runs.
    pub async fn open_chats(&self, loaded: &Loaded, stop: &CancellationToken) -> Result<Option<Chats>, AppError> {
        let settings = self.settings();
        if settings.slack.bot_token.is_empty() && settings.telegram.token.is_empty() {
            return Ok(None);
        }
        let folder = self.store_folder();
        let store = tokio::task::spawn_blocking(move || Store::open(&folder)).await??;
        loaded.answerer.remember(Arc::new(store.clone()));
        let house = ChatHouse::new(self, loaded);
        let limits = DeskLimits {
            quota: self.live(|settings| QuotaLimits {
                person_per_hour: settings.chat.person_per_hour,
                all_per_hour: settings.chat.all_per_hour,
            }),
            // One place, in the model's queue and among all questions, is left to the chat page.
            answers_max: (settings.inference.slots + settings.inference.queue_max)
                .min(settings.answer.questions_max)
                .saturating_sub(1)
                .max(1),
        };
        let records = Records::new(store.clone());
        let shared = Shared::new(house.clone(), records, limits, stop.clone()).await?;
        let opening = Arc::new(Opening {
            app: self.clone(),
            settings: settings.clone(),
            shared,
            house: house.clone(),
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        let slack = opening.slack().await?;
        let telegram = opening.telegram().await?;
        house.watch(vec![("Slack", slack.clone()), ("Telegram", telegram.clone())]);
        let connections = vec![(Platform::Slack, slack), (Platform::Telegram, telegram)];
        opening.tasks.spawn(forget_regularly(store.clone(), self.live(retention), stop.clone()));
        opening.tasks.spawn(export_regularly(store.clone(), stop.clone()));
        opening.tasks.spawn(control::serve(self.data().to_owned(), store.clone(), stop.clone()));
        let tasks = opening.tasks.clone();
        tasks.close();
        Ok(Some(Chats { store, tasks, connections }))
    }
}

impl Chats {
    /// How the connections stand, for whoever watches them.
    pub fn connections(&self) -> Vec<Watched> {
        self.connections.clone()
    }

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
struct Opening {
    app: App,
    settings: Settings,
    shared: Arc<Shared>,
    house: Arc<ChatHouse>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Opening {
    /// Asks Slack once who the bot is; the rest goes on by itself, for as long as it takes.
    async fn slack(self: &Arc<Self>) -> Result<watch::Receiver<Connection>, AppError> {
        let settings = &self.settings.slack;
        if settings.bot_token.is_empty() {
            return Ok(watch::channel(Connection::Off).1);
        }
        let text = |secret: &Secret| secret.reveal().to_owned();
        let options = SlackOptions {
            api_url: settings.api_url.trim_end_matches('/').to_owned(),
            ..SlackOptions::new(text(&settings.app_token), text(&settings.bot_token))
        };
        let first = slack::check(&options).await;
        let is_unreachable = |error: &SlackError| matches!(error, SlackError::Unreachable(_));
        let first = first.map(Some).or_else(|error| if is_unreachable(&error) { Ok(None) } else { Err(error) })?;
        let (health, watched) = watch::channel(Connection::Connecting);
        let opening = Arc::clone(self);
        self.tasks.spawn(async move {
            let ask = || slack::check(&options);
            let Some(identity) = opening.until_known(first, &health, ask).await else { return };
            tracing::info!(workspace = identity.team_name, "Slack knows the bot");
            let opened = SlackSurface::new(&options, identity.clone()).map_err(AppError::from);
            let opened = match opened {
                Ok(surface) => opening.desk(Platform::Slack, Arc::new(surface)).await,
                Err(error) => Err(error),
            };
            let Some(desk) = told(opened, &health) else { return };
            slack::listen(options, identity, Arc::new(Arc::clone(&desk)), health, opening.stop.clone()).await;
            desk.rest().await;
        });
        Ok(watched)
    }

    async fn telegram(self: &Arc<Self>) -> Result<watch::Receiver<Connection>, AppError> {
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
        let first = telegram::check(&options).await;
        let is_unreachable = |error: &TelegramError| matches!(error, TelegramError::Unreachable(_));
        let first = first.map(Some).or_else(|error| if is_unreachable(&error) { Ok(None) } else { Err(error) })?;
        let (health, watched) = watch::channel(Connection::Connecting);
        let opening = Arc::clone(self);
        self.tasks.spawn(async move {
            let ask = || telegram::check(&options);
            let Some(identity) = opening.until_known(first, &health, ask).await else { return };
            tracing::info!(bot = identity.username, privacy_mode = identity.privacy_mode, "Telegram knows the bot");
            if let Err(error) = telegram::set_commands(&options).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the list of commands was not set");
            }
            let opened = TelegramSurface::new(&options, identity.clone()).map_err(AppError::from);
            let opened = match opened {
                Ok(surface) => opening.desk(Platform::Telegram, Arc::new(surface)).await,
                Err(error) => Err(error),
            };
            let Some(desk) = told(opened, &health) else { return };
            let quotes = Arc::new(InlineQuotes { house: opening.house.clone(), desk: Arc::clone(&desk) });
            let intake = Arc::new(Arc::clone(&desk));
            telegram::listen(options, identity, intake, quotes, health, opening.stop.clone()).await;
            desk.rest().await;
        });
        Ok(watched)
    }

    async fn desk<S: Surface>(&self, platform: Platform, surface: Arc<S>) -> Result<Arc<Desk<S>>, AppError> {
        let rules = self.app.live(move |settings| AccessRules {
            admins: settings.chat.admins.clone(),
            members: settings.chat.members.clone(),
            everyone: platform == Platform::Slack && settings.slack.everyone,
            mentions_only: settings.chat.mentions_only.clone(),
        });
        let desk = Desk::new(platform, Arc::clone(&self.shared), surface, rules);
        let resumed = desk.resume().await?;
        if resumed > 0 {
            tracing::info!(%platform, events = resumed, "going on with what was not finished");
        }
        Ok(desk)
    }

    /// What the platform says the bot is: known already, or asked for until it answers. `None` when the service is stopped
    /// meanwhile.
    async fn until_known<T, E, F>(
        &self,
        known: Option<T>,
        health: &watch::Sender<Connection>,
        ask: impl Fn() -> F,
    ) -> Option<T>
    where
        E: std::error::Error,
        F: Future<Output = Result<T, E>>,
    {
        if known.is_some() {
            return known;
        }
        let mut backoff = Backoff::default();
        loop {
            match self.stop.run_until_cancelled(ask()).await? {
                Ok(identity) => return Some(identity),
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    health.send_replace(Connection::Lost { reason: error.to_string() });
                }
            }
            self.stop.run_until_cancelled(tokio::time::sleep(backoff.wait())).await?;
        }
    }
}

/// A platform that cannot be opened is lost; the others go on.
fn told<T>(opened: Result<T, AppError>, health: &watch::Sender<Connection>) -> Option<T> {
    opened
        .inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "a chat platform cannot be opened");
            health.send_replace(Connection::Lost { reason: error.to_string() });
        })
        .ok()
}

fn retention(settings: &Settings) -> Retention {
    let seconds = |days: u32| i64::from(days) * 24 * 3600;
    let conversations = seconds(settings.chat.keep_days);
    let feedback = seconds(settings.chat.ratings_keep_days);
    Retention { conversations, deliveries: conversations, feedback, ..Retention::default() }
}

/// Removes what is older than it is kept, a bounded piece at a time.
async fn forget_regularly(store: Store, retention: Live<Retention>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (store, retention) = (store.clone(), retention());
        let swept = tokio::task::spawn_blocking(move || store.sweep(clock::now(), &retention)).await;
        match swept {
            Ok(Ok(swept)) if swept.removed > 0 => tracing::info!(rows = swept.removed, "forgotten by age"),
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "old rows were not removed"),
            _ => {}
        }
    }
}

/// Keeps exports of the store, for the day on which its database is damaged.
async fn export_regularly(store: Store, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EXPORT_LOOKED_AT_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let store = store.clone();
        let due = move || {
            let now = clock::now();
            // Starts that follow each other would soon replace all that are kept.
            let is_due =
                store.exported_at().is_none_or(|at| now.saturating_sub(at) >= EXPORT_INTERVAL.as_secs() as i64);
            if is_due { store.export(now).map(drop) } else { Ok(()) }
        };
        match tokio::task::spawn_blocking(due).await {
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store was not exported");
            }
            Err(_panicked) => tracing::error!("the store was not exported"),
            Ok(Ok(())) => {}
        }
    }
}

/// Quotes for Telegram's inline mode, for those who may ask. They choose a chat that we do not know: nothing is offered
/// that not everybody may read.
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
        let found = tokio::task::spawn_blocking(move || house.quotes(&text, &Reader::Anybody, INLINE_QUOTES))
            .await
            .unwrap_or_default();
        let passage = |citation: crate::domain::Citation| QuotedPassage {
            title: citation.title,
            heading: citation.heading,
            quote: citation.quote,
            path: citation.path,
        };
        found.into_iter().map(passage).collect()
    }
}
