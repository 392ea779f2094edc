//! People on both platforms who ask at a pace, and what they must have got in the end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fakes::chance::Chance;
use crate::fakes::slack::{self, FakeSlack};
use crate::fakes::telegram::{self, FakeTelegram, PersonId};

const USUAL: [&str; 10] = [
    "Quanti giorni di ferie ho all'anno?",
    "How quickly must on-call acknowledge a page?",
    "Chi approva le trasferte?",
    "How do I get a VPN account?",
    "Come chiedo un rimborso spese?",
    "Posso portare il mio cane in ufficio?",
    "What do I do when my laptop is stolen?",
    "Quanto dura il periodo di prova?",
    // Its answer stands where nobody here may read it.
    CLOSED_QUESTION,
    CLOSED_QUESTION,
];
pub const CLOSED_QUESTION: &str = "In which salary band is a senior engineer paid?";
/// Stands in the closed collection alone.
pub const CLOSED: &str = "Cormorano";
/// Its answer changes while people ask.
pub const CANTEEN_QUESTION: &str = "How much does the lunch in the canteen cost?";
/// One question in so many is about the canteen.
const CANTEEN_EVERY: usize = 6;
/// Of the questions, those on Slack: a bot may begin twenty streams a minute there.
const ON_SLACK: f64 = 0.15;
/// An answer without buttons, such as the word that it is too late for one, stays as it is after this.
const SETTLED: Duration = Duration::from_secs(20);
/// Without a new answer for so long, nothing more will come.
const STALLED: Duration = Duration::from_secs(240);

/// Somebody's chat with the bot.
struct Person {
    place: Place,
    /// The price of the lunch that was known when each of the questions was asked, in their order.
    asked: Mutex<Vec<usize>>,
}

enum Place {
    Slack { user: String, direct: String },
    Telegram(PersonId),
}

/// What a person sees of an answer.
struct Seen {
    texts: Vec<String>,
    is_whole: bool,
}

pub struct Scene {
    pub slack: FakeSlack,
    pub telegram: FakeTelegram,
    people: Vec<Person>,
    /// Questions in 1,000 seconds.
    pace: AtomicU64,
    /// What answers must tell from now on.
    pub price: AtomicUsize,
}

impl Scene {
    pub async fn new(people: usize, price: usize) -> Self {
        let (slack, telegram) = (FakeSlack::start().await, FakeTelegram::start().await);
        let on_slack = (0..people).map(|n| {
            let user = slack.add_user(&format!("Slack{n}"), "it-IT");
            Place::Slack { direct: slack.direct(&user), user }
        });
        let on_telegram = (0..people).map(|n| Place::Telegram(telegram.add_person(&format!("Tele{n}"), Some("it"))));
        let places: Vec<Place> = on_slack.chain(on_telegram).collect();
        let people = places.into_iter().map(|place| Person { place, asked: Mutex::default() }).collect();
        // Each process that is killed uses up a delivery of what it did not acknowledge.
        slack.set_redelivery(Duration::from_secs(3), 1000);
        Scene { slack, telegram, people, pace: AtomicU64::new(0), price: AtomicUsize::new(price) }
    }

    /// Who may ask on Telegram.
    pub fn members(&self) -> String {
        let members = self.people.iter().filter_map(|person| match &person.place {
            Place::Telegram(id) => Some(format!("telegram:{}", id.0)),
            Place::Slack { .. } => None,
        });
        members.collect::<Vec<_>>().join(",")
    }

    /// Questions a second from now on.
    pub fn set_pace(&self, questions: f64) {
        self.pace.store((questions * 1000.0) as u64, Ordering::Relaxed);
    }

    /// Asks at the pace, for as long as it is polled.
    pub async fn ask_on(&self, seed: u64) {
        let mut chance = Chance::new(seed);
        loop {
            let pace = self.pace.load(Ordering::Relaxed);
            if pace == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            self.ask_one(&mut chance);
            // Between half and one and a half times the mean.
            let mean = Duration::from_secs(1000) / pace as u32;
            tokio::time::sleep(mean.mul_f64(0.5 + chance.share())).await;
        }
    }

