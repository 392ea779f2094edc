//! An answer that people found helpful is given again at once, until its document changes.

use std::fs;

use crate::fakes::slack::{ChannelKind, FakeSlack, Said, Shown};

use super::daemon::{House, PATIENCE};

const BEFORE: &str = "# Visitors\n\nThe parking place of visitors is called Albatros and lies on the second floor.\n";
const AFTER: &str = "# Visitors\n\nThe parking place of visitors is called Cormorano and lies behind the gate.\n";
const QUESTION: &str = "Where is the parking place of visitors?";
const OTHER_QUESTION: &str = "How do I get a VPN account?";
const MARK: &str = "An answer that people have confirmed before.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_people_found_helpful_is_given_again_until_its_document_changes() {
    let slack = FakeSlack::start().await;
    let [anna, bruno, carol] = ["Anna", "Bruno", "Carol"].map(|name| slack.add_user(name, "en-US"));
    let general = slack.add_channel(ChannelKind::Public, "general", &[anna.clone(), bruno.clone(), carol.clone()]);
    let Some(house) = House::new() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let document = folder.path().join("visitors.md");
    fs::write(&document, BEFORE).expect("written");
    let house = house
        .on_slack(&slack)
        .set("CERVELLA__CHAT__ADMINS", format!("slack:{carol}"))
        .set("CERVELLA__KNOWLEDGE__COLLECTIONS__DESK__FOLDERS", folder.path().display().to_string());
    let daemon = house.open();
    assert!(slack.wait_until(|slack| slack.sockets() > 0, PATIENCE).await, "{}", house.logged());

    let whole = async |channel: &str, asked: &str| -> Shown {
        let whole = |slack: &FakeSlack| {
            let mut answers = slack.answers(channel).into_iter().filter(|answer| answer.ts.as_str() > asked);
            answers.find(|answer| !answer.streaming && answer.buttons.iter().any(|button| button.value == "helpful"))
        };
        let answer = slack.wait_for(whole, PATIENCE).await;
        answer.unwrap_or_else(|| panic!("{}\n{}", slack.transcript(channel), house.logged()))
    };
    let ask = async |user: &str, text: &str| -> Shown {
        let channel = slack.direct(user);
        let asked = slack.say(&channel, user, text, Said::default());
        whole(&channel, &asked).await
    };
    let press = async |channel: &str, user: &str, answer: &Shown, button: &str| {
        let notices = slack.ephemerals().len();
        slack.press(channel, user, &answer.ts, button);
        assert!(slack.wait_until(|slack| slack.ephemerals().len() > notices, PATIENCE).await, "{}", house.logged());
    };

    let asked = slack.say(&general, &anna, &format!("{} {QUESTION}", slack.mention()), Said::default());
    let answer = whole(&general, &asked).await;
    assert!(answer.plain.contains("Albatros"), "{}", answer.plain);
    press(&general, &anna, &answer, "helpful").await;
    assert!(!ask(&carol, QUESTION).await.plain.contains(MARK));
    press(&general, &bruno, &answer, "helpful").await;
    let again = ask(&carol, "hi, where is the parking place of the visitors").await;
    assert!(again.plain.contains(MARK) && again.plain.contains("Albatros"), "{}", again.plain);
    // Another question is not the same one.
    assert!(!ask(&carol, "Where is no parking place of visitors?").await.plain.contains(MARK));

    // Known after a restart too.
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = house.open();
    assert!(ask(&carol, QUESTION).await.plain.contains(MARK));

    let until = async |expect: bool| -> Shown {
        let start = std::time::Instant::now();
        loop {
            let answer = ask(&carol, QUESTION).await;
            if answer.plain.contains(MARK) == expect {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{}\n{}", answer.plain, house.logged());
        }
    };
    fs::write(&document, AFTER).expect("written");
    let anew = until(false).await;
    assert!(!anew.plain.contains("Albatros"), "{}", anew.plain);
    // The document says again what was confirmed; what is said against a copy counts for the answer.
    fs::write(&document, BEFORE).expect("written");
    let copy = until(true).await;
    assert!(copy.plain.contains("Albatros"), "{}", copy.plain);
    press(&slack.direct(&carol), &carol, &copy, "not_helpful").await;
    assert!(!ask(&carol, QUESTION).await.plain.contains(MARK));

    // The first question becomes another one: what an admin says of an old copy is not about its new answer.
    slack.edit(&general, &asked, &format!("{} {OTHER_QUESTION}", slack.mention()));
    let renewed = |slack: &FakeSlack| {
        let mut answers = slack.answers(&general).into_iter();
        answers.find(|renewed| renewed.ts == answer.ts && renewed.plain.contains("WireGuard") && !renewed.streaming)
    };
    assert!(slack.wait_for(renewed, PATIENCE).await.is_some(), "{}", slack.transcript(&general));
    press(&slack.direct(&carol), &carol, &copy, "helpful").await;
    assert!(!ask(&bruno, OTHER_QUESTION).await.plain.contains(MARK));
}
