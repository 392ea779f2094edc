//! Processes that are killed, and disks that are full. Each test starts this test binary again, with only [`child`] to
//! run and a job for it in the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;

const JOB: &str = "CERVELLA_TEST_STORE_JOB";
const FOLDER: &str = "CERVELLA_TEST_STORE_FOLDER";

/// What a child may not write into any log.
const CANARY: &str = "canarino-7391";

#[test]
fn child() {
    let (Ok(job), Some(folder)) = (std::env::var(JOB), std::env::var_os(FOLDER)) else { return };
    let folder = Path::new(&folder);
    match job.as_str() {
        "accept" => accept_for_ever(folder),
        "full" => fill_the_disk(folder),
        "log" => log_everything(folder),
        "migrate" => migrate(folder),
        other => panic!("no such job: {other}"),
    }
}

fn command(program: impl AsRef<std::ffi::OsStr>, job: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(JOB, job).env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The arguments with which this binary runs [`child`] alone.
fn arguments() -> [String; 4] {
    let (_, module) = module_path!().split_once("::").unwrap();
    [format!("{module}::child"), "--exact".to_owned(), "--nocapture".to_owned(), "--test-threads=1".to_owned()]
}

fn start(job: &str, folder: &Path) -> Child {
    command(std::env::current_exe().unwrap(), job, folder).args(arguments()).spawn().unwrap()
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").unwrap();
    stdout.flush().unwrap();
}

/// Several parts long, and different for each event.
fn payload(key: &str) -> Vec<u8> {
    format!("event {key} ").repeat(1 + key.len() * 97 % 900).into_bytes()
}

/// Takes events with four threads and says the key and number of each one after it was taken.
fn accept_for_ever(folder: &Path) {
    say(format_args!("opening"));
    let store = open(folder);
    std::thread::scope(|threads| {
        for worker in 0..4 {
            let store = &store;
            threads.spawn(move || {
                for n in 0.. {
                    let key = format!("{}-{worker}-{n}", std::process::id());
                    let Accepted::New(id) = store.accept(&key, &payload(&key), NOW).unwrap() else {
                        panic!("{key} was seen before");
                    };
                    say(format_args!("took {} {key}", id.0));
                    // Something to lie between the events: rows that change, rows that go.
                    store.set_delivery(&question("1.0"), &delivery(vec![posted(&key)]), n % 2 == 0).unwrap();
                    store.accept(&format!("done {key}"), b"done", NOW).unwrap();
                    if let Some((done, _)) = store.pending().unwrap().iter().rev().find(|(_, event)| event == b"done") {
                        store.done(*done).unwrap();
                    }
                }
            });
        }
    });
}

fn took(line: &str) -> Option<(u64, String)> {
    let (id, key) = line.strip_prefix("took ")?.split_once(' ')?;
    Some((id.parse().ok()?, key.to_owned()))
}

#[test]
fn a_killed_process_loses_nothing_that_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = BTreeMap::new();
    for round in 0..20 {
        let mut child = start("accept", folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("opening")), "the child did not start");
        // Every third one is killed while it opens the store.
        let events = if round % 3 == 2 { 0 } else { 1 + round * 5 % 23 };
        for _ in 0..events {
            let (id, key) = lines.find_map(|line| took(&line)).expect("the child ended by itself");
            assert_eq!(told.insert(id, key), None, "a number was given twice");
        }
        child.kill().unwrap();
        // What it said before it was killed.
        told.extend(lines.filter_map(|line| took(&line)));
        assert!(!child.wait().unwrap().success());

        let store = open(folder.path());
        assert_eq!((store.put_aside(), store.damaged_rows()), (None, 0), "round {round}");
        let found: BTreeMap<u64, Vec<u8>> =
            store.pending().unwrap().into_iter().map(|(id, payload)| (id.0, payload)).collect();
        for (id, key) in &told {
            assert!(found.get(id) == Some(&payload(key)), "round {round} lost {key}");
            assert_eq!(store.accept(key, b"", NOW).unwrap(), Accepted::Seen, "round {round} forgot {key}");
        }
    }
    assert!(told.len() > 100, "only {} events were taken", told.len());
}

const ROWS: u64 = 400;

fn row(name: &str, n: u64) -> Key {
    Key::new(keys::Kind::Flag).text(name).number(n)
}

/// The step to a layout that is not there yet: every row is raised by one and moved to another key.
fn raise_and_move(engine: &Engine) -> Result<(), StoreError> {
    say(format_args!("moving"));
    let mut told = String::new();
    for n in 0..ROWS {
        // No further than the test wants it; to the end when nobody says anything any more.
        io::stdin().read_line(&mut told).unwrap();
        let Some(value) = engine.read::<u64>(&row("old", n))? else {
            say(format_args!("moved {n}"));
            continue;
        };
        engine.change(|changes| {
            changes.put(&row("new", n), &(value + 1))?;
            changes.remove(&row("old", n))
        })?;
        engine.flush()?;
        say(format_args!("moved {n}"));
    }
    Ok(())
}

fn migrate(folder: &Path) {
    let engine = Engine::open(folder).unwrap();
    let steps: Vec<_> = migrations::STEPS.iter().copied().chain([raise_and_move as migrations::Step]).collect();
    migrations::run_steps(&engine, &steps).unwrap();
}

