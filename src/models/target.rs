//! What `models pull` was asked for, and which file of a repository a quantization means.

use std::path::{Path, PathBuf};

use super::catalogue::{Catalogue, CatalogueEntry};
use super::error::ModelsError;
use super::gguf;

/// The name for all entries that the demo needs.
const DEMO: &str = "demo";
const HUB_PREFIXES: [&str; 4] = ["https://hf.co/", "https://huggingface.co/", "hf.co/", "huggingface.co/"];

#[derive(Debug)]
pub(super) enum Target {
    Demo,
    Entry(&'static CatalogueEntry),
    Hub(HubTarget),
    File(PathBuf),
}

/// `hf.co/OWNER/REPO:QUANT`; the quantization may be left out where the repository has one model only.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HubTarget {
    pub(super) repo: String,
    pub(super) quant: Option<String>,
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, ModelsError> {
        let unknown = || ModelsError::UnknownTarget { target: text.to_owned() };
        if text == DEMO {
            return Ok(Self::Demo);
        }
        if let Some(entry) = Catalogue::embedded().find(text) {
            return Ok(Self::Entry(entry));
        }
        if let Some(rest) = HUB_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            return HubTarget::parse(rest).map(Self::Hub).ok_or_else(unknown);
        }
        let path = Path::new(text);
        if path.is_file() { Ok(Self::File(path.to_path_buf())) } else { Err(unknown()) }
    }
}

impl HubTarget {
    /// `rest` is `OWNER/REPO[:QUANT]`.
    fn parse(rest: &str) -> Option<Self> {
        let (repo, quant) = match rest.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None => (rest, None),
        };
        let (owner, name) = repo.split_once('/')?;
        if ![owner, name].into_iter().chain(quant).all(is_plain) {
            return None;
        }
        Some(Self { repo: repo.to_owned(), quant: quant.map(str::to_owned) })
    }

    /// The GGUF file among `names` that is meant.
    ///
    /// # Errors
    /// The choices, when none or several fit; a sentence, when the one that fits is split.
    pub(super) fn pick<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<&'a str, ModelsError> {
        let models: Vec<_> = names.filter(|name| is_model(name)).collect();
        let fitting: Vec<_> = match &self.quant {
            Some(quant) => models.iter().copied().filter(|name| has_quant(name, quant)).collect(),
            None => models.clone(),
        };
        let (split, whole): (Vec<_>, Vec<_>) = fitting.into_iter().partition(|name| gguf::is_split_name(name));
        match (whole.as_slice(), split.first()) {
            ([name], _) => Ok(name),
            ([], Some(name)) => Err(ModelsError::SplitModel { repo: self.repo.clone(), name: (*name).to_owned() }),
            ([], None) => Err(ModelsError::NoSuchQuant {
                repo: self.repo.clone(),
                quant: self.quant.clone(),
                choices: models.into_iter().filter(|name| !gguf::is_split_name(name)).map(str::to_owned).collect(),
            }),
            (several, _) => Err(ModelsError::ManyOfQuant {
                repo: self.repo.clone(),
                quant: self.quant.clone(),
                choices: several.iter().map(|name| (*name).to_owned()).collect(),
            }),
        }
    }
}

/// Projectors of vision models are GGUF files too, and no models.
fn is_model(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    base.ends_with(".gguf") && !base.starts_with("mmproj") && !name.split('/').any(|part| part == "..")
}

/// Does `quant` stand in the name as a whole word? `Q4_K` is not in `…-Q4_K_M.gguf`, and `Q4_XS` not in `…-IQ4_XS.gguf`.
fn has_quant(name: &str, quant: &str) -> bool {
    let (name, quant) = (name.to_ascii_lowercase(), quant.to_ascii_lowercase());
    let in_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.match_indices(&quant).any(|(at, _)| {
        let before = at.checked_sub(1).map(|before| name.as_bytes()[before]);
        let after = name.as_bytes().get(at + quant.len()).copied();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// What the hub allows in names; it also keeps them out of other folders.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && !name.contains("..") && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "README.md",
        "Qwen-IQ4_XS.gguf",
        "Qwen-Q4_K_M.gguf",
        "Qwen-Q4_K_S.gguf",
        "Qwen-f16-00001-of-00002.gguf",
        "mmproj-Qwen-Q8_0.gguf",
    ];

    fn pick(quant: Option<&str>) -> Result<&'static str, String> {
        let target = HubTarget { repo: "o/r".to_owned(), quant: quant.map(str::to_owned) };
        target.pick(NAMES.into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_quantization_is_found_as_a_whole_word_in_any_case() {
        assert_eq!(pick(Some("q4_k_m")), Ok("Qwen-Q4_K_M.gguf"));
        assert_eq!(pick(Some("IQ4_XS")), Ok("Qwen-IQ4_XS.gguf"));
    }

    #[test]
    fn no_match_and_many_matches_show_the_choices() {
        let message = pick(Some("Q4_K")).unwrap_err();
        assert_eq!(
            message,
            "o/r holds no whole GGUF file of `Q4_K`; it has Qwen-IQ4_XS.gguf, Qwen-Q4_K_M.gguf, Qwen-Q4_K_S.gguf"
        );
        let message = pick(None).unwrap_err();
        assert!(message.contains("holds several GGUF files") && message.contains("hf.co/o/r:QUANT"), "{message}");
    }

    #[test]
    fn a_split_model_is_refused() {
        assert!(pick(Some("f16")).unwrap_err().contains("is split over several files"));
    }

    #[test]
    fn targets_are_told_apart() {
        let hub = |text: &str| match Target::parse(text) {
            Ok(Target::Hub(target)) => target,
            other => panic!("{other:?}"),
        };
        let expected = HubTarget { repo: "bartowski/Qwen-GGUF".to_owned(), quant: Some("Q4_K_M".to_owned()) };
        assert_eq!(hub("hf.co/bartowski/Qwen-GGUF:Q4_K_M"), expected);
        assert_eq!(hub("https://huggingface.co/bartowski/Qwen-GGUF:Q4_K_M"), expected);
        assert!(matches!(Target::parse("demo"), Ok(Target::Demo)));
        assert!(matches!(Target::parse("llama-3.1-8b"), Ok(Target::Entry(_))));
        for bad in ["hf.co/only-owner", "hf.co/../etc:Q4", "hf.co/a/b/c:Q4", "hf.co/o/r:../x", "llama-9", ""] {
            assert!(matches!(Target::parse(bad), Err(ModelsError::UnknownTarget { .. })), "{bad}");
        }
    }
}
