//! `cervella report`: how the service fared, from what it measured. Works while it runs, and after.

mod withheld;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::eval::Percentiles;
use super::output;
use crate::app::App;
use crate::chat::clock;
use crate::domain::Verdict;
use crate::telemetry::{Found, Measured, Measurement, noted_since, tokens_per_second};

/// The service tells every minute that it runs; after a longer silence it did not.
const SILENCE_MAX_S: i64 = 150;

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// How far to look back: a number with `m`, `h` or `d`
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span)]
    since: Duration,
    /// Print the sentences that the model wrote and no passage said, with their questions, instead
    #[arg(long)]
    withheld: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What the measurements come to.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Report {
    /// Unix times in seconds.
    from: i64,
    to: i64,
    questions: usize,
    answered: usize,
    /// The documents did not say.
    abstained: usize,
    failed: usize,
    /// The reader stopped them or went away.
    cancelled: usize,
    /// Share of the questions that were neither, of those that were not cancelled, that ended with an answer or the word that
    /// the documents do not say.
    completion_rate: Option<f64>,
    /// Answers given again that people confirmed.
    confirmed: usize,
    withheld_sentences: usize,
    /// Milliseconds.
    first_text_ms: Option<Percentiles>,
    wait_ms: Option<Percentiles>,
    first_token_ms: Option<Percentiles>,
    answer_ms: Option<Percentiles>,
    tokens_per_second: Option<Percentiles>,
    generated_tokens: usize,
    prompt_tokens: usize,
    /// Of those, the ones that did not have to be read again.
    cached_prompt_tokens: usize,
    ratings: usize,
    helpful: usize,
    satisfaction: Option<f64>,
    memory_average_mb: Option<f64>,
    memory_peak_mb: Option<u64>,
    model: Option<String>,
    /// Of the last start.
    model_load_ms: Option<f64>,
    starts: usize,
    /// Share of the time since the first measurement in which the service ran.
    uptime: Option<f64>,
    index_runs: usize,
    index_runs_failed: usize,
    /// Nothing that is paid for each answer is called.
    cost_per_answer: f64,
    /// Lines of the files that could not be read.
    left_out: usize,
}

impl ReportArguments {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let now = clock::now();
        let since = now.saturating_sub(self.since.as_secs() as i64);
        if self.withheld {
            return withheld::print(app, since, self.json);
        }
        let folder = app.measurements();
        let mut tally = Tally::default();
        let Found { left_out, has_older } = noted_since(&folder, since, |measurement| tally.add(measurement))
            .with_context(|| format!("what was measured cannot be read from {}", folder.display()))?;
        if has_older {
            // It was not silent because there was nothing yet.
            tally.first = Some(since);
        }
        let report = Report { left_out, ..tally.report(since, now) };
        if self.json { output::json(&report) } else { print(&report) }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    let seconds = |unit: char| match unit {
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let unit = text.chars().last().and_then(seconds);
    let number = unit.and_then(|_| text[..text.len() - 1].parse::<u32>().ok()).filter(|&number| number > 0);
    let (unit, number) = unit.zip(number).ok_or_else(|| "say a number with m, h or d, such as 7d".to_owned())?;
    Ok(Duration::from_secs(unit * u64::from(number)))
}

/// What is needed of the measurements.
#[derive(Default)]
struct Tally {
    report: Report,
    first_text: Vec<f64>,
    wait: Vec<f64>,
    first_token: Vec<f64>,
    answer: Vec<f64>,
    speed: Vec<f64>,
    memory: Vec<f64>,
    first: Option<i64>,
    /// The service ran then.
    alive: Option<i64>,
    up: i64,
}

impl Tally {
    fn add(&mut self, Measurement { at, event }: Measurement) {
        let report = &mut self.report;
        self.first.get_or_insert(at);
        let since_alive = self.alive.map(|alive| at - alive);
        self.up += since_alive.filter(|since| (0..=SILENCE_MAX_S).contains(since)).unwrap_or_default();
        self.alive = Some(at);
        match event {
            Measured::Started { model, load_ms } => {
                report.starts += 1;
                (report.model, report.model_load_ms) = (Some(model), Some(load_ms));
            }
            Measured::Answered { verdict, is_copy, withheld, ms, tokens, .. } => {
                *(if verdict == Verdict::Answered { &mut report.answered } else { &mut report.abstained }) += 1;
                report.confirmed += usize::from(is_copy);
                report.withheld_sentences += withheld;
                report.generated_tokens += tokens.generated;
                report.prompt_tokens += tokens.prompt;
                report.cached_prompt_tokens += tokens.cached;
                self.first_text.push(ms.first_text);
                self.answer.push(ms.total);
                self.wait.extend(ms.wait);
                self.first_token.extend(ms.first_token);
                self.speed.extend(tokens_per_second(&ms, &tokens));
            }
            Measured::Failed { .. } => report.failed += 1,
            Measured::Cancelled { .. } => report.cancelled += 1,
            Measured::Rated { helpful, .. } => {
                report.ratings += 1;
                report.helpful += usize::from(helpful);
            }
            Measured::Indexed { is_done, .. } => {
                report.index_runs += 1;
                report.index_runs_failed += usize::from(!is_done);
            }
            Measured::Running { resident_mb, peak_mb } => {
                self.memory.push(resident_mb as f64);
                report.memory_peak_mb = report.memory_peak_mb.max(Some(peak_mb));
            }
            Measured::Stopped => self.alive = None,
        }
    }

