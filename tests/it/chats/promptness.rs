//! How soon people see something, and how soon the platforms are told that an event was taken, while the house is busy.
//! The figures are printed; what fails is only what the platforms themselves would not bear.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use walkdir::WalkDir;

use crate::fakes::slack::{self, FakeSlack};
use crate::fakes::telegram::{self, FakeTelegram, PersonId};
use crate::support::root;

use super::QUESTIONS;
use super::daemon::{House, PATIENCE, copy};

/// After it Slack delivers again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

struct Scene {
    slack: FakeSlack,
    telegram: FakeTelegram,
    anna: String,
    direct: String,
    bruno: PersonId,
}

impl Scene {
    /// Asks on Slack, waits for the whole answer, and tells how long it was until the first words.
    async fn ask_on_slack(&self, question: &str) -> Duration {
        let asked = self.slack.say(&self.direct, &self.anna, question, slack::Said::default());
        let whole = |slack: &FakeSlack| {
            let mut answers = slack.answers(&self.direct).into_iter();
            answers.find(|answer| answer.ts > asked && answer.buttons.iter().any(|button| button.feedback))
        };
        let answer = self.slack.wait_for(whole, PATIENCE).await.expect("answered");
        let asked = self.slack.message(&self.direct, &asked).expect("asked");
        answer.words_at.expect("there are words") - asked.shown_at
    }

    async fn ask_on_telegram(&self, question: &str) -> Duration {
        let asked = self.telegram.say(self.bruno, self.bruno, question, telegram::Said::default());
        let whole = |telegram: &FakeTelegram| {
            let mut answers = telegram.answers(self.bruno).into_iter();
            answers.find(|answer| answer.id > asked && answer.button("👍").is_some())
        };
        let answer = self.telegram.wait_for(whole, PATIENCE).await.expect("answered");
        let asked = self.telegram.message(self.bruno, asked).expect("asked");
        answer.shown_at - asked.shown_at
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_words_come_soon_and_events_are_taken_while_the_house_is_busy() {
    let (slack, telegram) = (FakeSlack::start().await, FakeTelegram::start().await);
    let anna = slack.add_user("Anna", "it-IT");
    let bruno = telegram.add_person("Bruno", Some("it"));
    let direct = slack.direct(&anna);
    let scene = Scene { slack, telegram, anna, direct, bruno };
    let Some(house) = House::new() else { return };
    let knowledge = tempfile::tempdir().expect("a temporary folder");
    copy(&root().join("knowledge"), knowledge.path());
    let house = house
        .on_slack(&scene.slack)
        .on_telegram(&scene.telegram)
        .set("CERVELLA__CHAT__ADMINS", format!("slack:{}", scene.anna))
        .set("CERVELLA__CHAT__MEMBERS", format!("telegram:{}", bruno.0))
        .set("CERVELLA__KNOWLEDGE__FOLDERS", knowledge.path().display().to_string())
        // The admin's run is to find the changes, not the one of the watched folders.
        .set("CERVELLA__KNOWLEDGE__WATCH", "false");
    let daemon = house.open();
    let ready = scene.slack.wait_until(|slack| slack.sockets() > 0, PATIENCE).await;
    let polls = scene.telegram.wait_until(|telegram| telegram.calls("getUpdates") > 0, PATIENCE).await;
    assert!(ready && polls, "{}", house.logged());

    let (mut on_slack, mut on_telegram) = (Vec::new(), Vec::new());
    for question in QUESTIONS {
        on_slack.push(scene.ask_on_slack(question).await);
        on_telegram.push(scene.ask_on_telegram(question).await);
    }
    tell("first words on Slack, idle", &mut on_slack);
    tell("first words on Telegram, idle", &mut on_telegram);

    // Most documents have changed: the index run has them to embed, and people ask meanwhile.
    for entry in WalkDir::new(knowledge.path()) {
        let entry = entry.expect("readable");
        if entry.path().extension().is_some_and(|extension| extension == "md") {
            let mut document = File::options().append(true).open(entry.path()).expect("writable");
            document.write_all("\n\nUna riga in più / one line more.\n".as_bytes()).expect("writable");
        }
    }
    let before = scene.slack.ack_delays().len();
    scene.slack.slash(&scene.direct, &scene.anna, "/cervella", "reindex");
    let reading = |slack: &FakeSlack| {
        slack.answers(&scene.direct).iter().any(|answer| answer.plain.contains("Rileggo i documenti"))
    };
    assert!(scene.slack.wait_until(reading, PATIENCE).await, "{}", scene.slack.transcript(&scene.direct));
    let mut busy = Vec::new();
    for question in &QUESTIONS[..4] {
        let (one, _) = tokio::join!(scene.ask_on_telegram(question), async {
            for n in 0..5 {
                scene.slack.say(&scene.direct, &scene.anna, &format!("grazie {n}"), slack::Said::default());
                let taken = |slack: &FakeSlack| slack.pending_events() == 0;
                assert!(scene.slack.wait_until(taken, PATIENCE).await);
            }
        });
        busy.push(one);
    }
    let done = |slack: &FakeSlack| {
        slack.answers(&scene.direct).iter().any(|answer| answer.plain.contains("Indice aggiornato"))
    };
    assert!(scene.slack.wait_until(done, PATIENCE).await, "{}", scene.slack.transcript(&scene.direct));
    let run = scene.slack.transcript(&scene.direct);
    assert!(!run.contains("(0 nuovi)"), "nothing was embedded: {run}");
    let mut acks: Vec<_> = scene.slack.ack_delays()[before..].iter().map(|ack| ack.delay).collect();
    tell("first words on Telegram, beside an index run", &mut busy);
    tell("acknowledgements on Slack, beside both", &mut acks);
    assert!(acks.iter().all(|delay| *delay < ACKNOWLEDGED_WITHIN), "{acks:?}");
    assert_eq!(scene.slack.untaken(), []);
    assert_eq!(scene.slack.violations(), []);
    assert_eq!(scene.telegram.violations(), []);
    assert_eq!(daemon.stop(), Some(0), "{}", house.logged());
}

fn tell(what: &str, delays: &mut [Duration]) {
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() as f64 * share).ceil() as usize).clamp(1, delays.len()) - 1];
    eprintln!("{what}: {} of them, p50 {:?}, p95 {:?}, most {:?}", delays.len(), at(0.5), at(0.95), at(1.0));
}
