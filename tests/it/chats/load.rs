//! Many people at once, with everything going wrong that can, and the process killed in between: one answer each.

use std::time::{Duration, Instant};

use crate::fakes::slack::{self, FakeSlack};
use crate::fakes::telegram::{self, ChatId, FakeTelegram, PersonId};

use super::QUESTIONS;
use super::daemon::{Daemon, House, PATIENCE};

/// Without a new answer for so long, nothing more will come.
const STALLED: Duration = Duration::from_secs(180);

/// How much is asked, and how often the process is killed meanwhile.
#[derive(Clone, Copy)]
struct Size {
    people: usize,
    questions_each: usize,
    kills: usize,
}

impl Size {
    /// The whole run takes a quarter of an hour: `CERVELLA_TEST_LOAD=full`.
    fn of(usual: Size, full: Size) -> Size {
        if std::env::var("CERVELLA_TEST_LOAD").is_ok_and(|size| size == "full") { full } else { usual }
    }
}

struct Scene {
    slack: FakeSlack,
    telegram: FakeTelegram,
    /// Person and direct messages.
    on_slack: Vec<(String, String)>,
    on_telegram: Vec<PersonId>,
    /// Questions asked: the place and the message.
    slack_asked: Vec<(String, String)>,
    telegram_asked: Vec<(ChatId, i64)>,
}

impl Scene {
    async fn new(people: usize) -> Scene {
        let (slack, telegram) = (FakeSlack::start().await, FakeTelegram::start().await);
        let on_slack = (0..people / 2).map(|n| {
            let user = slack.add_user(&format!("Slack{n}"), "it-IT");
            let direct = slack.direct(&user);
            (user, direct)
        });
        let on_slack = on_slack.collect();
        let on_telegram =
            (0..people.div_ceil(2)).map(|n| telegram.add_person(&format!("Tele{n}"), Some("it"))).collect();
        Scene { slack, telegram, on_slack, on_telegram, slack_asked: Vec::new(), telegram_asked: Vec::new() }
    }

    fn house(&self) -> Option<House> {
        let members: Vec<String> = self.on_telegram.iter().map(|person| format!("telegram:{}", person.0)).collect();
        let house = House::new()?
            .on_slack(&self.slack)
            .on_telegram(&self.telegram)
            .set("CERVELLA__CHAT__MEMBERS", members.join(","))
            // What is delivered matters here, not what is written.
            .set("CERVELLA__ANSWER__PROMPT_TOKENS_MAX", "256")
            .set("CERVELLA__ANSWER__NEW_TOKENS_MAX", "16");
        Some(house)
    }

    /// Everybody asks once.
    fn ask(&mut self, round: usize) {
        let question = |n: usize| QUESTIONS[(round + n) % QUESTIONS.len()];
        for (n, (user, direct)) in self.on_slack.iter().enumerate() {
            let ts = self.slack.say(direct, user, question(n), slack::Said::default());
            self.slack_asked.push((direct.clone(), ts));
        }
        for (n, person) in self.on_telegram.iter().enumerate() {
            let id = self.telegram.say(*person, *person, question(n + 1), telegram::Said::default());
            self.telegram_asked.push(((*person).into(), id));
        }
    }

    fn whole(&self) -> usize {
        let on_slack = self.on_slack.iter().flat_map(|(_, direct)| self.slack.answers(direct));
        let on_slack = on_slack.filter(|answer| {
            !answer.streaming && !answer.plain.is_empty() && answer.buttons.iter().any(|button| button.feedback)
        });
        let on_telegram = self.on_telegram.iter().flat_map(|person| self.telegram.answers(*person));
        let on_telegram = on_telegram.filter(|answer| answer.button("👍").is_some());
        on_slack.count() + on_telegram.count()
    }

    /// Waits until so many answers are whole; fails when nothing comes any more.
    async fn answered(&self, expected: usize, house: &House) {
        let mut reached = self.whole();
        let mut last = Instant::now();
        while reached < expected {
            let more = |_: &FakeTelegram| self.whole() > reached;
            // Either platform may tell the news: the other one is looked at within the second.
            let _ = self.telegram.wait_until(more, Duration::from_secs(1)).await;
            let now = self.whole();
            if now > reached {
                (reached, last) = (now, Instant::now());
            }
            assert!(
                last.elapsed() < STALLED,
                "{reached} of {expected} answers:\n{}\n{}",
                self.places(),
                house.logged()
            );
        }
    }

    fn places(&self) -> String {
        let slack = self.on_slack.iter().map(|(_, direct)| self.slack.transcript(direct));
        let telegram = self.on_telegram.iter().map(|person| self.telegram.transcript(*person));
        slack.chain(telegram).collect::<Vec<_>>().join("\n")
    }

