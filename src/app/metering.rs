//! What questions came to, from whoever answers to whoever measures.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::answer::{Ending, Observer};
use crate::domain::{Answer, Chat, Platform, Principal, Question, Reader};
use crate::telemetry::{self, Measured, Meter, Origin, Withheld};

/// How often the memory of the process is noted.
const EVERY: Duration = Duration::from_secs(60);

impl Observer for Meter {
    fn ended(&self, question: &Question, trace_id: &str, ending: Ending<'_>) {
        let from = match &question.reader {
            Reader::Chat(Chat { platform, .. }) | Reader::Person(Principal { platform, .. }) => origin(*platform),
            Reader::Page => Origin::Page,
            Reader::Operator | Reader::Anybody => Origin::Terminal,
        };
        if let Ending::Answered(Answer { question: looked_for, language, withheld, .. }) = ending {
            let question = looked_for.as_ref().unwrap_or(&question.text);
            for sentence in withheld {
                self.keep(Withheld::new(trace_id, question, *language, sentence));
            }
        }
        self.note(match ending {
            Ending::Answered(answer) => Measured::Answered {
                from,
                language: answer.language,
                verdict: answer.verdict,
                is_copy: answer.copy_of.is_some(),
                withheld: answer.withheld.len(),
                ms: answer.timings_ms,
                tokens: answer.tokens,
            },
            Ending::Failed => Measured::Failed { from },
            Ending::Cancelled => Measured::Cancelled { from },
        });
    }
}

pub(super) fn origin(platform: Platform) -> Origin {
    match platform {
        Platform::Slack => Origin::Slack,
        Platform::Telegram => Origin::Telegram,
    }
}

/// Notes regularly that the service runs, until `stop` is cancelled.
pub async fn note_running(meter: Arc<Meter>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (resident, peak) = (telemetry::resident_mb(), telemetry::peak_resident_mb());
        let (resident_mb, peak_mb) = (resident.unwrap_or_default(), peak.unwrap_or_default());
        meter.note(Measured::Running { resident_mb, peak_mb });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AnswerTimings, Language, TokenCounts, Verdict};
    use crate::telemetry::{DayFiles, Noted, noted_since};

    #[test]
    fn what_was_withheld_is_kept_with_its_question() {
        let folder = tempfile::tempdir().unwrap();
        let files = |name: &str| DayFiles::new(folder.path().join(name), 30);
        let meter = Meter::with_files(files("measurements"), files("withheld"));
        let answer = Answer {
            text: "The documents do not say.".to_owned(),
            question: None,
            language: Language::English,
            verdict: Verdict::Abstained,
            citations: Vec::new(),
            timings_ms: AnswerTimings::default(),
            tokens: TokenCounts::default(),
            withheld: vec!["It costs 40 euro.".to_owned(), "Or 50.".to_owned()],
            copy_of: None,
            kept: None,
        };
        let question = Question::new("What does it cost?", Reader::Page);
        meter.ended(&question, "0a1b2c3d", Ending::Answered(&answer));
        meter.close();
        let mut kept = Vec::new();
        noted_since(&folder.path().join("withheld"), 0, |noted: Noted<Withheld>| kept.push(noted.event)).unwrap();
        let sentences: Vec<&str> = kept.iter().map(|kept| kept.sentence.as_str()).collect();
        assert_eq!(sentences, answer.withheld);
        assert!(kept.iter().all(|kept| kept.question == question.text && kept.trace_id == "0a1b2c3d"));
        // What is measured of it holds no text.
        for file in std::fs::read_dir(folder.path().join("measurements")).unwrap() {
            let measured = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(measured.contains(r#""withheld":2"#) && !measured.contains("cost"), "{measured}");
        }
    }
}
