//! Index runs that are killed at any moment: the index is the old one or the new one, and a clean build finds the same.
//! 8 times; with `CERVELLA_TEST_LOAD=full`, 100 times.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cervella::retrieval::{Embedder, IndexStore, Precision, SearchQuery, Searcher};
use std::sync::Arc;

use crate::support::{cervella, embedder, stdout};

const QUERIES: [&str; 3] =
    ["who returns the device?", "dove si restituisce il dispositivo AX-3?", "reception desk AX-5"];

/// In 32 bits: there a vector does not depend on what was embedded beside it.
fn indexing(data: &Path, knowledge: &Path, full: bool) -> Command {
    let mut command = cervella(data);
    command.env("CERVELLA__RETRIEVAL__WEIGHTS", "f32").env("CERVELLA__KNOWLEDGE__FOLDERS", knowledge);
    command.args(if full { &["index", "--full"][..] } else { &["index"] });
    command
}

fn write_pages(knowledge: &Path, version: usize) {
    for page in 0..8 {
        // Two pages change with each version, and one is there in every other version only.
        let of = if page < 2 { version } else { 0 };
        let text =
            format!("# Device AX-{page}\n\nVersion {of}: the device AX-{page} is returned to the reception desk.\n");
        fs::write(knowledge.join(format!("device-{page}.md")), text).unwrap();
    }
    let sometimes = knowledge.join("sometimes.md");
    if version.is_multiple_of(2) {
        fs::write(sometimes, "# Keys\n\nThe keys of the cellar hang behind the reception desk.\n").unwrap();
    } else {
        let _ = fs::remove_file(sometimes);
    }
}

/// Paths, texts and scores of what the index finds.
fn hits(data: &Path, embedder: &Arc<Embedder>) -> Vec<(String, String, f32)> {
    let searcher = Searcher::open(IndexStore::new(data.join("index")), Arc::clone(embedder)).expect("the index opens");
    let hits = QUERIES.iter().flat_map(|query| searcher.search(&SearchQuery::new(*query, 10)).expect("searched").hits);
    hits.map(|hit| (hit.passage.path, hit.passage.text, hit.score)).collect()
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_the_old_index_or_the_new_one() {
    let Some(embedder) = embedder(Precision::F32).map(Arc::new) else { return };
    let kills = if std::env::var("CERVELLA_TEST_LOAD").is_ok_and(|load| load == "full") { 100 } else { 8 };
    let (data, clean, knowledge) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_pages(knowledge.path(), 0);
    stdout(&mut indexing(data.path(), knowledge.path(), true));
    let mut old = hits(data.path(), &embedder);
    let mut chance = 11u64;
    let (mut left_old, mut left_new, mut ended) = (0, 0, 0);
    for kill in 1..=kills {
        write_pages(knowledge.path(), kill);
        let full = kill % 3 == 0;
        let start = Instant::now();
        stdout(&mut indexing(clean.path(), knowledge.path(), full));
        let took = start.elapsed();
        let new = hits(clean.path(), &embedder);
        assert_ne!(old, new);

        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (chance >> 33) as f64 / f64::from(1u32 << 31);
        // Every other time in the last third, where the files are written and the index is swapped.
        let share = if kill % 2 == 0 { 0.67 + share * 0.36 } else { share };
        let mut child = indexing(data.path(), knowledge.path(), full)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let deadline = Instant::now() + took.mul_f64(share);
        let status = loop {
            match child.try_wait().unwrap() {
                None if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(1)),
                status => break status,
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        ended += usize::from(status.is_some());

        let found = hits(data.path(), &embedder);
        assert!(found == old || found == new, "kill {kill} left something else");
        if found == new {
            left_new += 1;
        } else {
            left_old += 1;
        }
        old = found;
        if kill % 4 == 0 {
            stdout(&mut indexing(data.path(), knowledge.path(), false));
            old = hits(data.path(), &embedder);
            assert_eq!(old, new, "the run after kill {kill} is not a clean build");
            let leftovers: Vec<_> =
                fs::read_dir(data.path().join("index")).unwrap().flatten().map(|e| e.file_name()).collect();
            let folders = leftovers.iter().filter(|name| name.to_string_lossy().contains("generation")).count();
            assert!(folders == 1 && !leftovers.iter().any(|name| name == "partial"), "{leftovers:?}");
        }
    }
    eprintln!("{kills} kills: {left_old} left the old index, {left_new} the new one; {ended} runs had ended before");
    assert!(left_old > 0, "no kill came before a swap");
}
