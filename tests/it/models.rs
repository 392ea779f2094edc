//! `models pull` against a small hub on loopback: what arrives, what a broken connection leaves, what a refusal says.

mod hub;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cervella::models::{
    Catalogue, FileVerdict, HubOptions, ModelsError, ModelsFolder, ProgressView, PullOutcome, Pulled, Puller, Token,
};
use hub::{COMMIT, Mischief, REPO, Served, TestHub, sha256};
use tempfile::TempDir;

const NAME: &str = "tiny-Q4_K_M.gguf";
const TARGET: &str = "hf.co/acme/tiny-GGUF:q4_k_m";
/// Endpoint and folder for the child of the test that kills it.
const CHILD: &str = "CERVELLA_TEST_CHILD_PULLS";

/// Bytes that start like a GGUF and do not repeat.
fn gguf(length: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    let mut state = 1_u32;
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

struct Bench {
    hub: TestHub,
    temporary: TempDir,
    token: Option<&'static str>,
}

impl Bench {
    fn new(files: &[(&str, &[u8])]) -> Self {
        Self { hub: TestHub::new(files), temporary: tempfile::tempdir().unwrap(), token: None }
    }

    fn folder(&self) -> ModelsFolder {
        ModelsFolder::new(self.temporary.path().join("models"))
    }

    fn puller(&self) -> Puller {
        Puller::new(self.folder(), options(&self.hub.endpoint, self.token), ProgressView::Hidden)
    }

    fn pull(&self, target: &str) -> Result<Vec<Pulled>, ModelsError> {
        self.puller().pull(target)
    }

    fn refused(&self, target: &str) -> String {
        let error = self.pull(target).unwrap_err();
        assert!(!self.path(NAME).exists(), "a pull that fails leaves nothing in place");
        error.to_string()
    }

    fn mischief(&self, mischief: impl IntoIterator<Item = Mischief>) {
        self.hub.change(|hub| hub.mischief = mischief.into_iter().collect::<VecDeque<_>>());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().path().join(name)
    }

    /// Names in the models folder that are no hidden ones.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder().path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }
}

fn options(endpoint: &str, token: Option<&str>) -> HubOptions {
    HubOptions {
        retry_pause: Duration::ZERO,
        silence_max: Duration::from_secs(20),
        ..HubOptions::new(endpoint, token.and_then(Token::new))
    }
}

fn part_of(folder: &Path, bytes: &[u8]) -> PathBuf {
    let cache = format!(".hub/models--{}/blobs", REPO.replace('/', "--"));
    folder.join(cache).join(format!("{}.part", sha256(bytes)))
}

#[test]
fn a_model_of_the_hub_is_installed_once() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[("README.md", b"hello"), (NAME, &bytes)]);
    let pulled = bench.pull(TARGET).unwrap();
    assert_eq!(pulled[0].outcome, PullOutcome::Fetched);
    assert_eq!(pulled[0].path, bench.path(NAME));
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    assert_eq!(bench.names(), ["SHA256SUMS", NAME], "nothing is left over");
    assert_eq!(bench.folder().resolve_answer("auto").unwrap(), bench.path(NAME));

    assert_eq!(bench.pull(TARGET).unwrap()[0].outcome, PullOutcome::AlreadyThere);
    assert_eq!(bench.hub.served().len(), 1, "the second pull fetches nothing");
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.mischief([Mischief::CutAfter(100_000), Mischief::Status(503), Mischief::CutAfter(50_000)]);
    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    let starts: Vec<_> = bench.hub.served().iter().map(|served| served.range_start).collect();
    assert_eq!(starts, [0, 100_000, 100_000, 150_000]);
}

#[test]
fn a_connection_that_never_holds_is_given_up_and_the_next_pull_goes_on() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.mischief([Mischief::CutAfter(100_000)].into_iter().chain([Mischief::Status(503); 5]));
    let message = bench.refused(TARGET);
    assert!(message.contains("run the same command again, which goes on where it stopped"), "{message}");
    assert!(message.contains(&format!("{REPO}/resolve/{COMMIT}/{NAME}")), "{message}");
    assert!(message.contains(bench.path(NAME).to_str().unwrap()), "{message}");

    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    assert_eq!(bench.hub.served().last(), Some(&Served { name: NAME.to_owned(), range_start: 100_000 }));
}

