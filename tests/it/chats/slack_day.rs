//! A day on Slack: what people write, and what they get.

use crate::fakes::slack::{ChannelKind, FakeSlack, Routing, Said, Shown};

use super::daemon::{House, PATIENCE};
use super::transcript::steady;

struct Scene {
    slack: FakeSlack,
    anna: String,
    carol: String,
    general: String,
}

impl Scene {
    fn mention(&self, text: &str) -> String {
        format!("{} {text}", self.slack.mention())
    }

    /// Says something and waits for what the bot finally says to it, in the thread that it begins or stands in.
    async fn ask(&self, channel: &str, user: &str, text: &str, said: Said) -> (String, Shown) {
        let thread = said.thread.clone();
        let asked = self.slack.say(channel, user, text, said);
        let answer = self.answer_after(channel, &asked, thread.as_deref()).await;
        (asked, answer)
    }

    async fn answer_after(&self, channel: &str, asked: &str, thread: Option<&str>) -> Shown {
        let root = thread.unwrap_or(asked);
        let whole = |slack: &FakeSlack| {
            let mut answers = slack.answers(channel).into_iter();
            answers.find(|answer| {
                answer.ts.as_str() > asked
                    && is_whole(answer)
                    && answer.thread_ts.as_deref().is_none_or(|thread| thread == root)
            })
        };
        let found = self.slack.wait_for(whole, PATIENCE).await;
        found.unwrap_or_else(|| panic!("no answer to {asked}:\n{}", self.slack.transcript(channel)))
    }

    async fn order(&self, user: &str, text: &str) -> Shown {
        let direct = self.slack.direct(user);
        let before = self.slack.answers(&direct).last().map(|answer| answer.ts.clone()).unwrap_or_default();
        self.slack.slash(&direct, user, "/cervella", text);
        let next = |slack: &FakeSlack| {
            slack.answers(&direct).into_iter().find(|answer| answer.ts > before && is_whole(answer))
        };
        let found = self.slack.wait_for(next, PATIENCE).await;
        found.unwrap_or_else(|| panic!("no answer to {text}:\n{}", self.slack.transcript(&direct)))
    }
}

/// Nothing more is being written; what was streamed ends with the buttons for feedback.
fn is_whole(answer: &Shown) -> bool {
    let buttons = |value: &str| answer.buttons.iter().any(|button| button.value == value);
    let ended = !answer.streamed || buttons("helpful");
    !answer.streaming && ended && !answer.plain.is_empty() && !buttons("stop")
}

