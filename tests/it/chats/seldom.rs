//! What happens on few days: a bot that is stopped while it writes, that may not write where it is called, a group that
//! gets another id, updates that are brought instead of asked for.

use std::net::TcpListener;

use crate::fakes::slack::{self, ChannelKind, FakeSlack};
use crate::fakes::telegram::{self, ChatKind, FakeTelegram};

use super::daemon::{House, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seldom_on_slack() {
    let slack = FakeSlack::start().await;
    let anna = slack.add_user("Anna", "it-IT");
    let carol = slack.add_user("Carol", "en-US");
    let both = [anna.clone(), carol.clone()];
    let few = slack.add_channel(ChannelKind::Mpim, "few", &both);
    let secret = slack.add_channel(ChannelKind::Private, "secret", &both);
    slack.leave(&secret, &slack.bot_user());
    let Some(house) = House::new() else { return };
    let house = house.on_slack(&slack).set("CERVELLA__CHAT__ADMINS", format!("slack:{anna}"));
    let daemon = house.open();
    assert!(slack.wait_until(|slack| slack.sockets() > 0, PATIENCE).await, "{}", house.logged());
    let direct = slack.direct(&anna);
    let heard = async |channel: &str, words: &str| {
        let said = |slack: &FakeSlack| slack.answers(channel).into_iter().find(|answer| answer.plain.contains(words));
        let heard = slack.wait_for(said, PATIENCE).await;
        heard.unwrap_or_else(|| panic!("nobody says {words:?}:\n{}\n{}", slack.transcript(channel), house.logged()))
    };

    // Some people and the bot: only who calls it is answered, in a thread.
    slack.say(&few, &carol, "shall we ask the bot?", slack::Said::default());
    let question = format!("{} How many days of leave do I have?", slack.mention());
    let asked = slack.say(&few, &carol, &question, slack::Said::default());
    let answer = heard(&few, "26").await;
    assert_eq!(answer.thread_ts, Some(asked));

    // Where it may not write, it says so where it may.
    slack.slash(&secret, &anna, "/cervella", "Chi approva le trasferte?");
    heard(&direct, "Mi hai chiamato dove non posso scrivere").await;
    assert!(slack.answers(&secret).is_empty());

    // What only admins are told is for them alone.
    slack.slash(&few, &anna, "/cervella", &format!("deny <@{carol}>"));
    heard(&few, "Escluso").await;
    slack.slash(&few, &anna, "/cervella", "who");
    heard(&few, "in privato").await;
    heard(&direct, "denied").await;
    slack.slash(&few, &anna, "/cervella", "status");
    let status = heard(&few, "Sono al lavoro").await;
    assert!(!status.plain.contains("memoria"), "{}", status.plain);

    // What is set for a channel holds in its threads.
    slack.slash(&few, &anna, "/cervella", "lang en");
    heard(&few, "From now on").await;
    let question = format!("{} Chi approva le trasferte?", slack.mention());
    let asked = slack.say(&few, &anna, &question, slack::Said::default());
    let english = |slack: &FakeSlack| {
        let mut buttons = slack.answers_to(&few, &asked).into_iter().flat_map(|answer| answer.buttons);
        buttons.any(|button| button.label == "Helpful")
    };
    assert!(slack.wait_until(english, PATIENCE).await, "{}", slack.transcript(&few));

    // Slack's own stop button, while an answer is being written.
    let thread = slack.open_assistant(&anna, None);
    let asked = slack::Said::in_thread(&thread);
    slack.say(&direct, &anna, "Quanti giorni di ferie ho all'anno, e come li chiedo?", asked);
    let streams = |slack: &FakeSlack| slack.answers_to(&direct, &thread).into_iter().any(|answer| answer.streaming);
    assert!(slack.wait_until(streams, PATIENCE).await, "{}", slack.transcript(&direct));
    slack.stop_agent(&direct, &anna, &thread);
    heard(&direct, "Interrotto.").await;

    assert_eq!(slack.violations(), [], "the platform's limits were exceeded");
    assert_eq!(slack.untaken(), []);
    assert_eq!(daemon.stop(), Some(0), "{}", house.logged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seldom_on_telegram() {
    let telegram = FakeTelegram::start().await;
    let anna = telegram.add_person("Anna", Some("it"));
    let group = telegram.add_chat(ChatKind::Group, "Ufficio", &[anna]);
    let Some(house) = House::new() else { return };
    // The port was free a moment ago.
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let house = house
        .on_telegram(&telegram)
        .set("CERVELLA__TELEGRAM__WEBHOOK_URL", format!("http://{listen}/telegram"))
        .set("CERVELLA__TELEGRAM__WEBHOOK_SECRET", "canary-secret")
        .set("CERVELLA__TELEGRAM__WEBHOOK_LISTEN", listen.to_string())
        .set("CERVELLA__CHAT__MEMBERS", format!("telegram:{},telegram:{}", anna.0, group.0))
        .set("RUST_LOG", "trace");
    let daemon = house.open();
    let set = telegram.wait_until(|telegram| telegram.calls("setWebhook") > 0, PATIENCE).await;
    assert!(set, "{}", house.logged());

    // The bot is stopped while it writes.
    let question = "Quanti giorni di ferie ho all'anno, e come li chiedo?";
    telegram.say(anna, anna, question, telegram::Said::default());
    let begun = |telegram: &FakeTelegram| telegram.answers(anna).into_iter().find(|answer| has_button(answer, "stop"));
    let begun = telegram.wait_for(begun, PATIENCE).await.expect("an answer can be stopped");
    telegram.press(anna, anna, begun.id, "stop");
    let stopped = |telegram: &FakeTelegram| {
        telegram.message(anna, begun.id).filter(|answer| answer.text.ends_with("Interrotto."))
    };
    let stopped = telegram.wait_for(stopped, PATIENCE).await.expect("it says that it was stopped");
    assert!(stopped.buttons.is_empty());

    // A group gets another id: who was admitted stays so.
    let supergroup = telegram.upgrade(group, anna);
    telegram.say(supergroup, anna, "@cervella_bot Chi approva le trasferte?", telegram::Said::default());
    let answered =
        |telegram: &FakeTelegram| telegram.answers(supergroup).into_iter().find(|answer| has_button(answer, "helpful"));
    let answer = telegram.wait_for(answered, PATIENCE).await;
    assert!(answer.is_some(), "{}\n{}", telegram.transcript(supergroup), house.logged());

    assert_eq!(telegram.calls("getUpdates"), 0);
    assert_eq!(telegram.violations(), [], "the platform's limits were exceeded");
    assert_eq!(daemon.stop(), Some(0), "{}", house.logged());
    house.keeps_to_itself(&[&telegram.token(), "canary-secret", "Chi approva"]);
}

fn has_button(answer: &telegram::Shown, data: &str) -> bool {
    answer.buttons.iter().flatten().any(|button| button.data.as_deref() == Some(data))
}
