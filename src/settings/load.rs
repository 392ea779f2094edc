//! From file, environment and flags to [`Settings`]; every refusal names its source, its key and the reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use thiserror::Error;

use super::{CollectionSettings, Settings};

const PREFIX: &str = "CERVELLA";
const SEPARATOR: &str = "__";
/// Settings that are lists, separated by commas in the environment.
const LISTS: &[&str] = &["knowledge.folders", "chat.admins", "chat.members", "chat.mentions_only"];
/// Likewise, of each collection.
const LISTS_OF_COLLECTIONS: &[&str] = &["folders", "include", "exclude", "code", "readers"];
const COLLECTIONS: &str = "knowledge.collections";
/// Stands for the name of any collection in the list of keys.
const ANY: &str = "NAME";

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config FILE`
    pub file: Option<PathBuf>,
    /// `--data DIR`
    pub data: Option<PathBuf>,
    /// Folder with a file for each secret that systemd hands over (`LoadCredential=`).
    pub credentials: Option<PathBuf>,
}

/// Secrets that systemd may hand over, and the names of their files.
const CREDENTIALS: &[(&str, &str)] = &[
    ("slack.app_token", "slack_app_token"),
    ("slack.bot_token", "slack_bot_token"),
    ("telegram.token", "telegram_token"),
    ("telegram.webhook_secret", "telegram_webhook_secret"),
    ("web.token", "web_token"),
];
/// Before the name of a file that was loaded with the folder it lies in.
const OF_FOLDER: &str = "credentials_";

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("cannot read the settings in {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{origin}: {reason}")]
    Syntax { origin: String, reason: String },
    #[error("{origin}: unknown setting `{key}`{}", hint(.nearest))]
    Unknown { origin: String, key: String, nearest: Option<String> },
    #[error("{origin}: `{key}`: {reason}")]
    Value { origin: String, key: String, reason: String },
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

/// Reads and checks the settings.
///
/// # Errors
/// A file that cannot be read or is not TOML, an unknown key, a value of the wrong type or outside of its limits.
pub fn load(overrides: &Overrides) -> Result<Settings, SettingsError> {
    let variables =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    load_from(overrides, environment(variables.collect()))
}

fn environment(variables: Map<String, String>) -> Environment {
    let collections = format!("{PREFIX}{SEPARATOR}{}{SEPARATOR}", COLLECTIONS.replace('.', SEPARATOR)).to_lowercase();
    let names: BTreeSet<String> = variables
        .keys()
        .filter_map(|key| Some(key.to_lowercase().strip_prefix(&collections)?.split_once(SEPARATOR)?.0.to_owned()))
        .collect();
    let mut environment = Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .list_separator(",")
        .try_parsing(true);
    for key in LISTS {
        environment = environment.with_list_parse_key(key);
    }
    for name in names {
        for key in LISTS_OF_COLLECTIONS {
            environment = environment.with_list_parse_key(&format!("{COLLECTIONS}.{name}.{key}"));
        }
    }
    environment.source(Some(variables))
}

fn load_from(overrides: &Overrides, environment: Environment) -> Result<Settings, SettingsError> {
    let known = known_keys();
    let mut builder = Config::builder();
    if let Some(path) = &overrides.file {
        let text =
            std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?;
        let origin = path.display().to_string();
        let file = File::from_str(&text, FileFormat::Toml);
        refuse_unknown(&file.collect().map_err(|e| told(e, &origin))?, &origin, &known)?;
        builder = builder.add_source(file);
    }
    if let Some(folder) = &overrides.credentials {
        for (key, secret) in credentials(folder)? {
            builder = builder.set_override(key, secret).map_err(|e| told(e, "credentials"))?;
        }
    }
    let origin = "environment".to_owned();
    refuse_unknown(&environment.collect().map_err(|e| told(e, &origin))?, &origin, &known)?;
    builder = builder.add_source(environment);
    if let Some(data) = &overrides.data {
        builder = builder
            .set_override("data.folder", data.to_string_lossy().into_owned())
            .map_err(|e| told(e, "command line"))?;
    }
    let origin = overrides.file.as_ref().map_or_else(|| "settings".to_owned(), |path| path.display().to_string());
    let config = builder.build().map_err(|e| told(e, &origin))?;
    let mut settings: Settings = config.try_deserialize().map_err(|e| told(e, &origin))?;
    if let Some(path) = &overrides.file {
        settings.resolve_against(path.parent().unwrap_or(Path::new("")));
    }
    match settings.nonsense() {
        Some((key, reason)) => Err(SettingsError::Value { origin, key, reason }),
        None => Ok(settings),
    }
}

/// The secrets that lie in a folder, by their keys.
fn credentials(folder: &Path) -> Result<Vec<(&'static str, String)>, SettingsError> {
    let mut found = Vec::new();
    for (key, name) in CREDENTIALS {
        for path in [folder.join(name), folder.join(format!("{OF_FOLDER}{name}"))] {
            match std::fs::read_to_string(&path) {
                Ok(secret) => found.push((*key, secret.trim().to_owned())),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(SettingsError::Unreadable { path, source }),
            }
        }
    }
    Ok(found)
}

impl Settings {
    /// Relative folders of a settings file are relative to that file, unless they exist from where we stand.
    fn resolve_against(&mut self, base: &Path) {
        let resolve = |path: &mut PathBuf| {
            if path.is_relative() && !path.as_os_str().is_empty() && !path.exists() {
                *path = base.join(&*path);
            }
        };
        self.knowledge.folders_mut().for_each(resolve);
    }
}

/// Every key of the settings, such as `web.listen`, and every section.
fn known_keys() -> BTreeSet<String> {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut keys = BTreeSet::from([format!("{COLLECTIONS}.{ANY}")]);
    let collection = serde_json::to_value(CollectionSettings::default()).unwrap_or_default();
    for key in collection.as_object().into_iter().flatten().map(|(key, _)| key) {
        keys.insert(format!("{COLLECTIONS}.{ANY}.{key}"));
    }
    for (section, values) in defaults.as_object().into_iter().flatten() {
        keys.insert(section.clone());
        for key in values.as_object().into_iter().flatten().map(|(key, _)| key) {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

fn refuse_unknown(values: &Map<String, Value>, origin: &str, known: &BTreeSet<String>) -> Result<(), SettingsError> {
    let mut keys = Vec::new();
    for (key, value) in values {
        flatten(key, value, &mut keys);
    }
    keys.sort();
    match keys.into_iter().find(|key| !known.contains(key) && !known.contains(&of_any_collection(key))) {
        None => Ok(()),
        Some(key) => {
            let nearest = nearest(&key, known);
            Err(SettingsError::Unknown { origin: origin.to_owned(), key, nearest })
        }
    }
}

/// `knowledge.collections.hr.link` is the key `link` of any collection.
fn of_any_collection(key: &str) -> String {
    match key.strip_prefix(COLLECTIONS).and_then(|rest| rest.strip_prefix('.')).map(|rest| rest.split_once('.')) {
        None => key.to_owned(),
        Some(None) => format!("{COLLECTIONS}.{ANY}"),
        Some(Some((_name, key))) => format!("{COLLECTIONS}.{ANY}.{key}"),
    }
}

fn flatten(key: &str, value: &Value, keys: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            table.iter().for_each(|(inner, value)| flatten(&format!("{key}.{inner}"), value, keys));
        }
        _ => keys.push(key.to_owned()),
    }
}

/// The known key that shares its last part, or most letters, with a mistyped one; those of its section first.
fn nearest(key: &str, known: &BTreeSet<String>) -> Option<String> {
    const LETTERS_MIN: usize = 3;
    let key = of_any_collection(key);
    let (section, last) = key.rsplit_once('.').unwrap_or(("", &key));
    let candidates = known.iter().filter_map(|candidate| {
        let (of_section, name) = candidate.rsplit_once('.')?;
        let common = name.chars().zip(last.chars()).take_while(|(x, y)| x == y).count();
        let closeness = (of_section == section, name == last, common);
        (common >= LETTERS_MIN).then_some((closeness, candidate))
    });
    candidates.max_by_key(|(closeness, _)| *closeness).map(|(_, candidate)| candidate.clone())
}

fn told(error: ConfigError, origin: &str) -> SettingsError {
    match error {
        ConfigError::FileParse { cause, .. } => {
            SettingsError::Syntax { origin: origin.to_owned(), reason: cause.to_string().trim().to_owned() }
        }
        ConfigError::At { error, origin: at, key } => {
            let origin = at.unwrap_or_else(|| origin.to_owned());
            match (*error, key) {
                (inner @ ConfigError::Type { .. }, key) => typed(inner, &origin, key),
                (inner, Some(key)) => SettingsError::Value { origin, key, reason: inner.to_string() },
                (inner, None) => SettingsError::Syntax { origin, reason: inner.to_string() },
            }
        }
        inner @ ConfigError::Type { .. } => typed(inner, origin, None),
        other => SettingsError::Syntax { origin: origin.to_owned(), reason: other.to_string() },
    }
}

fn typed(error: ConfigError, fallback: &str, outer: Option<String>) -> SettingsError {
    let ConfigError::Type { origin, unexpected, expected, key } = error else {
        return SettingsError::Syntax { origin: fallback.to_owned(), reason: error.to_string() };
    };
    SettingsError::Value {
        origin: origin.unwrap_or_else(|| fallback.to_owned()),
        key: key.or(outer).unwrap_or_default(),
        reason: format!("{unexpected} is not {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cervella.toml");
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides { file: Some(path), ..Overrides::default() };
        load_from(&overrides, environment(Map::new()))
    }

    fn from_environment(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let variables = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        load_from(&Overrides::default(), environment(variables))
    }

    #[track_caller]
    fn refused(result: Result<Settings, SettingsError>, parts: &[&str]) {
        let message = result.expect_err("the settings were accepted").to_string();
        for part in parts {
            assert!(message.contains(part), "`{message}` does not tell `{part}`");
        }
    }

    #[test]
    fn secrets_that_systemd_hands_over_count_more_than_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("telegram_token"), "1:of-systemd\n").unwrap();
        std::fs::write(folder.path().join("credentials_slack_app_token"), "xapp-1").unwrap();
        std::fs::write(folder.path().join("credentials_slack_bot_token"), "xoxb-1").unwrap();
        let file = folder.path().join("cervella.toml");
        std::fs::write(&file, "[telegram]\ntoken = \"1:of-the-file\"\n").unwrap();
        let overrides =
            Overrides { file: Some(file), credentials: Some(folder.path().to_owned()), ..Overrides::default() };
        let settings = load_from(&overrides, environment(Map::new())).unwrap();
        assert_eq!(settings.telegram.token.reveal(), "1:of-systemd");
        assert_eq!((settings.slack.app_token.reveal(), settings.slack.bot_token.reveal()), ("xapp-1", "xoxb-1"));
    }

    #[test]
    fn the_example_file_is_the_defaults() {
        let example = include_str!("../../cervella.example.toml");
        assert_eq!(from_file(example).unwrap(), Settings::default());
        for key in known_keys().iter().filter_map(|key| key.rsplit_once('.')) {
            assert!(example.contains(key.1), "cervella.example.toml does not tell `{}.{}`", key.0, key.1);
        }
    }

    #[test]
    fn the_environment_overrides_the_file_and_lists_are_split_at_commas() {
        let settings =
            from_environment(&[("CERVELLA__ANSWER__PASSAGES_MAX", "7"), ("CERVELLA__KNOWLEDGE__FOLDERS", "src,tests")])
                .unwrap();
        assert_eq!(settings.answer.passages_max, 7);
        assert_eq!(settings.knowledge.folders, [PathBuf::from("src"), PathBuf::from("tests")]);
    }

    #[test]
    fn a_collection_is_set_in_the_file_and_in_the_environment() {
        let file = "[knowledge.collections.hr]\nfolders = [\"src\"]\nexclude = [\"*.tmp\"]\ncode = [\"rs\"]\nlanguage = \"it\"\n\
                    read_ahead = true\nlink = \"https://w.example/{path}\"\nreaders = [\"slack:C1\", \"web\"]\n[inference]\npassage_kv_gb = 1\n";
        let from_file = from_file(file).unwrap().knowledge;
        let variables = [
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__FOLDERS", "src"),
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__EXCLUDE", "*.tmp"),
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__CODE", "rs"),
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__LANGUAGE", "it"),
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__LINK", "https://w.example/{path}"),
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__READERS", "slack:C1,web"),
            ("CERVELLA__KNOWLEDGE__COLLECTIONS__HR__READ_AHEAD", "true"),
            ("CERVELLA__INFERENCE__PASSAGE_KV_GB", "1"),
        ];
        assert_eq!(from_environment(&variables).unwrap().knowledge, from_file);
        assert_eq!(from_file.collections["hr"].readers, ["slack:C1", "web"]);
        assert_eq!(from_file.collections().len(), 1);
    }

    #[test]
    fn collections_that_make_no_sense_are_refused_with_their_key() {
        let hr = |lines: &str| from_file(&format!("[knowledge.collections.hr]\n{lines}\n"));
        refused(hr("folder = [\"src\"]"), &["knowledge.collections.hr.folder", "knowledge.collections.NAME.folders"]);
        refused(hr(""), &["knowledge.collections.hr", "at least one folder"]);
        refused(hr("folders = [\"/no/such\"]"), &["knowledge.collections.hr.folders", "/no/such"]);
        refused(hr("folders = [\"src\"]\nexclude = [\"a[\"]"), &["knowledge.collections.hr.exclude", "a["]);
        refused(hr("folders = [\"src\"]\ncode = [\"*.rs\"]"), &["knowledge.collections.hr.code", "*.rs"]);
        refused(hr("folders = [\"src\"]\nlink = \"wiki\""), &["knowledge.collections.hr.link", "https://"]);
        refused(hr("folders = [\"src\"]\nreaders = [\"anna\"]"), &["knowledge.collections.hr.readers", "anna"]);
        refused(
            hr("folders = [\"src\"]\nread_ahead = true"),
            &["knowledge.collections.hr.read_ahead", "passage_kv_gb"],
        );
        refused(hr("folders = [\"src\"]\nlanguage = \"fr\""), &["language"]);
        refused(hr("folders = [\"src\"]\n[knowledge]\nfolders = [\"src\"]"), &["src", "`knowledge`"]);
        for name in ["knowledge", "\"H R\"", "\"\""] {
            refused(from_file(&format!("[knowledge.collections.{name}]\nfolders = [\"src\"]\n")), &["name"]);
        }
    }

    #[test]
    fn one_folder_is_a_list_of_one() {
        let settings = from_environment(&[("CERVELLA__KNOWLEDGE__FOLDERS", "src")]).unwrap();
        assert_eq!(settings.knowledge.folders, [PathBuf::from("src")]);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        refused(from_file("[answer]\npassages = 3\n"), &["cervella.toml", "answer.passages", "answer.passages_max"]);
        refused(from_file("answers = 3\n"), &["cervella.toml", "unknown setting `answers`"]);
        refused(from_environment(&[("CERVELLA__WEB__PORT", "1")]), &["environment", "web.port"]);
    }

    #[test]
    fn wrong_types_and_impossible_values_are_refused_with_their_key() {
        refused(from_file("[answer]\npassages_max = \"many\"\n"), &["answer.passages_max", "many"]);
        refused(from_environment(&[("CERVELLA__ANSWER__DEADLINE_S", "soon")]), &["environment", "deadline_s", "soon"]);
        refused(from_file("[answer]\npassages_max = 0\n"), &["answer.passages_max", "between 1 and 20"]);
        refused(from_file("[answer]\nevidence_min = 7.5\n"), &["answer.evidence_min", "between 0 and 1"]);
        refused(from_file("[answer]\nevidence_sure = -1.0\n"), &["answer.evidence_sure", "between 0 and 1"]);
        refused(from_file("[answer]\ncontact = \"a\\nb\"\n"), &["answer.contact", "more than a line"]);
        refused(from_file("[knowledge]\nfolders = [\"/no/such\"]\n"), &["knowledge.folders", "/no/such"]);
        refused(from_file("[web]\nlisten = \"everywhere\"\n"), &["web.listen"]);
        refused(from_file("[web]\nlisten = \"0.0.0.0:8717\"\n"), &["web.listen", "other machines", "web.token"]);
        refused(from_file("[web]\ntoken = \"too short\"\n"), &["web.token", "16"]);
        refused(from_file("[web]\nurl = \"https://example.org/cervella\"\n"), &["web.url", "without a path"]);
        refused(from_file("[inference]\ncontext_tokens_max = 1024\n"), &["answer.prompt_tokens_max", "1024"]);
        refused(from_file("[answer\n"), &["cervella.toml"]);
        refused(from_file("[chat]\nadmins = [\"anna\"]\n"), &["chat.admins", "anna", "slack:"]);
        refused(from_environment(&[("CERVELLA__SLACK__BOT_TOKEN", "xoxb-1")]), &["slack.app_token", "both"]);
        refused(from_file("[telegram]\nwebhook_url = \"https://x.example\"\n"), &["telegram.webhook_secret"]);
    }

    #[test]
    fn a_settings_file_that_is_not_there_is_refused() {
        let overrides = Overrides { file: Some("/no/such/cervella.toml".into()), ..Overrides::default() };
        refused(load_from(&overrides, environment(Map::new())), &["/no/such/cervella.toml"]);
    }
}
