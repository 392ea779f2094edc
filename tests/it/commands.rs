//! The command contract: exit codes, and one clear sentence for every wrong input.

use std::fs;
use std::process::Command;

use crate::support::{cervella, models, run};

#[track_caller]
fn refused(command: &mut Command, code: i32, parts: &[&str]) {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is not in: {stderr}");
    }
    assert!(output.stdout.is_empty(), "stdout is for results");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn bad_settings_end_with_64_and_name_the_key() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("cervella.toml");
    fs::write(&file, "[answer]\npassages_max = \"many\"\n").unwrap();
    refused(cervella(data.path()).arg("--config").arg(&file).args(["search", "x"]), 64, &["passages_max", "many"]);
    refused(cervella(data.path()).env("CERVELLA__WEB__PORT", "1").args(["search", "x"]), 64, &["web.port"]);
    refused(cervella(data.path()).args(["--config", "/no/such.toml", "search", "x"]), 64, &["/no/such.toml"]);
}

#[test]
fn usage_errors_end_with_2() {
    let data = tempfile::tempdir().unwrap();
    refused(cervella(data.path()).arg("sing"), 2, &["sing"]);
    refused(cervella(data.path()).args(["search", "x", "--doc-lang", "de"]), 2, &["unknown language `de`"]);
    refused(cervella(data.path()).args(["search", "x", "--top", "0"]), 2, &["--top"]);
}

#[test]
fn a_missing_model_is_told_with_the_command_that_fetches_it() {
    let data = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let mut command = cervella(data.path());
    command.env("CERVELLA__MODELS__FOLDER", empty.path()).env("CERVELLA__KNOWLEDGE__FOLDERS", "knowledge");
    refused(command.arg("index"), 1, &["cervella models pull"]);
}

#[test]
fn a_missing_index_is_told_with_the_command_that_makes_it() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    refused(cervella(data.path()).args(["search", "x"]), 1, &["cervella index"]);
    refused(cervella(data.path()).args(["ask", "x"]), 1, &["cervella index"]);
    refused(cervella(data.path()).arg("index"), 64, &["knowledge.folders"]);
}

#[test]
fn an_empty_query_is_refused() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    refused(cervella(data.path()).args(["search", "  "]), 1, &["empty"]);
}

#[test]
fn doctor_tells_what_is_missing() {
    let data = tempfile::tempdir().unwrap();
    let output = run(cervella(data.path()).arg("doctor"));
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    for row in ["settings", "answer model", "embedding model", "ONNX Runtime", "index", "disk", "memory"] {
        assert!(table.lines().any(|line| line.starts_with(row)), "no row `{row}` in:\n{table}");
    }
    assert!(table.contains("cervella index"), "{table}");
}
