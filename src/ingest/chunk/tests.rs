//! Passages by example, and what holds for every document.

use proptest::prelude::*;

use super::*;
use crate::ingest::document::{Block, BlockKind};

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn heading(level: u8, label: &str) -> Block {
    Block {
        kind: BlockKind::Heading { level, label: label.into() },
        text: label.into(),
        anchor: Some(label.to_lowercase()),
    }
}

fn block(kind: BlockKind, text: impl Into<String>) -> Block {
    Block::new(kind, text)
}

/// A paragraph of sentences of ten words.
fn prose(name: &str, words: usize) -> Block {
    let sentence = |at| format!("{name}{at} due tre quattro cinque sei sette otto nove dieci.");
    let text: Vec<String> =
        (0..words / 10).map(|at| sentence(at).replacen(|c: char| c.is_lowercase(), "X", 1)).collect();
    block(BlockKind::Paragraph, text.join(" "))
}

fn document(blocks: Vec<Block>) -> Document {
    Document::new("Titolo", None, blocks)
}

fn cut(blocks: Vec<Block>) -> Vec<PassageDraft> {
    passages(&document(blocks), &words, &PassageSize::default())
}

fn sizes(passages: &[PassageDraft]) -> Vec<usize> {
    passages.iter().map(|passage| words(&passage.text)).collect()
}

#[test]
fn a_short_document_is_one_passage() {
    let found = cut(vec![heading(1, "Titolo"), prose("a", 50), heading(2, "Sotto"), prose("b", 60)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].headings, Vec::<String>::new());
    assert_eq!(found[0].anchor.as_deref(), Some("titolo"));
    assert!(found[0].text.starts_with("Titolo\n\nX0 due") && found[0].text.contains("\n\nSotto\n\nX0"));
}

#[test]
fn a_long_section_is_cut_evenly_at_sentences() {
    let found = cut(vec![heading(1, "Titolo"), heading(2, "Sotto"), prose("a", 330)]);
    assert_eq!(found.len(), 2);
    assert!(sizes(&found).iter().all(|size| (140..=190).contains(size)), "{:?}", sizes(&found));
    assert!(found.iter().all(|passage| passage.text.ends_with("dieci.")));
    assert_eq!([&found[0].follows, &found[1].follows], [&None, &Some(" ".to_owned())]);
    assert_eq!(found[1].headings, ["Sotto"]);
    assert_eq!(found[1].anchor.as_deref(), Some("sotto"));
}

#[test]
fn small_sections_of_one_parent_are_merged() {
    let mut blocks = vec![heading(1, "Titolo")];
    for at in 0..12 {
        blocks.extend([heading(2, &format!("Domanda {at}")), prose("a", 40)]);
    }
    let found = cut(blocks);
    assert!(sizes(&found).iter().all(|size| (120..=300).contains(size)), "{:?}", sizes(&found));
    assert!(found.iter().all(|passage| passage.headings.is_empty()));
}

#[test]
fn a_section_of_its_own_size_stays_alone_with_its_path() {
    let found = cut(vec![
        heading(1, "Titolo"),
        heading(2, "Ferie"),
        prose("a", 240),
        heading(3, "Estate"),
        prose("b", 220),
        heading(2, "Malattia"),
        prose("c", 200),
    ]);
    let paths: Vec<String> = found.iter().map(|passage| passage.headings.join(" > ")).collect();
    assert_eq!(paths, ["", "Ferie > Estate", "Malattia"]);
    assert!(found[1].text.starts_with("Estate\n\n") && found[2].text.starts_with("Malattia\n\n"));
}

#[test]
fn a_heading_is_never_the_end_of_a_passage() {
    let mut blocks = Vec::new();
    for at in 0..20 {
        blocks.extend([prose("a", 70), heading(2, &format!("Sezione {at}")), prose("b", 130)]);
    }
    for passage in cut(blocks) {
        assert!(!passage.text.lines().last().unwrap().starts_with("Sezione"), "{}", passage.text);
    }
}

#[test]
fn a_table_that_is_cut_takes_its_header_along() {
    let row =
        |at: usize| block(BlockKind::TableRow { header: false }, format!("codice {at}\t{}", "valore ".repeat(20)));
    let mut blocks = vec![heading(2, "Codici"), block(BlockKind::TableRow { header: true }, "Codice\tValore")];
    blocks.extend((0..30).map(row));
    blocks.push(prose("a", 200));
    let found = cut(blocks);
    assert!(found.len() > 3);
    assert_eq!(found[0].context, None);
    for passage in &found[1..] {
        let table = passage.text.starts_with("codice");
        assert_eq!(passage.context.as_deref(), table.then_some("Codice\tValore"), "{}", passage.text);
    }
    assert_eq!(found.iter().filter(|passage| passage.text.contains("Codice\tValore")).count(), 1);
}

