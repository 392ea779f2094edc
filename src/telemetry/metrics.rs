//! The same events as numbers for Prometheus, in the text form of OpenMetrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::measurements::{Measured, Origin};
use super::recent::errors_by_room;
use super::{peak_resident_mb, resident_mb};
use crate::domain::{AnswerTimings, TokenCounts, Verdict};

/// From what a reader does not notice to what nobody waits for.
const SECONDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 180.0];
const TOKENS_PER_SECOND: [f64; 11] = [1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 50.0, 100.0, 200.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// How the service stands at the moment it is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub questions_in_work: usize,
    /// `None`: nothing is loaded yet.
    pub index: Option<IndexStanding>,
    /// `None`: nothing is read ahead.
    pub read_ahead: Option<ReadAheadStanding>,
    /// Its parts do their work.
    pub is_well: bool,
    /// Each platform that is set up, and whether it is connected.
    pub connections: Vec<(Origin, bool)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStanding {
    pub documents: usize,
    pub passages: usize,
    /// Unix time in seconds.
    pub built_at: u64,
}

/// Passages that the model reads before anybody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadAheadStanding {
    pub kept: usize,
    pub kept_bytes: u64,
    pub waiting: usize,
}

#[derive(Debug)]
pub(super) struct Metrics {
    questions: Family<Labels<2>, Counter>,
    confirmed: Counter,
    withheld: Counter,
    ratings: Family<Labels<2>, Counter>,
    index_runs: Family<Labels<1>, Counter>,
    prompt_tokens: Family<Labels<1>, Counter>,
    generated_tokens: Counter,
    retrieve: Histogram,
    added: Histogram,
    first_text: Histogram,
    wait: Histogram,
    first_token: Histogram,
    total: Histogram,
    speed: Histogram,
    index_run: Histogram,
    load_seconds: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(SECONDS);
        let metrics = Metrics {
            questions: Family::default(),
            confirmed: Counter::default(),
            withheld: Counter::default(),
            ratings: Family::default(),
            index_runs: Family::default(),
            prompt_tokens: Family::default(),
            generated_tokens: Counter::default(),
            retrieve: seconds(),
            added: seconds(),
            first_text: seconds(),
            wait: seconds(),
            first_token: seconds(),
            total: seconds(),
            speed: Histogram::new(TOKENS_PER_SECOND),
            index_run: seconds(),
            load_seconds: Gauge::default(),
        };
        // All are there from the start: of one that appears at 1, Prometheus sees no increase.
        for from in Origin::ALL.map(Origin::name) {
            for outcome in ["answered", "abstained", "failed", "cancelled"] {
                metrics.questions.get_or_create(&[("from", from), ("outcome", outcome)]).inc_by(0);
            }
            for verdict in ["helpful", "not_helpful"] {
                metrics.ratings.get_or_create(&[("from", from), ("verdict", verdict)]).inc_by(0);
            }
        }
        for outcome in ["done", "failed"] {
            metrics.index_runs.get_or_create(&[("outcome", outcome)]).inc_by(0);
        }
        metrics
    }
}

impl Metrics {
    pub(super) fn count(&self, event: &Measured) {
        match event {
            Measured::Started { load_ms, .. } => {
                self.load_seconds.set(load_ms / 1000.0);
            }
            Measured::Answered { from, verdict, is_copy, withheld, ms, tokens, .. } => {
                let outcome = if *verdict == Verdict::Answered { "answered" } else { "abstained" };
                self.question(*from, outcome);
                self.confirmed.inc_by(u64::from(*is_copy));
                self.withheld.inc_by(*withheld as u64);
                self.times(ms, tokens);
            }
            Measured::Failed { from } => self.question(*from, "failed"),
            Measured::Cancelled { from } => self.question(*from, "cancelled"),
            Measured::Rated { from, helpful } => {
                let verdict = if *helpful { "helpful" } else { "not_helpful" };
                self.ratings.get_or_create(&[("from", from.name()), ("verdict", verdict)]).inc();
            }
            Measured::Indexed { is_done, seconds } => {
                let outcome = if *is_done { "done" } else { "failed" };
                self.index_runs.get_or_create(&[("outcome", outcome)]).inc();
                self.index_run.observe(*seconds);
            }
            Measured::Running { .. } | Measured::Stopped => {}
        }
    }