#[test]
fn a_hub_that_falls_silent_is_given_up() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.mischief([Mischief::SilentAfter(100_000)]);
    let options = HubOptions { silence_max: Duration::from_millis(300), ..options(&bench.hub.endpoint, None) };
    let error = Puller::new(bench.folder(), options, ProgressView::Hidden).pull(TARGET).unwrap_err();
    assert!(matches!(error, ModelsError::Unreachable { .. }), "{error}");
    assert!(!bench.path(NAME).exists());
}

#[test]
fn a_pull_that_was_killed_goes_on_where_it_was() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.mischief([Mischief::SilentAfter(200_000)]);
    fs::create_dir_all(bench.folder().path()).unwrap();
    let part = part_of(bench.folder().path(), &bytes);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "models::the_child_that_pulls"])
        .env(CHILD, format!("{} {}", bench.hub.endpoint, bench.folder().path().display()))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 200_000 {
        assert!(patience.elapsed() < Duration::from_secs(60), "the child does not pull");
        std::thread::yield_now();
    }
    let message = bench.pull(TARGET).unwrap_err().to_string();
    assert!(message.contains("another `cervella models pull` is writing"), "{message}");

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!bench.path(NAME).exists());
    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    assert_eq!(bench.hub.served().last(), Some(&Served { name: NAME.to_owned(), range_start: 200_000 }));
}

/// Does nothing of its own: it is what the test above kills.
#[test]
fn the_child_that_pulls() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let (endpoint, folder) = arguments.split_once(' ').unwrap();
    let folder = ModelsFolder::new(folder.into());
    Puller::new(folder, options(endpoint, None), ProgressView::Hidden).pull(TARGET).unwrap();
}

#[test]
fn a_part_that_was_already_whole_is_not_fetched_again() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    let part = part_of(bench.folder().path(), &bytes);
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, &bytes).unwrap();
    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    assert_eq!(bench.hub.served(), []);
}

#[test]
fn what_does_not_hash_to_the_stated_checksum_is_thrown_away() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.hub.change(|hub| hub.stated_sha256 = Some("a".repeat(64)));
    let message = bench.refused(TARGET);
    assert!(message.contains("has the SHA-256") && message.contains("nothing was installed"), "{message}");

    bench.hub.change(|hub| hub.stated_sha256 = None);
    bench.pull(TARGET).unwrap();
    assert_eq!(bench.hub.served().last().unwrap().range_start, 0, "the bad bytes are not built upon");
}

#[test]
fn a_server_that_ignores_ranges_does_not_spoil_the_file() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.mischief([Mischief::CutAfter(100_000), Mischief::IgnoreRange]);
    let message = bench.refused(TARGET);
    assert!(message.contains("more bytes came than the file has"), "{message}");
    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
}

#[test]
fn a_gated_repository_says_what_to_do() {
    let bytes = gguf(300_000);
    let mut bench = Bench::new(&[(NAME, &bytes)]);
    let cdn = TestHub::new(&[(NAME, &bytes)]);
    bench.hub.change(|hub| {
        hub.token = Some("hf_secret".to_owned());
        hub.cdn = Some(cdn.endpoint.clone());
    });
    let message = bench.refused(TARGET);
    assert!(message.contains("accept the licence") && message.contains("set HF_TOKEN"), "{message}");

    bench.token = Some("hf_wrong");
    let error = bench.pull(TARGET).unwrap_err();
    assert!(error.to_string().contains("to the token in HF_TOKEN"), "{error}");
    assert!(!format!("{error:?}{error}").contains("hf_wrong"));

    bench.token = Some(" hf_secret\n");
    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    assert!(!format!("{:?}", options(&bench.hub.endpoint, bench.token)).contains("secret"));
}

