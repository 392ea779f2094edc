//! Passages that are read before anybody asks.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cervella::domain::PassageId;
use cervella::inference::{
    AheadPassage, AheadPrompt, ChatMessage, ChatRole, Engine, EngineOptions, GenerateRequest, PieceFormat,
    ReadAheadOptions, forget_pieces, kept_pieces,
};

use super::engine::{collect, request};
use super::tiny::{CONTEXT_TOKENS, TinyModel};

const MODEL: &str = "CERVELLA_TEST_AHEAD_MODEL";
const FOLDER: &str = "CERVELLA_TEST_AHEAD_FOLDER";
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the crash test.
const PASSAGES: u8 = 24;

fn options(model: &Path, folder: &Path, bytes_max: u64) -> EngineOptions {
    let format = PieceFormat::Int8;
    let folder = folder.to_owned();
    options_with(model, ReadAheadOptions { folder, bytes_max, format, share_anew: 0.15, ..ReadAheadOptions::default() })
}

fn options_with(model: &Path, read_ahead: ReadAheadOptions) -> EngineOptions {
    EngineOptions {
        context_tokens_max: CONTEXT_TOKENS,
        slots: 1,
        keep_prefixes: false,
        read_ahead: Some(read_ahead),
        ..EngineOptions::new(model)
    }
}

fn shown(n: usize, passage: u8) -> String {
    let text = format!("In office {passage} people work {} hours a day, and have lunch at one. ", passage / 3 + 4);
    format!("<passage number=\"{n}\" document=\"Office {passage}\">\n{}\n</passage>\n", text.repeat(4))
}

/// A question with passages, which may have been read before.
fn question(passages: &[u8]) -> GenerateRequest {
    let (mut text, mut ahead) = (String::new(), Vec::new());
    for (at, &passage) in passages.iter().enumerate() {
        let start = text.len();
        text.push_str(&shown(at + 1, passage));
        ahead.push(AheadPassage { id: PassageId([passage; 16]), range: start..text.len(), first: shown(1, passage) });
    }
    text.push_str("\nQuestion: when is lunch?");
    let messages = vec![ChatMessage::new(ChatRole::System, "Answer."), ChatMessage::new(ChatRole::User, text)];
    GenerateRequest { messages, ahead: AheadPrompt { passages: ahead, tokens_max: usize::MAX }, ..request("", 40) }
}

fn exact(request: &GenerateRequest) -> GenerateRequest {
    GenerateRequest { ahead: AheadPrompt::default(), ..request.clone() }
}

/// Wants the passages read, and waits until they are.
fn read(engine: &Engine, request: &GenerateRequest) {
    engine.read_ahead(&request.messages, &request.ahead.passages).unwrap().expect("passages are read ahead");
    while engine.unread_ahead() > 0 {
        std::thread::yield_now();
    }
}

/// A text of the engine behind a prompt that shares only its beginning with the one before.
fn afresh(engine: &Engine, asked: &GenerateRequest) -> (usize, String) {
    collect(engine.submit(exact(&question(&[200]))).unwrap());
    let (cached, text, ..) = collect(engine.submit(asked.clone()).unwrap());
    (cached.unwrap(), text)
}

#[test]
fn passages_are_read_once_and_exact_prompts_stay_as_they_are() {
    let (_model, model) = TinyModel::new().written();
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(options(&model, folder.path(), 1 << 30)).unwrap();
    let asked = question(&[1, 2, 3]);
    let before = collect(engine.submit(exact(&asked)).unwrap()).1;
    let whole = engine.prompt_tokens(&asked.messages).unwrap();
    let at_first = engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap().unwrap().total();
    assert!(at_first > whole * 9 / 10, "{at_first} of {whole}");
    read(&engine, &asked);
    assert_eq!(kept_pieces(folder.path()).0, 3);
    let left = engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap().unwrap().total();
    assert!(left < whole / 4, "{left} of {whole}");

    let (cached, first) = afresh(&engine, &asked);
    assert!(cached > whole * 3 / 4, "{cached} of {whole}");
    let (cached, other_order, ..) = collect(engine.submit(question(&[3, 1])).unwrap());
    assert!(cached.unwrap() > 300 && other_order != first);
    assert_eq!(collect(engine.submit(asked.clone()).unwrap()).1, first);
    // What is only nearly as it would be is in nobody else's prompt.
    assert_eq!(collect(engine.submit(exact(&asked)).unwrap()).1, before);
    drop(engine);

    // The next process finds what this one read.
    let engine = Engine::start(options(&model, folder.path(), 1 << 30)).unwrap();
    assert_eq!(collect(engine.submit(asked.clone()).unwrap()).1, first);
    assert_eq!(forget_pieces(folder.path(), |id| id == PassageId([2; 16])), 2);
    let (cached, _) = afresh(&engine, &asked);
    assert!(cached < whole / 2, "{cached} of {whole}");
    read(&engine, &asked);
    assert_eq!(afresh(&engine, &asked).1, first);
}

