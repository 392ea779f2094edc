//! A Hugging Face hub: what a repository holds, and its files, resumed where an earlier attempt stopped and checked
//! against their SHA-256. Where a file goes after that is the business of `pull`.
//!
//! hf-hub does the requests. Around it stand the things it leaves open: a limit on silence, another attempt after a
//! broken connection, a file that was complete when the last run died, and the token, which is sent only to a hub that
//! asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, Metadata};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use super::checksums::{is_sha256, sha256_of};
use super::error::{ModelsError, size};
use super::hub_failure::Failure;
use super::progress::ProgressView;

const ENDPOINT_DEFAULT: &str = "https://huggingface.co";

/// How to reach the hub.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Without a slash at the end.
    pub endpoint: String,
    pub token: Option<Token>,
    /// A connection that brings nothing for this long is given up.
    pub silence_max: Duration,
    /// Attempts in a row that bring nothing before a download is given up.
    pub attempts_max: u32,
    /// The pause before the second attempt; it doubles each time.
    pub retry_pause: Duration,
}

/// An access token. It is never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// An empty text is no token.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl HubOptions {
    /// Endpoint and token from `HF_ENDPOINT` and `HF_TOKEN`, as in Hugging Face's own tools.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self::new(&variable("HF_ENDPOINT"), Token::new(&variable("HF_TOKEN")))
    }

    pub fn new(endpoint: &str, token: Option<Token>) -> Self {
        let endpoint = endpoint.trim().trim_end_matches('/');
        Self {
            endpoint: if endpoint.is_empty() { ENDPOINT_DEFAULT } else { endpoint }.to_owned(),
            token,
            silence_max: Duration::from_secs(60),
            attempts_max: 5,
            retry_pause: Duration::from_secs(1),
        }
    }
}

/// A file of a repository at a commit, and what it must be.
#[derive(Debug, Clone)]
pub(super) struct RemoteFile {
    pub(super) repo: String,
    pub(super) revision: String,
    pub(super) name: String,
    /// Where the file will stand, for the sentence about fetching it by hand.
    pub(super) place: PathBuf,
    pub(super) size_bytes: Option<u64>,
    pub(super) sha256: Option<String>,
}

/// A file that is complete and checked, still in the hub's own folder.
#[derive(Debug)]
pub(super) struct FetchedFile {
    pub(super) path: PathBuf,
    pub(super) sha256: String,
}

