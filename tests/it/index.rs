//! Index runs: what changed is read, what is gone is forgotten, what breaks leaves the index as it was.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{cervella, json, models, root, run, stdout};

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn index(data: &Path, knowledge: &Path) -> Value {
    json(cervella(data).env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge).args(["index", "--json"]))
}

fn search(data: &Path, query: &str) -> Vec<String> {
    let found = json(cervella(data).args(["search", query, "--top", "10", "--json"]));
    found["hits"].as_array().unwrap().iter().map(|hit| hit["passage_id"].as_str().unwrap().to_owned()).collect()
}

const COFFEE: &str =
    "# Coffee\n\nThe coffee machine on the second floor is descaled every Friday by the facility team.\n";
const PRINTER: &str =
    "# Stampante\n\nLa stampante del terzo piano si chiama Aquila e stampa soltanto in bianco e nero.\n";

#[test]
fn a_second_run_reads_only_what_changed_and_forgets_what_is_gone() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    let first = index(data.path(), knowledge.path());
    assert_eq!((&first["documents"], &first["added"], &first["embedded_passages"]), (&2.into(), &2.into(), &2.into()));
    let again = index(data.path(), knowledge.path());
    assert_eq!((&again["unchanged"], &again["embedded_passages"]), (&2.into(), &0.into()));

    fs::write(knowledge.path().join("coffee.md"), COFFEE.replace("Friday", "Monday")).unwrap();
    fs::remove_file(knowledge.path().join("stampante.md")).unwrap();
    let changed = index(data.path(), knowledge.path());
    assert_eq!((&changed["changed"], &changed["removed"], &changed["passages"]), (&1.into(), &1.into(), &1.into()));
    let found = stdout(cervella(data.path()).args(["search", "stampante Aquila coffee Friday", "--json"]));
    assert!(found.contains("Monday"), "{found}");
    assert!(!found.contains("Aquila") && !found.contains("Friday"), "{found}");
    assert!(!holds(data.path(), b"Aquila"), "the deleted document is still on disk");
}

/// Whether a file of the index holds these bytes as they are.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn a_broken_file_is_named_and_the_rest_is_indexed() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("broken.pdf", "%PDF-1.7 not really"), ("broken.docx", "PK")]);
    let report = index(data.path(), knowledge.path());
    assert_eq!(report["documents"], 1);
    let skipped: Vec<&str> =
        report["skipped"].as_array().unwrap().iter().map(|skipped| skipped["path"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["broken.docx", "broken.pdf"]);
    let status = json(cervella(data.path()).args(["index", "status", "--json"]));
    assert_eq!(status["files"].as_array().unwrap().len(), 3);
}

#[test]
fn a_run_that_is_killed_leaves_the_old_index_and_the_next_one_is_whole() {
    if models().is_none() {
        return;
    }
    let clean = tempfile::tempdir().unwrap();
    let killed = tempfile::tempdir().unwrap();
    let small = folder_with(&[("coffee.md", COFFEE)]);
    let handbook = root().join("knowledge");
    index(killed.path(), small.path());
    let before = search(killed.path(), "coffee");

    let mut command = cervella(killed.path());
    command.env("CERVELLA__KNOWLEDGE__FOLDERS", &handbook).env("RUST_LOG", "cervella=debug").arg("index");
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let embedding = log.lines().map_while(Result::ok).find(|line| line.contains("embedded a batch"));
    assert!(embedding.is_some(), "the run ended before it had embedded anything");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(search(killed.path(), "coffee"), before, "the old index changed");

    index(killed.path(), &handbook);
    index(clean.path(), &handbook);
    for query in ["ferie", "how do I reset my password", "E4021", "reperibilità del fine settimana"] {
        assert_eq!(search(killed.path(), query), search(clean.path(), query), "{query}");
    }
}

#[test]
fn a_folder_that_is_gone_does_not_empty_the_index() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE)]);
    index(data.path(), knowledge.path());
    let gone = knowledge.path().to_owned();
    drop(knowledge);
    let output = run(cervella(data.path()).env("CERVELLA__KNOWLEDGE__FOLDERS", gone).arg("index"));
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert_eq!(search(data.path(), "coffee").len(), 1);
}

#[test]
fn two_runs_at_once_do_not_mix() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE)]);
    fs::create_dir_all(data.path().join("index")).unwrap();
    let lock = fs::File::create(data.path().join("index/LOCK")).unwrap();
    lock.lock().unwrap();
    let output = run(cervella(data.path()).env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path()).arg("index"));
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another process"), "{output:?}");
}
