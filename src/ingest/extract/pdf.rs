//! PDF with a text layer to blocks. The crate gives glyphs with place and size; lines are put together here, and
//! `layout` makes paragraphs, headings and rows of them. Pages without a text layer are read by `ocr` where its programs
//! are installed. Runs in the child process: PDF readers panic and overflow.

mod layout;
mod ocr;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use jiff::civil::Date;
use pdf_extract::{Document as Pdf, MediaBox, Object, ObjectId, OutputDev, OutputError, Transform, output_doc_page};

use super::source::Source;
use super::{ExtractError, date};
use crate::ingest::document::{Document, title_from_path};
use layout::Line;
use ocr::Recognizer;

/// A gap wider than this many times the size of the letters separates columns of a table.
const COLUMN_GAP: f64 = 2.0;
/// A gap wider than this is a space.
const WORD_GAP: f64 = 0.12;
/// Completes "it is a scan".
pub(super) const NOT_RECOGNIZED: &str = "without a text layer: install tesseract with its languages ita and eng, and \
                                         poppler-utils, then index with --full; or save it with recognized text";
/// Letters that a document, or a page with an image, needs before it counts as having a text layer.
const LETTERS_MIN: usize = 10;

pub(super) fn extract(bytes: &[u8], source: Source<'_>) -> Result<Document, ExtractError> {
    let Source { path, .. } = source;
    let mut pdf = Pdf::load_mem(bytes).map_err(|reason| source.damaged(reason))?;
    if pdf.is_encrypted() && pdf.decrypt("").is_err() {
        return Err(source.encrypted());
    }
    let pages = pdf.get_pages();
    let mut lines: Vec<Line> = Vec::new();
    let mut failure = None;
    let mut scans = Scans::default();
    for (&page, &id) in &pages {
        let mut reader = PageReader { page, lines: Vec::new(), last: None };
        // One page that the crate cannot read does not cost the others.
        match catch_unwind(AssertUnwindSafe(|| output_doc_page(&pdf, &mut reader, page))) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => failure = Some(reason.to_string()),
            Err(_) => failure = Some(format!("page {page} cannot be read")),
        }
        if letters(&reader.lines) < LETTERS_MIN && may_show_images(&pdf, id) {
            lines.extend(scans.read(bytes, page, source).unwrap_or(reader.lines));
        } else {
            lines.append(&mut reader.lines);
        }
    }
    if letters(&lines) < LETTERS_MIN {
        return Err(match failure {
            Some(reason) => source.damaged(reason),
            None if pages.is_empty() => source.damaged("it has no pages"),
            None if scans.unread.is_empty() => ExtractError::NoText { path: path.to_owned() },
            None if scans.is_installed() => ExtractError::Unrecognized { path: path.to_owned() },
            None => ExtractError::Scan { path: path.to_owned() },
        });
    }
    let blocks = layout::blocks(lines);
    let title = declared_title(&pdf)
        .or_else(|| blocks.iter().take(8).find_map(|block| block.label().map(str::to_owned)))
        .unwrap_or_else(|| title_from_path(path));
    Ok(Document { unread: scans.unread().or(failure), ..Document::new(title, None, blocks).dated(changed_on(&pdf)) })
}

/// Whether the programs that read scans are installed.
pub fn scans_are_read() -> bool {
    Recognizer::installed().is_some()
}

/// Whether a page draws an object, which may be an image, or has one among its text; so may one that cannot be read.
fn may_show_images(pdf: &Pdf, page: ObjectId) -> bool {
    let content = catch_unwind(AssertUnwindSafe(|| pdf.get_page_content(page)));
    let Ok(Ok(content)) = content else { return true };
    content.windows(3).any(|at| matches!(at, b" Do" | b"\nBI" | b" BI"))
}

fn letters(lines: &[Line]) -> usize {
    lines.iter().map(|line| line.text.chars().filter(|c| c.is_alphabetic()).count()).sum()
}

/// The pages of a file that are images.
#[derive(Default)]
struct Scans {
    /// What they are read with, once that was looked for.
    recognizer: Option<Option<Recognizer>>,
    /// Pages that were not read.
    unread: Vec<u32>,
}

impl Scans {
    /// The lines of a page; `None`: it was not read.
    fn read(&mut self, pdf: &[u8], page: u32, source: Source<'_>) -> Option<Vec<Line>> {
        let recognizer = self.recognizer.get_or_insert_with(Recognizer::installed).as_ref();
        let start = Instant::now();
        let lines = recognizer
            .filter(|_| !source.budget.recognition_left().is_zero())
            .and_then(|recognizer| recognizer.lines(pdf, page, start + source.budget.recognition_left()));
        source.budget.take_recognition(start.elapsed());
        if lines.is_none() {
            self.unread.push(page);
        }
        lines
    }

