//! `cervella bench generate`: how fast this machine reads prompts and writes answers.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

use crate::inference::{KvCache, Llama, ModelFile, Tokens, threads, warm_up};

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
    /// Sequences that are read one after the other and then written in turns, a token each; the figures are the
    /// tokens of all of them over the time. Today a step serves one sequence, so this shows what sharing the machine
    /// costs and no gain.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub streams: u32,
    /// Measured runs
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
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
    /// Until the file is checked and mapped and the tokenizer built.
    pub load_s: f64,
    /// Until the first forward pass is over, after which the engine runs at full speed.
    pub ready_s: f64,
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
        let model = Llama::load(&file)?;
        let load = start.elapsed();

        let capacity = prompt_tokens + new_tokens;
        let context_tokens = model.config().context_tokens;
        ensure!(capacity <= context_tokens, "{capacity} tokens do not fit the model's context of {context_tokens}");
        let mut caches =
            (0..self.streams).map(|_| KvCache::new(model.config(), capacity)).collect::<Result<Vec<_>, _>>()?;
        warm_up(&model, &mut caches[0])?;
        let ready = start.elapsed();

        let tokens = pattern(prompt_tokens, model.config().vocabulary_size)?;
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for run in 0..=self.runs {
            let (read, wrote) = one_run(&model, &mut caches, &tokens, new_tokens)?;
            if run > 0 {
                prefill.push((prompt_tokens * caches.len()) as f64 / read.as_secs_f64());
                decode.push((new_tokens * caches.len()) as f64 / wrote.as_secs_f64());
            }
        }
        Ok(GenerateFigures {
            engine: "cervella",
            prefill_tok_s: hundredths(super::median(prefill)),
            decode_tok_s: hundredths(super::median(decode)),
            load_s: hundredths(load.as_secs_f64()),
            ready_s: hundredths(ready.as_secs_f64()),
            peak_rss_mb: peak_rss_mb().context("the peak memory cannot be read from /proc/self/status")?,
            threads: threads(),
            prompt_tokens,
            new_tokens,
            streams: caches.len(),
            runs: self.runs as usize,
        })
    }
}

/// Time to read the prompt into every cache, and to write the new tokens in turns.
fn one_run(
    model: &Llama,
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
        for cache in caches.iter_mut() {
            model.forward(&[tokens[step % tokens.len()]], cache)?;
        }
    }
    Ok((read, start.elapsed() - read))
}

/// Tokens spread over the vocabulary, away from its special ends.
fn pattern(count: usize, vocabulary_size: usize) -> anyhow::Result<Vec<u32>> {
    ensure!(vocabulary_size > 4000, "a vocabulary of {vocabulary_size} tokens is too small to measure with");
    Ok((0..count).map(|index| ((1000 + index * 37) % (vocabulary_size - 2000)) as u32).collect())
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Highest resident memory of this process so far (`VmHWM`).
fn peak_rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
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