    fn report(self, from: i64, to: i64) -> Report {
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        let percentiles = |values: Vec<f64>| (!values.is_empty()).then(|| Percentiles::of(values));
        let report = self.report;
        let ended = report.answered + report.abstained;
        let after_last = self.alive.map_or(0, |alive| to - alive);
        let up = self.up + if (0..=SILENCE_MAX_S).contains(&after_last) { after_last } else { 0 };
        let memory = self.memory.iter().sum::<f64>() / self.memory.len().max(1) as f64;
        Report {
            from,
            to,
            questions: ended + report.failed + report.cancelled,
            completion_rate: share(ended, ended + report.failed),
            satisfaction: share(report.helpful, report.ratings),
            first_text_ms: percentiles(self.first_text),
            wait_ms: percentiles(self.wait),
            first_token_ms: percentiles(self.first_token),
            answer_ms: percentiles(self.answer),
            tokens_per_second: percentiles(self.speed),
            memory_average_mb: (!self.memory.is_empty()).then_some(memory),
            uptime: self.first.filter(|&first| first < to).map(|first| up as f64 / (to - first) as f64),
            ..report
        }
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    if report.starts == 0 && report.questions == 0 && report.memory_peak_mb.is_none() {
        return output::line("nothing was measured in this time: `cervella serve` measures while it runs");
    }
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let or_none = |told: Option<String>| told.unwrap_or_else(|| "none".to_owned());
    let seconds = |ms: Option<Percentiles>| {
        or_none(ms.map(|ms| {
            let [p50, p95, p99] = [ms.p50, ms.p95, ms.p99].map(|ms| ms / 1000.0);
            format!("p50 {p50:.2} s, p95 {p95:.2} s, p99 {p99:.2} s")
        }))
    };
    let ended = format!(
        "{}: {} answered, {} not in the documents, {} failed, {} cancelled",
        report.questions, report.answered, report.abstained, report.failed, report.cancelled
    );
    let rated = report.satisfaction.map(|share| format!("{} of {} ratings", percent(share), report.ratings));
    let read = format!(
        "{} written; prompts {}, of which {} were kept from before",
        report.generated_tokens, report.prompt_tokens, report.cached_prompt_tokens
    );
    let memory = report.memory_peak_mb.zip(report.memory_average_mb);
    let model = report.model.as_deref().map(|model| if model.is_empty() { "none: answers are quotes" } else { model });
    let loaded = report.model_load_ms.map(|ms| format!("{:.1} s, {} starts", ms / 1000.0, report.starts));
    let runs = format!("{}, {} of them failed", report.index_runs, report.index_runs_failed);
    let lines = [
        ("time", format!("the last {}", output::age((report.to - report.from).max(0) as u64))),
        ("questions", ended),
        ("completion rate", or_none(report.completion_rate.map(percent))),
        ("satisfaction", or_none(rated)),
        ("first text", seconds(report.first_text_ms)),
        ("wait for the model", seconds(report.wait_ms)),
        ("first token", seconds(report.first_token_ms)),
        ("whole answer", seconds(report.answer_ms)),
        ("tokens a second", or_none(report.tokens_per_second.map(|speed| format!("p50 {:.1}", speed.p50)))),
        ("tokens", read),
        ("withheld sentences", report.withheld_sentences.to_string()),
        ("confirmed answers", format!("{} given again", report.confirmed)),
        ("memory", or_none(memory.map(|(peak, average)| format!("peak {peak} MB, average {average:.0} MB")))),
        ("model", or_none(model.map(str::to_owned))),
        ("load time", or_none(loaded)),
        ("uptime", or_none(report.uptime.map(percent))),
        ("index runs", runs),
        ("cost per answer", "0: nothing that is paid for is called".to_owned()),
    ];
    for (name, told) in lines {
        output::line(format!("{name:<20} {told}"))?;
    }
    if report.left_out > 0 {
        eprintln!("{} lines could not be read and were left out", report.left_out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AnswerTimings, Language, TokenCounts};
    use crate::telemetry::Origin;

    fn answered(verdict: Verdict, total: f64) -> Measured {
        Measured::Answered {
            from: Origin::Slack,
            language: Language::English,
            verdict,
            is_copy: false,
            withheld: 1,
            ms: AnswerTimings { first_text: 200.0, first_token: Some(1000.0), total, ..AnswerTimings::default() },
            tokens: TokenCounts { prompt: 300, budget: 400, cached: 100, generated: 41 },
        }
    }

    #[test]
    fn a_week_comes_to_its_figures() {
        let mut tally = Tally::default();
        let running = |resident_mb| Measured::Running { resident_mb, peak_mb: resident_mb + 100 };
        let events = [
            (0, Measured::Started { model: "Llama".to_owned(), load_ms: 400.0 }),
            (60, running(5000)),
            (60, answered(Verdict::Answered, 3000.0)),
            (120, running(6000)),
            (120, answered(Verdict::Abstained, 5000.0)),
            (120, Measured::Failed { from: Origin::Page }),
            (150, Measured::Cancelled { from: Origin::Page }),
            (160, Measured::Rated { from: Origin::Slack, helpful: true }),
            // Gone for ten minutes.
            (760, Measured::Started { model: "Llama".to_owned(), load_ms: 300.0 }),
            (800, Measured::Stopped),
        ];
        for (at, event) in events {
            tally.add(Measurement { at, event });
        }
        let report = tally.report(0, 1000);
        assert_eq!((report.questions, report.answered, report.abstained), (4, 1, 1));
        assert_eq!((report.completion_rate, report.satisfaction), (Some(2.0 / 3.0), Some(1.0)));
        assert_eq!((report.memory_average_mb, report.memory_peak_mb), (Some(5500.0), Some(6100)));
        assert_eq!((report.starts, report.model_load_ms, report.uptime), (2, Some(300.0), Some(0.2)));
        assert_eq!(report.answer_ms.map(|ms| ms.p99), Some(5000.0));
        assert_eq!(report.tokens_per_second.map(|speed| speed.p99), Some(20.0));
        assert_eq!(Tally::default().report(0, 1000).uptime, None);
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(span("90m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "d", "7", "0d", "-1d", "1.5h", "7w", "7é"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
