//! Index runs: what changed is read, what is gone is forgotten, what breaks leaves the index as it was.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{cervella, json, models, root, run, stdout};

pub fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub fn index(data: &Path, knowledge: &Path) -> Value {
    json(cervella(data).env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge).args(["index", "--json"]))
}

pub fn search(data: &Path, query: &str) -> Vec<String> {
    let found = json(cervella(data).args(["search", query, "--top", "10", "--json"]));
    found["hits"].as_array().unwrap().iter().map(|hit| hit["passage_id"].as_str().unwrap().to_owned()).collect()
}

pub const COFFEE: &str =
    "# Coffee\n\nThe coffee machine on the second floor is descaled every Friday by the facility team.\n";
pub const PRINTER: &str =
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
pub fn holds(folder: &Path, bytes: &[u8]) -> bool {
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

const SALARIES: &str =
    "# Salary bands\n\nA senior engineer is paid in band Cormorano, reviewed by the board every spring.\n";

#[test]
fn collections_are_read_filtered_and_linked_each_for_itself() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("bands.md", PRINTER)]);
    let hr = knowledge.path().join("hr");
    fs::create_dir(&hr).unwrap();
    fs::write(hr.join("bands.md"), SALARIES).unwrap();
    fs::write(hr.join("draft-1.md"), SALARIES).unwrap();
    let with_hr = |arguments: &[&str]| {
        let mut command = cervella(data.path());
        command.env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path()).args(arguments);
        command.env("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__FOLDERS", &hr);
        command.env("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__EXCLUDE", "draft-*");
        command.env("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__LINK", "https://wiki.example/{stem}");
        command
    };
    // Once without the collection, then with it: what is inside its folder moves there, and is not embedded again.
    assert_eq!(index(data.path(), knowledge.path())["documents"], 4);
    let moved = json(&mut with_hr(&["index", "--json"]));
    assert_eq!((&moved["documents"], &moved["removed"], &moved["added"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!(moved["embedded_passages"], 0);

    let hits = |arguments: &[&str]| json(&mut with_hr(arguments))["hits"].as_array().unwrap().clone();
    let all = hits(&["search", "salary band of a senior engineer", "--json"]);
    assert_eq!((&all[0]["collection"], &all[0]["path"]), (&"hr".into(), &"bands.md".into()));
    assert_eq!(all[0]["link"], "https://wiki.example/bands");
    let open = hits(&["search", "salary band of a senior engineer", "--collection", "knowledge", "--json"]);
    assert!(!open.is_empty() && open.iter().all(|hit| hit["collection"] == "knowledge"), "{open:?}");

    // Reading one collection leaves the other as it is in the index.
    fs::write(hr.join("bands.md"), SALARIES.replace("Cormorano", "Airone")).unwrap();
    fs::remove_file(knowledge.path().join("coffee.md")).unwrap();
    let one = json(&mut with_hr(&["index", "--collection", "hr", "--json"]));
    assert_eq!((&one["changed"], &one["removed"], &one["documents"]), (&1.into(), &0.into(), &3.into()));
    let found = stdout(&mut with_hr(&["search", "coffee Cormorano Airone", "--json"]));
    assert!(found.contains("Airone") && found.contains("Friday") && !found.contains("Cormorano"), "{found}");
    let full = json(&mut with_hr(&["index", "--collection", "hr", "--full", "--json"]));
    assert_eq!((&full["changed"], &full["documents"]), (&1.into(), &3.into()));

    let unknown = run(&mut with_hr(&["index", "--collection", "recipes"]));
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("only knowledge, hr"), "{unknown:?}");
    let status = json(&mut with_hr(&["index", "status", "--json"]));
    assert_eq!(status["collections"][0]["name"], "hr");
    assert_eq!(status["collections"][1]["documents"], 2);
}

#[test]
fn a_renamed_and_an_edited_file_keep_the_vectors_of_what_they_still_say() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let two = format!("{COFFEE}\n## Keys\n\nThe keys of the cellar hang behind the reception desk.\n");
    let knowledge = folder_with(&[("coffee.md", &two), ("stampante.md", PRINTER)]);
    let first = index(data.path(), knowledge.path());
    let ranked = search(data.path(), "chiavi della cantina");
    fs::rename(knowledge.path().join("coffee.md"), knowledge.path().join("house.md")).unwrap();
    let renamed = index(data.path(), knowledge.path());
    assert_eq!(
        (&renamed["added"], &renamed["removed"], &renamed["embedded_passages"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!(renamed["passages"], first["passages"]);
    assert_eq!(search(data.path(), "chiavi della cantina").len(), ranked.len());

    fs::write(knowledge.path().join("house.md"), two.replace("reception", "kitchen")).unwrap();
    let edited = index(data.path(), knowledge.path());
    assert_eq!((&edited["changed"], &edited["embedded_passages"]), (&1.into(), &1.into()));
    let clean = tempfile::tempdir().unwrap();
    index(clean.path(), knowledge.path());
    // Scores differ a little: in 8 bits a vector depends on what was embedded beside it.
    assert_eq!(search(data.path(), "kitchen keys"), search(clean.path(), "kitchen keys"));
}

#[test]
fn in_32_bits_an_index_of_many_runs_is_the_index_of_one() {
    if models().is_none() {
        return;
    }
    let (many, one) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    let exact = |data: &Path, arguments: &[&str]| {
        let mut command = cervella(data);
        command.env("CERVELLA__RETRIEVAL__WEIGHTS", "f32").env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path());
        json(command.args(arguments).arg("--json"))
    };
    exact(many.path(), &["index"]);
    fs::rename(knowledge.path().join("coffee.md"), knowledge.path().join("house.md")).unwrap();
    exact(many.path(), &["index"]);
    fs::write(knowledge.path().join("stampante.md"), PRINTER.replace("Aquila", "Falco")).unwrap();
    exact(many.path(), &["index"]);
    exact(one.path(), &["index"]);
    let hits = |data: &Path| exact(data, &["search", "stampante coffee Falco"])["hits"].clone();
    assert_eq!(hits(many.path()), hits(one.path()));
}
