//! What the operator does: looks at the figures, makes backups while people ask, brings them back, and finds the house in
//! order after the store's file was damaged.

use std::fs;
use std::path::Path;

use crate::fakes::slack::{FakeSlack, Said, Shown};
use crate::http::Request;
use crate::support::{json, run, stdout};

use super::daemon::{House, PATIENCE};

const QUESTION: &str = "How do I get a VPN account?";
const MARK: &str = "An answer that people have confirmed before.";

fn is_whole(answer: &Shown) -> bool {
    !answer.streaming && answer.buttons.iter().any(|button| button.value == "helpful")
}

async fn whole(slack: &FakeSlack, house: &House, channel: &str, asked: &str) -> Shown {
    let whole = |slack: &FakeSlack| {
        let mut answers = slack.answers(channel).into_iter().filter(|answer| answer.ts.as_str() > asked);
        answers.find(is_whole)
    };
    let answer = slack.wait_for(whole, PATIENCE).await;
    answer.unwrap_or_else(|| panic!("{}\n{}", slack.transcript(channel), house.logged()))
}

async fn ask(slack: &FakeSlack, house: &House, user: &str, text: &str) -> Shown {
    let channel = slack.direct(user);
    let asked = slack.say(&channel, user, text, Said::default());
    whole(slack, house, &channel, &asked).await
}

async fn connected(slack: &FakeSlack, house: &House) {
    assert!(slack.wait_until(|slack| slack.sockets() > 0, PATIENCE).await, "{}", house.logged());
}

/// None of the files below a folder holds these bytes.
fn holds_nowhere(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            holds_nowhere(&path, secret);
        } else {
            let bytes = fs::read(&path).expect("readable");
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_under_load_restores_to_the_same_answers() {
    let slack = FakeSlack::start().await;
    let [anna, bruno] = ["Anna", "Bruno"].map(|name| slack.add_user(name, "en-US"));
    let Some(house) = House::new() else { return };
    let house = house.on_slack(&slack).set("CERVELLA__CHAT__ADMINS", format!("slack:{anna}"));
    let daemon = house.open();
    connected(&slack, &house).await;

    let answer = ask(&slack, &house, &anna, QUESTION).await;
    slack.press(&slack.direct(&anna), &anna, &answer.ts, "helpful");
    assert!(slack.wait_until(|slack| !slack.ephemerals().is_empty(), PATIENCE).await, "{}", house.logged());
    let metrics = Request::get("/metrics").send(house.page()).await;
    assert_eq!(metrics.status, 200);
    for line in [
        r#"cervella_questions_total{from="slack",outcome="answered"} 1"#,
        r#"cervella_ratings_total{from="slack",verdict="helpful"} 1"#,
        r#"cervella_connected{platform="slack"} 1"#,
        "cervella_ready 1",
        "cervella_answer_seconds_count 1",
    ] {
        assert!(metrics.body.lines().any(|own| own == line), "{line} is not in\n{}", metrics.body);
    }

    // While people ask.
    let channel = slack.direct(&bruno);
    for text in &super::QUESTIONS[..4] {
        slack.say(&channel, &bruno, text, Said::default());
    }
    let copies = tempfile::tempdir().expect("a temporary folder");
    let copy = copies.path().join("monday");
    let name = copy.to_str().expect("UTF-8");
    let held = json(&mut house.run(&["backup", name, "--json"]));
    assert!(held["store_rows"].as_u64().is_some_and(|rows| rows > 3) && held["has_index"] == true, "{held}");
    let settings = fs::read_to_string(copy.join("settings.toml")).expect("the settings are in it");
    assert!(settings.contains(&format!("slack:{anna}")));
    holds_nowhere(&copy, &slack.bot_token());
    holds_nowhere(&copy, &slack.app_token());
    let refused = run(&mut house.run(&["backup", name]));
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("is there already"));
    let refused = run(&mut house.run(&["restore", name]));
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("stop it"));
    let all = |slack: &FakeSlack| slack.answers(&channel).iter().filter(|answer| is_whole(answer)).count() == 4;
    assert!(slack.wait_until(all, PATIENCE).await, "{}", slack.transcript(&channel));
    assert_eq!(daemon.stop(), Some(0));
    let report = json(&mut house.run(&["report", "--json"]));
    assert_eq!(
        (&report["questions"], &report["failed"], &report["starts"]),
        (&5.into(), &0.into(), &1.into()),
        "{report}"
    );
    assert_eq!((&report["satisfaction"], &report["completion_rate"]), (&1.0.into(), &1.0.into()), "{report}");
    assert!(stdout(&mut house.run(&["report", "--since", "1h"])).contains("first text"));

    // The copy in another house, where nobody has asked anything yet.
    let Some(other) = House::new() else { return };
    let other = other.on_slack(&slack).set("CERVELLA__CHAT__ADMINS", format!("slack:{anna}"));
    stdout(&mut other.run(&["restore", name]));
    assert_eq!(stdout(&mut other.run(&["search", QUESTION])), stdout(&mut house.run(&["search", QUESTION])));
    let daemon = other.open();
    connected(&slack, &other).await;
    let again = ask(&slack, &other, &anna, QUESTION).await;
    assert!(again.plain.contains(MARK), "{}", again.plain);

    // The file of its store is overwritten: what was exported when the service started is there all the same.
    daemon.kill();
    let database = other.data().join("store/db");
    let length = fs::metadata(&database).expect("it is there").len();
    fs::write(&database, vec![0x5A; length as usize]).expect("written");
    let _daemon = other.open();
    connected(&slack, &other).await;
    let again = ask(&slack, &other, &anna, QUESTION).await;
    assert!(again.plain.contains(MARK), "{}", again.plain);
    let told = other.logged().lines().filter(|line| line.contains("took its place")).count();
    assert_eq!(told, 1, "{}", other.logged());

    // A copy of which a byte was changed is refused, and nothing changes.
    let spoilt = copy.join("index/generation/manifest.json");
    let mut bytes = fs::read(&spoilt).expect("readable");
    bytes[10] ^= 1;
    fs::write(&spoilt, bytes).expect("written");
    let refused = run(&mut house.run(&["restore", name]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("manifest.json") && said.lines().count() == 1, "{said}");
}