    pub fn ask_one(&self, chance: &mut Chance) {
        let half = self.people.len() / 2;
        let on_slack = chance.share() < ON_SLACK;
        let person = &self.people[chance.below(half) + if on_slack { 0 } else { half }];
        let is_canteen = chance.below(CANTEEN_EVERY) == 0;
        let question = if is_canteen { CANTEEN_QUESTION } else { USUAL[chance.below(USUAL.len())] };
        let mut asked = person.asked.lock().expect("whole");
        asked.push(self.price.load(Ordering::SeqCst));
        match &person.place {
            Place::Slack { user, direct } => drop(self.slack.say(direct, user, question, slack::Said::default())),
            Place::Telegram(id) => drop(self.telegram.say(*id, *id, question, telegram::Said::default())),
        }
    }

    pub fn asked(&self) -> usize {
        self.people.iter().map(|person| person.asked.lock().expect("whole").len()).sum()
    }

    fn seen(&self, person: &Person) -> Vec<Seen> {
        match &person.place {
            Place::Slack { direct, .. } => {
                let seen = self.slack.answers(direct).into_iter().map(|answer| {
                    let has_buttons = answer.buttons.iter().any(|button| button.feedback);
                    let is_settled = !answer.plain.is_empty() && answer.changed_at.elapsed() > SETTLED;
                    let texts = answer.versions.iter().map(|version| version.plain.clone());
                    Seen {
                        texts: texts.chain([answer.plain.clone()]).collect(),
                        is_whole: !answer.streaming && (has_buttons || is_settled),
                    }
                });
                seen.collect()
            }
            Place::Telegram(id) => {
                let seen = self.telegram.answers(*id).into_iter().map(|answer| Seen {
                    texts: answer.versions.iter().map(|version| version.rich.text.clone()).collect(),
                    is_whole: answer.button("👍").is_some() || answer.changed_at.elapsed() > SETTLED,
                });
                seen.collect()
            }
        }
    }

    /// Answers that are whole.
    pub fn answered(&self) -> usize {
        self.people.iter().map(|person| self.seen(person).iter().filter(|seen| seen.is_whole).count()).sum()
    }

    /// Waits until every question has its answer.
    ///
    /// # Errors
    /// Nothing comes any more, or an answer too many has come.
    pub async fn settled(&self) -> Result<(), String> {
        let (mut reached, mut last) = (self.answered(), Instant::now());
        loop {
            let asked = self.asked();
            if reached >= asked {
                return if reached == asked { Ok(()) } else { Err(format!("{reached} answers to {asked} questions")) };
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.answered();
            if now != reached {
                (reached, last) = (now, Instant::now());
            }
            if last.elapsed() > STALLED {
                return Err(format!("{reached} answers to {asked} questions, and nothing more comes"));
            }
        }
    }

    /// What is wrong with what people got; nothing, if all is well. To be called when all is settled.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (n, person) in self.people.iter().enumerate() {
            let (asked, seen) = (person.asked.lock().expect("whole").clone(), self.seen(person));
            if asked.len() != seen.len() {
                faults.push(format!("person {n}: {} answers to {} questions", seen.len(), asked.len()));
            }
            for (at, (price, seen)) in asked.iter().zip(&seen).enumerate() {
                for text in &seen.texts {
                    if text.contains(CLOSED) {
                        faults.push(format!("person {n}, answer {at}: tells what this person may not read"));
                    }
                    if told(text).is_some_and(|told| told < *price) {
                        faults.push(format!("person {n}, answer {at}: tells a price from before {price}"));
                    }
                }
            }
        }
        faults.extend(self.telegram.violations().iter().map(|violation| format!("Telegram: {violation:?}")));
        faults.extend(self.slack.violations().iter().map(|violation| format!("Slack: {violation:?}")));
        faults.extend(self.slack.untaken().iter().map(|untaken| format!("Slack: {} was not taken", untaken.what)));
        faults
    }
}

pub fn canteen(price: usize) -> String {
    format!("# Canteen\n\nThe lunch in the canteen costs {price} cents, drinks included.\n")
}

/// The price that a text tells.
pub fn told(text: &str) -> Option<usize> {
    let after = text.split_once("the canteen costs ")?.1;
    after.split(' ').next()?.parse().ok()
}
