//! `cervella doctor`: what is set up, what is missing, and what to do about it.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::output;
use crate::app::App;
use crate::inference::{EngineOptions, LlamaConfig, MemoryPlan, ModelFile, ReadAheadOptions, kept_pieces};
use crate::ingest;
use crate::settings::{self, Overrides, Settings};

/// Free disk below which an index run may fail.
const DISK_MIN_BYTES: u64 = 1 << 30;
/// Memory that the process needs beside the answer model: embedding model, index.
const MEMORY_BESIDE_BYTES: u64 = 1 << 30;
/// Of a passage of usual length.
const PASSAGE_TOKENS: usize = 250;

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    detail: String,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Check { name, outcome: Outcome::Ok, detail: detail.into() }
    }

    fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Check { name, outcome: Outcome::Warning, detail: detail.into() }
    }

    fn of<T, E: std::error::Error>(name: &'static str, result: Result<T, E>, detail: impl FnOnce(T) -> String) -> Self {
        match result {
            Ok(value) => Check::ok(name, detail(value)),
            Err(error) => {
                let detail = std::iter::successors(error.source(), |cause| cause.source())
                    .fold(error.to_string(), |line, cause| format!("{line}: {cause}"));
                Check { name, outcome: Outcome::Failed, detail }
            }
        }
    }
}

impl DoctorArguments {
    /// The one command that runs with bad settings, to tell what is wrong with them.
    pub(super) fn run(self, overrides: &Overrides) -> anyhow::Result<()> {
        let settings = settings::load(overrides);
        let checks = match &settings {
            Ok(settings) => checks(settings)?,
            Err(error) => vec![Check { name: "settings", outcome: Outcome::Failed, detail: error.to_string() }],
        };
        if self.json {
            output::json(&checks)?;
        } else {
            for check in &checks {
                let mark = match check.outcome {
                    Outcome::Ok => "ok",
                    Outcome::Warning => "warning",
                    Outcome::Failed => "FAILED",
                };
                output::line(format!("{:18} {mark:8} {}", check.name, check.detail))?;
            }
        }
        settings?;
        let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
        anyhow::ensure!(failed == 0, "{failed} of {} checks failed", checks.len());
        Ok(())
    }
}

fn checks(settings: &Settings) -> anyhow::Result<Vec<Check>> {
    let app = App::new(settings.clone())?;
    let answer = app.models().resolve_answer(&settings.models.answer);
    let model_folder = answer.as_ref().ok().and_then(|path| path.parent()).map(Path::to_owned);
    Ok(vec![
        Check::ok("settings", "read and checked"),
        folders(settings),
        Check::of("answer model", answer, |path| path.display().to_string()),
        Check::of("embedding model", app.models().resolve_embedding(&settings.models.embedding), |path| {
            path.display().to_string()
        }),
        Check::of("reranking model", app.models().resolve_reranker(&settings.models.reranker), |path| {
            path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
        }),
        Check::of("ONNX Runtime", app.models().resolve_runtime(&settings.models.onnxruntime), |path| {
            path.display().to_string()
        }),
        Check::of("index", app.index_store().open_current(), |generation| {
            let summary = generation.summary();
            format!("{} documents, {} passages", summary.documents, summary.passages)
        }),
        Check::ok(
            "scanned pages",
            match ingest::scans_are_read() {
                true => "read by tesseract",
                false => "only reported: tesseract with ita and eng, or poppler-utils, is not installed",
            },
        ),
        disk(app.data()),
        packed(model_folder.as_deref()),
        memory(&app),
        read_ahead(&app),
        Check::ok("processor", processor()),
    ])
}

fn folders(settings: &Settings) -> Check {
    let readership = settings.knowledge.readership();
    let told = settings.knowledge.collections().into_iter().map(|collection| {
        let folders: Vec<String> = collection.folders.iter().map(|folder| folder.display().to_string()).collect();
        let readers = match readership.readers.get(&collection.name).map(|readers| readers.join(", ")) {
            Some(readers) if !readers.is_empty() => format!(" (for {readers})"),
            _ => String::new(),
        };
        format!("{}{readers}: {}", collection.name, folders.join(", "))
    });
    match told.collect::<Vec<_>>().join("; ") {
        none if none.is_empty() => Check::warning("knowledge", "no folder is set: name one in `knowledge.folders`"),
        collections => Check::ok("knowledge", collections),
    }
}

fn disk(data: &Path) -> Check {
    // The data folder may not be there yet: its nearest parent is on the same disk.
    let existing = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Err(error) => Check::warning("disk", format!("cannot be measured: {error}")),
        Ok(disk) => {
            let free = disk.f_bavail * disk.f_frsize;
            let detail = format!("{} free for {}", gigabytes(free), data.display());
            if free < DISK_MIN_BYTES { Check::warning("disk", detail) } else { Check::ok("disk", detail) }
        }
    }
}

/// The weights in the form of this processor are kept beside the model.
fn packed(folder: Option<&Path>) -> Check {
    let Some(folder) = folder else { return Check::warning("packed weights", "no answer model is installed") };
    match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Check::ok("packed weights", format!("kept in {}", folder.display())),
        Err(_) => Check::warning(
            "packed weights",
            format!("{} cannot be written: every start packs the weights again", folder.display()),
        ),
    }
}

fn memory(app: &App) -> Check {
    let Ok(options) = app.engine_options(&app.settings().models.answer) else {
        return Check::warning("memory", "no answer model is installed");
    };
    match MemoryPlan::read(&options) {
        Err(error) => Check::warning("memory", error.to_string()),
        Ok(MemoryPlan { available_bytes: None, .. }) => Check::warning("memory", "cannot be measured"),
        Ok(plan) => {
            let (needed, available) = (plan.needed_bytes() + MEMORY_BESIDE_BYTES, plan.available_bytes.unwrap_or(0));
            let detail = format!(
                "{} available, {} needed at most ({} of weights, {} for {} conversations)",
                gigabytes(available),
                gigabytes(needed),
                gigabytes(plan.weights_bytes),
                gigabytes(plan.cache_bytes),
                options.slots
            );
            if available < needed { Check::warning("memory", detail) } else { Check::ok("memory", detail) }
        }
    }
}

/// How many passages the model can read before anybody asks.
fn read_ahead(app: &App) -> Check {
    const NAME: &str = "read ahead";
    let options = app.engine_options(&app.settings().models.answer).ok();
    match options.and_then(|EngineOptions { model, read_ahead, .. }| Some((model, read_ahead?))) {
        None => Check::ok(NAME, "no passages: `inference.passage_kv_gb` is 0, or no answer model is installed"),
        Some((model, ReadAheadOptions { folder, bytes_max, format, .. })) => {
            let config = ModelFile::open(&model).and_then(|file| LlamaConfig::read(&file));
            let (kept, bytes) = kept_pieces(&folder);
            Check::of(NAME, config, |config| {
                let each = config.piece_shape(PASSAGE_TOKENS, format).bytes() as u64;
                let (fit, most) = (bytes_max / each.max(1), gigabytes(bytes_max));
                format!(
                    "room for about {fit} passages of {PASSAGE_TOKENS} tokens in {most} ({:.1} MB each), {kept} are read, in {}",
                    each as f64 / 1e6,
                    gigabytes(bytes)
                )
            })
        }
    }
}

fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        for (name, present) in [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("avx512-vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ] {
            if present {
                features.push(name);
            }
        }
    }
    let features = if features.is_empty() { "no vector extensions".to_owned() } else { features.join(", ") };
    format!("{cores} cores, {features}")
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}
