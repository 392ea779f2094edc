//! The one wiring place: settings become parts, parts are started in order and stopped in the reverse one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::answer::{AnswerOptions, Answerer, Observer, Writer};
use crate::chat::slack::SlackError;
use crate::chat::telegram::TelegramError;
use crate::inference::{Engine, EngineOptions, InferenceError, KvFormat};
use crate::ingest::{Admission, IndexReport, IndexRun, IngestError, Manifest, Progress};
use crate::models::{Catalogue, CatalogueEntry, ModelsError, ModelsFolder, Role, default_folder};
use crate::prompt::PromptError;
use crate::retrieval::{
    Embedder, EmbedderOptions, Generation, IndexStore, Precision, Reranker, RerankerOptions, RetrievalError, Searcher,
};
use crate::settings::{KvPrecision, Settings, WeightPrecision};
use crate::store::StoreError;
use crate::telemetry::{DayFiles, Measured, Meter};

mod backup;
mod chats;
mod confirmed;
mod control;
mod house;
mod indexing;
mod liveness;
mod memory;
mod metering;
mod read_ahead;
mod reload;
mod service;

pub use backup::BackupError;
pub use chats::Chats;
pub use indexing::Indexing;
pub use memory::give_back_regularly;
pub use metering::note_running;
pub use service::Service;