#[test]
fn what_the_time_leaves_goes_to_reading_passages_anew() {
    let (_model, model) = TinyModel::new().written();
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(options(&model, folder.path(), 1 << 30)).unwrap();
    let asked = question(&[1, 2, 3]);
    read(&engine, &asked);
    let costs = engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap().unwrap();
    let whole = engine.prompt_tokens(&asked.messages).unwrap();
    // The first stands where it was read; of the others at least the number is read anew.
    assert!(costs.passages[0] == 0 && (1..whole / 10).contains(&costs.passages[1]), "{costs:?}");
    let computed = |tokens_max: usize| {
        let mut hasty = asked.clone();
        hasty.ahead.tokens_max = tokens_max;
        collect(engine.submit(exact(&question(&[200]))).unwrap());
        whole - collect(engine.submit(hasty).unwrap()).0.unwrap()
    };
    // The rules are still there from before.
    let rules = costs.total() - computed(0);
    let (least, some, most) = (computed(0), computed(costs.total() + 60), computed(usize::MAX));
    assert!(least < some && some < most, "{least}, {some}, {most}");
    assert!(some <= costs.total() + 60 - rules + 2, "{some} of {costs:?}");
}

/// What the trials of a model came to: how far prompts were from the whole ones, put together and with one passage alone.
fn trials(folder: &Path) -> (PathBuf, Vec<(f64, f64)>) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "nothing was tried out");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let file = files
            .into_iter()
            .find(|path| path.to_string_lossy().contains("/trials-") && path.extension().is_some_and(|e| e == "json"));
        if let Some(path) = file
            && let Ok(outcomes) = serde_json::from_slice::<Vec<serde_json::Value>>(&std::fs::read(&path).unwrap())
        {
            let of = |outcome: &serde_json::Value, name: &str| outcome[name].as_f64().unwrap();
            let outcomes = outcomes.iter().map(|outcome| (of(outcome, "ahead"), of(outcome, "first_alone")));
            return (path, outcomes.collect());
        }
        std::thread::yield_now();
    }
}

#[test]
fn prompts_put_together_are_compared_with_whole_ones_and_given_up_where_they_do_harm() {
    let (_model, model) = TinyModel::new().written();
    let folder = tempfile::tempdir().unwrap();
    let read_ahead = ReadAheadOptions {
        folder: folder.path().to_owned(),
        bytes_max: 1 << 30,
        format: PieceFormat::F16,
        share_anew: 1.0,
        tries_out: true,
        ..ReadAheadOptions::default()
    };
    let engine = Engine::start(options_with(&model, read_ahead.clone())).unwrap();
    let asked = question(&[1, 2, 3]);
    read(&engine, &asked);
    collect(engine.submit(asked.clone()).unwrap());
    let (path, outcomes) = trials(folder.path());
    // Read anew whole, they are what they would have been.
    assert!(matches!(outcomes[..], [(ahead, first_alone)] if ahead < 1e-3 && first_alone > 2e-3), "{outcomes:?}");
    assert!(engine.reads_ahead());
    drop(engine);

    let harm = serde_json::json!({ "ahead": 0.5, "first_alone": 0.4 });
    std::fs::write(&path, serde_json::json!([harm, harm, harm, harm]).to_string()).unwrap();
    let engine = Engine::start(options_with(&model, read_ahead)).unwrap();
    assert!(!engine.reads_ahead() && engine.ahead().is_none());
    assert_eq!(engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap(), None);
    let whole = engine.prompt_tokens(&asked.messages).unwrap();
    let (cached, _) = afresh(&engine, &asked);
    assert!(cached < whole / 4, "{cached} of {whole}");
}

