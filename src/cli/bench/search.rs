//! `cervella bench search`: searching an index of any size, made up for the purpose.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::app::App;
use crate::cli::eval::{Percentiles, mean};
use crate::cli::output;
use crate::domain::{DEFAULT_COLLECTION, Language, Passage, PassageId};
use crate::retrieval::{
    EmbeddingModel, Generation, Hit, Hits, IndexStore, IndexedPassage, PassageVectors, SearchQuery, Weights, search_by,
};
use crate::telemetry;

/// Values of a vector, as the embedding model has them.
const DIMS: usize = 384;
/// Vectors gather around so many topics, as those of real texts do.
const TOPICS: usize = 512;
/// Hits of a search.
const TOP: usize = 10;
/// Searches that are repeated exactly.
const RECALL_RUNS: u16 = 100;
const WORDS: usize = 60_000;
const SYLLABLES: [&str; 16] =
    ["ba", "re", "mi", "to", "lu", "sca", "ne", "pro", "di", "fo", "gra", "vi", "ste", "cor", "pa", "len"];

/// Measure searching in an index of made-up passages, without the embedding of the query.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct SearchBench {
    /// Passages of the index
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=5_000_000))]
    passages: u32,
    /// Words of a passage
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u16).range(4..=400))]
    words: u16,
    /// Measured searches
    #[arg(long, value_name = "R", default_value_t = 500, value_parser = clap::value_parser!(u16).range(10..=10_000))]
    runs: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct SearchFigures {
    passages: u32,
    search_ms: Percentiles,
    dense_ms: Percentiles,
    lexical_ms: Percentiles,
    /// Share of the hits of an exact search that are found.
    recall: f64,
    build_s: f64,
    open_s: f64,
    disk_mb: u64,
    /// Mapped files included.
    peak_rss_mb: u64,
    runs: u16,
}

impl SearchBench {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        // Beside the real index, where there is room for one; a run that was killed is taken away by the next.
        let folder = app.data().join("bench-search");
        let measured = self.measure(&folder);
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        let figures = measured?;
        if self.json {
            return output::json(&figures);
        }
        let SearchFigures { passages, build_s, open_s, disk_mb, peak_rss_mb, .. } = figures;
        output::line(format!("{passages} passages, {disk_mb} MB, built in {build_s:.1} s, opened in {open_s:.2} s"))?;
        for (what, ms) in [("search", figures.search_ms), ("dense", figures.dense_ms), ("lexical", figures.lexical_ms)]
        {
            output::line(format!("{what:8} p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms", ms.p50, ms.p95, ms.p99))?;
        }
        output::line(format!("recall   {:.4} of the first {TOP} of an exact search", figures.recall))?;
        output::line(format!("memory   {peak_rss_mb} MB at most, mapped files included"))
    }

    fn measure(&self, folder: &Path) -> anyhow::Result<SearchFigures> {
        let store = IndexStore::new(folder);
        let mut random = Random::new();
        let start = Instant::now();
        drop(self.build(&store, &mut random)?);
        let build_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let generation = store.open_current()?;
        let open_s = start.elapsed().as_secs_f64();
        let (mut search, mut dense, mut lexical, mut recall) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..self.runs + 10 {
            let query = SearchQuery::new(random.text(8), TOP);
            let vector = random.vector();
            let hits = search_by(&generation, &query, || Ok(vector.clone()))?;
            if run < RECALL_RUNS {
                let weights = Weights { sketches: false, ..query.weights };
                let exact = search_by(&generation, &SearchQuery { weights, ..query }, || Ok(vector))?;
                recall.push(share_of(&exact, &hits));
            }
            // The first ones pay for cold caches.
            if run >= 10 {
                search.push(hits.timings.total);
                dense.push(hits.timings.dense);
                lexical.push(hits.timings.lexical);
            }
        }
        Ok(SearchFigures {
            passages: self.passages,
            search_ms: Percentiles::of(search),
            dense_ms: Percentiles::of(dense),
            lexical_ms: Percentiles::of(lexical),
            recall: mean(recall.into_iter()),
            build_s,
            open_s,
            disk_mb: generation.summary().bytes() / 1_000_000,
            peak_rss_mb: telemetry::peak_resident_mb().context("the peak memory cannot be read")?,
            runs: self.runs,
        })
    }

    fn build(&self, store: &IndexStore, random: &mut Random) -> anyhow::Result<Generation> {
        let model = EmbeddingModel { name: "made up".to_owned(), hash: String::new(), dims: DIMS };
        let mut builder = store.build(store.lock()?, &model, None)?;
        for at in 0..self.passages {
            let language = if at % 2 == 0 { Language::Italian } else { Language::English };
            let passage = Passage {
                id: PassageId(u128::from(at).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes()),
                collection: DEFAULT_COLLECTION.to_owned(),
                path: format!("{}.md", at / 4),
                title: random.text(4),
                headings: vec![random.text(3)],
                anchor: None,
                date: None,
                link: None,
                language,
                ordinal: at % 4,
                text: random.text(self.words.into()),
            };
            let vectors = PassageVectors { whole: random.vector(), parts: vec![random.vector(), random.vector()] };
            builder.add(&IndexedPassage::alone(passage), &vectors)?;
        }
        Ok(builder.prepare([], self.passages as usize / 4, b"{}")?.publish()?)
    }
}

/// Of the passages of `all`, how many are among `found`.
fn share_of(all: &Hits, found: &Hits) -> f64 {
    let is_found = |hit: &&Hit| found.hits.iter().any(|other| other.passage.id == hit.passage.id);
    all.hits.iter().filter(is_found).count() as f64 / all.hits.len().max(1) as f64
}

/// Words by Zipf's law, and vectors around topics; the same ones every time.
struct Random {
    source: StdRng,
    topics: Vec<Vec<f32>>,
}

impl Random {
    fn new() -> Self {
        let mut source = StdRng::seed_from_u64(7);
        let topics = (0..TOPICS).map(|_| (0..DIMS).map(|_| source.random_range(-1.0..1.0)).collect()).collect();
        Random { source, topics }
    }

    fn text(&mut self, words: usize) -> String {
        let words = (0..words).map(|_| {
            // The logarithm of a word's place is evenly spread.
            let place = (WORDS as f64).powf(self.source.random_range(0.0..1.0)) as usize;
            word(place)
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn vector(&mut self) -> Vec<f32> {
        let topic = &self.topics[self.source.random_range(0..TOPICS)];
        let mut vector: Vec<f32> = topic.iter().map(|value| value + self.source.random_range(-1.0..1.0)).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }
}

fn word(mut place: usize) -> String {
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[place % SYLLABLES.len()]);
        place /= SYLLABLES.len();
        if place == 0 {
            return word;
        }
    }
}