#[derive(Debug, Error)]
pub enum AppError {
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    #[error(transparent)]
    Inference(#[from] InferenceError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Slack(#[from] SlackError),
    #[error(transparent)]
    Telegram(#[from] TelegramError),
    /// With the model of the catalogue that would fit.
    #[error("{source}{}", smaller.as_ref().map(|id| format!("; `{id}` would fit")).unwrap_or_default())]
    TooLarge { source: InferenceError, smaller: Option<String> },
    #[error("`inference.passage_kv_gb` is 0: there is no room for passages that are read ahead")]
    NoRoomAhead,
    #[error("another measurement runs with {}: wait for its end", .0.display())]
    Measuring(PathBuf),
    #[error("no knowledge folder is set: name one in `knowledge.folders` or CERVELLA__KNOWLEDGE__FOLDERS")]
    NoFolders,
    #[error("there is no collection `{name}`, only {known}")]
    NoCollection { name: String, known: String },
    #[error("a part of the program panicked: the log says where")]
    Panicked,
    #[error("cannot tell which file this program was started from")]
    Executable(#[source] std::io::Error),
}

/// Without what the panic says, which may quote the text in which it happened.
impl From<JoinError> for AppError {
    fn from(_: JoinError) -> Self {
        AppError::Panicked
    }
}

impl AppError {
    /// Whether the command named something that there is not.
    pub fn is_about_arguments(&self) -> bool {
        let about_a_document = |error: &IngestError| {
            matches!(error, IngestError::NoDocument { .. } | IngestError::SeveralDocuments { .. })
        };
        match self {
            AppError::NoCollection { .. } | AppError::NoRoomAhead => true,
            AppError::Ingest(error) => about_a_document(error),
            _ => false,
        }
    }

    /// Whether the same command may succeed in a moment.
    pub fn is_temporary(&self) -> bool {
        if matches!(self, AppError::Ingest(IngestError::ForgottenLater { .. }) | AppError::Measuring(_)) {
            return true;
        }
        let (AppError::Retrieval(error) | AppError::Ingest(IngestError::Retrieval(error))) = self else { return false };
        matches!(error, RetrievalError::Locked(_) | RetrievalError::Busy)
    }
}

/// What an index run reads.
#[derive(Clone, Debug, Default)]
pub struct IndexScope {
    /// `None`: all collections.
    pub collection: Option<String>,
    /// Everything again instead of what changed.
    pub full: bool,
    /// See [`IndexRun::emptied`].
    pub emptied: bool,
}

/// What answers questions.
pub struct Loaded {
    pub answerer: Arc<Answerer>,
    pub indexing: Arc<Indexing>,
    /// Name of the model that writes; empty when answers are quotes.
    pub model: String,
    engine: Option<Arc<Engine>>,
}

/// The parts that settings describe, each built when it is asked for.
#[derive(Clone, Debug)]
pub struct App {
    settings: Settings,
    data: PathBuf,
    models: ModelsFolder,
    meter: Arc<Meter>,
    /// The settings as they are now, of which the service follows those that may change while it runs.
    now: Arc<watch::Sender<Settings>>,
}

impl App {
    /// # Errors
    /// No default folder can be told, because the user has no home.
    pub fn new(settings: Settings) -> Result<Self, AppError> {
        let data = match &settings.data.folder {
            unset if unset.as_os_str().is_empty() => {
                default_folder()?.parent().map_or_else(|| PathBuf::from("data"), Path::to_owned)
            }
            set => set.clone(),
        };
        let beside = data.join("models");
        let models = match &settings.models.folder {
            // Whoever looks into the data of a service finds its models too.
            unset if unset.as_os_str().is_empty() && beside.is_dir() => beside,
            unset if unset.as_os_str().is_empty() => default_folder()?,
            set => set.clone(),
        };
        let now = Arc::new(watch::Sender::new(settings.clone()));
        Ok(App { settings, data, models: ModelsFolder::new(models), meter: Arc::default(), now })
    }

    /// The same, with what it measures written into files.
    pub fn measuring(self) -> Self {
        let telemetry = &self.settings.telemetry;
        let measurements = DayFiles::new(self.measurements(), telemetry.keep_days);
        let meter = Meter::with_files(measurements, DayFiles::new(self.withheld(), telemetry.withheld_days));
        App { meter: Arc::new(meter), ..self }
    }

    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn models(&self) -> &ModelsFolder {
        &self.models
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn index_store(&self) -> IndexStore {
        IndexStore::new(self.data.join("index"))
    }

    pub fn store_folder(&self) -> PathBuf {
        self.data.join("store")
    }

    /// Where what is measured is written.
    pub fn measurements(&self) -> PathBuf {
        self.data.join("measurements")
    }

    /// Where sentences are kept that no passage says.
    pub fn withheld(&self) -> PathBuf {
        self.data.join("withheld")
    }

    /// Where the embedding model and its library are.
    pub fn embedder_options(&self) -> Result<EmbedderOptions, AppError> {
        Ok(EmbedderOptions {
            model: self.models.resolve_embedding(&self.settings.models.embedding)?,
            runtime: self.models.resolve_runtime(&self.settings.models.onnxruntime)?,
            precision: self.precision(),
            threads: self.onnx_threads(),
        })
    }

    fn precision(&self) -> Precision {
        match self.settings.retrieval.weights {
            WeightPrecision::F32 => Precision::F32,
            WeightPrecision::Int8 => Precision::Int8,
        }
    }

    fn onnx_threads(&self) -> Option<usize> {
        Some(self.settings.retrieval.threads).filter(|&threads| threads > 0)
    }

    /// Loads the model that puts hits in order, if one is set, and starts its thread.
    fn reranker(&self) -> Result<Option<Reranker>, AppError> {
        let Some(model) = self.models.resolve_reranker(&self.settings.models.reranker)? else { return Ok(None) };
        let runtime = self.models.resolve_runtime(&self.settings.models.onnxruntime)?;
        let (precision, threads) = (self.precision(), self.onnx_threads());
        let depth = self.settings.retrieval.rerank;
        Ok(Some(Reranker::start(&RerankerOptions { model, runtime, precision, threads, depth })?))
    }

    /// The embedding model with weights of another precision than the settings'.
    pub fn embedder_with(&self, precision: Precision) -> Result<Arc<Embedder>, AppError> {
        Ok(Arc::new(Embedder::start(&EmbedderOptions { precision, ..self.embedder_options()? })?))
    }

    /// Loads the embedding model (a second or two) and starts its thread.
    pub fn embedder(&self) -> Result<Arc<Embedder>, AppError> {
        Ok(Arc::new(Embedder::start(&self.embedder_options()?)?))
    }

    /// Opens the live index for searching.
    pub fn searcher(&self, embedder: Arc<Embedder>) -> Result<Arc<Searcher>, AppError> {
        let searcher = Searcher::open(self.index_store(), embedder)?;
        Ok(Arc::new(searcher.with_reranker(self.reranker()?)))
    }

    /// Loads the model that writes answers and starts its thread.
    pub fn engine(&self) -> Result<Arc<Engine>, AppError> {
        match self.engine_with(&self.settings.models.answer) {
            Err(AppError::Inference(too_large @ InferenceError::TooLarge { .. })) => {
                match self.settings.models.fallback.as_str() {
                    "" => Err(self.too_large(too_large)),
                    fallback => {
                        tracing::warn!("{too_large}; loading the fallback model");
                        self.engine_with(fallback)
                    }
                }
            }
            loaded => loaded,
        }
    }

    fn engine_with(&self, answer: &str) -> Result<Arc<Engine>, AppError> {
        Ok(Arc::new(Engine::start(self.engine_options(answer)?)?))
    }

    /// How an answer model is run; `answer`: as in the settings.
    pub fn engine_options(&self, answer: &str) -> Result<EngineOptions, AppError> {
        let settings = &self.settings.inference;
        Ok(EngineOptions {
            model: self.models.resolve_answer(answer)?,
            context_tokens_max: settings.context_tokens_max,
            slots: settings.slots,
            kv_format: match settings.kv {
                KvPrecision::F16 => KvFormat::F16,
                KvPrecision::Int8 => KvFormat::Int8,
            },
            queue_max: settings.queue_max,
            keep_prefixes: true,
            read_ahead: self.read_ahead(),
        })
    }

    /// Names the first model of the catalogue whose weights fit into what this one's were too large for.
    fn too_large(&self, source: InferenceError) -> AppError {
        let InferenceError::TooLarge { needed_mb, weights_mb, available_mb, .. } = source else {
            return AppError::Inference(source);
        };
        let room_mb = available_mb.saturating_sub(needed_mb - weights_mb);
        let fits = |entry: &&CatalogueEntry| entry.size_bytes().is_some_and(|bytes| bytes / 1_000_000 <= room_mb);
        let smaller = Catalogue::embedded().of_role(Role::Answer).find(fits).map(|entry| entry.id.clone());
        AppError::TooLarge { source, smaller }
    }

    /// Loads everything that an answer needs, on threads that may wait; without an answer model, answers are quotes.
    /// `None` if `stop` was cancelled in the meantime.
    pub async fn load(&self, stop: &CancellationToken) -> Result<Option<Loaded>, AppError> {
        let start = Instant::now();
        let app = self.clone();
        let embedding = tokio::task::spawn_blocking(move || app.searcher(app.embedder()?));
        let app = self.clone();
        let engine = tokio::task::spawn_blocking(move || app.engine());
        let loaded = stop.run_until_cancelled(async { (embedding.await, engine.await) }).await;
        let Some((searcher, engine)) = loaded else { return Ok(None) };
        let searcher = searcher??;
        let engine = match engine? {
            Ok(engine) => Some(engine),
            Err(AppError::Models(missing @ ModelsError::NoAnswerModel { .. }))
                if self.settings.models.answer == "auto" =>
            {
                tracing::warn!("answers will be quotes: {missing}");
                None
            }
            Err(other) => return Err(other),
        };
        if let Some(engine) = &engine {
            engine.expect_always(self.named_passages(&searcher.generation()));
            let searcher = Arc::clone(&searcher);
            engine.keep_only(move |id| searcher.generation().holds(id));
        }
        let model = engine.as_ref().map_or_else(String::new, |engine| engine.model_name().to_owned());
        let answerer = self.answerer(searcher, engine.clone().map(|engine| engine as Arc<dyn Writer>));
        answerer.observe(Arc::clone(&self.meter) as Arc<dyn Observer>);
        let indexing = Indexing::new(self.clone(), Arc::clone(&answerer), engine.clone(), stop.clone());
        memory::give_back();
        self.meter.note(Measured::Started { model: model.clone(), load_ms: start.elapsed().as_secs_f64() * 1000.0 });
        Ok(Some(Loaded { answerer, indexing, model, engine }))
    }

    /// `writer`: `None` for answers that are quotes.
    pub fn answerer(&self, searcher: Arc<Searcher>, writer: Option<Arc<dyn Writer>>) -> Arc<Answerer> {
        let options = answer_options(&self.settings);
        Arc::new(Answerer::new(searcher, self.settings.knowledge.readership(), writer, options))
    }

    /// Names of the collections, the one of `knowledge.folders` first.
    pub fn collections(&self) -> Vec<String> {
        self.settings.knowledge.collections().into_iter().map(|collection| collection.name).collect()
    }

    /// Whether the index holds the collections that the settings name, read as they say.
    ///
    /// # Errors
    /// There is no index, or it cannot be read.
    pub fn index_fits_settings(&self) -> Result<bool, AppError> {
        self.fits_settings(&self.index_store().open_current()?)
    }

    fn fits_settings(&self, generation: &Generation) -> Result<bool, AppError> {
        let manifest = Manifest::of(generation)?;
        let collections = self.settings.knowledge.collections();
        // Without a folder the index is used as it was made elsewhere.
        Ok(collections.is_empty() || manifest.is_of(&collections))
    }

    /// Brings the index up to date with the folders.
    ///
    /// # Errors
    /// No folder is set, there is no such collection, or the run failed: the index stays as it was.
    pub fn index(
        &self,
        embedder: &Embedder,
        scope: &IndexScope,
        progress: &dyn Progress,
        admission: Option<&dyn Admission>,
        cancel: &CancellationToken,
    ) -> Result<IndexReport, AppError> {
        let collections = self.settings.knowledge.collections();
        if collections.is_empty() {
            return Err(AppError::NoFolders);
        }
        if let Some(unknown) = scope.collection.as_ref().filter(|name| !self.collections().contains(name)) {
            return Err(AppError::NoCollection { name: unknown.clone(), known: self.collections().join(", ") });
        }
        // Stays what it is when a newer program is installed over the running one.
        let itself = PathBuf::from("/proc/self/exe");
        let executable =
            if itself.exists() { itself } else { std::env::current_exe().map_err(AppError::Executable)? };
        let run = IndexRun {
            store: &self.index_store(),
            embedder,
            collections: &collections,
            only: scope.collection.as_deref(),
            executable: &executable,
            full: scope.full,
            emptied: scope.emptied,
            progress,
            admission,
            cancel,
        };
        Ok(run.run()?)
    }
}

fn answer_options(all: &Settings) -> AnswerOptions {
    let settings = &all.answer;
    AnswerOptions {
        passages_max: settings.passages_max,
        prompt_tokens_max: settings.prompt_tokens_max,
        first_token_target: match settings.first_token_target_ms {
            0 => None,
            target => Some(Duration::from_millis(target)),
        },
        speculate: all.inference.speculate,
        new_tokens_max: settings.new_tokens_max,
        deadline: Duration::from_secs(settings.deadline_s),
        evidence_min: settings.evidence_min,
        evidence_sure: settings.evidence_sure,
        contact: Some(settings.contact.clone()).filter(|contact| !contact.is_empty()),
        questions_max: settings.questions_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_in_the_data_folder_are_found_unless_another_folder_is_set() {
        let data = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.data.folder = data.path().to_owned();
        let models = |settings: &Settings| App::new(settings.clone()).unwrap().models().path().to_owned();
        assert_eq!(models(&settings), default_folder().unwrap());
        std::fs::create_dir(data.path().join("models")).unwrap();
        assert_eq!(models(&settings), data.path().join("models"));
        settings.models.folder = data.path().join("others");
        assert_eq!(models(&settings), data.path().join("others"));
    }
}
