//! Exports, and what becomes of a damaged store that has one.

use std::fs;

use super::*;
use crate::store::export::{check, import, restore};

fn filled(folder: &Path) -> Store {
    let store = open(folder);
    for key in ["done", "waiting"] {
        accept(&store, key);
    }
    store.done(store.pending().unwrap()[0].0).unwrap();
    store.set_delivery(&question("1.0"), &delivery(vec![posted("9.1")]), true).unwrap();
    let long = Conversation { last_question: Some("perché? ".repeat(600)), last_at: NOW, ..Default::default() };
    store.set_conversation(&thread("C1", None), &long).unwrap();
    store.set_flag("paused", Some("1")).unwrap();
    store.flush().unwrap();
    store
}

fn check_filled(store: &Store) {
    assert_eq!(store.delivery(&question("1.0")).unwrap(), Some(delivery(vec![posted("9.1")])));
    let conversation = store.conversation(&thread("C1", None)).unwrap().unwrap();
    assert_eq!(conversation.last_question.unwrap().len(), "perché? ".len() * 600);
    assert_eq!(store.flag("paused").unwrap().as_deref(), Some("1"));
    // What was not finished is not done a second time, but it may be told again.
    assert_eq!(pending(store), Vec::<String>::new());
    assert_eq!(store.accept("done", b"again", NOW).unwrap(), Accepted::Seen);
    accept(store, "waiting");
}

#[test]
fn an_export_is_read_into_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("store"), folder.path().join("other"));
    let store = filled(&here);
    let path = store.export(NOW).unwrap();
    let summary = check(&path).unwrap();
    assert_eq!(import(&path, &there).unwrap(), summary);
    check_filled(&open(&there));
    // Over another one, which is put aside; not while somebody has it open.
    let other = folder.path().join("another");
    let open_one = open(&other);
    assert!(matches!(restore(&path, &other, NOW), Err(StoreError::Locked(_))));
    drop(open_one);
    let aside = restore(&path, &other, NOW).unwrap().1.unwrap();
    check_filled(&open(&other));
    assert_eq!(open(&aside).flag("paused").unwrap(), None);
    // The newest three are kept.
    for later in 1..5 {
        store.export(NOW + later).unwrap();
    }
    let mut kept: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, [NOW + 2, NOW + 3, NOW + 4].map(|at| std::ffi::OsString::from(at.to_string())));
}

#[test]
fn every_byte_of_an_export_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(&folder.path().join("store")).export(NOW).unwrap();
    let bytes = fs::read(&path).unwrap();
    let spoilt = folder.path().join("spoilt");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x40;
        fs::write(&spoilt, &changed).unwrap();
        assert!(check(&spoilt).is_err(), "a change at {at} was not noticed");
        fs::write(&spoilt, &bytes[..at]).unwrap();
        assert!(check(&spoilt).is_err(), "an end at {at} was not noticed");
    }
    let other = folder.path().join("other");
    assert!(import(&spoilt, &other).is_err() && !other.exists());
}

#[test]
fn a_damaged_store_comes_back_from_its_newest_good_export() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = filled(&path);
    store.export(NOW).unwrap();
    let newer = store.export(NOW + 60).unwrap();
    drop(store);
    fs::write(newer, "not an export").unwrap();
    let database = path.join("db");
    let length = fs::metadata(&database).unwrap().len();
    fs::write(&database, vec![0xA5; length as usize]).unwrap();

    let store = open(&path);
    assert!(store.put_aside().is_some());
    assert_eq!(store.restored_from(), Some(NOW));
    check_filled(&store);
}