#[test]
fn a_migration_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path()).unwrap();
    migrations::run(&engine).unwrap();
    for n in 0..ROWS {
        engine.put(&row("old", n), &(n * 10)).unwrap();
    }
    engine.flush().unwrap();
    drop(engine);
    let mut moved = BTreeSet::new();
    for round in 0..20 {
        let mut child = command(std::env::current_exe().unwrap(), "migrate", folder.path());
        let mut child = child.args(arguments()).stdin(Stdio::piped()).spawn().unwrap();
        let (mut go_on, told) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut lines = BufReader::new(told).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("moving")), "the child did not start");
        // One line for each row, those that were moved before too.
        let seen = moved.len();
        for _ in 0..seen + round % 7 {
            writeln!(go_on).unwrap();
        }
        for _ in 0..seen + round % 7 {
            let line = lines.next().expect("the child ended by itself");
            moved.insert(line.strip_prefix("moved ").and_then(|n| n.parse::<u64>().ok()).expect("a row"));
        }
        // In the middle of another row every other time.
        if round % 2 == 0 {
            writeln!(go_on).unwrap();
        }
        child.kill().unwrap();
        moved.extend(lines.filter_map(|line| line.strip_prefix("moved ")?.parse::<u64>().ok()));
        child.wait().unwrap();
        let engine = Engine::open(folder.path()).unwrap();
        for n in &moved {
            let (old, new) =
                (engine.read::<u64>(&row("old", *n)).unwrap(), engine.read::<u64>(&row("new", *n)).unwrap());
            assert_eq!((old, new), (None, Some(n * 10 + 1)), "round {round} lost row {n}");
        }
    }
    assert!(moved.len() >= 57, "{} rows were moved", moved.len());
    assert!(start("migrate", folder.path()).wait_with_output().unwrap().status.success());
    let engine = Engine::open(folder.path()).unwrap();
    assert_eq!(migrations::layout(&engine).unwrap(), migrations::known() + 1);
    for n in 0..ROWS {
        let (old, new) = (engine.read::<u64>(&row("old", n)).unwrap(), engine.read::<u64>(&row("new", n)).unwrap());
        assert_eq!((old, new), (None, Some(n * 10 + 1)), "row {n} was moved twice, or not at all");
    }
}

fn limit_files(bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(limits.maximum), ..limits }).unwrap();
}

/// Takes events until the disk is full, and goes on when there is room again.
fn fill_the_disk(folder: &Path) {
    let store = open(folder);
    let take = |key: &str| {
        let accepted = store.accept(key, &payload("of many parts"), NOW)?;
        let Accepted::New(id) = accepted else { panic!("{key} was seen before") };
        say(format_args!("took {} {key}", id.0));
        Ok(())
    };
    limit_files(Some(2 << 20));
    let full = (0..100_000).find_map(|n| take(&format!("{n}")).err()).expect("the disk is never full");
    say(format_args!("failed: {full}"));
    // Opened again, the database may find room for some more; nobody waits for ever.
    for n in 0..50 {
        let _ = take(&format!("more {n}"));
    }
    // Not even what opening the store writes.
    limit_files(Some(0));
    let errors: Vec<StoreError> = (0..5).filter_map(|n| take(&format!("none {n}")).err()).collect();
    assert_eq!(errors.len(), 5);
    limit_files(None);
    // The first one may still find the database that failed.
    let _ = take("room again");
    take("room as before").unwrap();
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Writing beyond the limit is an error and not the end: an ignored signal stays ignored in the program.
    let mut command = command("sh", "full", folder.path());
    command.args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#]).arg(std::env::current_exe().unwrap()).args(arguments());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("failed: no room is left on the disk of the store (file too large)"), "{text}");

    let told: BTreeMap<u64, String> = text.lines().filter_map(took).collect();
    assert!(told.len() > 10 && told.values().any(|key| key == "room as before"), "{text}");
    let store = open(folder.path());
    assert_eq!((store.put_aside(), store.damaged_rows()), (None, 0));
    let found: BTreeSet<u64> = store.pending().unwrap().into_iter().map(|(id, _)| id.0).collect();
    for (id, key) in told {
        assert!(found.contains(&id), "lost {key}");
        assert_eq!(store.accept(&key, b"", NOW).unwrap(), Accepted::Seen, "forgot {key}");
    }
}

/// Handles texts with everything logged to standard output.
fn log_everything(folder: &Path) {
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::stdout).with_ansi(false).init();
    tracing::trace!("everything is logged");
    let store = open(folder);
    for n in 0..40 {
        store.accept(&format!("{n}"), CANARY.as_bytes(), NOW).unwrap();
        let delivery = Delivery { question_text: CANARY.to_owned(), ..delivery(vec![]) };
        store.set_delivery(&question(&format!("{n}.0")), &delivery, true).unwrap();
        let last_question = Some(CANARY.to_owned());
        let conversation = Conversation { last_question, ..Default::default() };
        store.set_conversation(&thread("C1", Some(&format!("{n}"))), &conversation).unwrap();
    }
    let standing = Standing::Pairing { code: CANARY.to_owned(), expires: NOW };
    store.set_access("slack:U1", &AccessEntry { standing, by: String::new(), at: NOW }).unwrap();
    assert_eq!(store.pairing(CANARY).unwrap().as_deref(), Some("slack:U1"));
    store
        .with(|engine| {
            engine.damage(&Key::inbox(3));
            engine.damage(&Key::question(&question("3.0"), keys::Kind::Delivery));
            Ok(())
        })
        .unwrap();
    drop(store);
    let store = open(folder);
    assert_eq!(store.pending().unwrap().len(), 39);
    let _ = store.delivery(&question("3.0"));
    store.sweep(i64::MAX, &Retention::default()).unwrap();
}

#[test]
fn no_text_reaches_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let output = start("log", folder.path()).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("everything is logged"), "{text}");
    assert!(text.contains("an event is lost"), "{text}");
    // sled writes bytes as numbers.
    let numbers = CANARY.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for shape in [CANARY, &numbers] {
        let line = text.lines().find(|line| line.contains(shape));
        assert_eq!(line.map(|line| &line[..line.len().min(120)]), None);
    }
}
