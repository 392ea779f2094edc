//! `cervella bench embed`: passages and queries through the embedding model.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::cli::output;

/// Words of the measured texts; which ones does not matter to the model's speed.
const WORDS: &str = "the leave request of a colleague è approvata dal responsabile entro dieci giorni and then it is \
                     entered in the calendar della squadra insieme alle note sulla reperibilità ";

/// Measure the embedding model: passages of a given length, and short queries one by one.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct EmbedBench {
    /// Passages of a run
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..=4096))]
    passages: u16,
    /// Tokens of a passage, about
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u16).range(8..=480))]
    tokens: u16,
    /// Measured runs
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct EmbedFigures {
    model: String,
    passages_tok_s: f64,
    query_ms: f64,
    load_s: f64,
    passages: usize,
    tokens: usize,
    runs: usize,
}

impl EmbedBench {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let start = Instant::now();
        let embedder = app.embedder()?;
        let load_s = start.elapsed().as_secs_f64();
        let mut text = String::new();
        while embedder.count_tokens(&text) < usize::from(self.tokens) {
            let word = WORDS.split_whitespace().nth(text.split_whitespace().count() % 32).unwrap_or("e");
            text.push_str(word);
            text.push(' ');
        }
        let tokens = embedder.count_tokens(&text);
        let texts = vec![text; self.passages.into()];
        let (mut rates, mut queries) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            let start = Instant::now();
            embedder.passages(&texts)?;
            rates.push((tokens * texts.len()) as f64 / start.elapsed().as_secs_f64());
            for _ in 0..10 {
                let start = Instant::now();
                embedder.query("quanti giorni di ferie ho all'anno?")?;
                queries.push(start.elapsed().as_secs_f64() * 1000.0);
            }
        }
        let figures = EmbedFigures {
            model: embedder.model().name.clone(),
            passages_tok_s: super::median(rates),
            query_ms: super::median(queries),
            load_s,
            passages: texts.len(),
            tokens,
            runs: self.runs.into(),
        };
        if self.json {
            return output::json(&figures);
        }
        output::line(format!(
            "passages  {:>9.0} tokens/s ({} of {tokens} tokens)",
            figures.passages_tok_s,
            texts.len()
        ))?;
        output::line(format!("query     {:>9.2} ms", figures.query_ms))?;
        output::line(format!("loaded    {load_s:>9.2} s"))
    }
}
