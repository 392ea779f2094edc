//! Source code to blocks: what stands together at the left margin with what is indented below it. Texts are slices of the
//! source.

use std::path::Path;

use crate::ingest::document::{Block, BlockKind, Document};

pub(super) fn extract(source: &str, path: &Path) -> Document {
    let source = source.trim_start_matches('\u{feff}');
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let blocks = definitions(source).map(|text| Block::new(BlockKind::Code, text)).collect();
    // With its ending, by which code is known.
    Document::new(name, None, blocks)
}

/// A definition ends where after a blank line, and after what is indented, something stands at the left margin.
fn definitions(source: &str) -> impl Iterator<Item = &str> {
    let mut starts = vec![0];
    let (mut at, mut after_blank) = (0, false);
    for line in source.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        let goes_on = line.starts_with(|c: char| c.is_whitespace() || matches!(c, '}' | ')' | ']'));
        if after_blank && !is_blank && !goes_on {
            starts.push(at);
        }
        after_blank = is_blank || (after_blank && goes_on);
        at += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([source.len()]).collect();
    starts
        .into_iter()
        .zip(ends)
        .map(|(start, end)| source[start..end].trim_end())
        .filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_keeps_its_blank_lines() {
        let source = "use std::fs;\n\n/// Reads.\nfn read() {\n    let a = 1;\n\n    a\n}\n\n\nfn write() {\n\n}\n";
        let document = extract(source, Path::new("src/files.rs"));
        assert_eq!(document.title, "files.rs");
        let texts: Vec<&str> = document.blocks.iter().map(|block| block.text.as_str()).collect();
        let read = "/// Reads.\nfn read() {\n    let a = 1;\n\n    a\n}";
        assert_eq!(texts, ["use std::fs;", read, "fn write() {\n\n}"]);
        assert!(document.blocks.iter().all(|block| block.kind == BlockKind::Code));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(extract("\n  \n", Path::new("a.py")).blocks.is_empty());
    }
}