#[test]
fn a_public_repository_never_sees_the_token() {
    let bytes = gguf(300_000);
    let mut bench = Bench::new(&[(NAME, &bytes)]);
    let cdn = TestHub::new(&[(NAME, &bytes)]);
    bench.hub.change(|hub| hub.cdn = Some(cdn.endpoint.clone()));
    bench.token = Some("hf_secret");
    bench.pull(TARGET).unwrap();
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), bytes);
    assert!(bench.hub.tokens_seen().iter().chain(&cdn.tokens_seen()).all(Option::is_none));
}

#[test]
fn a_name_the_hub_does_not_know_is_told() {
    let bench = Bench::new(&[(NAME, &gguf(1_000))]);
    let message = bench.refused("hf.co/acme/other-GGUF:Q4_K_M");
    assert!(message.contains("the hub has no acme/other-GGUF (404)"), "{message}");
    let message = bench.refused("hf.co/acme/tiny-GGUF:Q8_0");
    assert!(message.contains(&format!("holds no whole GGUF file of `Q8_0`; it has {NAME}")), "{message}");
}

#[test]
fn no_network_says_where_to_put_the_file_by_hand() {
    let bench = Bench::new(&[]);
    // A port that was free a moment ago and where nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = options(&format!("http://{closed}"), None);
    let error = Puller::new(bench.folder(), options, ProgressView::Hidden).pull("llama-3.2-1b").unwrap_err();
    let message = error.to_string();
    assert!(message.contains("cannot be reached"), "{message}");
    assert!(message.contains("Llama-3.2-1B-Instruct-Q4_K_M.gguf on another machine"), "{message}");
    assert!(message.contains(bench.path("Llama-3.2-1B-Instruct-Q4_K_M.gguf").to_str().unwrap()), "{message}");
}

#[test]
fn a_disk_that_is_too_small_is_noticed_before_anything_is_fetched() {
    let bench = Bench::new(&[(NAME, &gguf(1_000))]);
    bench.hub.change(|hub| hub.stated_size = Some(1 << 60));
    let message = bench.refused(TARGET);
    assert!(message.contains("free some space"), "{message}");
    assert_eq!(bench.hub.served(), []);
}

#[test]
fn what_is_no_gguf_is_not_installed_and_a_file_of_that_name_is_not_overwritten() {
    let bench = Bench::new(&[(NAME, b"<html>a page, and long enough to hold a header</html>")]);
    assert!(bench.refused(TARGET).contains("is not a GGUF file"));

    fs::write(bench.path(NAME), "mine").unwrap();
    let message = bench.pull(TARGET).unwrap_err().to_string();
    assert!(message.contains("is there already and is another file"), "{message}");
    assert_eq!(fs::read(bench.path(NAME)).unwrap(), b"mine");
}

#[test]
fn a_file_of_ones_own_is_checked_and_stays_where_it_is() {
    let bench = Bench::new(&[]);
    let path = bench.temporary.path().join("own.gguf");
    fs::write(&path, gguf(1_000)).unwrap();
    let pulled = bench.pull(path.to_str().unwrap()).unwrap();
    assert_eq!((pulled[0].outcome, pulled[0].path.file_name()), (PullOutcome::OwnFile, path.file_name()));
    assert!(!bench.folder().path().exists(), "nothing is copied");

    fs::write(&path, "PK a zip file that was renamed to gguf").unwrap();
    assert!(bench.pull(path.to_str().unwrap()).unwrap_err().to_string().contains("is not a GGUF file"));
}

/// A catalogue whose entry has two files in a folder, with these contents.
fn two_files(model: &[u8], config: &[u8]) -> Catalogue {
    let file = |path: &str, remote: &str, bytes: &[u8]| {
        format!(
            "[[entry.file]]\npath = \"{path}\"\nremote = \"{remote}\"\nsize_bytes = {}\nsha256 = \"{}\"\n",
            bytes.len(),
            sha256(bytes)
        )
    };
    let head = format!(
        "[[entry]]\nid = \"tiny\"\nrole = \"embedding\"\ndescription = \"\"\nlicence = \"MIT\"\n\
         source = {{ hub = {{ repo = \"{REPO}\", revision = \"{COMMIT}\" }} }}\n"
    );
    let text =
        head + &file("tiny/model.onnx", "onnx/model.onnx", model) + &file("tiny/config.json", "config.json", config);
    Catalogue::parse(&text).unwrap()
}

