//! A day on Telegram: what people write, and what they get.

use crate::fakes::telegram::{Attachment, ChatId, ChatKind, FakeTelegram, PersonId, Said, Shown};

use super::daemon::{House, PATIENCE};
use super::transcript::steady;

struct Scene {
    telegram: FakeTelegram,
}

impl Scene {
    /// Says something in a chat and waits for what the bot finally says to it.
    async fn ask(&self, chat: impl Into<ChatId>, person: PersonId, text: &str, said: Said) -> Shown {
        let chat = chat.into();
        let asked = self.telegram.say(chat, person, text, said);
        self.answer(chat, asked).await.unwrap_or_else(|| {
            panic!("no answer to {text:?}:\n{}", self.telegram.transcript(chat));
        })
    }

    /// The whole answer to a message.
    async fn answer(&self, chat: ChatId, asked: i64) -> Option<Shown> {
        let whole = |telegram: &FakeTelegram| {
            telegram.answers(chat).into_iter().find(|answer| answer.id > asked && is_whole(answer))
        };
        self.telegram.wait_for(whole, PATIENCE).await
    }

    async fn press(&self, chat: impl Into<ChatId>, person: PersonId, message: i64, button: &str) -> String {
        let query = self.telegram.press(chat, person, message, button);
        let answered = |telegram: &FakeTelegram| {
            let press = telegram.presses().into_iter().find(|press| press.query == query)?;
            press.answer.map(|answer| answer.text.unwrap_or_default())
        };
        self.telegram.wait_for(answered, PATIENCE).await.expect("the press is confirmed")
    }
}

/// Nothing more is being written.
fn is_whole(answer: &Shown) -> bool {
    !answer.buttons.iter().flatten().any(|button| button.data.as_deref() == Some("stop"))
}

