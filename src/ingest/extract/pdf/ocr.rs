//! Pages that are images to lines: drawn by poppler's `pdftoppm`, read by `tesseract`. Where either is missing such pages
//! are reported. Runs in the child process; each of the programs inherits its limits and its priority, and none has an
//! environment: they are looked for where the system keeps its programs.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::COLUMN_GAP;
use super::layout::Line;
use crate::ingest::extract::sandbox::{collect, wait_until};

/// Languages that are read, by tesseract's names.
const LANGUAGES: [&str; 2] = ["ita", "eng"];
/// Longer side of a page's image, in pixels: 300 a inch on A4.
const IMAGE_PIXELS: u32 = 3508;
/// Longer side of A4.
const PAGE_POINTS: f64 = 842.0;
const POINTS_PER_PIXEL: f64 = PAGE_POINTS / IMAGE_PIXELS as f64;
/// Words that tesseract is less sure of, in percent, are mostly stains.
const CONFIDENCE_MIN: f64 = 40.0;
/// Lines are a little higher or lower as they have letters that reach up or down; from here on it is their size.
const LARGER: f64 = 1.4;
/// Bytes of what tesseract says of one page.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// One page, at most.
const PAGE_TIME_MAX: Duration = Duration::from_secs(60);

/// What is installed to read images with.
pub(super) struct Recognizer {
    /// As tesseract takes them, such as `ita+eng`.
    languages: String,
}

impl Recognizer {
    /// `None`: `tesseract`, every one of its languages, or `pdftoppm` is missing.
    pub(super) fn installed() -> Option<Self> {
        let mut list = Command::new("tesseract");
        list.arg("--list-langs").env_clear();
        let listed = output_of(list, Stdio::null(), Instant::now() + PAGE_TIME_MAX)?;
        let languages: Vec<&str> =
            LANGUAGES.into_iter().filter(|name| listed.lines().any(|line| line == *name)).collect();
        let mut draw = Command::new("pdftoppm");
        draw.arg("-v").env_clear();
        output_of(draw, Stdio::null(), Instant::now() + PAGE_TIME_MAX)?;
        (!languages.is_empty()).then(|| Recognizer { languages: languages.join("+") })
    }

