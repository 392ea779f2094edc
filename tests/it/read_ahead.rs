//! Passages that the demo model reads before anybody asks, as an admin sees it.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{cervella, handbook, json, models, root, run, stdout};

const PATIENCE: Duration = Duration::from_secs(120);

fn command(data: &Path) -> Command {
    let mut command = cervella(data);
    command.env("CERVELLA__KNOWLEDGE__FOLDERS", root().join("knowledge"));
    command
}

fn pieces(data: &Path) -> usize {
    let files = std::fs::read_dir(data.join("passage_kv")).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "kv")).count()
}

/// Ends with the test, whatever becomes of it.
struct Reading(Child);

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_admin_has_passages_read_and_stops_when_it_is_enough() {
    let Some(data) = handbook() else { return };
    let refused = run(command(data).args(["index", "--read-ahead"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`inference.passage_kv_gb` is 0"));

    let with_room = || {
        let mut command = command(data);
        command.env("CERVELLA__INFERENCE__PASSAGE_KV_GB", "1");
        command
    };
    let mut reading = with_room();
    let log = data.join("read-ahead.log");
    reading.args(["index", "--read-ahead"]).stderr(std::fs::File::create(&log).expect("made"));
    let mut reading = Reading(reading.spawn().expect("the program starts"));
    let start = Instant::now();
    while pieces(data) < 2 {
        assert!(start.elapsed() < PATIENCE, "nothing is read");
        assert!(reading.0.try_wait().expect("it runs").is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&reading.0), Signal::INT).expect("it runs");
    assert_eq!(reading.0.wait().expect("it ends").code(), Some(0));
    let said = std::fs::read_to_string(&log).expect("readable");
    assert!(said.contains("passages are read ahead") && said.contains("were left"), "{said}");

    let status = json(with_room().args(["index", "status", "--json"]));
    assert_eq!(status["read_ahead"]["passages"].as_u64(), Some(pieces(data) as u64));
    assert!(stdout(with_room().args(["index", "status"])).contains("passages read ahead, in "));
    let examined = String::from_utf8(run(with_room().arg("doctor")).stdout).expect("UTF-8");
    assert!(examined.contains("room for about "), "{examined}");
    // Whoever does not read ahead is not told of it.
    assert!(json(command(data).args(["index", "status", "--json"]))["read_ahead"].is_null());
}

#[test]
fn a_collection_that_an_admin_names_is_read_first() {
    if models().is_none() {
        return;
    }
    let (data, open, named) = (tempfile::tempdir(), tempfile::tempdir(), tempfile::tempdir());
    let [data, open, named] = [data, open, named].map(|folder| folder.expect("a temporary folder"));
    let write = |folder: &Path, name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    for (day, opens) in [("Monday", 7), ("Tuesday", 8), ("Wednesday", 9), ("Thursday", 10), ("Friday", 11)] {
        let text =
            format!("# The canteen on {day}\n\nOn {day} the canteen opens at {opens} and closes three hours later.\n");
        write(open.path(), &format!("{day}.md"), &text);
    }
    write(named.path(), "alarm.md", "# The alarm\n\nWhen the alarm rings everybody leaves by the stairs.\n");
    write(named.path(), "doctor.md", "# The doctor\n\nThe company doctor is in the house on the first Thursday.\n");
    let command = || {
        let mut command = cervella(data.path());
        command.env("CERVELLA__KNOWLEDGE__FOLDERS", open.path());
        command.env("CERVELLA__KNOWLEDGE__COLLECTIONS__SAFETY__FOLDERS", named.path());
        command.env("CERVELLA__KNOWLEDGE__COLLECTIONS__SAFETY__READ_AHEAD", "true");
        command.env("CERVELLA__INFERENCE__PASSAGE_KV_GB", "1");
        command
    };
    stdout(command().args(["index", "--read-ahead"]));
    let files = std::fs::read_dir(data.path().join("passage_kv")).expect("something is read");
    let mut kept: Vec<(SystemTime, String)> = files
        .map(|file| file.expect("readable"))
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "kv"))
        .map(|file| (file.metadata().and_then(|details| details.modified()), file.file_name()))
        .map(|(modified, name)| (modified.expect("a time"), name.to_string_lossy().into_owned()))
        .collect();
    kept.sort();
    let hits = json(command().args(["search", "alarm doctor", "--top", "10", "--json"]))["hits"].clone();
    let of_collection = |hit: &&serde_json::Value| hit["collection"] == "safety";
    let named: Vec<&str> = hits
        .as_array()
        .expect("hits")
        .iter()
        .filter(of_collection)
        .filter_map(|hit| hit["passage_id"].as_str())
        .collect();
    assert_eq!((kept.len(), named.len()), (7, 2), "{kept:?} {hits}");
    assert!(kept[..2].iter().all(|(_, file)| named.iter().any(|id| file.starts_with(id))), "{kept:?} {named:?}");
}
