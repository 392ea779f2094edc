//! What must not be in the index is not, what is damaged is noticed, and what is worse does not go live.

use std::fs;
use std::path::{Path, PathBuf};

use cervella::domain::Collection;
use cervella::ingest::{self, Admission, IndexRun, IngestError, NoProgress};
use cervella::retrieval::{Generation, IndexStore, Precision, RetrievalError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::index::{COFFEE, PRINTER, folder_with, holds, index, search};
use crate::support::{cervella, embedder, json, models, run, stdout};

/// The folder of the live generation.
fn live(data: &Path) -> PathBuf {
    let index = data.join("index");
    index.join(fs::read_to_string(index.join("CURRENT")).unwrap().trim())
}

#[test]
fn a_forgotten_document_is_gone_and_does_not_come_back_before_it_may() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    index(data.path(), knowledge.path());
    assert!(holds(data.path(), b"Aquila"));

    let report = json(cervella(data.path()).args(["forget", "stampante.md", "--json"]));
    assert_eq!((&report["passages"], &report["passages_left"]), (&1.into(), &0.into()));
    assert_eq!(report["documents"][0]["path"], "stampante.md");
    assert_eq!(search(data.path(), "stampante Aquila").len(), 1, "only the other document is left");
    assert!(!holds(&data.path().join("index"), b"Aquila"), "its text is still on the disk");

    for full in [false, true] {
        let mut command = cervella(data.path());
        command.env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path()).args(["index", "--json"]);
        let report = json(if full { command.arg("--full") } else { &mut command });
        assert_eq!(report["documents"], 1);
        assert!(report["skipped"][0]["reason"].as_str().unwrap().contains("forget"), "{report}");
    }
    let status = json(cervella(data.path()).args(["index", "status", "--json"]));
    assert_eq!(status["forgotten"][0]["path"], "stampante.md");

    stdout(cervella(data.path()).args(["forget", "--undo", "stampante.md"]));
    index(data.path(), knowledge.path());
    assert_eq!(search(data.path(), "stampante Aquila").len(), 2);
    // The file's own path names the document too, and its content does under another name.
    let file = knowledge.path().join("coffee.md");
    let told = stdout(cervella(data.path()).arg("forget").arg(&file));
    assert!(told.contains("coffee.md") && told.contains("0 left"), "{told}");
    let again = json(cervella(data.path()).args(["forget", "coffee.md", "--json"]));
    assert_eq!((&again["passages"], &again["passages_left"]), (&0.into(), &0.into()));
    let renamed = knowledge.path().join("tea.md");
    fs::rename(&file, &renamed).unwrap();
    assert_eq!(index(data.path(), knowledge.path())["documents"], 1);
    stdout(cervella(data.path()).arg("forget").arg(&file).arg("--undo"));
    assert_eq!(index(data.path(), knowledge.path())["documents"], 2);
}

#[test]
fn what_nobody_knows_cannot_be_forgotten_and_a_running_index_run_drops_it_later() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    index(data.path(), knowledge.path());
    let unknown = run(cervella(data.path()).args(["forget", "tea.md"]));
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("tea.md"), "{unknown:?}");
    assert_eq!(run(cervella(data.path()).args(["forget", "--undo", "coffee.md"])).status.code(), Some(2));

    let lock = fs::File::create(data.path().join("index/LOCK")).unwrap();
    lock.lock().unwrap();
    let busy = run(cervella(data.path()).args(["forget", "coffee.md"]));
    assert_eq!(busy.status.code(), Some(75), "{busy:?}");
    assert!(String::from_utf8_lossy(&busy.stderr).contains("is on the list"), "{busy:?}");
    drop(lock);
    assert_eq!(index(data.path(), knowledge.path())["documents"], 1);
    assert_eq!(search(data.path(), "coffee machine").len(), 1);
}

/// Forgets a document while a run has it in its hands.
struct ForgetMeanwhile<'a>(&'a IndexStore);

impl Admission for ForgetMeanwhile<'_> {
    fn admits(&self, next: &Generation, _live: Option<&Generation>) -> Result<bool, RetrievalError> {
        assert_eq!(next.passages_of("knowledge", "stampante.md")?, 1, "the run has read it before");
        let later = ingest::forget(self.0, None, "stampante.md");
        assert!(matches!(later, Err(IngestError::ForgottenLater { .. })), "{later:?}");
        Ok(true)
    }
}

#[test]
fn a_document_that_is_forgotten_while_a_run_is_under_way_leaves_with_that_run() {
    let Some(embedder) = embedder(Precision::Int8) else { return };
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    let store = IndexStore::new(data.path());
    let collection = Collection {
        name: "knowledge".to_owned(),
        folders: vec![knowledge.path().to_owned()],
        ..Collection::default()
    };
    let index = |admission: Option<&dyn Admission>| {
        let run = IndexRun {
            store: &store,
            embedder: &embedder,
            collections: std::slice::from_ref(&collection),
            only: None,
            executable: Path::new(env!("CARGO_BIN_EXE_cervella")),
            full: false,
            emptied: false,
            progress: &NoProgress,
            admission,
            cancel: &CancellationToken::new(),
        };
        run.run().unwrap()
    };
    assert_eq!(index(None).documents, 2);
    fs::write(knowledge.path().join("coffee.md"), COFFEE.replace("Friday", "Monday")).unwrap();
    index(Some(&ForgetMeanwhile(&store)));
    let live = store.open_current().unwrap();
    assert_eq!(live.passages_of("knowledge", "stampante.md").unwrap(), 0);
    assert_eq!(live.passages_of("knowledge", "coffee.md").unwrap(), 1);
    assert!(!holds(data.path(), b"Aquila"), "its text is still on the disk");
}

