//! Official clients of Slack against the Slack of the tests: what they take for the platform is close enough to it for
//! the daemon as well. The clients run a small bot, the people that it meets are played here.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fakes::slack::{ChannelKind, FakeSlack, Fault, Said, block_examples};
use crate::skip::skip;

/// Nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract").join(name)
}

/// What a client needs, from the environment or where `scripts/setup_contract.sh` puts it.
fn installed(variable: &str, name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.or_else(|| Some(cache?.join("cervella-ci/contract").join(name)))
}

/// `None`, said aloud: the client is not installed.
fn python(file: &str, module: &str) -> Option<Command> {
    let check = format!("import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)");
    let works = |python: &PathBuf| {
        let status = std::process::Command::new(python).args(["-c", &check]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let interpreter = installed("CERVELLA_CONTRACT_PYTHON", "venv/bin/python3").filter(works);
    command(interpreter, module, file)
}

fn node(file: &str, package: &str) -> Option<Command> {
    let modules = installed("CERVELLA_CONTRACT_NODE_MODULES", "node_modules");
    let modules = modules.filter(|modules| modules.join(package).join("package.json").is_file());
    let mut command = command(modules.as_ref().map(|_| PathBuf::from("node")), package, file)?;
    command.env("NODE_PATH", modules?);
    Some(command)
}

fn command(interpreter: Option<PathBuf>, client: &str, file: &str) -> Option<Command> {
    let Some(interpreter) = interpreter else {
        let reason = format!("{client} is not installed: run scripts/setup_contract.sh");
        skip(std::thread::current().name().unwrap_or("a test"), &reason);
        return None;
    };
    let mut command = Command::new(interpreter);
    command.arg(script(file)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Some(command)
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn slack_sdk_knows_every_answer_of_the_web_api() {
    let Some(mut command) = python("slack_sdk_client.py", "slack_sdk") else { return };
    let people = People::start().await;
    let fake = &people.fake;
    fake.set_limits(None);
    let said = fake.say(&people.channel, &people.anna, "ferie?", Said::default());
    let secret = fake.add_channel(ChannelKind::Private, "secret", std::slice::from_ref(&people.anna));
    fake.leave(&secret, &fake.bot_user());
    fake.fault("chat.getPermalink", Fault::RetryAfter(1));
    command.arg("web").env("CERVELLA_CONTRACT_SAID", said).env("CERVELLA_CONTRACT_SECRET_CHANNEL", secret);
    people.address(&mut command);
    let client = command.spawn().expect("the client starts");
    let output = client.wait_with_output().await.expect("the client ran");
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fake.faults_left(), 0);
    assert_eq!(fake.prompts()[0].prompts, [("Ferie".to_owned(), "Quante ferie ho?".to_owned())]);
    assert_eq!(fake.message(&people.channel, &fake.messages(&people.channel)[0].ts).unwrap().reactions.len(), 1);
}

#[tokio::test]
async fn slack_sdk_takes_it_for_slack() {
    let Some(mut command) = python("slack_sdk_client.py", "slack_sdk") else { return };
    command.arg("builtin");
    day(command, Panel::Prompts).await;
}

#[tokio::test]
async fn slack_sdk_with_aiohttp_takes_it_for_slack() {
    let Some(mut command) = python("slack_sdk_client.py", "aiohttp") else { return };
    command.arg("aiohttp");
    day(command, Panel::Prompts).await;
}

#[tokio::test]
async fn socket_mode_takes_it_for_slack() {
    let Some(command) = node("slack_socket_mode.mjs", "@slack/socket-mode") else { return };
    day(command, Panel::Prompts).await;
}

#[tokio::test]
async fn bolt_takes_it_for_slack() {
    let Some(command) = node("slack_bolt.mjs", "@slack/bolt") else { return };
    day(command, Panel::Streams).await;
}

/// Slack's models and the fake agree on which blocks are fine.
#[tokio::test]
async fn blocks_are_judged_as_the_models_of_slack_sdk_do() {
    let Some(mut command) = python("slack_blocks.py", "slack_sdk") else { return };
    let examples = block_examples();
    let mut client = command.stdin(Stdio::piped()).spawn().expect("the client starts");
    let mut input = client.stdin.take().expect("the client reads");
    let lines: String = examples.iter().map(|(blocks, _)| format!("{blocks}\n")).collect();
    let write = async {
        input.write_all(lines.as_bytes()).await.expect("the client reads everything");
        drop(input);
    };
    let ((), output) = tokio::join!(write, client.wait_with_output());
    let output = output.expect("the client ran");
    assert!(output.status.success(), "{}", words(&output));
    let verdicts: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), examples.len());
    for ((blocks, fine), verdict) in examples.iter().zip(&verdicts) {
        let kinds: Vec<&str> = blocks.as_array().unwrap().iter().filter_map(|block| block["type"].as_str()).collect();
        assert_eq!(verdict["ok"], *fine, "{verdict} about {kinds:?}");
    }
}

/// What a client does in the assistant panel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Panel {
    Prompts,
    /// It also answers there with a stream.
    Streams,
}

/// Runs a client's bot and meets it as people do, until it ends well.
async fn day(mut command: Command, panel: Panel) {
    let people = People::start().await;
    people.address(&mut command);
    let client = command.spawn().expect("the client starts");
    let mut ended = std::pin::pin!(client.wait_with_output());
    tokio::select! {
        output = &mut ended => panic!("the client ended early\n{}", words(&output.expect("the client ran"))),
        () = people.day(panel) => {}
    }
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("the client ends").expect("the client ran");
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(people.fake.violations(), []);
}

struct People {
    fake: FakeSlack,
    anna: String,
    channel: String,
    /// Anna's direct messages with the bot.
    direct: String,
}

