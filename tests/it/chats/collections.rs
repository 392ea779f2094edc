//! Who may read what: the same question where its answer may be read, and where it may not.

use std::fs;

use crate::fakes::slack::{ChannelKind, FakeSlack, Said};
use crate::fakes::telegram::{self, ChatKind, FakeTelegram};
use crate::http::Request;

use super::daemon::{House, PATIENCE};

const SALARIES: &str =
    "# Salary bands\n\nA senior engineer is paid in band Cormorano, reviewed by the board every spring.\n";
const QUESTION: &str = "In which salary band is a senior engineer paid?";
/// Stands in the closed collection alone.
const CLOSED: &str = "Cormorano";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_collection_is_read_where_it_may_be_and_nowhere_else() {
    let slack = FakeSlack::start().await;
    let telegram = FakeTelegram::start().await;
    let (anna, carol) = (slack.add_user("Anna", "en-US"), slack.add_user("Carol", "en-US"));
    let everybody = [anna.clone(), carol.clone()];
    let people = slack.add_channel(ChannelKind::Private, "people", &everybody);
    let general = slack.add_channel(ChannelKind::Public, "general", &everybody);
    let bruno = telegram.add_person("Bruno", Some("en"));
    let group = telegram.add_chat(ChatKind::Supergroup, "Office", &[bruno]);
    let Some(house) = House::new() else { return };
    let closed = tempfile::tempdir().expect("a temporary folder");
    fs::write(closed.path().join("bands.md"), SALARIES).expect("written");
    let readers = format!("slack:{people},slack:{anna},telegram:{}", bruno.0);
    let house = house
        .on_slack(&slack)
        .on_telegram(&telegram)
        .set("CERVELLA__CHAT__ADMINS", format!("slack:{anna}"))
        .set("CERVELLA__CHAT__MEMBERS", format!("telegram:{},telegram:{}", bruno.0, group.0))
        .set("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__FOLDERS", closed.path().display().to_string())
        .set("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__LINK", "https://wiki.example/hr/{stem}")
        .set("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__READERS", readers);
    let daemon = house.open();
    // The index was made without the collection: the daemon reads it before it answers.
    let connected = slack.wait_until(|slack| slack.sockets() > 0, PATIENCE).await;
    assert!(connected && telegram.wait_until(|telegram| telegram.calls("getUpdates") > 0, PATIENCE).await);

    let on_slack = async |channel: &str, user: &str| {
        let asked = slack.say(channel, user, &format!("{} {QUESTION}", slack.mention()), Said::default());
        let whole = |slack: &FakeSlack| {
            let mut answers = slack.answers(channel).into_iter().filter(|answer| answer.ts > asked);
            answers.find(|answer| answer.buttons.iter().any(|button| button.value == "helpful"))
        };
        let answer = slack.wait_for(whole, PATIENCE).await;
        answer.unwrap_or_else(|| panic!("{}\n{}", slack.transcript(channel), house.logged())).plain
    };
    let told = on_slack(&people, &carol).await;
    assert!(told.contains(CLOSED) && told.contains("https://wiki.example/hr/bands"), "{told}");
    assert!(on_slack(&slack.direct(&anna), &anna).await.contains(CLOSED));
    // Anna may read it, but in this channel others read along.
    let kept = [on_slack(&general, &anna).await, on_slack(&slack.direct(&carol), &carol).await];
    assert!(kept.iter().all(|answer| !answer.contains(CLOSED) && !answer.contains("bands")), "{kept:?}");

    let on_telegram = async |chat: telegram::ChatId| {
        let asked = telegram.say(chat, bruno, &format!("@cervella_bot {QUESTION}"), telegram::Said::default());
        let whole = |telegram: &FakeTelegram| {
            let mut answers = telegram.answers(chat).into_iter().filter(|answer| answer.id > asked);
            answers
                .find(|answer| answer.buttons.iter().flatten().any(|button| button.data.as_deref() == Some("helpful")))
        };
        let answer = telegram.wait_for(whole, PATIENCE).await;
        answer.unwrap_or_else(|| panic!("{}\n{}", telegram.transcript(chat), house.logged())).text
    };
    assert!(on_telegram(bruno.into()).await.contains(CLOSED));
    let kept = on_telegram(group).await;
    assert!(!kept.contains(CLOSED) && !kept.contains("bands"), "{kept}");
    let query = telegram.ask_inline(bruno, QUESTION);
    let found =
        |telegram: &FakeTelegram| telegram.inline_queries().into_iter().find(|inline| inline.query == query)?.answer;
    let offered = telegram.wait_for(found, PATIENCE).await.expect("the inline question is answered");
    assert!(!offered.results.is_empty() && !format!("{:?}", offered.results).contains(CLOSED), "{:?}", offered.results);

    let page = house.page();
    let reply = Request::ask(QUESTION).send(page).await;
    assert!(reply.body.contains("event:") && !reply.body.contains(CLOSED), "{}", reply.body);

    // A new document of the collection is found as soon as an admin has it read.
    fs::write(closed.path().join("pranzo.md"), "# Lunch vouchers\n\nThe lunch voucher is worth 9.40 euros a day.\n")
        .expect("written");
    let direct = slack.direct(&anna);
    slack.slash(&direct, &anna, "/cervella", "reindex hr");
    let done = |slack: &FakeSlack| slack.answers(&direct).iter().any(|answer| answer.plain.contains("(1 new)"));
    assert!(slack.wait_until(done, PATIENCE).await, "{}\n{}", slack.transcript(&direct), house.logged());

    assert_eq!(slack.violations(), []);
    assert_eq!(daemon.stop(), Some(0), "{}", house.logged());
    house.keeps_to_itself(&[CLOSED, "salary band"]);
}
