//! The inference room from outside: a tiny random model for what must hold for every model, and a small real one,
//! compared with llama.cpp, for what must be right.

mod engine;
mod files;
mod network;
mod reference;
mod tiny;

use std::path::PathBuf;

/// The small real model.
fn smollm() -> Option<PathBuf> {
    test_model("SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// A model file that a test needs; says so when it is missing.
fn test_model(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("CERVELLA_TEST_MODELS") {
        Some(folder) => PathBuf::from(folder),
        None => directories::ProjectDirs::from("", "", "cervella")?.data_dir().join("models"),
    };
    let path = folder.join(name);
    if !path.is_file() {
        eprintln!("SKIPPED: `{}` is missing; set CERVELLA_TEST_MODELS to the folder that holds it", path.display());
        return None;
    }
    Some(path)
}
