//! What questions came to, from whoever answers to whoever measures.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::answer::{Ending, Observer};
use crate::domain::{Chat, Platform, Principal, Reader};
use crate::telemetry::{self, Measured, Meter, Origin};

/// How often the memory of the process is noted.
const EVERY: Duration = Duration::from_secs(60);

impl Observer for Meter {
    fn ended(&self, reader: &Reader, ending: Ending<'_>) {
        let from = match reader {
            Reader::Chat(Chat { platform, .. }) | Reader::Person(Principal { platform, .. }) => origin(*platform),
            Reader::Page => Origin::Page,
            Reader::Operator | Reader::Anybody => Origin::Terminal,
        };
        self.note(match ending {
            Ending::Answered(answer) => Measured::Answered {
                from,
                language: answer.language,
                verdict: answer.verdict,
                is_copy: answer.copy_of.is_some(),
                withheld: answer.withheld,
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