#[test]
fn code_and_rows_are_cut_only_over_the_hard_limit() {
    let code = |words: usize| block(BlockKind::Code, "uno due tre quattro\n".repeat(words / 4));
    let found = cut(vec![prose("a", 200), code(420), prose("b", 200)]);
    assert!(sizes(&found).contains(&420), "{:?}", sizes(&found));
    let found = cut(vec![prose("a", 200), code(2_000), prose("b", 200)]);
    assert!(sizes(&found).iter().all(|size| *size <= 450), "{:?}", sizes(&found));
    let pieces: Vec<_> = found.iter().filter(|passage| passage.text.starts_with("uno")).collect();
    assert!(pieces.len() >= 5 && pieces.iter().all(|piece| piece.text.ends_with("quattro")));
}

#[test]
fn a_monster_without_borders_is_cut_too() {
    let count = |text: &str| text.chars().count();
    let size = PassageSize::default();
    let found = passages(&document(vec![block(BlockKind::Paragraph, "è".repeat(100_000))]), &count, &size);
    assert!(found.iter().all(|passage| passage.text.chars().count() <= 450));
    assert_eq!(found.iter().map(|passage| passage.text.len()).sum::<usize>(), 200_000);
}

#[test]
fn each_unit_is_counted_once() {
    let calls = std::cell::Cell::new(0);
    let count = |text: &str| {
        calls.set(calls.get() + 1);
        words(text)
    };
    let found = passages(&document(vec![prose("a", 3_000)]), &count, &PassageSize::default());
    assert_eq!((calls.get(), found.len() > 9), (300, true));
}

#[test]
fn nothing_gives_nothing() {
    assert!(cut(vec![]).is_empty());
    assert!(cut(vec![block(BlockKind::Paragraph, "  \n ")]).is_empty());
}

fn any_block() -> impl Strategy<Value = Block> {
    let kind = prop_oneof![
        4 => Just(BlockKind::Paragraph),
        1 => (1_u8..7, "[A-Za-z]{1,8}").prop_map(|(level, label)| BlockKind::Heading { level, label }),
        2 => Just(BlockKind::ListItem),
        1 => Just(BlockKind::Term),
        1 => Just(BlockKind::Quote),
        1 => Just(BlockKind::Code),
        2 => any::<bool>().prop_map(|header| BlockKind::TableRow { header }),
    ];
    let text = prop_oneof![
        4 => "[a-zA-Zàé.,:?! \n]{0,300}",
        1 => any::<String>(),
        1 => "([a-z]{1,9} ){0,400}",
        1 => "[A-Z][a-z]{2,8}( [a-z]{1,8}){3,15}\\.( [A-Z][a-z]{2,8}( [a-z]{1,8}){3,15}\\.){0,30}",
    ];
    (kind, text, proptest::option::of("[a-z]{1,4}")).prop_map(|(kind, text, anchor)| Block { kind, text, anchor })
}

fn letters(texts: impl Iterator<Item = String>) -> String {
    texts.flat_map(|text| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn passages_hold_the_document_and_keep_their_size(blocks in prop::collection::vec(any_block(), 0..24)) {
        let size = PassageSize { target_tokens: 40, max_tokens: 60, hard_tokens: 90 };
        let document = document(blocks.clone());
        let found = passages(&document, &words, &size);
        prop_assert_eq!(&found, &passages(&document, &words, &size));
        // Where one block is cut, they can be put together again to the letter.
        let mut joined = String::new();
        for passage in &found {
            joined.push_str(passage.follows.as_deref().unwrap_or("\n\n"));
            joined.push_str(&passage.text);
        }
        for block in blocks.iter().filter(|block| !block.text.trim().is_empty()) {
            prop_assert!(joined.contains(block.text.trim_end()), "{:?} is not in {joined:?}", block.text);
        }
        let all = letters(blocks.iter().filter(|b| !b.text.trim().is_empty()).map(|block| block.text.clone()));
        prop_assert_eq!(letters(found.iter().map(|passage| passage.text.clone())), all);
        for passage in &found {
            prop_assert!(!passage.text.trim().is_empty());
            prop_assert!(words(&passage.text) <= size.hard_tokens);
            if words(&passage.text) > size.max_tokens {
                let single = blocks.iter().any(|block| block.text.contains(passage.text.trim_end()));
                prop_assert!(single, "over the limit and not a single piece: {}", passage.text);
            }
        }
        for block in blocks.iter().filter(|block| {
            matches!(block.kind, BlockKind::Code | BlockKind::TableRow { .. })
                && words(&block.text) <= size.hard_tokens
                && !block.text.trim().is_empty()
        }) {
            let whole = found.iter().any(|passage| passage.text.contains(block.text.trim_end()));
            prop_assert!(whole, "cut: {:?}", block.text);
        }
    }
}
