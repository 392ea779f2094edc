//! The inference room from outside: a tiny random model for what must hold for every model, and a small real one,
//! compared with llama.cpp, for what must be right.

mod ahead;
mod engine;
mod files;
mod network;
mod reference;
mod tiny;

use std::path::PathBuf;

use crate::skip::skip;

/// The small real model.
fn smollm() -> Option<PathBuf> {
    test_model("SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// A model file that a test needs; says so when it is missing.
fn test_model(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("CERVELLA_TEST_MODELS") {
        Some(folder) => PathBuf::from(folder),
        None => cervella::models::default_folder().ok()?,
    };
    let path = folder.join(name);
    if !path.is_file() {
        let reason = format!("`{}` is missing: run `make setup-test models`", path.display());
        skip(std::thread::current().name().unwrap_or("a test"), &reason);
        return None;
    }
    Some(path)
}
