//! The sentences that nobody saw, for the admin.

use std::collections::VecDeque;

use anyhow::Context;
use serde::Serialize;

use crate::app::App;
use crate::cli::output;
use crate::telemetry::{Found, Noted, Withheld, noted_since};

/// Sentences that are printed at most: the newest.
const SENTENCES_MAX: usize = 1000;

#[derive(Debug, Serialize)]
struct Sentences {
    withheld: VecDeque<Noted<Withheld>>,
    /// Older ones of the same time that are not among them.
    not_shown: usize,
    /// Lines of the files that could not be read.
    left_out: usize,
}

/// Prints those that were kept since this unix time, oldest first.
pub(super) fn print(app: &App, since: i64, as_json: bool) -> anyhow::Result<()> {
    let folder = app.withheld();
    let mut kept = VecDeque::new();
    let mut not_shown = 0;
    let Found { left_out, .. } = noted_since(&folder, since, |noted| {
        if kept.len() == SENTENCES_MAX {
            kept.pop_front();
            not_shown += 1;
        }
        kept.push_back(noted);
    })
    .with_context(|| format!("withheld sentences cannot be read from {}", folder.display()))?;
    let sentences = Sentences { withheld: kept, not_shown, left_out };
    if as_json {
        return output::json(&sentences);
    }
    if sentences.withheld.is_empty() {
        let none = "no sentence was withheld in this time";
        output::line(match app.settings().telemetry.withheld_days {
            0 => format!("{none}, or it was not kept: telemetry.withheld_days is 0"),
            _ => none.to_owned(),
        })?;
    }
    let mut question = "";
    for Noted { at, event: Withheld { trace_id, question: asked, sentence, .. } } in &sentences.withheld {
        if question != trace_id {
            question = trace_id;
            let time = jiff::Timestamp::from_second(*at).unwrap_or_default();
            output::line(format!("{time} {trace_id} {}", on_one_line(asked)))?;
        }
        output::line(format!("  {}", on_one_line(sentence)))?;
    }
    if not_shown > 0 {
        eprintln!("{not_shown} older ones are not shown: a shorter time, as with `--since 1d`, has fewer");
    }
    if left_out > 0 {
        eprintln!("{left_out} lines could not be read and were left out");
    }
    Ok(())
}

/// Without line breaks, and without what a terminal would obey, marks of writing direction among it.
fn on_one_line(text: &str) -> String {
    let is_obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}
