//! The settings, their defaults and the limits of sense. `cervella.example.toml` says the same for operators; a test
//! holds the two together.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{KnowledgeSettings, Secret};

/// Of whom to ask, which stands below every abstention.
const CONTACT_CHARACTERS_MAX: usize = 200;
const WEB_TOKEN_CHARACTERS_MIN: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub data: DataSettings,
    pub knowledge: KnowledgeSettings,
    pub models: ModelsSettings,
    pub retrieval: RetrievalSettings,
    pub inference: InferenceSettings,
    pub answer: AnswerSettings,
    pub web: WebSettings,
    pub chat: ChatSettings,
    pub slack: SlackSettings,
    pub telegram: TelegramSettings,
    pub telemetry: TelemetrySettings,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataSettings {
    /// Index and state; empty: `$STATE_DIRECTORY`, or the user's data folder.
    pub folder: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelsSettings {
    /// Empty: `models` in the data folder where it is there, or else in `$STATE_DIRECTORY` or the user's data folder.
    pub folder: PathBuf,
    /// The model that writes answers: `auto`, an id of the catalogue, or a file.
    pub answer: String,
    /// The model that is loaded when `answer` is too large for this machine's memory; empty: none.
    pub fallback: String,
    /// The model that embeds: `auto`, an id of the catalogue, or a folder.
    pub embedding: String,
    /// The folder of a cross-encoder that puts the first hits in order; empty: none.
    pub reranker: String,
    /// The ONNX Runtime library: `auto` or a file.
    pub onnxruntime: String,
}

impl Default for ModelsSettings {
    fn default() -> Self {
        let auto = || "auto".to_owned();
        ModelsSettings {
            folder: PathBuf::new(),
            answer: auto(),
            fallback: String::new(),
            embedding: auto(),
            reranker: String::new(),
            onnxruntime: auto(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetrievalSettings {
    /// Threads of the embedding model, and of the reranking one; 0: one per core.
    pub threads: usize,
    /// What the weights of both are held in.
    pub weights: WeightPrecision,
    /// Hits that the reranking model puts in order.
    pub rerank: usize,
}

impl Default for RetrievalSettings {
    fn default() -> Self {
        RetrievalSettings { threads: 0, weights: WeightPrecision::default(), rerank: 10 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightPrecision {
    F32,
    #[default]
    Int8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferenceSettings {
    /// Tokens of prompt and answer together; the model's own limit holds as well.
    pub context_tokens_max: usize,
    /// Answers that are written at the same time.
    pub slots: usize,
    /// What keys and values are held in.
    pub kv: KvPrecision,
    /// Answers that may wait for a slot.
    pub queue_max: usize,
    /// Whether the next tokens are guessed from the prompt.
    pub speculate: bool,
    /// Gigabytes of the disk for what was read of passages before anybody asks; 0: nothing is.
    pub passage_kv_gb: usize,
    /// What that is held in.
    pub passage_kv: PassageKvPrecision,
    /// Of each passage but the first, how much is read anew in its place.
    pub passage_anew: f64,
}

impl Default for InferenceSettings {
    fn default() -> Self {
        InferenceSettings {
            context_tokens_max: 8192,
            slots: 3,
            kv: KvPrecision::default(),
            queue_max: 4,
            speculate: true,
            passage_kv_gb: 0,
            passage_kv: PassageKvPrecision::default(),
            passage_anew: 0.15,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvPrecision {
    #[default]
    F16,
    /// Half of the memory, for long contexts.
    Int8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassageKvPrecision {
    F16,
    #[default]
    Int8,
    Int4,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerSettings {
    /// Passages in the prompt at most.
    pub passages_max: usize,
    /// Tokens of the prompt at most; passages that do not fit are left out whole.
    pub prompt_tokens_max: usize,
    /// Milliseconds until the model writes its first word: what cannot be read in that time by the measured rate is left
    /// out of the prompt. 0: no limit.
    pub first_token_target_ms: u64,
    /// Tokens that the model may write.
    pub new_tokens_max: usize,
    /// Seconds until an answer is ended with what it has.
    pub deadline_s: u64,
    /// Probability that the passages hold the answer, below which the answer is that the documents do not say.
    pub evidence_min: f64,
    /// Below this one the model does not write, and the passages are quoted with the remark that they may not answer.
    pub evidence_sure: f64,
    /// Whom people may ask what the documents do not say, in their words; empty: nobody is named.
    pub contact: String,
    /// Questions that may be in work or waiting at the same time.
    pub questions_max: usize,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        AnswerSettings {
            passages_max: 4,
            prompt_tokens_max: 1600,
            first_token_target_ms: 8_000,
            new_tokens_max: 256,
            deadline_s: 180,
            evidence_min: 0.5,
            evidence_sure: 0.7,
            contact: String::new(),
            questions_max: 16,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebSettings {
    /// Address of the chat page. Not loopback: a token is needed.
    pub listen: SocketAddr,
    /// What whoever asks on the page has to know; empty: nothing.
    pub token: Secret,
    /// Where a proxy that does TLS shows the page, `https://name`; empty: nowhere.
    pub url: String,
}

impl Default for WebSettings {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8717));
        WebSettings { listen, token: Secret::default(), url: String::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatSettings {
    /// People who may give orders: `slack:U…`, `telegram:42`.
    pub admins: Vec<String>,
    /// People and chats that may ask, besides those that admins admit in the chat.
    pub members: Vec<String>,
    /// Chats in which only mentions are answered.
    pub mentions_only: Vec<String>,
    /// Questions of one person in an hour.
    pub person_per_hour: usize,
    /// Questions of all people in an hour.
    pub all_per_hour: usize,
    /// Days for which conversations and answers, confirmed ones too, are kept after the last that happened in them; not less
    /// than platforms may be out of reach.
    pub keep_days: u32,
    /// Days for which ratings are kept.
    pub ratings_keep_days: u32,
}

impl Default for ChatSettings {
    fn default() -> Self {
        ChatSettings {
            admins: Vec::new(),
            members: Vec::new(),
            mentions_only: Vec::new(),
            person_per_hour: 60,
            all_per_hour: 600,
            keep_days: 90,
            ratings_keep_days: 365,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlackSettings {
    /// `xapp-…`, for Socket Mode. Empty: Slack is off.
    pub app_token: Secret,
    /// `xoxb-…`
    pub bot_token: Secret,
    pub api_url: String,
    /// Whether every member of the workspace may ask.
    pub everyone: bool,
}

impl Default for SlackSettings {
    fn default() -> Self {
        SlackSettings {
            app_token: Secret::default(),
            bot_token: Secret::default(),
            api_url: "https://slack.com/api".to_owned(),
            everyone: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelegramSettings {
    /// As BotFather gave it. Empty: Telegram is off.
    pub token: Secret,
    pub api_url: String,
    /// Public address to which Telegram delivers; empty: the bot asks (long polling).
    pub webhook_url: String,
    /// What Telegram proves itself with.
    pub webhook_secret: Secret,
    /// Where the webhook is served.
    pub webhook_listen: SocketAddr,
}

impl Default for TelegramSettings {
    fn default() -> Self {
        TelegramSettings {
            token: Secret::default(),
            api_url: "https://api.telegram.org".to_owned(),
            webhook_url: String::new(),
            webhook_secret: Secret::default(),
            webhook_listen: SocketAddr::from(([127, 0, 0, 1], 8718)),
        }
    }
}

impl WebSettings {
    fn nonsense(&self) -> Option<(&'static str, String)> {
        let token = self.token.reveal();
        let is_sayable = token.chars().all(|c| c.is_ascii_graphic());
        if !token.is_empty() && (!is_sayable || token.len() < WEB_TOKEN_CHARACTERS_MIN) {
            let reason = format!("less than {WEB_TOKEN_CHARACTERS_MIN} letters, digits and signs without spaces");
            return Some(("web.token", reason));
        }
        if token.is_empty() && !self.listen.ip().is_loopback() {
            let reason = format!("{} is reached by other machines: that needs a web.token of your own", self.listen);
            return Some(("web.listen", reason));
        }
        let host = self.url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
        // As browsers write it in `Origin`.
        let has_usual_port = self.url.starts_with("https:") && host.is_some_and(|host| host.ends_with(":443"))
            || self.url.starts_with("http:") && host.is_some_and(|host| host.ends_with(":80"));
        let is_origin = is_web_address(&self.url)
            && !has_usual_port
            && host.is_some_and(|host| host.chars().all(|c| c.is_ascii_graphic() && !"/?#@".contains(c)));
        (!self.url.is_empty() && !is_origin).then(|| {
            (
                "web.url",
                format!("`{}` is not like https://cervella.example.org, without a path or the usual port", self.url),
            )
        })
    }
}

impl ChatSettings {
    fn nonsense(&self) -> Option<(&'static str, String)> {
        let lists = [
            ("chat.admins", &self.admins),
            ("chat.members", &self.members),
            ("chat.mentions_only", &self.mentions_only),
        ];
        lists.into_iter().find_map(|(key, subjects)| {
            let wrong = subjects.iter().find(|subject| !is_subject(subject))?;
            Some((key, format!("`{wrong}` is neither `slack:…` nor `telegram:…` with an id")))
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetrySettings {
    pub log: LogForm,
    /// Days for which what was measured is kept.
    pub keep_days: u32,
    /// Days for which sentences are kept that no passage said, with their questions; 0: they are not.
    pub withheld_days: u32,
    /// Address of a collector that takes spans by OTLP over HTTP; empty: none is sent.
    pub collector: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    #[default]
    Text,
    /// One object on each line.
    Json,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        TelemetrySettings { log: LogForm::Text, keep_days: 90, withheld_days: 30, collector: String::new() }
    }
}

fn is_web_address(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_closed = |host: &str| !host.starts_with('[') || host.contains(']');
    host.is_some_and(|host| host.starts_with(|c: char| c.is_alphanumeric() || c == '[') && is_closed(host))
        && text.chars().all(|c| c.is_ascii_graphic())
}

pub(super) fn is_subject(text: &str) -> bool {
    match text.split_once(':') {
        Some(("slack", id)) => !id.is_empty() && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()),
        Some(("telegram", id)) => id.parse::<i64>().is_ok(),
        _ => false,
    }
}

impl Settings {
    /// The first value that makes no sense, as its key and what is wrong with it.
    pub(super) fn nonsense(&self) -> Option<(String, String)> {
        self.knowledge
            .nonsense()
            .or_else(|| self.out_of_limits().map(|(key, reason)| (key.to_owned(), reason)))
            .or_else(|| self.knowledge.ahead_without_room(self.inference.passage_kv_gb))
    }

    fn out_of_limits(&self) -> Option<(&'static str, String)> {
        let within = |key, value: usize, low: usize, high: usize| {
            let outside = !(low..=high).contains(&value);
            outside.then(|| (key, format!("{value} is not between {low} and {high}")))
        };
        within("knowledge.compare_every_s", self.knowledge.compare_every_s as usize, 10, 7 * 24 * 3600)
            .or_else(|| within("retrieval.threads", self.retrieval.threads, 0, 256))
            .or_else(|| within("retrieval.rerank", self.retrieval.rerank, 1, 100))
            .or_else(|| within("inference.context_tokens_max", self.inference.context_tokens_max, 512, 131_072))
            .or_else(|| within("inference.slots", self.inference.slots, 1, 16))
            .or_else(|| within("inference.queue_max", self.inference.queue_max, 1, 64))
            .or_else(|| within("inference.passage_kv_gb", self.inference.passage_kv_gb, 0, 100_000))
            .or_else(|| within("answer.passages_max", self.answer.passages_max, 1, 20))
            .or_else(|| within("answer.prompt_tokens_max", self.answer.prompt_tokens_max, 256, 131_072))
            .or_else(|| {
                let key = "answer.first_token_target_ms";
                within(key, self.answer.first_token_target_ms as usize, 0, 600_000)
            })
            .or_else(|| within("answer.new_tokens_max", self.answer.new_tokens_max, 16, 4096))
            .or_else(|| within("answer.deadline_s", self.answer.deadline_s as usize, 5, 3600))
            .or_else(|| within("answer.questions_max", self.answer.questions_max, 1, 256))
            .or_else(|| within("chat.person_per_hour", self.chat.person_per_hour, 1, 100_000))
            .or_else(|| within("chat.all_per_hour", self.chat.all_per_hour, 1, 100_000))
            .or_else(|| within("chat.keep_days", self.chat.keep_days as usize, 7, 36_500))
            .or_else(|| within("chat.ratings_keep_days", self.chat.ratings_keep_days as usize, 1, 36_500))
            .or_else(|| within("telemetry.keep_days", self.telemetry.keep_days as usize, 1, 3650))
            .or_else(|| within("telemetry.withheld_days", self.telemetry.withheld_days as usize, 0, 3650))
            .or_else(|| self.web.nonsense())
            .or_else(|| self.chat.nonsense())
            .or_else(|| {
                let half = self.slack.app_token.is_empty() != self.slack.bot_token.is_empty();
                let key = if self.slack.app_token.is_empty() { "slack.app_token" } else { "slack.bot_token" };
                half.then(|| (key, "Slack needs both tokens, slack.app_token and slack.bot_token".to_owned()))
            })
            .or_else(|| {
                let telegram = &self.telegram;
                let may_be_empty = [
                    ("telegram.webhook_url", &telegram.webhook_url),
                    ("telemetry.collector", &self.telemetry.collector),
                ];
                let given = may_be_empty.into_iter().filter(|(_, address)| !address.is_empty());
                let apis = [("slack.api_url", &self.slack.api_url), ("telegram.api_url", &telegram.api_url)];
                let (key, wrong) = apis.into_iter().chain(given).find(|(_, address)| !is_web_address(address))?;
                Some((key, format!("`{wrong}` is no address that begins with https:// or http://")))
            })
            .or_else(|| {
                let open = !self.telegram.webhook_url.is_empty() && self.telegram.webhook_secret.is_empty();
                open.then(|| ("telegram.webhook_secret", "a webhook needs a secret of its own".to_owned()))
            })
            .or_else(|| {
                let AnswerSettings { evidence_min, evidence_sure, .. } = self.answer;
                let limits = [
                    ("answer.evidence_min", evidence_min),
                    ("answer.evidence_sure", evidence_sure),
                    ("inference.passage_anew", self.inference.passage_anew),
                ];
                let (key, limit) = limits.into_iter().find(|(_, limit)| !(0.0..=1.0).contains(limit))?;
                Some((key, format!("{limit} is not between 0 and 1")))
            })
            .or_else(|| {
                let contact = &self.answer.contact;
                let is_line =
                    contact.chars().count() <= CONTACT_CHARACTERS_MAX && !contact.chars().any(char::is_control);
                let reason = format!("it is more than a line of {CONTACT_CHARACTERS_MAX} characters");
                (!is_line).then_some(("answer.contact", reason))
            })
            .or_else(|| {
                let room = self.inference.context_tokens_max;
                let needed = self.answer.prompt_tokens_max + self.answer.new_tokens_max;
                (needed > room).then(|| {
                    let reason = format!(
                        "together with answer.new_tokens_max it is {needed}, more than \
                         inference.context_tokens_max ({room})"
                    );
                    ("answer.prompt_tokens_max", reason)
                })
            })
    }
}
