//! Damaged values and damaged files.

use std::fs;

use super::*;
use crate::store::keys::Kind;

fn damage(store: &Store, key: &Key) {
    store
        .with(|engine| {
            engine.damage(key);
            engine.flush()
        })
        .unwrap();
}

#[test]
fn a_damaged_value_is_told_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let ids = ["a", "b", "c"].map(|key| accept(&store, key));
    for id in ["1.0", "2.0"] {
        store.set_delivery(&question(id), &delivery(vec![posted("9.1")]), true).unwrap();
    }
    store.set_flag("paused", Some("1")).unwrap();
    damage(&store, &Key::inbox(ids[1].0));
    damage(&store, &Key::question(&question("1.0"), Kind::Delivery));
    damage(&store, &Key::new(Kind::Flag).text("paused"));

    let store = (drop(store), open(folder.path())).1;
    assert_eq!((store.damaged_rows(), store.put_aside()), (3, None));
    assert_eq!(pending(&store), ["event a", "event c"]);
    assert_eq!(store.flag("paused").unwrap_err().to_string(), "the flag paused cannot be read");
    assert_eq!(store.delivery(&question("1.0")).unwrap_err().to_string(), "the delivery slack:C1 1.0 cannot be read");
    assert!(store.delivery(&question("2.0")).unwrap().is_some());

    // Written again, or done with, they are as good as new.
    store.set_flag("paused", Some("2")).unwrap();
    store.set_delivery(&question("1.0"), &delivery(vec![]), true).unwrap();
    store.done(ids[1]).unwrap();
    let store = (drop(store), open(folder.path())).1;
    assert_eq!(store.damaged_rows(), 0);
    assert_eq!(store.flag("paused").unwrap().as_deref(), Some("2"));
}

#[test]
fn a_sweep_removes_rows_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for id in ["1.0", "2.0"] {
        store.set_conversation(&thread("C1", Some(id)), &Conversation { last_at: NOW, ..Default::default() }).unwrap();
    }
    damage(&store, &Key::new(Kind::Conversation).thread(&thread("C1", Some("1.0"))));
    assert_eq!(store.sweep(NOW, &Retention::default()).unwrap(), Swept { removed: 1, complete: true });
    assert_eq!(store.conversation(&thread("C1", Some("1.0"))).unwrap(), None);
    assert!(store.conversation(&thread("C1", Some("2.0"))).unwrap().is_some());
}

/// Fills a store, lets `spoil` work on its closed folder, and expects an empty store and the old one beside it.
fn check_put_aside(spoil: impl Fn(&Path)) {
    let house = tempfile::tempdir().unwrap();
    let folder = house.path().join("store");
    let store = open(&folder);
    for n in 0..300 {
        store.set_flag(&format!("flag {n}"), Some(&"x".repeat(3_000))).unwrap();
    }
    drop(store);
    drop(open(&folder));
    spoil(&folder);
    let store = open(&folder);
    let aside = store.put_aside().expect("the damage was not noticed").to_owned();
    assert_eq!(aside.parent(), Some(house.path()));
    assert!(aside.file_name().unwrap().to_string_lossy().starts_with("store.damaged-1"));
    assert!(aside.join("db").exists());
    assert_eq!(store.flag("flag 1").unwrap(), None);
    accept(&store, "a");
    drop(store);
    let store = open(&folder);
    assert_eq!((pending(&store), store.put_aside()), (vec!["event a".to_owned()], None));
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn snapshot(folder: &Path) -> PathBuf {
    let mut names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).unwrap()
}

#[test]
fn a_database_that_was_overwritten_is_put_aside() {
    check_put_aside(|folder| {
        edit(&folder.join("db"), |bytes| {
            for chunk in bytes.chunks_mut(8192) {
                let middle = chunk.len() / 2;
                chunk[middle] ^= 0xFF;
            }
        });
    });
}

#[test]
fn a_database_of_zeros_is_put_aside() {
    check_put_aside(|folder| edit(&folder.join("db"), |bytes| bytes.fill(0)));
}

#[test]
fn a_database_cut_short_is_put_aside() {
    check_put_aside(|folder| edit(&folder.join("db"), |bytes| bytes.truncate(bytes.len() / 3)));
}

#[test]
fn a_damaged_snapshot_is_put_aside() {
    check_put_aside(|folder| edit(&snapshot(folder), |bytes| bytes[20] ^= 1));
}

#[test]
fn damaged_settings_of_the_database_are_put_aside() {
    check_put_aside(|folder| edit(&folder.join("conf"), |bytes| bytes[14] ^= 1));
}

#[test]
fn what_a_killed_opening_left_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    accept(&open(folder.path()), "a");
    fs::write(folder.path().join("snap.00000000000FFFFF.generating"), b"half").unwrap();
    fs::write(folder.path().join("snap.0000000000000001.in___motion"), b"half").unwrap();
    let store = open(folder.path());
    assert_eq!((pending(&store), store.put_aside()), (vec!["event a".to_owned()], None));
    assert!(!folder.path().join("snap.00000000000FFFFF.generating").exists());
}

#[test]
fn half_written_settings_of_an_empty_database_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("conf"), b"segment_size: 5242").unwrap();
    fs::write(folder.path().join("db"), b"").unwrap();
    let store = open(folder.path());
    assert_eq!(store.put_aside(), None);
    accept(&store, "a");
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    accept(&store, "a");
    store.with(|engine| engine.set_format(&frame::seal(b"format", b"2")[0])).unwrap();
    drop(store);
    for _ in 0..2 {
        let Err(error) = Store::open(folder.path()) else { panic!("a later layout was opened") };
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1 }), "{error}");
    }
    assert_eq!(
        fs::read_dir(folder.path().parent().unwrap())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name().to_string_lossy().into_owned();
                name.starts_with(&format!("{}.damaged", folder.path().file_name().unwrap().to_string_lossy()))
            })
            .count(),
        0
    );
}

#[test]
fn a_store_that_is_in_use_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path());
    let Err(error) = Store::open(folder.path()) else { panic!("a store was opened twice") };
    assert_eq!(
        error.to_string(),
        format!(
            "the store {} is in use by another process: stop that one, or choose another data folder",
            folder.path().display()
        )
    );
}
