//! Vector files written and searched.

use super::stretches::ROWS_PER_THREAD;
use super::*;
use crate::domain::Scope;

fn id(n: u8) -> PassageId {
    PassageId([n; 16])
}

fn file_of(rows: &[(PassageId, Language, [f32; 3])]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors.bin");
    let mut writer = VectorsWriter::create(&path, 3).unwrap();
    for (id, language, vector) in rows {
        let collection = u16::from(id.0[0]);
        writer.push(*id, Tag { language: *language, collection }, vector).unwrap();
    }
    writer.finish().unwrap();
    (folder, path)
}

#[test]
fn the_nearest_come_first_and_the_filter_holds() {
    let (_folder, path) = file_of(&[
        (id(1), Language::Italian, [1.0, 0.0, 0.0]),
        (id(2), Language::English, [0.0, 1.0, 0.0]),
        (id(3), Language::English, [0.6, 0.8, 0.0]),
        (id(4), Language::Italian, [0.0, 0.0, 1.0]),
    ]);
    let vectors = Vectors::open(&path).unwrap();
    let collections = ["zero", "one", "two", "three", "four"].map(str::to_owned);
    let found = |limit, language, scope: &Scope| -> Vec<_> {
        let filter = Filter::of(language, scope, &collections).unwrap();
        vectors.search(&vectors.query(&[0.8, 0.6, 0.0], true, true), limit, &filter)
    };
    assert_eq!(found(2, None, &Scope::Everything), [id(3), id(1)]);
    assert_eq!(found(9, Some(Language::English), &Scope::Everything), [id(3), id(2)]);
    let some = Scope::Collections(["one", "two", "gone"].map(str::to_owned).into());
    assert_eq!(found(1, None, &some), [id(1)]);
    assert_eq!(found(9, Some(Language::English), &some), [id(2)]);
    assert!(Filter::of(None, &Scope::Collections(["gone".to_owned()].into()), &collections).is_none());
    let rows: Vec<_> = vectors.vectors_of(id(2)).map(|row| (row.values.to_vec(), row.scale)).collect();
    assert_eq!(rows, [(vec![0, 127, 0], 1.0 / 127.0)]);
    assert_eq!(vectors.tag(id(1)), Some(Tag { language: Language::Italian, collection: 1 }));
    assert_eq!(vectors.vectors_of(id(9)).count(), 0);
}

#[test]
fn the_best_of_a_passages_rows_counts() {
    let (_folder, path) = file_of(&[
        (id(1), Language::Italian, [1.0, 0.0, 0.0]),
        (id(1), Language::Italian, [0.0, 1.0, 0.0]),
        (id(2), Language::English, [0.0, 0.0, 1.0]),
    ]);
    let vectors = Vectors::open(&path).unwrap();
    assert_eq!(vectors.passages(), 2);
    let query = vectors.query(&[0.0, 1.0, 0.0], true, true);
    let of_row = |row| vectors.cosine_of_row(Scan::of_this_processor(), &query, row, vectors.facts(row));
    let best = vectors.cosine(&query, id(1)).unwrap();
    assert_eq!(best, of_row(1));
    assert!(best > of_row(0));
    assert_eq!(vectors.cosine(&query, id(9)), None);
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let (_folder, path) = file_of(&[(id(1), Language::Italian, [1.0, 0.0, 0.0])]);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(Vectors::open(&path).is_err(), "{length} bytes were accepted");
    }
}

#[test]
fn rows_of_another_file_are_taken_over_as_they_are() {
    let (_folder, path) = file_of(&[(id(7), Language::Italian, [0.26, 0.6, -0.757])]);
    let vectors = Vectors::open(&path).unwrap();
    let copy = path.with_file_name("copy.bin");
    let mut writer = VectorsWriter::create(&copy, 3).unwrap();
    for row in vectors.vectors_of(id(7)) {
        writer.push_row(id(7), Tag { language: Language::Italian, collection: 7 }, row).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(copy).unwrap());
}

#[test]
fn many_rows_are_searched_like_few() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors.bin");
    let mut writer = VectorsWriter::create(&path, 4).unwrap();
    let count = 2 * ROWS_PER_THREAD as u32 + 7;
    let tag = Tag { language: Language::English, collection: 0 };
    let number = |at: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&at.wrapping_mul(2_654_435_761).to_be_bytes());
        PassageId(id)
    };
    for at in 0..count {
        let angle = at as f32 * 0.37;
        writer.push(number(at), tag, &[angle.sin(), angle.cos(), 0.0, 0.0]).unwrap();
    }
    writer.finish().unwrap();
    let vectors = Vectors::open(&path).unwrap();
    let query = vectors.query(&[0.6, 0.8, 0.0, 0.0], true, true);
    let collections = ["knowledge".to_owned()];
    let filter = Filter::of(None, &Scope::Everything, &collections).unwrap();
    let found = vectors.search(&query, 50, &filter);
    let sketches = Sketches::of(&vectors);
    let near = |limit, is_admitted: &dyn Fn(usize) -> bool| {
        sketches.nearest(query.row.values(), 0..count as usize, limit, is_admitted)
    };
    assert_eq!(near(count as usize, &|_| true).len(), count as usize, "whoever wants all rows gets them");
    let even = near(10, &|row| row % 2 == 0);
    assert!(!even.is_empty() && even.iter().all(|row| row % 2 == 0), "what is not admitted is not there");
    let of_even = vectors.best_of(&query, even.into_iter(), 1, &filter);
    let all_even = vectors.best_of(&query, (0..count as usize).step_by(2), 1, &filter);
    assert_eq!(of_even[0].cosine, all_even[0].cosine, "the nearest is among them");
    let mut all = vectors.best_of(&query, 0..count as usize, count as usize, &filter);
    all.sort_unstable();
    let expect: Vec<_> = all.iter().take(50).map(|candidate| number(candidate.row as u32)).collect();
    assert_eq!(found, expect);
    assert_eq!(vectors.ids().len(), count as usize);
    assert_eq!(vectors.tag(number(count - 1)), Some(tag));
}

#[test]
fn a_vector_of_another_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = VectorsWriter::create(&folder.path().join("vectors.bin"), 3).unwrap();
    assert!(writer.push(id(1), Tag { language: Language::Italian, collection: 0 }, &[1.0]).is_err());
}