impl People {
    async fn start() -> Self {
        let fake = FakeSlack::start().await;
        let anna = fake.add_user("Anna", "it-IT");
        let channel = fake.add_channel(ChannelKind::Public, "general", std::slice::from_ref(&anna));
        let direct = fake.direct(&anna);
        fake.set_ping_interval(Duration::from_millis(500));
        People { fake, anna, channel, direct }
    }

    /// Where the client finds the fake.
    fn address(&self, command: &mut Command) {
        for (name, value) in [
            ("URL", self.fake.api_url()),
            ("APP_TOKEN", self.fake.app_token()),
            ("BOT_TOKEN", self.fake.bot_token()),
            ("CHANNEL", self.channel.clone()),
            ("PERSON", self.anna.clone()),
        ] {
            command.env(format!("CERVELLA_CONTRACT_{name}"), value);
        }
        for name in ["SAID", "SECRET_CHANNEL"] {
            let variable = format!("CERVELLA_CONTRACT_{name}");
            let set = command.as_std().get_envs().any(|(key, _)| key == std::ffi::OsStr::new(&variable));
            if !set {
                command.env(variable, "");
            }
        }
    }

    async fn day(&self, panel: Panel) {
        let Self { fake, anna, channel, direct } = self;
        self.until("a socket", |fake| fake.sockets() > 0).await;
        let asked = fake.say(channel, anna, &format!("{} ferie?", fake.mention()), Said::default());
        let answer = self.answer(channel, &asked).await;
        assert_eq!((answer.plain.as_str(), answer.buttons.len()), ("**22**", 2));
        fake.press(channel, anna, &answer.ts, "not_helpful");
        self.until("the press is shown", |fake| {
            fake.message(channel, &answer.ts).unwrap().plain == "premuto: not_helpful"
        })
        .await;

        self.echo("ciao").await;
        self.trouble().await;
        let said = self.echo("prima").await;
        fake.edit(direct, &said, "dopo");
        self.until("the edit is answered", |fake| self.texts(fake, &said).contains(&"ora: dopo".to_owned())).await;

        let trigger = fake.slash(channel, anna, "/cervella", "ask ferie?");
        let done = |fake: &FakeSlack| fake.answers(channel).iter().any(|shown| shown.plain == "fatto: ask ferie?");
        self.until("the command is answered", done).await;
        assert_eq!(fake.ephemerals()[0].plain, "un momento");
        assert_eq!(fake.responses().iter().filter(|response| response.trigger == trigger).count(), 2);
        fake.shortcut(channel, anna, &asked, "ask_cervella");
        self.until("the shortcut is answered", |fake| fake.answers_to(channel, &asked).len() == 2).await;
        assert_eq!(fake.views().len(), 1);

        let thread = fake.open_assistant(anna, Some(channel));
        self.until("prompts", |fake| fake.prompts().iter().any(|prompts| prompts.thread_ts == thread)).await;
        if panel == Panel::Streams {
            fake.say(direct, anna, "nel pannello", Said::in_thread(&thread));
            let ended = |fake: &FakeSlack| {
                fake.answers_to(direct, &thread).iter().any(|shown| shown.streamed && !shown.streaming)
            };
            self.until("the stream ends", ended).await;
            let shown = fake.answers_to(direct, &thread).into_iter().find(|shown| shown.streamed).unwrap();
            assert_eq!((shown.plain.as_str(), shown.buttons.len()), ("eco: nel pannello", 2));
            assert_eq!(fake.titles()[0].2, "Ferie");
            assert_eq!(fake.statuses().iter().map(|status| status.status.as_str()).collect::<Vec<_>>(), ["cerca…", ""]);
        }
        self.until("all is taken", |fake| fake.pending_events() == 0).await;
        assert_eq!(fake.untaken(), []);
        fake.say(direct, anna, "basta", Said::default());
    }

    /// Sockets that are replaced, die, and calls that the client has to make again.
    async fn trouble(&self) {
        let fake = &self.fake;
        let opened = fake.sockets_opened();
        assert_eq!(fake.disconnect("refresh_requested"), 1);
        self.until("a new socket", |fake| fake.sockets_opened() > opened).await;
        self.echo("di nuovo").await;
        fake.set_redelivery(Duration::from_millis(500), 100);
        let opened = fake.sockets_opened();
        assert!(fake.half_open() > 0);
        self.until("a socket for the dead one", |fake| fake.sockets_opened() > opened).await;
        self.echo("e ancora").await;
    }

    /// Says something in the direct messages and waits for the bot to say it again. What was said.
    async fn echo(&self, text: &str) -> String {
        let said = self.fake.say(&self.direct, &self.anna, text, Said::default());
        let expect = format!("eco: {text}");
        self.until(text, |fake| self.texts(fake, &said).contains(&expect)).await;
        said
    }

    fn texts(&self, fake: &FakeSlack, ts: &str) -> Vec<String> {
        fake.answers_to(&self.direct, ts).into_iter().map(|shown| shown.plain).collect()
    }

    async fn answer(&self, channel: &str, ts: &str) -> crate::fakes::slack::Shown {
        let answer = self.fake.wait_for(|fake| fake.answers_to(channel, ts).into_iter().next(), PATIENCE).await;
        answer.unwrap_or_else(|| panic!("no answer\n{}", self.fake.transcript(channel)))
    }

    async fn until(&self, what: &str, came: impl FnMut(&FakeSlack) -> bool) {
        let came = self.fake.wait_until(came, PATIENCE).await;
        let (channel, direct) = (self.fake.transcript(&self.channel), self.fake.transcript(&self.direct));
        assert!(came, "never came: {what}\n{channel}{direct}");
    }
}