/// What a repository holds at its newest commit.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    #[serde(rename = "sha")]
    pub(super) revision: String,
    #[serde(rename = "siblings")]
    pub(super) files: Vec<ListedFile>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedFile {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    pub(super) size: Option<u64>,
    pub(super) lfs: Option<LargeFile>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LargeFile {
    pub(super) sha256: String,
}

pub(super) struct Hub {
    options: HubOptions,
    cache: Cache,
    anonymous: Api,
    authorized: Option<Api>,
    view: ProgressView,
}

impl Hub {
    /// `folder` is where unfinished files lie; it has to be on the disk of the models folder.
    pub(super) fn new(options: HubOptions, folder: PathBuf, view: ProgressView) -> Result<Self, ModelsError> {
        let cache = Cache::new(folder);
        let api = |token: Option<&Token>| {
            ApiBuilder::from_cache(cache.clone())
                .with_endpoint(options.endpoint.clone())
                .with_token(token.map(|token| token.0.clone()))
                .with_progress(false)
                .build()
                .map_err(|error| Failure::from(error).explain(&options, &RemoteFile::repository("", Path::new(""))))
        };
        let anonymous = api(None)?;
        let authorized = options.token.as_ref().map(|token| api(Some(token))).transpose()?;
        Ok(Self { cache, anonymous, authorized, view, options })
    }

    /// What the repository holds at its newest commit.
    pub(super) fn list(&self, repo: &str, place: &Path) -> Result<Listing, ModelsError> {
        let asked = Repo::new(repo.to_owned(), RepoType::Model);
        let request = move |api: &Api| {
            let mut response =
                api.repo(asked.clone()).info_request().query("blobs", "true").call().map_err(Box::new)?;
            Ok(response.body_mut().read_json::<Listing>().map_err(Box::new)?)
        };
        self.persist(|| self.ask(request.clone(), &Arc::default()), || 0)
            .map_err(|failure| failure.explain(&self.options, &RemoteFile::repository(repo, place)))
    }

    /// Fetches one file and checks it. What an earlier attempt brought is kept and used.
    pub(super) fn fetch(&self, file: &RemoteFile) -> Result<FetchedFile, ModelsError> {
        let explain = |failure: Failure| failure.explain(&self.options, file);
        let metadata = self.persist(|| self.metadata(file), || 0).map_err(explain)?;
        let expected = Expected::agree(file, &metadata)?;
        let blob = self.cache.repo(file.repo()).blob_path(metadata.etag());
        let part = blob.with_extension("part");
        self.view.note(&format!("fetching {} ({}) from {}", file.name, size(expected.size_bytes), file.repo));

        self.persist(|| self.download(file, &expected, &blob), || length(&part)).map_err(explain)?;

        let mut meter = self.view.meter("checking", &file.name, expected.size_bytes);
        let found = sha256_of(&blob, |bytes| meter.advance(bytes))?;
        meter.end();
        if let Some(sha256) = expected.sha256.filter(|sha256| *sha256 != found) {
            fs::remove_file(&blob).map_err(ModelsError::write(&blob))?;
            return Err(mismatch(&file.name, "SHA-256", sha256, found));
        }
        Ok(FetchedFile { path: blob, sha256: found })
    }

    /// Bytes of `file` that lie here already.
    pub(super) fn fetched_bytes(&self, file: &RemoteFile) -> u64 {
        let Some(sha256) = &file.sha256 else { return 0 };
        // The hub names large files by their SHA-256.
        let blob = self.cache.repo(file.repo()).blob_path(sha256);
        length(&blob).max(length(&blob.with_extension("part")))
    }

    /// Removes what a finished download left behind, unless something unfinished lies there too.
    pub(super) fn tidy(&self, repo: &str) {
        let folder = self.cache.path().join(Repo::new(repo.to_owned(), RepoType::Model).folder_name());
        let unfinished = fs::read_dir(folder.join("blobs"))
            .is_ok_and(|files| files.flatten().any(|file| file.path().extension().is_some_and(|end| end == "part")));
        if !unfinished {
            // Left-overs are harmless; the next pull removes them.
            let _ = fs::remove_dir_all(folder);
        }
    }

    fn metadata(&self, file: &RemoteFile) -> Result<Metadata, Failure> {
        let (repo, name) = (file.repo(), file.name.clone());
        let request = move |api: &Api| api.metadata(&api.repo(repo.clone()).url(&name));
        let metadata = self.ask(request, &Arc::default())?;
        // Both become names of files here.
        for text in [metadata.etag(), metadata.commit_hash()] {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(Failure::Answer(format!("`{text}` cannot be an identifier")));
            }
        }
        Ok(metadata)
    }

    /// One attempt to complete `blob`. When it fails, what came stays in the file's `.part`.
    fn download(&self, file: &RemoteFile, expected: &Expected, blob: &Path) -> Result<(), Failure> {
        let part = blob.with_extension("part");
        let size_bytes = expected.size_bytes;
        if length(blob) == size_bytes {
            return Ok(());
        }
        if length(&part) > size_bytes {
            fs::remove_file(&part).map_err(Failure::disk)?;
        }
        if length(&part) < size_bytes {
            // hf-hub does not replace its link to an earlier copy.
            let _ = fs::remove_dir_all(self.cache.path().join(file.repo().folder_name()).join("snapshots"));
            let (repo, name, view) = (file.repo(), file.name.clone(), self.view);
            let activity = Arc::new(AtomicU64::new(0));
            let meter_activity = Arc::clone(&activity);
            let request = move |api: &Api| {
                let meter = view.meter("fetching", &name, size_bytes).counting_in(&meter_activity);
                api.repo(repo.clone()).download_with_progress(&name, meter)
            };
            self.ask(request, &activity)?;
            // A connection that ends early and without an error looks complete to hf-hub.
            fs::rename(blob, &part).map_err(Failure::disk)?;
        }
        match length(&part) {
            length if length == size_bytes => fs::rename(&part, blob).map_err(Failure::disk),
            length if length < size_bytes => Err(Failure::Short),
            _ => {
                fs::remove_file(&part).map_err(Failure::disk)?;
                Err(Failure::Answer("more bytes came than the file has".to_owned()))
            }
        }
    }

    /// Repeats `attempt` while it fails in a way that passes. An attempt that brought something (`brought` grew) does
    /// not count.
    fn persist<T>(&self, attempt: impl Fn() -> Result<T, Failure>, brought: impl Fn() -> u64) -> Result<T, Failure> {
        let mut failures = 0;
        loop {
            let before = brought();
            let failure = match attempt() {
                Err(failure) if failure.passes() => failure,
                done => return done,
            };
            failures = if brought() > before { 1 } else { failures + 1 };
            if failures >= self.options.attempts_max {
                return Err(failure);
            }
            self.view.note(&format!("{failure}; trying again"));
            thread::sleep(self.options.retry_pause * 2_u32.pow(failures - 1));
        }
    }

    /// Runs a request without the token, and with it when the hub asks for one.
    fn ask<T, F>(&self, request: F, activity: &Arc<AtomicU64>) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Fn(&Api) -> Result<T, ApiError> + Clone + Send + 'static,
    {
        let run = |api: &Api| {
            let (api, request) = (api.clone(), request.clone());
            watched(self.options.silence_max, activity, move || request(&api).map_err(Failure::from))
        };
        match (run(&self.anonymous), &self.authorized) {
            (Err(Failure::Status(401 | 403, _)), Some(authorized)) => run(authorized),
            (result, _) => result,
        }
    }
}

