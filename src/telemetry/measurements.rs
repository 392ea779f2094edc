//! What the service did and how it fared. No text, nobody's name.

use serde::{Deserialize, Serialize};

use super::day_files::Noted;
use crate::domain::{AnswerTimings, Language, TokenCounts, Verdict};

pub type Measurement = Noted<Measured>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Measured {
    /// From now on questions are taken.
    Started {
        /// Name of the model that writes; empty when answers are quotes.
        model: String,
        /// What loading the models and opening the index took.
        load_ms: f64,
    },
    Answered {
        /// `slack`, `telegram`, `page` or `terminal`.
        from: Origin,
        language: Language,
        verdict: Verdict,
        /// It was given before, and people confirmed it.
        is_copy: bool,
        /// Sentences of the model that no passage said.
        withheld: usize,
        ms: AnswerTimings,
        tokens: TokenCounts,
    },
    Failed {
        from: Origin,
    },
    /// The reader stopped it, went away, or the service stopped.
    Cancelled {
        from: Origin,
    },
    Rated {
        from: Origin,
        helpful: bool,
    },
    Indexed {
        is_done: bool,
        seconds: f64,
    },
    /// Told every minute while the service runs.
    Running {
        resident_mb: u64,
        peak_mb: u64,
    },
    Stopped,
}

/// Where a question came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Slack,
    Telegram,
    Page,
    Terminal,
}

impl Origin {
    pub const ALL: [Origin; 4] = [Origin::Slack, Origin::Telegram, Origin::Page, Origin::Terminal];

    pub fn name(self) -> &'static str {
        match self {
            Origin::Slack => "slack",
            Origin::Telegram => "telegram",
            Origin::Page => "page",
            Origin::Terminal => "terminal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_comes_back_as_it_was() {
        let timings = AnswerTimings { first_token: Some(812.5), total: 4000.0, ..AnswerTimings::default() };
        let tokens = TokenCounts { prompt: 300, budget: 400, cached: 120, generated: 60 };
        for event in [
            Measured::Started { model: "Llama".to_owned(), load_ms: 400.0 },
            Measured::Answered {
                from: Origin::Telegram,
                language: Language::Italian,
                verdict: Verdict::Abstained,
                is_copy: false,
                withheld: 2,
                ms: timings,
                tokens,
            },
            Measured::Failed { from: Origin::Page },
            Measured::Indexed { is_done: true, seconds: 3.5 },
            Measured::Running { resident_mb: 5000, peak_mb: 6000 },
            Measured::Stopped,
        ] {
            let told = Measurement { at: 1_790_000_000, event };
            let line = serde_json::to_string(&told).unwrap();
            assert_eq!(serde_json::from_str::<Measurement>(&line).unwrap(), told);
        }
    }
}