#[track_caller]
fn says(answer: &Shown, parts: &[&str]) {
    for part in parts {
        assert!(answer.plain.contains(part), "{part:?} is not in {:?}", answer.plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_on_slack() {
    let slack = FakeSlack::start().await;
    let anna = slack.add_user("Anna", "it-IT");
    let carol = slack.add_user("Carol", "en-US");
    let other_bot = slack.add_bot("Builds");
    let general = slack.add_channel(ChannelKind::Public, "general", &[anna.clone(), carol.clone(), other_bot.clone()]);
    let Some(house) = House::new() else { return };
    let house = house.on_slack(&slack).set("CERVELLA__CHAT__ADMINS", format!("slack:{anna}"));
    let house = house.set("RUST_LOG", "trace");
    let daemon = house.open();
    let ready = slack.wait_until(|slack| slack.sockets() > 0, PATIENCE).await;
    assert!(ready, "the daemon does not connect:\n{}", house.logged());
    let scene = Scene { slack, anna, carol, general };

    let talk = channel_talk(&scene, &other_bot).await;
    direct_talk(&scene).await;
    ways_to_ask(&scene).await;
    orders(&scene).await;

    let slack = &scene.slack;
    assert_eq!(slack.answers_to(&scene.general, &talk).len(), 3, "an answer, its quotes and a follow-up, and no more");
    let channels = [scene.general.clone(), slack.direct(&scene.anna), slack.direct(&scene.carol)];
    let transcript = channels.each_ref().map(|channel| slack.transcript(channel)).join("\n");
    eprintln!("{transcript}");
    for channel in &channels {
        for message in slack.answers(channel) {
            assert!(message.calls.is_empty() && !message.unfurls, "{message:?}");
        }
    }
    assert_eq!(slack.violations(), [], "the platform's limits were exceeded");
    assert_eq!(slack.untaken(), []);
    insta::assert_snapshot!(steady(&transcript));
    let slowest = slack.ack_delays().into_iter().map(|ack| ack.delay).max();
    eprintln!("slowest acknowledgement: {slowest:?}");
    assert_eq!(daemon.stop(), Some(0), "{}", house.logged());
    house.keeps_to_itself(&[&slack.app_token(), &slack.bot_token(), "giorni di ferie ho", "26 giorni all'anno"]);
}

/// The thread in which people talked to each other as well.
async fn channel_talk(scene: &Scene, other_bot: &str) -> String {
    let (slack, general) = (&scene.slack, scene.general.as_str());
    let question = scene.mention("Quanti giorni di ferie ho all'anno?");
    let (asked, answer) = scene.ask(general, &scene.anna, &question, Said::default()).await;
    says(&answer, &["26", "Ferie"]);
    assert_eq!(answer.thread_ts.as_deref(), Some(asked.as_str()));
    assert_eq!(slack.answers_to(general, &asked).len(), 1, "a mention that is a message as well gets one answer");
    let told = async |notices: usize| {
        let told = |slack: &FakeSlack| slack.ephemerals().len() >= notices;
        assert!(slack.wait_until(told, PATIENCE).await, "{}", slack.transcript(general));
    };
    slack.press(general, &scene.carol, &answer.ts, "helpful");
    told(1).await;
    slack.press(general, &scene.carol, &answer.ts, "sources");
    let sources = |slack: &FakeSlack| slack.answers_to(general, &asked).into_iter().nth(1);
    says(&slack.wait_for(sources, PATIENCE).await.expect("the quotes are shown"), &["[1]", "it/"]);
    told(2).await;

    // What people say to each other arrives in its order.
    slack.route(Routing::Oldest);
    let in_thread = || Said::in_thread(&asked);
    let (_, follow_up) = scene.ask(general, &scene.carol, "and how do I ask for leave?", in_thread()).await;
    assert_eq!(follow_up.thread_ts.as_deref(), Some(asked.as_str()));
    slack.say(general, &scene.anna, &format!("<@{}> che ne dici?", scene.carol), in_thread());
    slack.say(general, &scene.carol, "sì, lo faccio io entro venerdì", in_thread());
    slack.say(general, other_bot, &scene.mention("build 12 is green"), Said::default());
    slack.say(general, &scene.anna, "qualcuno viene a pranzo?", Said::default());

    let talk = asked;
    let question = scene.mention("Come chiedo il rimborso dei chilometri?");
    let (asked, first) = scene.ask(general, &scene.anna, &question, Said::default()).await;
    slack.edit(general, &asked, &scene.mention("Quanti giorni di ferie ho all'anno?"));
    let renewed = |slack: &FakeSlack| {
        slack.message(general, &first.ts).filter(|answer| answer.plain.contains("26") && is_whole(answer))
    };
    assert!(slack.wait_for(renewed, PATIENCE).await.is_some(), "{}", slack.transcript(general));
    slack.delete(general, &asked);
    let withdrawn = |slack: &FakeSlack| slack.answers_to(general, &asked).is_empty();
    assert!(slack.wait_until(withdrawn, PATIENCE).await, "{}", slack.transcript(general));
    talk
}

async fn direct_talk(scene: &Scene) {
    let direct = scene.slack.direct(&scene.carol);
    let ask = async |text: &str, said: Said| scene.ask(&direct, &scene.carol, text, said).await.1;
    says(&ask("hello!", Said::default()).await, &["Hello!"]);
    says(&ask("How quickly must on-call acknowledge a page?", Said::default()).await, &["minutes"]);
    says(&ask("thanks a lot", Said::default()).await, &["welcome"]);
    says(&ask("", Said::with_file("plan.pdf")).await, &["text of messages"]);
}

async fn ways_to_ask(scene: &Scene) {
    let (slack, general) = (&scene.slack, scene.general.as_str());
    let thread = slack.open_assistant(&scene.anna, None);
    let offered = |slack: &FakeSlack| slack.prompts().into_iter().find(|prompts| prompts.thread_ts == thread);
    let offered = slack.wait_for(offered, PATIENCE).await.expect("questions are offered");
    assert!(offered.prompts.iter().any(|(_, message)| message.contains("ferie")), "{offered:?}");
    let direct = slack.direct(&scene.anna);
    let greeted = |slack: &FakeSlack| !slack.answers_to(&direct, &thread).is_empty();
    assert!(slack.wait_until(greeted, PATIENCE).await, "{}", slack.transcript(&direct));
    let in_panel = Said::in_thread(&thread);
    let (_, answer) = scene.ask(&direct, &scene.anna, "Quanti giorni di ferie ho all'anno?", in_panel).await;
    says(&answer, &["26"]);
    assert_eq!(answer.thread_ts.as_deref(), Some(thread.as_str()));
    assert!(slack.titles().iter().any(|(_, titled, title)| *titled == thread && title.contains("ferie")));
    assert!(slack.statuses().iter().any(|status| status.thread_ts == thread), "it is shown that the bot works");

    let said = slack.say(general, &scene.carol, "How many days of leave do I have?", Said::default());
    slack.shortcut(general, &scene.anna, &said, "ask_cervella");
    says(&scene.answer_after(general, &said, None).await, &["26"]);
    let before = slack.answers(general).len();
    slack.slash(general, &scene.anna, "/cervella", "Chi approva le trasferte?");
    let answered = |slack: &FakeSlack| {
        let answers = slack.answers(general);
        answers.get(before).filter(|answer| is_whole(answer)).cloned()
    };
    says(&slack.wait_for(answered, PATIENCE).await.expect("answered"), &["Chi approva le trasferte?"]);
}

async fn orders(scene: &Scene) {
    says(&scene.order(&scene.carol, "pause").await, &["for admins"]);
    says(&scene.order(&scene.anna, "pause").await, &["In pausa"]);
    says(&scene.order(&scene.carol, "How many days of leave do I have?").await, &["paused"]);
    says(&scene.order(&scene.anna, "resume").await, &["ricomincia"]);
    says(&scene.order(&scene.anna, "status").await, &["al lavoro", "Slack: collegato"]);
    says(&scene.order(&scene.anna, &format!("deny <@{}>", scene.carol)).await, &["Escluso", &scene.carol]);
    says(&scene.order(&scene.anna, "who").await, &[&scene.carol, "denied"]);
    says(&scene.order(&scene.anna, &format!("allow <@{}>", scene.carol)).await, &["Ammesso", &scene.carol]);
    says(&scene.order(&scene.anna, "help").await, &["reindex"]);
    says(&scene.order(&scene.anna, "reindex recipes").await, &["raccolta", "knowledge"]);
    let direct = scene.slack.direct(&scene.anna);
    scene.slack.slash(&direct, &scene.anna, "/cervella", "reindex knowledge");
    let done =
        |slack: &FakeSlack| slack.answers(&direct).iter().any(|answer| answer.plain.contains("Indice aggiornato"));
    assert!(scene.slack.wait_until(done, PATIENCE).await, "{}", scene.slack.transcript(&direct));
}
