//! `cervella serve`: the daemon.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::index::{Bar, tell_unread};
use super::output;
use crate::answer::Answerer;
use crate::app::{App, AppError, Chats, IndexScope, Loaded, Service, give_back_regularly, note_running};
use crate::chat::web::{self, Exposure, SampleQuestion};
use crate::retrieval::RetrievalError;
use crate::settings::{self, Overrides};
use crate::telemetry::{self, Measured};

#[derive(Debug, Args)]
pub(super) struct ServeArguments {}

impl ServeArguments {
    pub(super) async fn run(self, app: App, overrides: Overrides) -> anyhow::Result<()> {
        let app = app.measuring();
        let stop = super::stop_on_signal()?;
        // From the start on: by itself the signal would end the process.
        let hang_ups = signal(SignalKind::hangup())?;
        let page = Page::open(&app, Vec::new(), &stop).await?;
        let mut chats = None;
        if let Some(loaded) = load_indexed(&app, &stop).await? {
            tokio::spawn(note_running(Arc::clone(app.meter()), stop.clone()));
            tokio::spawn(give_back_regularly(stop.clone()));
            tokio::spawn(Arc::clone(&loaded.indexing).keep_reading_ahead());
            chats = app.open_chats(&loaded, &stop).await?;
            page.ready(&loaded, chats.as_ref(), &stop);
            page.watch_over(&loaded, &stop);
            tokio::spawn(reload_on(hang_ups, app.clone(), overrides, Arc::clone(&loaded.answerer), stop.clone()));
            tokio::spawn(loaded.indexing.follow_folders());
        }
        page.close_after(&stop).await?;
        if let Some(chats) = chats {
            chats.rest().await;
        }
        app.meter().note(Measured::Stopped);
        app.meter().close();
        Ok(())
    }
}

/// Reads the settings again at each SIGHUP, until `stop` is cancelled. Settings that make no sense change nothing.
async fn reload_on(
    mut hang_ups: Signal,
    app: App,
    overrides: Overrides,
    answerer: Arc<Answerer>,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(hang_ups.recv()).await.flatten().is_some() {
        match settings::load(&overrides) {
            Err(error) => tracing::error!("the settings stay as they are: {error}"),
            Ok(settings) => {
                let later = app.reload(settings, &answerer);
                if later.is_empty() {
                    tracing::info!("the settings were read again");
                } else {
                    let later = later.join(", ");
                    tracing::warn!(
                        "the settings were read again; what changed in {later} holds from the next start on"
                    );
                }
            }
        }
    }
}

/// The chat page, open before the models are loaded.
pub(super) struct Page {
    service: Arc<Service>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Page {
    /// Listens and tells the address; the page says that the service is getting ready.
    pub(super) async fn open(
        app: &App,
        samples: Vec<SampleQuestion>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let settings = &app.settings().web;
        let (address, token) = (settings.listen, settings.token.reveal().to_owned());
        let exposure = Exposure { token, url: settings.url.trim_end_matches('/').to_owned() };
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: set another address in `web.listen`"))?;
        eprintln!("listening on http://{}", listener.local_addr()?);
        let service = Service::new(samples, Arc::clone(app.meter()));
        let server = tokio::spawn(web::serve(listener, exposure, service.clone(), stop.clone()));
        Ok(Page { service, server })
    }

    /// From now on questions are answered.
    pub(super) fn ready(&self, loaded: &Loaded, chats: Option<&Chats>, stop: &CancellationToken) {
        let generation = loaded.answerer.searcher().generation();
        let summary = generation.summary();
        tracing::info!(model = loaded.model, documents = summary.documents, passages = summary.passages, "ready");
        self.service.ready(loaded);
        self.service.watch(chats.map(Chats::connections).unwrap_or_default());
        telemetry::notify_ready();
        tokio::spawn(self.service.clone().follow_index(stop.clone()));
    }

    /// Looks after what was loaded, for as long as it runs.
    fn watch_over(&self, loaded: &Loaded, stop: &CancellationToken) {
        tokio::spawn(self.service.watch_over(loaded, stop.clone()));
    }

    /// Stays open until `stop` is cancelled.
    pub(super) async fn close_after(self, stop: &CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        telemetry::notify_stopping();
        self.server.await.map_err(AppError::from)?.context("the chat page ended")
    }
}

/// Loads all parts; reads the folders first when there is no index, or one of other collections: what moved to readers of
/// its own must not be shown to others any more.
pub(super) async fn load_indexed(app: &App, stop: &CancellationToken) -> anyhow::Result<Option<Loaded>> {
    match app.index_fits_settings() {
        Ok(true) => {}
        Ok(false) => {
            tracing::info!("the collections of the settings have changed: reading the knowledge folders");
            bring_up_to_date(app, stop).await?;
        }
        Err(AppError::Retrieval(reason)) if reason.wants_run() && !app.collections().is_empty() => {
            // What is damaged is told by the run that puts it aside.
            if !matches!(reason, RetrievalError::Damaged { .. }) {
                tracing::warn!("reading the knowledge folders: {reason}");
            }
            bring_up_to_date(app, stop).await?;
        }
        Err(error) => return Err(error.into()),
    }
    match app.load(stop).await {
        Err(AppError::Retrieval(reason)) if reason.wants_run() && !app.collections().is_empty() => {
            tracing::warn!("reading the knowledge folders: {reason}");
            bring_up_to_date(app, stop).await?;
            Ok(app.load(stop).await?)
        }
        loaded => Ok(loaded?),
    }
}

/// Brings the index up to date and says in a line what was done.
pub(super) async fn bring_up_to_date(app: &App, stop: &CancellationToken) -> anyhow::Result<()> {
    let (app, stop) = (app.clone(), stop.clone());
    let report = tokio::task::spawn_blocking(move || {
        let embedder = app.embedder()?;
        app.index(&embedder, &IndexScope::default(), &Bar::new(), None, &stop)
    })
    .await
    .map_err(AppError::from)?;
    match report {
        Err(AppError::Ingest(crate::ingest::IngestError::Cancelled)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(report) => {
            tell_unread(&report);
            eprintln!(
                "index: {} documents, {} passages ({} embedded in {})",
                report.documents,
                report.passages,
                report.embedded_passages,
                output::spoken(report.seconds)
            );
            Ok(())
        }
    }
}