#[test]
fn what_is_wanted_later_is_read_after_what_was_asked_for_and_only_where_there_is_room() {
    let (_model, model) = TinyModel::new().written();
    let folder = tempfile::tempdir().unwrap();
    let one = {
        let engine = Engine::start(options(&model, folder.path(), 1 << 30)).unwrap();
        read(&engine, &question(&[9]));
        kept_pieces(folder.path()).1
    };
    forget_pieces(folder.path(), |_| false);
    let engine = Engine::start(options(&model, folder.path(), 2 * one + one / 2)).unwrap();
    assert_eq!(engine.expected_passages(), [PassageId([9; 16])]);
    // While a question is coming nothing is read.
    let coming = engine.coming().unwrap();
    let mut room = engine.room_ahead().unwrap();
    let mut later = |passage: u8| {
        let asked = question(&[passage]);
        engine.read_later(&asked.messages, &asked.ahead.passages, &mut room).unwrap()
    };
    assert!(later(1) && later(2) && !later(3) && later(1));
    let asked = question(&[4]);
    engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap();
    assert_eq!((engine.unread_ahead(), kept_pieces(folder.path()).0), (3, 0));
    drop(coming);
    while engine.unread_ahead() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(kept_pieces(folder.path()).0, 2);
    let is_read = |passage: u8| {
        let asked = question(&[passage]);
        engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap().unwrap().passages == [0]
    };
    assert!(is_read(4) && is_read(1) && !is_read(2));
}

#[test]
fn without_room_nothing_is_read_ahead_and_answers_come_all_the_same() {
    let (_model, model) = TinyModel::new().written();
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(options(&model, folder.path(), 1000)).unwrap();
    let asked = question(&[1, 2]);
    read(&engine, &asked);
    assert_eq!(kept_pieces(folder.path()), (0, 0));
    assert!(!collect(engine.submit(asked).unwrap()).1.is_empty());
}

#[test]
fn damaged_pieces_are_noticed_and_read_anew() {
    let (_model, model) = TinyModel::new().written();
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(options(&model, folder.path(), 1 << 30)).unwrap();
    let asked = question(&[1, 2]);
    read(&engine, &asked);
    let (cached, expected) = afresh(&engine, &asked);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "kv") {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let (without, _) = afresh(&engine, &asked);
    assert!(without < cached, "{without} and {cached}");
    read(&engine, &asked);
    assert_eq!(afresh(&engine, &asked).1, expected);
}

/// Reads passages ahead until it is killed: only when the test below starts this binary again.
#[test]
fn child() {
    let (Some(model), Some(folder)) = (std::env::var_os(MODEL), std::env::var_os(FOLDER)) else { return };
    let engine = Engine::start(options(Path::new(&model), Path::new(&folder), 1 << 30)).unwrap();
    for passage in 0..PASSAGES {
        let asked = question(&[passage]);
        engine.read_ahead(&asked.messages, &asked.ahead.passages).unwrap();
    }
    loop {
        let left = engine.unread_ahead();
        writeln!(std::io::stdout(), "left {left}").unwrap();
        if left == 0 {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_is_killed_while_it_reads_ahead_leaves_nothing_wrong() {
    let (_model, model) = TinyModel::new().written();
    let (folder, clean) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut kept_at_kills = Vec::new();
    for round in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["inference::ahead::child", "--exact", "--nocapture", "--test-threads=1"]);
        child.env(MODEL, &model).env(FOLDER, folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let seen = lines.filter(|line| line.contains("left ")).take(1 + round * 37 % 101).count();
        assert!(seen > 0, "the child did not begin");
        child.kill().unwrap();
        child.wait().unwrap();
        kept_at_kills.push(kept_pieces(folder.path()).0);
        // Otherwise all would be read after a few rounds.
        if round % 5 == 4 {
            forget_pieces(folder.path(), |id| id.0[0] % 2 == round as u8 % 2);
        }
    }
    assert!(kept_at_kills.iter().any(|kept| *kept > 0), "{kept_at_kills:?}");
    let engine = Engine::start(options(&model, folder.path(), 1 << 30)).unwrap();
    let anew = Engine::start(options(&model, clean.path(), 1 << 30)).unwrap();
    for passage in 0..PASSAGES {
        let asked = question(&[passage, (passage + 1) % PASSAGES]);
        read(&engine, &asked);
        read(&anew, &asked);
    }
    let files = |folder: &Path| {
        // What a killed process left half written is removed when nobody can be writing it any more.
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "kv"));
        let mut files: Vec<_> =
            files.map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(&path).unwrap())).collect();
        files.sort();
        files
    };
    let (kept, expected) = (files(folder.path()), files(clean.path()));
    assert_eq!(kept.len(), usize::from(PASSAGES));
    assert!(kept == expected, "what was kept is not what is read");
}
