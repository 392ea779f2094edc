//! The command contract: exit codes, and one clear sentence for every wrong input.

use std::fs;
use std::process::Command;

use crate::support::{cervella, handbook, json, models, run};

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
fn a_model_that_does_not_fit_is_refused_or_its_fallback_loaded() {
    let (Some(data), Some(models)) = (handbook(), models()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let huge = folder.path().join("huge.gguf");
    fs::copy(models.join("SmolLM2-135M-Instruct.Q4_1.gguf"), &huge).unwrap();
    // Sparse: more than any machine has, and nothing on the disk.
    fs::File::options().write(true).open(&huge).unwrap().set_len(1 << 42).unwrap();

    let question = "How many days of annual leave do I have?";
    let ask = || {
        let mut command = cervella(data);
        command.env("CERVELLA__MODELS__ANSWER", &huge);
        command
    };
    refused(ask().args(["ask", question]), 1, &["huge.gguf", "MB of memory", "would fit"]);
    let fallback = json(ask().env("CERVELLA__MODELS__FALLBACK", "demo-smollm2-135m").args(["ask", question, "--json"]));
    assert_eq!(fallback["verdict"], "answered");
    assert!(fallback["tokens"]["generated"].as_u64().is_some_and(|tokens| tokens > 0), "{fallback}");
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
    for row in
        ["settings", "answer model", "embedding model", "ONNX Runtime", "index", "disk", "packed weights", "memory"]
    {
        assert!(table.lines().any(|line| line.starts_with(row)), "no row `{row}` in:\n{table}");
    }
    assert!(table.contains("cervella index"), "{table}");
}

/// ONNX Runtime keeps what it will report to its maker, and a name for this machine, in the user's cache.
#[test]
fn no_library_prepares_to_report_anything() {
    let Some(data) = handbook() else { return };
    let home = tempfile::tempdir().unwrap();
    let mut command = cervella(data);
    command.env("HOME", home.path()).env_remove("ORT_DISABLE_TELEMETRY");
    for variable in ["XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command.env_remove(variable);
    }
    // In CI, and where it says so, the library keeps still by itself.
    for variable in ["CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI"] {
        command.env_remove(variable);
    }
    json(command.args(["search", "annual leave", "--json"]));
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}