#[test]
fn a_damaged_index_is_noticed_put_aside_and_made_again() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    index(data.path(), knowledge.path());
    let whole = search(data.path(), "coffee stampante");
    let mut files: Vec<PathBuf> = ["vectors.bin", "part_vectors.bin", "manifest.json"].map(PathBuf::from).into();
    let segments = fs::read_dir(live(data.path()).join("lexical")).unwrap().map(|entry| entry.unwrap().file_name());
    files.extend(
        segments.filter(|name| name.to_string_lossy().ends_with(".store")).map(|name| Path::new("lexical").join(name)),
    );
    assert_eq!(files.len(), 4);
    for (at, file) in files.iter().enumerate() {
        let generation = live(data.path());
        // The names of segments are new in each generation.
        let path = if at == 3 { segment(&generation) } else { generation.join(file) };
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&path, bytes).unwrap();

        let refused = run(cervella(data.path()).args(["search", "coffee"]));
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("damaged"), "{refused:?}");
        let mut command = cervella(data.path());
        command.env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path()).env("RUST_LOG", "cervella=warn");
        let mended = run(command.args(["index", "--json"]));
        let told = String::from_utf8_lossy(&mended.stderr);
        assert!(mended.status.success() && told.contains("put aside"), "{mended:?}");
        assert_eq!(told.lines().filter(|line| line.contains("put aside")).count(), 1, "{told}");
        assert_eq!(search(data.path(), "coffee stampante"), whole, "{}", file.display());
        let aside = data.path().join("index").join(format!("damaged-{}", generation.file_name().unwrap().display()));
        assert!(aside.is_dir(), "{} is not there", aside.display());
    }
    assert_eq!(put_aside(data.path()), 1, "only the newest is kept");
    stdout(cervella(data.path()).args(["forget", "stampante.md"]));
    assert_eq!(put_aside(data.path()), 0, "a forgotten document is in what was put aside");
    assert!(!holds(data.path(), b"Aquila"));

    // A folder that is gone is damage too, and an empty pointer.
    stdout(cervella(data.path()).args(["forget", "--undo", "stampante.md"]));
    for lose in [|data: &Path| fs::remove_dir_all(live(data)), |data: &Path| fs::write(data.join("index/CURRENT"), "")]
    {
        lose(data.path()).unwrap();
        assert_eq!(run(cervella(data.path()).args(["search", "coffee"])).status.code(), Some(1));
        index(data.path(), knowledge.path());
        assert_eq!(search(data.path(), "coffee stampante"), whole);
    }
}

/// How many damaged generations lie beside the live one.
fn put_aside(data: &Path) -> usize {
    let entries = fs::read_dir(data.join("index")).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-")).count()
}

#[test]
fn a_damaged_index_stays_as_long_as_its_folders_cannot_be_read() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE)]);
    index(data.path(), knowledge.path());
    let before = live(data.path());
    fs::write(before.join("manifest.json"), b"{}").unwrap();
    let gone = knowledge.path().join("not-mounted");
    let failed = run(cervella(data.path()).env("CERVELLA__KNOWLEDGE__FOLDERS", &gone).arg("index"));
    assert!(!failed.status.success());
    assert!(before.is_dir() && put_aside(data.path()) == 0, "{failed:?}");
}

fn segment(generation: &Path) -> PathBuf {
    let files = fs::read_dir(generation.join("lexical")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "store")).unwrap()
}

#[test]
fn an_index_that_answers_the_golden_questions_worse_does_not_go_live() {
    if models().is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let knowledge = folder_with(&[("coffee.md", COFFEE), ("stampante.md", PRINTER)]);
    let golden = folder_with(&[(
        "golden.jsonl",
        r#"{"id":"g1","lang":"en","question":"who descales the coffee machine?","answerable":true,"kind":"both","index_langs":["it","en"],"gold":["coffee.md"]}"#,
    )]);
    let golden = golden.path().join("golden.jsonl");
    let checked = |full: bool| {
        let mut command = cervella(data.path());
        command.env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path()).args(["index", "--json", "--check"]).arg(&golden);
        run(if full { command.arg("--full") } else { &mut command })
    };
    assert!(checked(true).status.success(), "there is nothing that it could be worse than");
    fs::write(knowledge.path().join("stampante.md"), PRINTER.replace("Aquila", "Falco")).unwrap();
    let better = checked(false);
    assert!(better.status.success(), "{better:?}");
    let told: Value = serde_json::from_slice(&better.stdout).unwrap();
    assert_eq!((&told["check"]["admitted"], &told["changed"]), (&true.into(), &1.into()));

    let before = live(data.path());
    fs::remove_file(knowledge.path().join("coffee.md")).unwrap();
    for full in [false, true] {
        let refused = checked(full);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
        assert_eq!(told["check"]["admitted"], false);
        assert_eq!(told["check"]["worse"][0]["id"], "g1");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("worse"), "{refused:?}");
        assert_eq!(live(data.path()), before);
        assert_eq!(search(data.path(), "coffee machine").len(), 2);
    }
    assert_eq!(index(data.path(), knowledge.path())["documents"], 1, "without the check it goes live");
}