    /// The lines of a page, from 1, of this PDF; `None`: it could not be read until `deadline`.
    pub(super) fn lines(&self, pdf: &[u8], page: u32, deadline: Instant) -> Option<Vec<Line>> {
        let deadline = deadline.min(Instant::now() + PAGE_TIME_MAX);
        let number = page.to_string();
        let mut drawing = Command::new("pdftoppm")
            .env_clear()
            .args(["-gray", "-scale-to", &IMAGE_PIXELS.to_string(), "-f", &number, "-l", &number, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let (input, image) = (drawing.stdin.take(), drawing.stdout.take()?);
        let mut read = Command::new("tesseract");
        read.args(["stdin", "stdout", "-l", &self.languages, "tsv"]).env_clear().env("OMP_THREAD_LIMIT", "1");
        let words = thread::scope(|scope| {
            // It ends when the drawing does, which needs all of the file or nothing more.
            scope.spawn(|| input.map(|mut input| input.write_all(pdf)));
            let words = output_of(read, image.into(), deadline);
            if words.is_none() {
                let _ = drawing.kill();
            }
            words
        });
        let drawn = wait_until(&mut drawing, deadline);
        if !matches!(drawn, Ok(Some(_))) {
            let _ = drawing.kill();
            let _ = drawing.wait();
        }
        matches!(drawn, Ok(Some(status)) if status.success()).then(|| lines(&words?, page)).flatten()
    }
}

/// What a program prints; `None`: it is not there, fails, or is not done at `deadline`.
fn output_of(mut command: Command, input: Stdio, deadline: Instant) -> Option<String> {
    let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    // What is left of the input's other end would keep it open.
    drop(command);
    let output = collect(child.stdout.take(), OUTPUT_BYTES_MAX);
    let output = output.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let status = output.is_ok().then(|| wait_until(&mut child, deadline).ok().flatten()).flatten();
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status.filter(|status| status.success()).and_then(|_| String::from_utf8(output.ok()?).ok())
}

/// A word with its box, in pixels from the top left corner.
struct Word<'a> {
    text: &'a str,
    left: f64,
    right: f64,
    bottom: f64,
    height: f64,
}

/// The lines in a table of tesseract's, in its order.
fn lines(table: &str, page: u32) -> Option<Vec<Line>> {
    let mut page_height = 0.0;
    let mut words: BTreeMap<[u32; 3], Vec<Word>> = BTreeMap::new();
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let number = |at: usize| columns.get(at).and_then(|column| column.parse::<f64>().ok());
        let (Some(level), Some(left), Some(top)) = (number(0), number(6), number(7)) else { continue };
        let (Some(width), Some(height), Some(confidence)) = (number(8), number(9), number(10)) else { continue };
        if level == 1.0 {
            page_height = height;
        }
        let Some(text) = columns.get(11).map(|text| text.trim()).filter(|text| !text.is_empty()) else { continue };
        if confidence >= CONFIDENCE_MIN {
            let line = [2, 3, 4].map(|at| number(at).unwrap_or(0.0) as u32);
            let word = Word { text, left, right: left + width, bottom: top + height, height };
            words.entry(line).or_default().push(word);
        }
    }
    if page_height == 0.0 {
        return None;
    }
    let height = |words: &[Word]| words.iter().map(|word| word.height).fold(0.0, f64::max);
    let mut heights: Vec<f64> = words.values().map(|words| height(words)).collect();
    heights.sort_by(f64::total_cmp);
    let usual = heights.get(heights.len() / 2).copied().unwrap_or(0.0);
    let line = |words: &Vec<Word>| {
        let (first, last) = (words.first()?, words.last()?);
        let own = height(words);
        let size = if own > usual * LARGER { own } else { usual };
        let y = page_height - words.iter().map(|word| word.bottom).fold(0.0, f64::max);
        let [left, right, y] = [first.left, last.right, y].map(|pixels| pixels * POINTS_PER_PIXEL);
        let mut line = Line::new(page, left, right, y);
        let mut end = first.left;
        for word in words {
            if !line.text.is_empty() {
                line.text.push(if word.left - end > size * COLUMN_GAP { '\t' } else { ' ' });
            }
            line.text.push_str(word.text);
            line.measure(size * POINTS_PER_PIXEL, 0.0, word.text);
            end = word.right;
        }
        Some(line)
    };
    Some(words.values().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_together_to_lines() {
        let row = |level: u32, line: u32, [left, top, width, height]: [u32; 4], confidence: u32, text: &str| {
            format!("{level}\t1\t1\t1\t{line}\t1\t{left}\t{top}\t{width}\t{height}\t{confidence}\t{text}\n")
        };
        let mut table = "level\tpage_num\n".to_owned();
        table += &row(1, 0, [0, 0, 2480, 3508], 0, "");
        table += &row(5, 1, [100, 100, 400, 90], 96, "Orari");
        table += &row(5, 2, [100, 300, 200, 40], 95, "Lunedì");
        table += &row(5, 2, [310, 302, 90, 38], 91, "alle");
        table += &row(5, 2, [700, 300, 60, 40], 93, "9:30");
        table += &row(5, 3, [100, 360, 90, 42], 96, "chiuso");
        table += &row(5, 3, [900, 360, 5, 5], 12, "|");
        let lines = lines(&table, 4).unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["Orari", "Lunedì alle\t9:30", "chiuso"]);
        assert!(lines.iter().all(|line| line.page == 4));
        assert!((lines[0].y - 795.8).abs() < 1.0, "{}", lines[0].y);
        assert!((lines[1].left - 24.0).abs() < 0.1 && (lines[1].right - 182.4).abs() < 0.1);
    }

    #[test]
    fn a_table_of_no_page_is_none() {
        assert!(lines("level\tpage_num\n", 1).is_none());
        assert!(lines("", 1).is_none());
    }
}
