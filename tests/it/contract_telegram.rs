//! Official clients of Telegram against the Telegram of the tests: what they take for the platform is close enough to it
//! for the daemon as well. The clients run a small bot, the people that it meets are played here.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::fakes::telegram::{Attachment, ChatId, ChatKind, FakeTelegram, Limits, PersonId, Said, Shown, Standing};
use crate::skip::skip;

/// Nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract").join(name)
}

/// What a client needs, from the environment or where `scripts/setup_contract.sh` puts it.
fn installed(variable: &str, name: &str) -> Option<PathBuf> {
    let cache = || {
        let named = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Some(
            named
                .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?
                .join("cervella-ci/contract"),
        )
    };
    std::env::var_os(variable).map(PathBuf::from).or_else(|| Some(cache()?.join(name)))
}

/// The command that runs a client's script; `None`, said aloud, where the client is not installed.
fn python(fake: &FakeTelegram) -> Option<Command> {
    let interpreter = installed("CERVELLA_CONTRACT_PYTHON", "venv/bin/python3");
    let check = ["-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('aiogram') is None)"];
    let works = |python: &PathBuf| std::process::Command::new(python).args(check).stderr(Stdio::null()).status();
    let interpreter = interpreter.filter(|python| works(python).is_ok_and(|status| status.success()));
    command(fake, interpreter, "aiogram", "telegram_aiogram.py")
}

fn node(fake: &FakeTelegram) -> Option<Command> {
    let modules = installed("CERVELLA_CONTRACT_NODE_MODULES", "node_modules");
    let modules = modules.filter(|modules| modules.join("grammy/package.json").is_file());
    let node = modules.as_ref().map(|_| PathBuf::from("node"));
    let mut command = command(fake, node, "grammY", "telegram_grammy.mjs")?;
    command.env("NODE_PATH", modules?);
    Some(command)
}

fn command(fake: &FakeTelegram, interpreter: Option<PathBuf>, client: &str, file: &str) -> Option<Command> {
    let Some(interpreter) = interpreter else {
        let reason = format!("{client} is not installed: run scripts/setup_contract.sh");
        skip(std::thread::current().name().unwrap_or("a test"), &reason);
        return None;
    };
    let mut command = Command::new(interpreter);
    command.arg(script(file)).arg(fake.api_url()).env("CERVELLA_CONTRACT_TOKEN", fake.token());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Some(command)
}

#[tokio::test]
async fn aiogram_takes_it_for_telegram() {
    let fake = FakeTelegram::start().await;
    if let Some(command) = python(&fake) {
        day(&fake, command).await;
    }
}

#[tokio::test]
async fn grammy_takes_it_for_telegram() {
    let fake = FakeTelegram::start().await;
    if let Some(command) = node(&fake) {
        day(&fake, command).await;
    }
}

/// Runs a client's bot and meets it as people do, until it ends well.
async fn day(fake: &FakeTelegram, mut command: Command) {
    let people = People::new(fake);
    let client = command.spawn().expect("the client starts");
    let mut ended = std::pin::pin!(client.wait_with_output());
    tokio::select! {
        output = &mut ended => panic!("the client ended early\n{}", words(&output.expect("the client ran"))),
        () = people.day() => {}
    }
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("the client ends").expect("the client ran");
    assert!(output.status.success(), "{}", words(&output));
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

struct People<'a> {
    fake: &'a FakeTelegram,
    anna: PersonId,
    blocking: PersonId,
    forum: ChatId,
    topic: i64,
    /// A group that became a supergroup.
    upgraded: ChatId,
}

impl<'a> People<'a> {
    fn new(fake: &'a FakeTelegram) -> Self {
        // Only `/flood` is about limits.
        fake.set_limits(None);
        let anna = fake.add_person("Anna", Some("it"));
        let blocking = fake.add_person("Bruno", None);
        fake.place_bot(blocking, blocking, Standing::Kicked);
        let forum = fake.add_chat(ChatKind::Forum, "Forum", &[anna]);
        fake.add_admin(forum, anna);
        let topic = fake.open_topic(forum, anna, "Ufficio");
        let upgraded = fake.add_chat(ChatKind::Group, "Gruppo", &[anna]);
        fake.upgrade(upgraded, anna);
        People { fake, anna, blocking, forum, topic, upgraded }
    }

    async fn day(&self) {
        self.private().await;
        self.elsewhere().await;
        self.trouble().await;
        let fake = self.fake;
        fake.say(self.anna, self.anna, "/quit", Said::default());
        self.until("two pollers", |fake| fake.conflicts() == 1).await;
        fake.say(self.anna, self.anna, "ciao", Said::default());
        self.until("webhook", |fake| fake.calls("setWebhook") == 1 && fake.calls("getUpdates") > 0).await;
        // What is said while a webhook is being set may be dropped as pending.
        let before = fake.answers(self.anna).len();
        fake.say(self.anna, self.anna, "/hook", Said::default());
        let answer = self.answer(self.anna, before).await;
        assert_eq!(answer.text, "dal webhook");
        fake.say(self.anna, self.anna, "/over", Said::default());
    }