impl RemoteFile {
    /// A repository as a whole; `place` is where its files would stand.
    fn repository(repo: &str, place: &Path) -> Self {
        let (name, revision) = (String::new(), "main".to_owned());
        Self { repo: repo.to_owned(), revision, name, place: place.to_path_buf(), size_bytes: None, sha256: None }
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, self.revision.clone())
    }
}

/// What a file has to be: what was asked for, completed by what the hub states.
struct Expected {
    size_bytes: u64,
    sha256: Option<String>,
}

impl Expected {
    /// # Errors
    /// [`ModelsError::Mismatch`] when the hub states something else than was asked for.
    fn agree(file: &RemoteFile, metadata: &Metadata) -> Result<Self, ModelsError> {
        let stated_bytes = metadata.size() as u64;
        if let Some(size_bytes) = file.size_bytes.filter(|size_bytes| *size_bytes != stated_bytes) {
            return Err(mismatch(&file.name, "size", size_bytes.to_string(), stated_bytes.to_string()));
        }
        // For a large file the tag is its SHA-256; for a small one it is git's own hash, which has 40 digits.
        let stated = Some(metadata.etag()).filter(|etag| is_sha256(etag)).map(str::to_owned);
        match (&file.sha256, stated) {
            (Some(asked), Some(stated)) if *asked != stated => {
                Err(mismatch(&file.name, "SHA-256", asked.clone(), stated))
            }
            (asked, stated) => Ok(Self { size_bytes: stated_bytes, sha256: asked.clone().or(stated) }),
        }
    }
}

fn mismatch(name: &str, what: &'static str, expected: String, found: String) -> ModelsError {
    ModelsError::Mismatch { name: name.to_owned(), what, expected, found }
}

/// Runs `job` on a thread of its own and gives it up when `activity` stands still for `silence_max`: hf-hub has no
/// timeouts. A job that was given up ends with the process.
fn watched<T: Send + 'static>(
    silence_max: Duration,
    activity: &AtomicU64,
    job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().name("download".to_owned()).spawn(move || {
        // Nobody listens any more when the job was given up.
        let _ = sender.send(job());
    });
    spawned.map_err(Failure::disk)?;
    let mut seen = activity.load(Ordering::Relaxed);
    loop {
        match receiver.recv_timeout(silence_max) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Answer("the download ended in a panic".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = activity.load(Ordering::Relaxed);
                if now == seen {
                    return Err(Failure::Silent(silence_max));
                }
                seen = now;
            }
        }
    }
}

/// The length of a file in bytes; 0 when there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
