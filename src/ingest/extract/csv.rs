//! CSV and TSV to rows: the separator is found by what cuts the lines into the same number of cells.

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::ExtractError;
use super::source::Source;
use super::table::Rows;
use crate::ingest::document::{Document, title_from_path};

/// The most usual one first: it is taken where nothing tells.
const SEPARATORS: [u8; 3] = *b",;\t";
/// Of the beginning of a file, what its separator is told from.
const SAMPLE_BYTES: usize = 64 << 10;
const SAMPLE_ROWS: usize = 100;

pub(super) fn extract(text: &str, source: Source<'_>) -> Result<Document, ExtractError> {
    let (separator, table) = match declared_separator(text) {
        Some((separator, table)) => (separator, table),
        None => (separator(text), text),
    };
    let mut rows = Rows::new(source);
    let mut reader = reader(table.as_bytes(), separator);
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|reason| source.damaged(reason))? {
        // The crate passes over empty lines.
        if record.position().is_some_and(|at| begins_with_empty_line(table, at.byte() as usize)) {
            rows.gap();
        }
        for (column, cell) in record.iter().enumerate() {
            let cell = String::from_utf8_lossy(cell);
            rows.cell(column, &cell, cell.contains(char::is_alphabetic))?;
        }
        rows.end_row(1)?;
    }
    let mut blocks = Vec::new();
    rows.into_blocks(&mut blocks)?;
    Ok(Document::new(title_from_path(source.path), None, blocks))
}

fn reader(table: &[u8], separator: u8) -> Reader<&[u8]> {
    ReaderBuilder::new().delimiter(separator).has_headers(false).flexible(true).from_reader(table)
}

fn begins_with_empty_line(table: &str, at: usize) -> bool {
    let (before, after) = table.as_bytes().split_at(at.min(table.len()));
    // The end of the row before may not have been read to its end.
    let after = if before.ends_with(b"\r") { after.strip_prefix(b"\n").unwrap_or(after) } else { after };
    after.starts_with(b"\n") || after.starts_with(b"\r")
}

/// Spreadsheet programs write `sep=;` above a table for each other.
fn declared_separator(text: &str) -> Option<(u8, &str)> {
    let (line, table) = text.split_once('\n')?;
    match line.trim_end_matches('\r').strip_prefix("sep=")?.as_bytes() {
        [separator] => Some((*separator, table)),
        _ => None,
    }
}

/// Where most rows have as many cells as the usual row, and then where they have most.
fn separator(text: &str) -> u8 {
    let mut end = text.len().min(SAMPLE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let sample = &text.as_bytes()[..end];
    let mut best = (SEPARATORS[0], 0.0, 0);
    for separator in SEPARATORS {
        let records = reader(sample, separator).into_byte_records();
        let widths: Vec<usize> = records.take(SAMPLE_ROWS).flatten().map(|record| record.len()).collect();
        let mut sorted = widths.clone();
        sorted.sort_unstable();
        let Some(&usual) = sorted.get(sorted.len() / 2).filter(|&&usual| usual > 1) else { continue };
        let share = widths.iter().filter(|&&width| width == usual).count() as f64 / widths.len() as f64;
        if (share, usual) > (best.1, best.2) {
            best = (separator, share, usual);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use crate::ingest::extract::outline;
    use crate::ingest::extract::tests::here;

    #[track_caller]
    fn check(name: &str, text: &str, expect: &str) {
        assert_eq!(outline(&here(name, text.as_bytes()).unwrap()), expect);
    }

    #[test]
    fn the_separator_is_found() {
        let expect = "[listino]\nTH Voce ⇥ Prezzo\nTR Caffè, macinato ⇥ 1,20\nTR Tè ⇥ 2,5\n";
        for text in [
            "Voce,Prezzo\n\"Caffè, macinato\",\"1,20\"\nTè,\"2,5\"\n",
            "Voce;Prezzo\r\nCaffè, macinato;1,20\r\nTè;2,5\r\n",
            "Voce\tPrezzo\nCaffè, macinato\t1,20\nTè\t2,5",
            "sep=|\nVoce|Prezzo\nCaffè, macinato|1,20\nTè|2,5",
        ] {
            check("listino.csv", text, expect);
            check("listino.tsv", text, expect);
        }
    }

    #[test]
    fn cells_stay_in_their_columns() {
        check(
            "turni.csv",
            "Nome,Lunedì,Martedì\nAda,,\"mattina\nsera\"\n,notte,\nLia,\"dice \"\"no\"\"\",\n",
            "[turni]\nTH Nome ⇥ Lunedì ⇥ Martedì\nTR Ada ⇥  ⇥ mattina sera\nTR  ⇥ notte\nTR Lia ⇥ dice \"no\"\n",
        );
    }

    #[test]
    fn titles_and_remarks_stand_beside_the_tables() {
        check(
            "sedi.csv",
            "Costi per sede,,\n\nSede,2025,2026\nNord,,\nTorino,1,2\n\nOrari,,\nSede,Apre,Chiude\nRoma,8,18\n\nFonte: HR,,\n",
            "[sedi]\nP Costi per sede\nTH Sede ⇥ 2025 ⇥ 2026\nTR Nord\nTR Torino ⇥ 1 ⇥ 2\nP Orari\nTH Sede ⇥ Apre ⇥ Chiude\n\
             TR Roma ⇥ 8 ⇥ 18\nP Fonte: HR\n",
        );
    }

    #[test]
    fn lines_end_in_any_way() {
        for end in ["\n", "\r\n", "\r"] {
            let table = ["Voce;2026", "Caffè;2", "", "Sede;Apre", "Roma;8", "Bari;9"].join(end);
            check("a.csv", &table, "[a]\nTH Voce ⇥ 2026\nTR Caffè ⇥ 2\nTH Sede ⇥ Apre\nTR Roma ⇥ 8\nTR Bari ⇥ 9\n");
        }
    }

    #[test]
    fn a_list_has_no_columns() {
        check("nomi.csv", "Ada\nLia\n", "[nomi]\nP Ada\nP Lia\n");
    }

    #[test]
    fn a_table_that_is_too_long_is_refused_with_a_reason() {
        let error = here("lunga.csv", "a,b\n".repeat(1 << 20).as_bytes()).unwrap_err();
        assert!(error.contains("lunga.csv") && error.contains("unpacks to more than the limit"), "{error}");
    }
}
