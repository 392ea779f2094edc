//! Settings that change while the service runs: who may ask and how often, and how answers are made. All others hold from
//! the next start on.

use std::sync::Arc;

use super::{App, answer_options};
use crate::answer::Answerer;
use crate::chat::desk::Live;
use crate::settings::Settings;

impl App {
    /// A part of the settings as it is now.
    pub(super) fn live<T>(&self, part: impl Fn(&Settings) -> T + Send + Sync + 'static) -> Live<T> {
        let now = Arc::clone(&self.now);
        Arc::new(move || part(&now.borrow()))
    }

    /// From now on these settings hold, as far as they may change while the service runs. Returns the sections of those that
    /// also changed and hold from the next start on.
    pub fn reload(&self, settings: Settings, answerer: &Answerer) -> Vec<String> {
        answerer.set_options(answer_options(&settings));
        let later = changed_sections(&with_live_parts_of(&settings, &self.settings), &settings);
        self.now.send_replace(settings);
        later
    }
}

/// `base`, with what of `settings` may change while the service runs.
fn with_live_parts_of(settings: &Settings, base: &Settings) -> Settings {
    let mut with = base.clone();
    let questions_max = with.answer.questions_max;
    with.answer = settings.answer.clone();
    with.answer.questions_max = questions_max;
    with.inference.speculate = settings.inference.speculate;
    with.chat = settings.chat.clone();
    with.slack.everyone = settings.slack.everyone;
    with
}

/// Names of the sections in which two settings differ.
fn changed_sections(one: &Settings, other: &Settings) -> Vec<String> {
    // Secrets are all the same when they are written: those are compared by themselves.
    let secrets = [
        ("slack", one.slack == other.slack),
        ("telegram", one.telegram == other.telegram),
        ("web", one.web == other.web),
    ];
    let written = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
    let (one, other) = (written(one), written(other));
    let sections = one.as_object().into_iter().flatten();
    let differs = |section: &str| {
        one[section] != other[section] || secrets.iter().any(|(name, is_same)| *name == section && !is_same)
    };
    sections.map(|(section, _)| section.clone()).filter(|section| differs(section)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_change_while_it_runs_waits_for_the_next_start() {
        let base = Settings::default();
        let later = |change: &dyn Fn(&mut Settings)| {
            let mut settings = base.clone();
            change(&mut settings);
            changed_sections(&with_live_parts_of(&settings, &base), &settings)
        };
        assert_eq!(later(&|settings| settings.chat.admins.push("slack:U1".to_owned())), Vec::<String>::new());
        assert_eq!(later(&|settings| settings.answer.contact = "HR".to_owned()), Vec::<String>::new());
        assert_eq!(later(&|settings| settings.slack.everyone = false), Vec::<String>::new());
        assert_eq!(later(&|settings| settings.answer.questions_max = 2), ["answer"]);
        assert_eq!(later(&|settings| settings.models.answer = "llama".to_owned()), ["models"]);
        let token = || serde_json::from_str("\"1:x\"").unwrap();
        assert_eq!(later(&|settings| settings.telegram.token = token()), ["telegram"]);
    }
}
