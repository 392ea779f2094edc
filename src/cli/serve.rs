//! `cervella serve`: the daemon.

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::index::{Bar, tell_unread};
use super::output;
use crate::app::{App, AppError, IndexScope, Loaded, Service};
use crate::chat::web::{self, SampleQuestion};
use crate::retrieval::RetrievalError;
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct ServeArguments {}

impl ServeArguments {
    pub(super) async fn run(self, app: App) -> anyhow::Result<()> {
        let stop = super::stop_on_signal()?;
        let page = Page::open(&app, Vec::new(), &stop).await?;
        let mut chats = None;
        if let Some(loaded) = load_indexed(&app, &stop).await? {
            chats = app.open_chats(&loaded, &stop).await?;
            page.ready(&loaded, &stop);
            tokio::spawn(loaded.indexing.follow_folders());
        }
        page.close_after(&stop).await?;
        if let Some(chats) = chats {
            chats.rest().await;
        }
        Ok(())
    }
}

/// The chat page, open before the models are loaded.
pub(super) struct Page {
    service: std::sync::Arc<Service>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Page {
    /// Listens and tells the address; the page says that the service is getting ready.
    pub(super) async fn open(
        app: &App,
        samples: Vec<SampleQuestion>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let address = app.settings().web.listen;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: set another address in `web.listen`"))?;
        eprintln!("listening on http://{}", listener.local_addr()?);
        let service = Service::new(samples);
        let server = tokio::spawn(web::serve(listener, service.clone(), stop.clone()));
        Ok(Page { service, server })
    }

    /// From now on questions are answered.
    pub(super) fn ready(&self, loaded: &Loaded, stop: &CancellationToken) {
        let generation = loaded.answerer.searcher().generation();
        let summary = generation.summary();
        tracing::info!(model = loaded.model, documents = summary.documents, passages = summary.passages, "ready");
        self.service.ready(loaded);
        telemetry::notify_ready();
        tokio::spawn(self.service.clone().follow_index(stop.clone()));
    }

    /// Stays open until `stop` is cancelled.
    pub(super) async fn close_after(self, stop: &CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        telemetry::notify_stopping();
        self.server.await.context("the chat page panicked")?.context("the chat page ended")
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
    .context("the index run panicked")?;
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