#[test]
fn files_that_belong_together_appear_together() {
    let (model, config) = (gguf(300_000), b"{}".to_vec());
    let catalogue = two_files(&model, &config);
    let entry = catalogue.find("tiny").unwrap();
    let bench = Bench::new(&[("onnx/model.onnx", &model)]);
    let message = bench.puller().pull_entry(entry).unwrap_err().to_string();
    assert!(message.contains("the hub has no config.json"), "{message}");
    assert!(!bench.path("tiny").exists());

    bench.hub.change(|hub| hub.files.push(("config.json".to_owned(), config.clone())));
    let pulled = bench.puller().pull_entry(entry).unwrap();
    assert_eq!(pulled.path, bench.path("tiny"));
    assert_eq!(fs::read(bench.path("tiny/model.onnx")).unwrap(), model);
    assert_eq!(fs::read(bench.path("tiny/config.json")).unwrap(), config);
    let names: Vec<_> = bench.hub.served().into_iter().map(|served| served.name).collect();
    assert_eq!(names, ["onnx/model.onnx", "config.json"], "what had arrived is not fetched twice");
    assert_eq!(bench.puller().pull_entry(entry).unwrap().outcome, PullOutcome::AlreadyThere);
}

#[test]
fn a_hub_that_contradicts_the_catalogue_is_not_believed() {
    let (model, config) = (gguf(3_000), b"{}".to_vec());
    let catalogue = two_files(&model, &config);
    let bench = Bench::new(&[("onnx/model.onnx", &gguf(3_001)), ("config.json", &config)]);
    let message = bench.puller().pull_entry(catalogue.find("tiny").unwrap()).unwrap_err().to_string();
    assert!(message.contains("has the size 3001 where 3000 was expected"), "{message}");
    assert_eq!(bench.hub.served(), []);
}

#[test]
fn verify_finds_what_changed_since_the_pull() {
    let bytes = gguf(300_000);
    let bench = Bench::new(&[(NAME, &bytes)]);
    bench.pull(TARGET).unwrap();
    let verify = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        bench.folder().verify(&names, ProgressView::Hidden)
    };
    fs::write(bench.path("other.gguf"), gguf(1_000)).unwrap();
    let verdicts: Vec<_> = verify(&[]).unwrap().into_iter().map(|file| (file.path, file.verdict)).collect();
    assert_eq!(verdicts, [("other.gguf".to_owned(), FileVerdict::Unknown), (NAME.to_owned(), FileVerdict::Right)]);

    let mut damaged = bytes;
    damaged[150_000] ^= 1;
    fs::write(bench.path(NAME), damaged).unwrap();
    let checked = verify(&[NAME]).unwrap();
    assert!(matches!(&checked[0].verdict, FileVerdict::Wrong(reason) if reason.contains("its SHA-256 is")));
    assert!(matches!(verify(&["llama-3.1-8b"]), Err(ModelsError::NotInstalled { .. })));
    assert!(matches!(verify(&["nonsense"]), Err(ModelsError::UnknownName { .. })));
}

#[test]
fn the_list_tells_the_full_embedding_model_from_the_stand_in_of_the_demo() {
    let bench = Bench::new(&[]);
    let full = Catalogue::embedded().find("multilingual-e5-small").unwrap();
    let put = |sizes: &dyn Fn(u64) -> u64| {
        for file in &full.files {
            let path = bench.path(&file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap().set_len(sizes(file.size_bytes.unwrap())).unwrap();
        }
    };
    let installed = || {
        let rows = bench.folder().list().unwrap();
        rows.into_iter().filter(|row| row.installed).map(|row| row.id).collect::<Vec<_>>()
    };
    assert!(installed().is_empty());
    put(&|_| 1_000);
    assert_eq!(installed(), ["demo-multilingual-e5-small"]);
    put(&|size_bytes| size_bytes);
    assert_eq!(installed(), ["multilingual-e5-small"]);
}
