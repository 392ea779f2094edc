//! Running the built program on the sample handbook.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use cervella::retrieval::{Embedder, EmbedderOptions, Precision};
use tempfile::TempDir;

use crate::skip::skip;

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the demo models; `None`, said aloud, when they are not installed.
pub fn models() -> Option<PathBuf> {
    let folder = match std::env::var_os("CERVELLA_TEST_MODELS") {
        Some(folder) => PathBuf::from(folder),
        None => cervella::models::default_folder().ok()?,
    };
    let complete = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf").is_file()
        && folder.join("multilingual-e5-small/model.onnx").is_file()
        && folder.join("onnxruntime").is_dir();
    if !complete {
        let reason = format!("the demo models are not in {}: run `cervella models pull demo`", folder.display());
        skip(std::thread::current().name().unwrap_or("a test"), &reason);
    }
    complete.then_some(folder)
}

/// The program with a data folder of its own, the demo models and no settings from outside.
pub fn cervella(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cervella"));
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("CERVELLA__")) {
        command.env_remove(key);
    }
    if let Some(models) = models() {
        command.env("CERVELLA__MODELS__FOLDER", models);
    }
    command.env("CERVELLA__MODELS__ANSWER", "demo-smollm2-135m").env_remove("RUST_LOG");
    // As in the demo: enough for a model of this size.
    command.env("CERVELLA__ANSWER__PROMPT_TOKENS_MAX", "800").env("CERVELLA__ANSWER__NEW_TOKENS_MAX", "96");
    command.arg("--data").arg(data).current_dir(root()).stdin(Stdio::null());
    command
}

pub fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// What a command that must succeed printed on stdout.
#[track_caller]
pub fn stdout(command: &mut Command) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

#[track_caller]
pub fn json(command: &mut Command) -> serde_json::Value {
    serde_json::from_str(&stdout(command)).expect("the output is one JSON object")
}

/// A data folder whose index holds the sample handbook; made once for all tests.
pub fn handbook() -> Option<&'static Path> {
    static HANDBOOK: LazyLock<Option<TempDir>> = LazyLock::new(|| {
        models()?;
        let data = tempfile::tempdir().expect("a temporary folder");
        stdout(cervella(data.path()).env("CERVELLA__KNOWLEDGE__FOLDERS", root().join("knowledge")).arg("index"));
        Some(data)
    });
    HANDBOOK.as_ref().map(TempDir::path)
}

/// The embedding model in this process; `None`, said aloud, when it is not installed.
pub fn embedder(precision: Precision) -> Option<Embedder> {
    let models = models()?;
    let runtime = std::fs::read_dir(models.join("onnxruntime")).ok()?.flatten().map(|entry| entry.path());
    let runtime = runtime.into_iter().find(|path| path.to_string_lossy().contains(".so"))?;
    let options = EmbedderOptions { model: models.join("multilingual-e5-small"), runtime, precision, threads: None };
    Some(Embedder::start(&options).expect("the model loads"))
}