    async fn private(&self) {
        let fake = self.fake;
        self.reacted("/start", "👌").await;
        let commands = [("ask".to_owned(), "Chiedi".to_owned()), ("help".to_owned(), "Aiuto".to_owned())];
        assert_eq!(fake.commands("it"), commands);
        let answers = fake.answers(self.anna);
        assert_eq!(answers.len(), 1);
        let html = "<b>22</b> &amp; più: 😀 <a href=\"https://example.com/a\">pagina</a>";
        assert_eq!((answers[0].html.as_str(), answers[0].edits, answers[0].preview), (html, 1, false));
        fake.press(self.anna, self.anna, answers[0].id, "Utile");
        let taken = |fake: &FakeTelegram| fake.answers(self.anna)[0].buttons.is_empty();
        self.until("the buttons are gone", taken).await;
        assert_eq!(fake.callback_answers()[0].text.as_deref(), Some("Grazie!"));

        let document = Attachment::Document { name: "a.pdf".to_owned(), media_type: "application/pdf".to_owned() };
        let sent = fake.say(self.anna, self.anna, "leggi", Said::with(document));
        let answer = self.answer(self.anna, 1).await;
        assert_eq!((answer.text.as_str(), answer.reply_to), ("a.pdf: leggi", Some(sent)));
        fake.edit(self.anna, sent, "rileggi");
        self.until("the edit is seen", |fake| fake.message(self.anna, sent).unwrap().reactions == ["👀"]).await;
    }

    async fn elsewhere(&self) {
        let fake = self.fake;
        let asked = fake.say(self.forum, self.anna, "@cervella_bot ferie?", Said::in_topic(self.topic));
        let answer = self.answer(self.forum, 0).await;
        let place = (answer.topic, answer.reply_to, answer.html.as_str());
        assert_eq!(place, (Some(self.topic), Some(asked), "Dal <i>manuale</i>"));
        let action = &fake.actions()[0];
        assert_eq!((action.chat, action.topic, action.action.as_str()), (self.forum, Some(self.topic), "typing"));

        fake.ask_inline(self.anna, "ferie");
        self.until("the inline answer", |fake| !fake.inline_answers().is_empty()).await;
        let answer = fake.inline_answers().remove(0);
        let result = &answer.results[0];
        assert_eq!((result.title.as_str(), result.description.as_deref()), ("Ferie", Some("22")));
        assert_eq!((result.html.as_str(), answer.cache_time, answer.personal), ("<b>ferie</b>", 0, true));
    }

    async fn trouble(&self) {
        use crate::fakes::telegram::Fault;
        let fake = self.fake;
        for fault in [Fault::ServerError(502), Fault::Drop, Fault::RetryAfter(3)] {
            fake.fault("sendMessage", fault);
        }
        let before = fake.answers(self.anna).len();
        self.reacted(&format!("/faults {} {}", self.blocking.0, self.upgraded.0), "👌").await;
        assert_eq!((fake.answers(self.anna).len(), fake.faults_left()), (before, 0));
        // In another chat: the wait that was asked for here is not over.
        fake.set_limits(Some(Limits::default()));
        let flood = fake.add_person("Carla", None);
        let asked = fake.say(flood, flood, "/flood", Said::default());
        self.until("the flood is stopped", |fake| !fake.message(flood, asked).unwrap().reactions.is_empty()).await;
        assert_eq!((fake.answers(flood).len(), fake.violations().len()), (3, 1));
        fake.set_limits(None);
    }

    /// Says something to the bot and waits until it is done.
    async fn reacted(&self, text: &str, emoji: &str) {
        let said = self.fake.say(self.anna, self.anna, text, Said::default());
        self.until(text, |fake| fake.message(self.anna, said).unwrap().reactions == [emoji]).await;
    }

    /// The answer after so many others.
    async fn answer(&self, chat: impl Into<ChatId>, before: usize) -> Shown {
        let chat = chat.into();
        let answer = self.fake.wait_for(|fake| fake.answers(chat).into_iter().nth(before), PATIENCE).await;
        answer.unwrap_or_else(|| panic!("no answer\n{}", self.fake.transcript(chat)))
    }

    async fn until(&self, what: &str, came: impl FnMut(&FakeTelegram) -> bool) {
        let came = self.fake.wait_until(came, PATIENCE).await;
        assert!(came, "never came: {what}\n{}", self.fake.transcript(self.anna));
    }
}
