//! What can go wrong with model files. Every message says what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An error of the models room.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelsError {
    #[error("no folder for models is known: set HOME, or name the folder in the settings")]
    NoDefaultFolder,

    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: io::Error },

    #[error("{path} cannot be written")]
    Write { path: PathBuf, source: io::Error },

    #[error(
        "no answer model is installed in {folder}: run `cervella models pull llama-3.1-8b` \
         (or `cervella models pull demo` for the small demo models)"
    )]
    NoAnswerModel { folder: PathBuf },

    #[error("several models lie in {folder} and none of them is the catalogue's: name one of {} in the settings", .names.join(", "))]
    ManyAnswerModels { folder: PathBuf, names: Vec<String> },

    #[error("{id} is not installed in {folder}: run `cervella models pull {id}`")]
    NotInstalled { id: String, folder: PathBuf },

    #[error(
        "there is no {role} model `{setting}`: it is no name of the catalogue, and {path} does not exist \
         (`cervella models list` shows what there is)"
    )]
    UnknownModel { role: &'static str, setting: String, path: PathBuf },

    #[error("`{id}` is no {role} model")]
    WrongRole { id: String, role: &'static str },

    #[error("{path} is not a GGUF file: {reason}")]
    NotGguf { path: PathBuf, reason: &'static str },

    #[error("{path} has {found} bytes where {id} has {expected}: run `cervella models pull {id}`")]
    WrongSize { path: PathBuf, id: String, expected: u64, found: u64 },

    #[error(
        "no embedding model is installed in {folder}: run `cervella models pull multilingual-e5-small` \
         (or `cervella models pull demo` for the small demo models)"
    )]
    NoEmbeddingModel { folder: PathBuf },

    #[error("the embedding model in {folder} lacks {}: run `cervella models pull {id}` again", .missing.join(", "))]
    IncompleteEmbedding { folder: PathBuf, missing: Vec<String>, id: String },

    #[error("the {role} model in {folder} lacks {}", .missing.join(", "))]
    IncompleteOwn { role: &'static str, folder: PathBuf, missing: Vec<String> },

    #[error("ONNX Runtime, which runs the embedding model, was not found: run `cervella models pull onnxruntime`{}", rejected(.rejected_libraries))]
    NoRuntime { rejected_libraries: Vec<String> },

    #[error("{path} cannot serve as ONNX Runtime: {reason}; run `cervella models pull onnxruntime`")]
    UnusableRuntime { path: PathBuf, reason: String },

    #[error(
        "`{name}` is no name of the catalogue and no model in {folder} (`cervella models list` shows what there is)"
    )]
    UnknownName { name: String, folder: PathBuf },

    #[error(
        "`{target}` cannot be pulled: name a model of the catalogue (`cervella models list`), `demo`, \
         hf.co/OWNER/REPO:QUANT, or a GGUF file"
    )]
    UnknownTarget { target: String },

    #[error("{repo} holds no whole GGUF file{}; it has {}", of(.quant), listed(.choices))]
    NoSuchQuant { repo: String, quant: Option<String>, choices: Vec<String> },

    #[error("{repo} holds several GGUF files{}: name one of {} as hf.co/{repo}:QUANT", of(.quant), listed(.choices))]
    ManyOfQuant { repo: String, quant: Option<String>, choices: Vec<String> },

    #[error(
        "{name} of {repo} is split over several files, which is not supported: take a quantization that is one file"
    )]
    SplitModel { repo: String, name: String },

    #[error("another `cervella models pull` is writing into {folder}: wait until it is done")]
    Busy { folder: PathBuf },

    #[error("{folder} has {} free and {} are needed: free some space, or name another folder in the settings", size(*.free_bytes), size(*.needed_bytes))]
    NoSpace { folder: PathBuf, free_bytes: u64, needed_bytes: u64 },

    #[error("{path} is there already and is another file: move it away, then pull again")]
    NameTaken { path: PathBuf },

    #[error("{}", gated(.repo, .page, *.status, *.has_token))]
    Gated { repo: String, page: String, status: u16, has_token: bool },

    #[error("the hub has no {what} (404): check the name at {page}")]
    NotOnHub { what: String, page: String },

    #[error(
        "the hub at {endpoint} cannot be reached or gave up: check the network and run the same command again, which goes on \
         where it stopped; or fetch {url} on another machine and put it at {place}"
    )]
    Unreachable { endpoint: String, url: String, place: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },

    #[error("{name}: the hub's answer was not understood ({reason}); is HF_ENDPOINT right?")]
    BadAnswer { name: String, reason: String },

    #[error(
        "{name} has the {what} {found} where {expected} was expected; nothing was installed: try again, and if it happens again do not trust the source"
    )]
    Mismatch { name: String, what: &'static str, expected: String, found: String },

    #[error(
        "`python3` was not found: install Python 3.9 or later with venv (on Debian and Ubuntu: apt install python3-venv), then run this again"
    )]
    NoPython { source: io::Error },

    #[error(
        "the demo models could not be fetched (the reason stands above): mend that and run `cervella models pull {target}` again"
    )]
    DemoScript { target: String },

    #[error("{path} is missing after the demo script ran: run `cervella models pull {target}` again")]
    DemoIncomplete { path: PathBuf, target: String },
}

fn of(quant: &Option<String>) -> String {
    quant.as_ref().map(|quant| format!(" of `{quant}`")).unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}

fn gated(repo: &str, page: &str, status: u16, has_token: bool) -> String {
    if has_token {
        format!(
            "the hub refuses {repo} to the token in HF_TOKEN ({status}): accept the licence at {page} with the account of \
             that token, and check the name"
        )
    } else {
        format!(
            "the hub refuses {repo} ({status}): accept the licence at {page}, set HF_TOKEN to a token that may read it, \
             and check the name"
        )
    }
}

/// Bytes as people write them: 98 MB, 4.9 GB.
pub(super) fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    match bytes {
        0..=999_999 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..=999_999_999 => format!("{megabytes:.0} MB"),
        _ => format!("{:.1} GB", megabytes / 1e3),
    }
}

/// The end of the sentence about libraries that were found and do not fit.
fn rejected(libraries: &[String]) -> String {
    if libraries.is_empty() { String::new() } else { format!(" (found, and not usable: {})", libraries.join("; ")) }
}

impl ModelsError {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}