    fn is_installed(&self) -> bool {
        matches!(self.recognizer, Some(Some(_)))
    }

    /// The pages that were not read, for people.
    fn unread(&self) -> Option<String> {
        let (first, last) = (self.unread.first()?, self.unread.last()?);
        let which = match self.unread.len() {
            1 => format!("page {first} is a scan"),
            count => format!("{count} pages from {first} to {last} are scans"),
        };
        let why = if self.is_installed() { "that took too long or could not be read" } else { NOT_RECOGNIZED };
        Some(format!("{which} {why}"))
    }
}

/// The day of the last change, or else that of the making.
fn changed_on(pdf: &Pdf) -> Option<Date> {
    [&b"ModDate"[..], b"CreationDate"].iter().find_map(|key| date::compact(str::from_utf8(declared(pdf, key)?).ok()?))
}

/// A text of the file's own description, as it is encoded.
fn declared<'a>(pdf: &'a Pdf, key: &[u8]) -> Option<&'a [u8]> {
    let info = match pdf.trailer.get(b"Info").ok()? {
        Object::Reference(id) => pdf.get_dictionary(*id).ok()?,
        object => object.as_dict().ok()?,
    };
    let Object::String(bytes, _) = info.get(key).ok()? else { return None };
    Some(bytes)
}

/// The title in the file's metadata, unless a program filled it in.
fn declared_title(pdf: &Pdf) -> Option<String> {
    let bytes = declared(pdf, b"Title")?;
    let title = match bytes.strip_prefix(&[0xfe, 0xff]) {
        Some(utf16) => {
            let units: Vec<u16> = utf16.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        None => match str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
        },
    };
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = title.to_lowercase();
    let by_program = ["untitled", "microsoft word", "senza titolo", "presentazione", "presentation", "document"]
        .iter()
        .any(|word| lower.starts_with(word));
    let file_name = [".doc", ".docx", ".odt", ".indd", ".tex", ".dvi", ".pdf"].iter().any(|end| lower.ends_with(end));
    (title.chars().filter(|c| c.is_alphabetic()).count() >= 3 && !by_program && !file_name).then_some(title)
}

/// Puts the glyphs of one page together to lines, in the order in which they are drawn.
struct PageReader {
    page: u32,
    lines: Vec<Line>,
    /// Where the last glyph ended, and its base line.
    last: Option<(f64, f64)>,
}

impl OutputDev for PageReader {
    fn begin_page(&mut self, _: u32, _: &MediaBox, _: Option<(f64, f64, f64, f64)>) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn output_character(
        &mut self,
        place: &Transform,
        width: f64,
        _: f64,
        font_size: f64,
        text: &str,
    ) -> Result<(), OutputError> {
        // Side of the square whose area is that of the scaled em square.
        let size = font_size.abs() * (place.m11 * place.m22 - place.m12 * place.m21).abs().sqrt();
        let (x, y) = (place.m31, place.m32);
        let end = x + width * size;
        if ![size, x, y, end].iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let same_line = self
            .last
            .is_some_and(|(last_end, last_y)| (y - last_y).abs() < size.max(1.0) * 0.5 && x > last_end - size.max(1.0));
        match self.lines.last_mut().filter(|_| same_line) {
            Some(line) => {
                let gap = x - self.last.map_or(x, |(last_end, _)| last_end);
                if gap > size * COLUMN_GAP && !line.text.is_empty() {
                    line.text.truncate(line.text.trim_end().len());
                    line.text.push('\t');
                } else if gap > size * WORD_GAP && !line.text.ends_with([' ', '\t']) {
                    line.text.push(' ');
                }
                line.right = line.right.max(end);
                line.measure(size, width, text);
            }
            None => {
                let mut line = Line::new(self.page, x, end, y);
                line.measure(size, width, text);
                self.lines.push(line);
            }
        }
        if let Some(line) = self.lines.last_mut() {
            text.chars().for_each(|c| push_glyph(&mut line.text, c));
        }
        self.last = Some((end, y));
        Ok(())
    }

    fn begin_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), OutputError> {
        Ok(())
    }
}

/// Ligatures are drawn as one glyph and read as letters; other control characters are no text.
fn push_glyph(text: &mut String, c: char) {
    match c {
        'ﬀ' => text.push_str("ff"),
        'ﬁ' => text.push_str("fi"),
        'ﬂ' => text.push_str("fl"),
        'ﬃ' => text.push_str("ffi"),
        'ﬄ' => text.push_str("ffl"),
        'ﬅ' | 'ﬆ' => text.push_str("st"),
        c if c.is_whitespace() => {
            if !text.is_empty() && !text.ends_with([' ', '\t']) {
                text.push(' ');
            }
        }
        c if c.is_control() => {}
        c => text.push(c),
    }
}
