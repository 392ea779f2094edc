//! The house rules that a machine can check: imports run only downwards, files stay short, nothing is unfinished.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the top down, each with the rooms it may import from.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli", "telemetry"]),
    ("cli", &["*"]),
    ("app", &["*"]),
    ("settings", &["domain"]),
    ("chat", &["answer", "store", "domain"]),
    ("answer", &["retrieval", "inference", "prompt", "store", "domain"]),
    ("ingest", &["retrieval", "store", "domain"]),
    ("retrieval", &["domain"]),
    ("inference", &["domain"]),
    ("prompt", &["domain"]),
    ("store", &["domain"]),
    ("models", &["domain"]),
    ("telemetry", &["domain"]),
    ("domain", &[]),
];

const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a line names: `crate::room::…` or `cervella::room::…`, also as `use crate::{a, b}`.
fn imported(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for start in ["crate::", "cervella::"] {
        for (at, _) in line.match_indices(start) {
            let rest = &line[at + start.len()..];
            let named = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            for name in named {
                rooms.push(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
    rooms
}

#[test]
fn imports_run_only_downwards() {
    let mut broken = Vec::new();
    for file in rust_files(&root().join("src")) {
        let room = room_of(&file);
        if room == "lib" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            panic!("{} is in no room of the plan", file.display());
        };
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            for target in imported(line) {
                let known = ROOMS.iter().any(|(name, _)| *name == target);
                let fine = target == room || allowed.contains(&"*") || allowed.contains(&target.as_str());
                if known && !fine {
                    broken.push(format!("{}:{}: `{room}` imports from `{target}`", file.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_import_check_sees_every_way_of_naming_a_room() {
    assert_eq!(imported("use crate::retrieval::Hit;"), ["retrieval"]);
    assert_eq!(imported("use crate::{chat, answer};"), ["chat", "answer"]);
    assert_eq!(imported("    let x = crate::store::open(crate::domain::Language::Italian);"), ["store", "domain"]);
    assert_eq!(imported("use cervella::cli::Arguments;"), ["cli"]);
}

#[test]
fn files_stay_short() {
    let mut long = Vec::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.split("\n#[cfg(test)]\nmod tests").next().unwrap().lines().count();
        if lines > LINES_MAX {
            long.push(format!("{}: {lines} lines without its tests", file.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_file_says_what_lives_there() {
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not start with `//!`", file.display());
    }
}
