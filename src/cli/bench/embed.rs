//! `cervella bench embed`: passages and queries through the embedding model.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::app::App;
use crate::cli::output;
use crate::retrieval::{IndexedPassage, Precision};

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
    /// Compare with the model in 32 bits, in turns, on passages of the index
    #[arg(long)]
    compare: bool,
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

#[derive(Serialize)]
struct ComparedFigures {
    f32_tok_s: f64,
    int8_tok_s: f64,
    ratio: f64,
    cosine_mean: f64,
    cosine_least: f64,
    passages: usize,
    tokens: usize,
    runs: usize,
}

impl EmbedBench {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        if self.compare {
            return self.run_compared(app);
        }
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

    fn run_compared(self, app: &App) -> anyhow::Result<()> {
        let exact = app.embedder_with(Precision::F32)?;
        let int8 = app.embedder_with(Precision::Int8)?;
        let passages = app.index_store().open_current()?.sample(self.passages.into())?;
        let texts: Vec<String> = passages.iter().map(IndexedPassage::text_to_embed).collect();
        let tokens: usize = texts.iter().map(|text| int8.count_tokens(text)).sum();
        let (mut of_exact, mut of_int8) = (Vec::new(), Vec::new());
        let mut cosines = Vec::new();
        for _ in 0..self.runs {
            let start = Instant::now();
            let exact = exact.passages(&texts)?;
            of_exact.push(tokens as f64 / start.elapsed().as_secs_f64());
            let start = Instant::now();
            let int8 = int8.passages(&texts)?;
            of_int8.push(tokens as f64 / start.elapsed().as_secs_f64());
            cosines = exact.iter().zip(&int8).map(|(a, b)| a.iter().zip(b).map(|(x, y)| x * y).sum()).collect();
        }
        cosines.sort_by(f32::total_cmp);
        let (f32_tok_s, int8_tok_s) = (super::median(of_exact), super::median(of_int8));
        let figures = ComparedFigures {
            f32_tok_s,
            int8_tok_s,
            ratio: int8_tok_s / f32_tok_s,
            cosine_mean: f64::from(cosines.iter().sum::<f32>()) / cosines.len().max(1) as f64,
            cosine_least: f64::from(cosines.first().copied().unwrap_or_default()),
            passages: texts.len(),
            tokens,
            runs: self.runs.into(),
        };
        if self.json {
            return output::json(&figures);
        }
        output::line(format!("32 bits   {f32_tok_s:>9.0} tokens/s ({} passages, {tokens} tokens)", texts.len()))?;
        output::line(format!("8 bits    {int8_tok_s:>9.0} tokens/s, {:.2} times as many", figures.ratio))?;
        output::line(format!("cosine    {:>9.4} on average, {:.4} at least", figures.cosine_mean, figures.cosine_least))
    }
}
