//! A service that follows its folders: what changes is found, what is gone is not, without anybody asking for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cervella::ingest::Manifest;
use cervella::retrieval::{Embedder, IndexStore, Precision, SearchQuery, Searcher};

use crate::support::{cervella, embedder};

/// Until the index is what the folder is, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Followed {
    folder: PathBuf,
    store: IndexStore,
    embedder: Arc<Embedder>,
    daemon: Child,
    /// What it logs, line by line: it says when the index has changed.
    lines: mpsc::Receiver<String>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Followed {
    fn start(data: &Path, folder: &Path, embedder: Embedder) -> Self {
        let mut command = cervella(data);
        command.env("CERVELLA__KNOWLEDGE__FOLDERS", folder).env("CERVELLA__WEB__LISTEN", "127.0.0.1:0").arg("serve");
        let mut daemon = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = BufReader::new(daemon.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let store = IndexStore::new(data.join("index"));
        Followed { folder: folder.to_owned(), store, embedder: Arc::new(embedder), daemon, lines }
    }

    /// Waits until the live index holds the files as they are, and opens it.
    fn settled(&self) -> Searcher {
        let latest = Instant::now() + PATIENCE;
        let now = hashes(&self.folder);
        let mut logged = String::new();
        loop {
            if let Ok(generation) = self.store.open_current()
                && let Ok(manifest) = Manifest::of(&generation)
            {
                let known: BTreeMap<String, String> =
                    manifest.files().map(|file| (file.path.to_owned(), file.entry.hash.clone())).collect();
                if known == now {
                    return Searcher::open(self.store.clone(), Arc::clone(&self.embedder)).expect("the index opens");
                }
            }
            match self.lines.recv_timeout(latest.saturating_duration_since(Instant::now())) {
                Ok(line) => logged = format!("{logged}\n{line}"),
                Err(_) => panic!("the index does not follow:{logged}"),
            }
        }
    }
}

fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            hashes.insert(name, blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string());
        }
    }
    hashes
}

fn page(code: &str) -> String {
    format!("# Asset {code}\n\nThe device {code} belongs to the office and is returned to the reception desk.\n")
}

/// Paths of the documents whose text holds the code.
fn found(searcher: &Searcher, code: &str) -> Vec<String> {
    let hits = searcher.search(&SearchQuery::new(code, 20)).expect("searched").hits;
    hits.into_iter().map(|hit| hit.passage).filter(|p| p.text.contains(code)).map(|p| p.path).collect()
}

#[test]
fn files_that_are_changed_moved_and_deleted_at_random_are_found_as_they_are() {
    let Some(embedder) = embedder(Precision::Int8) else { return };
    let (data, knowledge) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| knowledge.path().join(name);
    let files: usize = if std::env::var("CERVELLA_TEST_LOAD").is_ok_and(|load| load == "full") { 300 } else { 30 };
    // What each file says; every code that was ever written is asked for in the end.
    let mut live: BTreeMap<String, String> = BTreeMap::new();
    for number in 0..files {
        let (name, code) = (format!("asset-{number}.md"), format!("AX-{number:04}-A"));
        fs::write(at(&name), page(&code)).unwrap();
        live.insert(name, code);
    }
    let followed = Followed::start(data.path(), knowledge.path(), embedder);
    followed.settled();
    let mut codes: Vec<String> = live.values().cloned().collect();

    let start = Instant::now();
    fs::write(at("asset-0.md"), page("AX-NEW-Z")).unwrap();
    live.insert("asset-0.md".to_owned(), "AX-NEW-Z".to_owned());
    codes.push("AX-NEW-Z".to_owned());
    assert_eq!(found(&followed.settled(), "AX-NEW-Z"), ["asset-0.md"]);
    eprintln!("a changed file is found after {:.1} s", start.elapsed().as_secs_f64());

    let mut chance = 7u64;
    for step in 0..files {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let names: Vec<String> = live.keys().cloned().collect();
        let name = &names[(chance >> 33) as usize % names.len()];
        match (chance >> 20) % 4 {
            0 => {
                fs::remove_file(at(name)).unwrap();
                live.remove(name);
            }
            1 => {
                let moved = format!("moved/{step}.md");
                fs::create_dir_all(at("moved")).unwrap();
                fs::rename(at(name), at(&moved)).unwrap();
                let code = live.remove(name).unwrap();
                live.insert(moved, code);
            }
            kind => {
                let name = if kind == 2 { name.clone() } else { format!("added-{step}.md") };
                let code = format!("AX-{step:04}-B");
                fs::write(at(&name), page(&code)).unwrap();
                codes.push(code.clone());
                live.insert(name, code);
            }
        }
    }
    let searcher = followed.settled();
    for code in &codes {
        let expect: Vec<&String> = live.iter().filter(|(_, said)| *said == code).map(|(name, _)| name).collect();
        assert_eq!(found(&searcher, code).iter().collect::<Vec<_>>(), expect, "{code}");
    }
}