#[track_caller]
fn says(answer: &Shown, parts: &[&str]) {
    for part in parts {
        assert!(answer.text.contains(part), "{part:?} is not in {:?}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_on_telegram() {
    let telegram = FakeTelegram::start().await;
    let anna = telegram.add_person("Anna", Some("it"));
    let carol = telegram.add_person("Carol", Some("en"));
    let bruno = telegram.add_person("Bruno", Some("it"));
    let group = telegram.add_chat(ChatKind::Supergroup, "Ufficio", &[anna, carol, bruno]);
    let forum = telegram.add_chat(ChatKind::Forum, "Squadra", &[anna, carol]);
    let Some(house) = House::new() else { return };
    let members = format!("telegram:{},telegram:{},telegram:{}", carol.0, group.0, forum.0);
    let house = house
        .on_telegram(&telegram)
        .set("CERVELLA__CHAT__ADMINS", format!("telegram:{}", anna.0))
        .set("CERVELLA__CHAT__MEMBERS", members);
    let house = house.set("RUST_LOG", "trace");
    let daemon = house.open();
    let ready = telegram.wait_until(|telegram| telegram.calls("getUpdates") > 0, PATIENCE).await;
    assert!(ready, "the daemon does not ask for updates:\n{}", house.logged());
    let scene = Scene { telegram };

    private_talk(&scene, anna).await;
    groups_and_topics(&scene, group, forum, carol).await;
    strangers(&scene, anna, bruno).await;
    orders(&scene, anna, carol).await;

    let telegram = &scene.telegram;
    assert_eq!(telegram.violations(), [], "the platform's limits were exceeded");
    assert_eq!(telegram.commands("it").len(), 7);
    assert_eq!(daemon.stop(), Some(0), "{}", house.logged());
    house.keeps_to_itself(&[&telegram.token(), "giorni di ferie ho", "26 giorni all'anno"]);
    let chats = [ChatId::from(anna), ChatId::from(carol), ChatId::from(bruno), group, forum];
    let transcript = chats.map(|chat| telegram.transcript(chat)).join("\n");
    eprintln!("{transcript}");
    insta::assert_snapshot!(steady(&transcript));
}

async fn private_talk(scene: &Scene, anna: PersonId) {
    let telegram = &scene.telegram;
    says(&scene.ask(anna, anna, "/start", Said::default()).await, &["Ciao!", "ferie"]);
    let answer = scene.ask(anna, anna, "Quanti giorni di ferie ho all'anno?", Said::default()).await;
    says(&answer, &["26", "Ferie"]);
    assert!(!answer.preview);
    let asked = telegram.messages(anna).into_iter().find(|message| message.text.starts_with("Quanti")).expect("asked");
    eprintln!("first text after {:?}", answer.shown_at - asked.shown_at);
    assert_eq!(scene.press(anna, anna, answer.id, "helpful").await, "Grazie del riscontro!");
    scene.press(anna, anna, answer.id, "sources").await;
    let sources = scene.answer(anna.into(), answer.id).await.expect("the quotes are shown");
    says(&sources, &["[1]", "it/"]);
    says(&scene.ask(anna, anna, "/sources", Said::default()).await, &["[1]", "it/"]);
    says(&scene.ask(anna, anna, "grazie mille!", Said::default()).await, &["Prego"]);
    says(&scene.ask(anna, anna, "", Said::with(Attachment::Picture)).await, &["Leggo solo il testo"]);
    says(&scene.ask(anna, anna, "/lang en", Said::default()).await, &["From now on I answer in English here."]);
    says(&scene.ask(anna, anna, "/help", Said::default()).await, &["I answer questions", "For admins"]);
    says(&scene.ask(anna, anna, "/lang auto", Said::default()).await, &["language of the question"]);
    says(&scene.ask(anna, anna, "/about", Said::default()).await, &["Cervella", "Smollm2"]);
    says(&scene.ask(anna, anna, "/forget", Said::default()).await, &["conversa"]);
    says(&scene.ask(anna, anna, "/sources", Said::default()).await, &["fonti"]);
    says(&scene.ask(anna, anna, "/balla", Said::default()).await, &["balla", "help"]);
    says(&scene.ask(anna, anna, "/ask", Said::default()).await, &["domanda"]);

    let asked = telegram.say(anna, anna, "Come chiedo il rimborso dei chilometri?", Said::default());
    let first = scene.answer(anna.into(), asked).await.expect("answered");
    telegram.edit(anna, asked, "Quanti giorni di ferie ho all'anno?");
    let renewed = |telegram: &FakeTelegram| {
        telegram.message(anna, first.id).filter(|answer| answer.text.contains("26") && is_whole(answer))
    };
    assert!(telegram.wait_for(renewed, PATIENCE).await.is_some(), "{}", telegram.transcript(anna));
}

async fn groups_and_topics(scene: &Scene, group: ChatId, forum: ChatId, carol: PersonId) {
    let telegram = &scene.telegram;
    let question = "@cervella_bot How quickly must on-call acknowledge a page?";
    let asked = telegram.say(group, carol, question, Said::default());
    let answer = scene.answer(group, asked).await.expect("answered");
    assert_eq!(answer.reply_to, Some(asked));
    says(&answer, &["minutes"]);
    let follow_up = scene.ask(group, carol, "and how do I hand over?", Said::reply_to(answer.id)).await;
    assert!(follow_up.id > answer.id);
    let topic = telegram.open_topic(forum, carol, "Reperibilità");
    let in_topic = Said::in_topic(topic);
    let answer = scene.ask(forum, carol, "/ask Who approves travel?", in_topic).await;
    assert_eq!(answer.topic, Some(topic));
}

async fn strangers(scene: &Scene, anna: PersonId, bruno: PersonId) {
    let telegram = &scene.telegram;
    let turned_away = scene.ask(bruno, bruno, "Quante ferie ho?", Said::default()).await;
    says(&turned_away, &["codice"]);
    let code: String = turned_away.text.chars().filter(char::is_ascii_digit).collect();
    telegram.say(bruno, bruno, "Pronto?", Said::default());
    says(&scene.ask(anna, anna, "/who", Said::default()).await, &["pairing"]);
    assert_eq!(telegram.answers(bruno).len(), 1, "a stranger is told once");
    says(&scene.ask(anna, anna, "/allow 1234567", Said::default()).await, &["Non capisco chi"]);
    says(&scene.ask(anna, anna, &format!("/allow {code}"), Said::default()).await, &["Ammesso"]);
    let welcome = scene.answer(bruno.into(), turned_away.id).await.expect("who was admitted is told so");
    says(&welcome, &["ammesso"]);
    says(&scene.ask(bruno, bruno, "Quanti giorni di ferie ho all'anno?", Said::default()).await, &["26"]);
    says(&scene.ask(anna, anna, &format!("/deny telegram:{}", bruno.0), Said::default()).await, &["Escluso"]);
    telegram.say(bruno, bruno, "E i permessi?", Said::default());
}

async fn orders(scene: &Scene, anna: PersonId, carol: PersonId) {
    says(&scene.ask(carol, carol, "/pause", Said::default()).await, &["for admins"]);
    says(&scene.ask(anna, anna, "/pause", Said::default()).await, &["In pausa"]);
    says(&scene.ask(carol, carol, "How many days of leave do I have?", Said::default()).await, &["paused"]);
    says(&scene.ask(anna, anna, "/resume", Said::default()).await, &["ricomincia"]);
    says(&scene.ask(anna, anna, "/status", Said::default()).await, &["al lavoro", "memoria", "Telegram: collegato"]);
    let query = scene.telegram.ask_inline(carol, "vpn account");
    let answered = |telegram: &FakeTelegram| {
        let found = telegram.inline_queries().into_iter().find(|inline| inline.query == query)?;
        found.answer
    };
    let inline = scene.telegram.wait_for(answered, PATIENCE).await.expect("the inline question is answered");
    assert!(!inline.results.is_empty());
    says(&scene.ask(anna, anna, "/reindex recipes", Said::default()).await, &["raccolta", "knowledge"]);
    let asked = scene.telegram.say(anna, anna, "/reindex knowledge", Said::default());
    let done = |telegram: &FakeTelegram| {
        telegram.answers(anna).into_iter().find(|answer| answer.id > asked && answer.text.contains("Indice aggiornato"))
    };
    assert!(scene.telegram.wait_for(done, PATIENCE).await.is_some(), "{}", scene.telegram.transcript(anna));
}