    fn question(&self, from: Origin, outcome: &'static str) {
        self.questions.get_or_create(&[("from", from.name()), ("outcome", outcome)]).inc();
    }

    fn times(&self, ms: &AnswerTimings, tokens: &TokenCounts) {
        let of = |histogram: &Histogram, ms: f64| histogram.observe(ms / 1000.0);
        of(&self.retrieve, ms.retrieve);
        of(&self.added, ms.added);
        of(&self.first_text, ms.first_text);
        of(&self.total, ms.total);
        ms.wait.into_iter().for_each(|ms| of(&self.wait, ms));
        ms.first_token.into_iter().for_each(|ms| of(&self.first_token, ms));
        tokens_per_second(ms, tokens).into_iter().for_each(|speed| self.speed.observe(speed));
        let read = tokens.prompt.saturating_sub(tokens.cached);
        self.prompt_tokens.get_or_create(&[("kept", "no")]).inc_by(read as u64);
        self.prompt_tokens.get_or_create(&[("kept", "yes")]).inc_by(tokens.cached as u64);
        self.generated_tokens.inc_by(tokens.generated as u64);
    }

    /// All of it as text.
    pub(super) fn render(&self, standing: &Standing) -> String {
        let mut registry = Registry::with_prefix("cervella");
        let seconds = [
            ("retrieve", "Until passages were found", &self.retrieve),
            ("gate_and_check", "What gate and check added to the writing", &self.added),
            ("first_text", "Until the reader saw the first text", &self.first_text),
            ("model_wait", "How long questions waited for the model", &self.wait),
            ("first_token", "Until the model's first token", &self.first_token),
            ("answer", "Until the answer was whole", &self.total),
            ("index_run", "What index runs took", &self.index_run),
        ];
        for (name, help, histogram) in seconds {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register("tokens_per_second", "How fast the model wrote, of each answer", self.speed.clone());
        registry.register("questions", "Questions by where they came from and how they ended", self.questions.clone());
        registry.register("confirmed_answers", "Answers given again that people confirmed", self.confirmed.clone());
        registry.register("withheld_sentences", "Sentences of the model that no passage says", self.withheld.clone());
        registry.register("ratings", "What people said of answers", self.ratings.clone());
        registry.register("index_runs", "Index runs by how they ended", self.index_runs.clone());
        registry.register("prompt_tokens", "Tokens of prompts, read or kept from before", self.prompt_tokens.clone());
        registry.register("generated_tokens", "Tokens that the model wrote", self.generated_tokens.clone());
        registry.register_with_unit(
            "model_load",
            "What loading the models and opening the index took",
            Unit::Seconds,
            self.load_seconds.clone(),
        );
        let errors = Family::<Labels<1>, Counter>::default();
        for (room, count) in errors_by_room() {
            errors.get_or_create(&[("room", room)]).inc_by(count);
        }
        registry.register("errors", "Errors that were logged, by room", errors);
        let mut gauge = |name: &str, help: &str, value: u64| {
            registry.register(name, help, ConstGauge::new(value));
        };
        let bytes = |mb: Option<u64>| mb.unwrap_or_default() << 20;
        gauge("resident_memory_bytes", "Memory of the process", bytes(resident_mb()));
        gauge("resident_memory_peak_bytes", "Most memory that the process had", bytes(peak_resident_mb()));
        gauge("questions_in_work", "Questions in work or waiting", standing.questions_in_work as u64);
        let is_ready = standing.is_well && standing.index.is_some();
        gauge("ready", "Whether questions are answered", u64::from(is_ready));
        if let Some(index) = standing.index {
            gauge("index_documents", "Documents in the index", index.documents as u64);
            gauge("index_passages", "Passages in the index", index.passages as u64);
            gauge("index_built_timestamp_seconds", "When the index was built", index.built_at);
        }
        if let Some(ahead) = standing.read_ahead {
            gauge("passages_read_ahead", "Passages that the model has read before anybody asks", ahead.kept as u64);
            gauge("passages_read_ahead_bytes", "What is kept of them, on the disk", ahead.kept_bytes);
            gauge("passages_to_read_ahead", "Passages that wait to be read", ahead.waiting as u64);
        }
        let connected = Family::<Labels<1>, Gauge>::default();
        for (platform, is_connected) in &standing.connections {
            connected.get_or_create(&[("platform", platform.name())]).set(i64::from(*is_connected));
        }
        registry.register("connected", "Whether a chat platform is connected", connected);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// How fast the model wrote; `None`: it wrote next to nothing.
pub fn tokens_per_second(ms: &AnswerTimings, tokens: &TokenCounts) -> Option<f64> {
    let writing = (ms.total - ms.first_token?) / 1000.0;
    (tokens.generated > 1 && writing > 0.0).then(|| (tokens.generated - 1) as f64 / writing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Language;

    /// After a little of everything.
    fn busy() -> Metrics {
        let metrics = Metrics::default();
        let answered = |verdict| Measured::Answered {
            from: Origin::Slack,
            language: Language::Italian,
            verdict,
            is_copy: false,
            withheld: 2,
            ms: AnswerTimings { first_token: Some(1000.0), total: 3000.0, ..AnswerTimings::default() },
            tokens: TokenCounts { prompt: 300, budget: 400, cached: 100, generated: 41 },
        };
        metrics.count(&answered(Verdict::Answered));
        metrics.count(&answered(Verdict::Abstained));
        metrics.count(&Measured::Failed { from: Origin::Page });
        metrics.count(&Measured::Rated { from: Origin::Telegram, helpful: false });
        metrics.count(&Measured::Indexed { is_done: true, seconds: 12.0 });
        metrics.count(&Measured::Started { model: "Llama".to_owned(), load_ms: 400.0 });
        metrics
    }

    #[test]
    fn what_happened_is_counted() {
        let metrics = busy();
        let index = Some(IndexStanding { documents: 3, passages: 9, built_at: 1_790_000_000 });
        let text = metrics.render(&Standing {
            questions_in_work: 2,
            index,
            read_ahead: Some(ReadAheadStanding { kept: 7, kept_bytes: 900, waiting: 4 }),
            is_well: true,
            connections: vec![(Origin::Slack, true)],
        });
        for line in [
            r#"cervella_questions_total{from="slack",outcome="answered"} 1"#,
            r#"cervella_questions_total{from="slack",outcome="abstained"} 1"#,
            r#"cervella_questions_total{from="page",outcome="failed"} 1"#,
            r#"cervella_ratings_total{from="telegram",verdict="not_helpful"} 1"#,
            "cervella_withheld_sentences_total 4",
            "cervella_generated_tokens_total 82",
            r#"cervella_prompt_tokens_total{kept="no"} 400"#,
            "cervella_answer_seconds_sum 6.0",
            r#"cervella_tokens_per_second_bucket{le="20.0"} 2"#,
            "cervella_model_load_seconds 0.4",
            "cervella_questions_in_work 2",
            "cervella_index_passages 9",
            "cervella_passages_read_ahead 7",
            "cervella_passages_to_read_ahead 4",
            r#"cervella_connected{platform="slack"} 1"#,
            "cervella_ready 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn dashboard_and_alerts_ask_for_what_there_is() {
        let connections = vec![(Origin::Slack, true)];
        let standing = Standing { index: Some(IndexStanding::default()), connections, ..Standing::default() };
        // Errors are counted for the whole process, so there may be none yet.
        let text = format!("{}# TYPE cervella_errors counter\n", busy().render(&standing));
        let asked = concat!(
            include_str!("../../docs/monitoring/grafana.json"),
            include_str!("../../docs/monitoring/alerts.yml")
        );
        let names =
            asked.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|name| name.starts_with("cervella_"));
        let mut known = 0;
        for name in names {
            let family = name.trim_end_matches("_total").trim_end_matches("_bucket");
            assert!(text.contains(&format!("# TYPE {family} ")), "{name} is not in\n{text}");
            known += 1;
        }
        assert!(known > 20);
    }
}