    /// One answer for each question, in their order, and no limit was broken.
    fn check(&self) {
        for (_, direct) in &self.on_slack {
            let asked = self.slack_asked.iter().filter(|(place, _)| place == direct).count();
            let answers = self.slack.answers(direct);
            assert_eq!(answers.len(), asked, "{}", self.slack.transcript(direct));
        }
        for person in &self.on_telegram {
            let chat = ChatId::from(*person);
            let asked = self.telegram_asked.iter().filter(|(place, _)| *place == chat).count();
            let answers = self.telegram.answers(chat);
            assert_eq!(answers.len(), asked, "{}", self.telegram.transcript(chat));
        }
        assert_eq!(self.telegram.violations(), []);
        assert_eq!(self.slack.violations(), []);
    }
}

async fn ready(scene: &Scene, polls: u64, sockets: u64) {
    let telegram = scene.telegram.wait_until(|telegram| telegram.calls("getUpdates") > polls, PATIENCE).await;
    let slack = scene.slack.wait_until(|slack| slack.sockets_opened() > sockets, PATIENCE).await;
    assert!(telegram && slack, "the daemon does not connect");
}

async fn open(scene: &Scene, house: &House) -> Daemon {
    let (polls, sockets) = (scene.telegram.calls("getUpdates"), scene.slack.sockets_opened());
    let daemon = house.open();
    ready(scene, polls, sockets).await;
    daemon
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_people_get_one_answer_each_whatever_goes_wrong() {
    let size =
        Size::of(Size { people: 8, questions_each: 3, kills: 0 }, Size { people: 20, questions_each: 10, kills: 0 });
    let mut scene = Scene::new(size.people).await;
    let Some(house) = scene.house() else { return };
    let daemon = open(&scene, &house).await;
    let resident = daemon.resident_mb();
    scene.telegram.faults_by_chance(7, 0.1, {
        use telegram::Fault::{Drop, LostReceipt, RetryAfter, ServerError};
        &[RetryAfter(2), ServerError(502), Drop, LostReceipt]
    });
    scene.slack.faults_by_chance(7, 0.1, {
        use slack::Fault::{Drop, LostReceipt, RetryAfter, ServerError};
        &[RetryAfter(2), ServerError(503), Drop, LostReceipt]
    });
    for round in 0..size.questions_each {
        scene.ask(round);
        scene.slack.duplicate(2);
    }
    scene.answered(size.people * size.questions_each, &house).await;
    scene.check();
    let grown = daemon.resident_mb().saturating_sub(resident);
    assert!(grown < 150, "the memory grew by {grown} MB");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_again_and_again_answers_once() {
    let size =
        Size::of(Size { people: 6, questions_each: 2, kills: 6 }, Size { people: 20, questions_each: 10, kills: 50 });
    let mut scene = Scene::new(size.people).await;
    let Some(house) = scene.house() else { return };
    // Each process that is killed uses up a delivery of what it did not acknowledge.
    scene.slack.set_redelivery(Duration::from_secs(3), 100);
    for round in 0..size.questions_each {
        scene.ask(round);
    }
    let expected = size.people * size.questions_each;
    for kill in 0..size.kills {
        let daemon = open(&scene, &house).await;
        // Killed at a moment that differs from run to run: after a call of either platform that is not foreseen.
        let calls = 1 + (kill * 7) as u64 % 11;
        let sent = scene.telegram.calls("sendMessage") + scene.telegram.calls("editMessageText");
        let later =
            |telegram: &FakeTelegram| telegram.calls("sendMessage") + telegram.calls("editMessageText") >= sent + calls;
        let _ = scene.telegram.wait_until(later, Duration::from_secs(5)).await;
        daemon.kill();
    }
    let daemon = open(&scene, &house).await;
    scene.answered(expected, &house).await;
    scene.check();
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_die_are_replaced_and_nothing_is_lost() {
    let mut scene = Scene::new(2).await;
    let Some(house) = scene.house() else { return };
    let daemon = open(&scene, &house).await;
    scene.slack.set_redelivery(Duration::from_secs(3), 100);
    // Sockets that say nothing any more, and a network that is not there.
    assert!(scene.slack.half_open() > 0);
    scene.telegram.set_network(false);
    scene.ask(0);
    let polls = scene.telegram.calls("getUpdates");
    scene.telegram.set_network(true);
    scene.answered(2, &house).await;
    assert!(scene.telegram.calls("getUpdates") > polls);
    scene.slack.disconnect("refresh_requested");
    scene.ask(1);
    scene.answered(4, &house).await;
    scene.check();
    assert_eq!(daemon.stop(), Some(0));
}
