//! `cervella bench generate`: how fast this machine reads prompts and writes answers.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

use crate::inference::{Feed, KvCache, KvFormat, Llama, ModelFile, Tokens, Wanted, threads};
use crate::telemetry;

/// Measure prefill (reading a prompt) and decode (writing an answer) of a GGUF model.
///
/// Tokens are a fixed pattern, so nothing is sampled and every run does the same work. Each figure is the median of
/// the runs after one that warms up.
#[derive(Args, Clone, Debug)]
pub struct GenerateBench {
    /// GGUF file of the model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub prompt_tokens: u32,
    /// Tokens to write
    #[arg(long, value_name = "M", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub new_tokens: u32,
    /// Sequences that are read one after the other and then written together, a token of each in every step; the
    /// figures are the tokens of all of them over the time
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub streams: u32,
    /// Measured runs
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Hold keys and values in 8 bits instead of 16
    #[arg(long)]
    pub kv_int8: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Figures of a run of [`GenerateBench`]; this is what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct GenerateFigures {
    pub engine: &'static str,
    pub prefill_tok_s: f64,
    pub decode_tok_s: f64,
    /// Until the tokenizer is built and the weights are packed, or found packed, and mapped.
    pub load_s: f64,
    /// Until the first forward pass is over, after which the engine runs at full speed.
    pub ready_s: f64,
    /// What all threads together read of memory in a second, measured beside the decode figure: its bound is this over
    /// the bytes of the weights.
    pub memory_gb_s: f64,
    pub peak_rss_mb: u64,
    pub threads: usize,
    pub prompt_tokens: usize,
    pub new_tokens: usize,
    pub streams: usize,
    pub runs: usize,
}

impl GenerateBench {
    /// Measures and prints.
    ///
    /// # Errors
    /// The model cannot be loaded, or prompt and answer do not fit its context.
    pub fn run(&self) -> anyhow::Result<()> {
        let figures = self.measure()?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&figures)?)?;
            return Ok(());
        }
        writeln!(out, "prefill   {:>9.2} tokens/s ({} tokens)", figures.prefill_tok_s, figures.prompt_tokens)?;
        writeln!(out, "decode    {:>9.2} tokens/s ({} tokens)", figures.decode_tok_s, figures.new_tokens)?;
        writeln!(out, "bandwidth {:>9.2} GB/s", figures.memory_gb_s)?;
        writeln!(out, "loaded    {:>9.2} s, ready after {:.2} s", figures.load_s, figures.ready_s)?;
        writeln!(out, "memory    {:>9} MB at most", figures.peak_rss_mb)?;
        writeln!(out, "threads {}, streams {}, median of {}", figures.threads, figures.streams, figures.runs)?;
        Ok(())
    }

    /// Measures.
    ///
    /// # Errors
    /// See [`run`](Self::run).
    pub fn measure(&self) -> anyhow::Result<GenerateFigures> {
        let (prompt_tokens, new_tokens) = (self.prompt_tokens as usize, self.new_tokens as usize);
        let start = Instant::now();
        let file = ModelFile::open(&self.model)?;
        Tokens::read(&file)?;
        let mut model = Llama::load(&file)?;
        let load = start.elapsed();

        let capacity = prompt_tokens + new_tokens;
        let context_tokens = model.config().context_tokens;
        ensure!(capacity <= context_tokens, "{capacity} tokens do not fit the model's context of {context_tokens}");
        let format = if self.kv_int8 { KvFormat::Int8 } else { KvFormat::F16 };
        let cache = |_| KvCache::new(model.config(), capacity, format);
        let mut caches = (0..self.streams).map(cache).collect::<Result<Vec<_>, _>>()?;
        model.forward(&[0], &mut caches[0])?;
        let ready = start.elapsed();

        let tokens = pattern(prompt_tokens, model.config().vocabulary_size)?;
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for run in 0..=self.runs {
            let (read, wrote) = one_run(&mut model, &mut caches, &tokens, new_tokens)?;
            if run > 0 {
                prefill.push((prompt_tokens * caches.len()) as f64 / read.as_secs_f64());
                decode.push((new_tokens * caches.len()) as f64 / wrote.as_secs_f64());
            }
        }
        // Before the buffer of this measurement is taken.
        let peak_rss_mb =
            telemetry::peak_resident_mb().context("the peak memory cannot be read from /proc/self/status")?;
        let memory_gb_s = hundredths(memory_gb_s());
        Ok(GenerateFigures {
            engine: "cervella",
            prefill_tok_s: hundredths(super::median(prefill)),
            decode_tok_s: hundredths(super::median(decode)),
            load_s: hundredths(load.as_secs_f64()),
            ready_s: hundredths(ready.as_secs_f64()),
            memory_gb_s,
            peak_rss_mb,
            threads: threads(),
            prompt_tokens,
            new_tokens,
            streams: caches.len(),
            runs: self.runs as usize,
        })
    }
}

/// Time to read the prompt into every cache, and to write the new tokens of all of them together.
fn one_run(
    model: &mut Llama,
    caches: &mut [KvCache],
    tokens: &[u32],
    new_tokens: usize,
) -> anyhow::Result<(Duration, Duration)> {
    let start = Instant::now();
    for cache in caches.iter_mut() {
        cache.truncate(0);
        model.forward(tokens, cache)?;
    }
    let read = start.elapsed();
    for step in 0..new_tokens {
        let next = [tokens[step % tokens.len()]];
        let feed = |cache| Feed::new(cache, &next, Wanted::Last);
        let mut feeds: Vec<Feed<'_>> = caches.iter_mut().map(feed).collect();
        model.step(&mut feeds, &|| true)?;
    }
    Ok((read, start.elapsed() - read))
}

/// Tokens spread over the vocabulary, away from its special ends.
fn pattern(count: usize, vocabulary_size: usize) -> anyhow::Result<Vec<u32>> {
    ensure!(vocabulary_size > 4000, "a vocabulary of {vocabulary_size} tokens is too small to measure with");
    Ok((0..count).map(|index| ((1000 + index * 37) % (vocabulary_size - 2000)) as u32).collect())
}

/// Reads memory with all threads, several times what caches hold; the best of three.
fn memory_gb_s() -> f64 {
    const WORDS: usize = 32 << 20;
    let words = vec![1u64; WORDS];
    let part = WORDS / threads();
    let read = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(part) {
                scope.spawn(move || std::hint::black_box(part.iter().fold(0u64, |sum, word| sum ^ word)));
            }
        });
        (WORDS * size_of::<u64>()) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..3).map(|_| read()).fold(0.0, f64::max)
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_stays_inside_the_vocabulary() {
        assert_eq!(pattern(3, 49152).unwrap(), [1000, 1037, 1074]);
        assert!(pattern(10_000, 5000).unwrap().iter().all(|&token| token < 3000));
        assert!(pattern(1, 100).is_err());
    }
}
