//! The vocabulary in a GGUF file as a `tokenizers` pipeline. GGUF names the way text is split before merging
//! (`tokenizer.ggml.pre`) but does not describe it: the splits that are known stand here, any other is refused,
//! because a wrong split gives a slightly worse model and no error.

use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use crate::inference::error::{InferenceError, Result};
use crate::inference::gguf::Value;
use crate::inference::weights::ModelFile;

/// Split of Llama 3 (`tokenizer.json` of the model); the one of Qwen 2 takes digits one by one.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `LLAMA_TOKEN_TYPE_CONTROL`: tokens of the chat format, which no text contains.
const CONTROL: f64 = 3.0;
/// `LLAMA_TOKEN_TYPE_USER_DEFINED`: added to the vocabulary whole, not made by merging.
const USER_DEFINED: f64 = 4.0;

/// The first words that a thread meets are remembered with their merges, for as long as it lives; each answer may be made by a
/// thread of its own. The library's 10,000 take 2 MB.
const WORDS_KEPT: usize = 1000;

/// What a GGUF file says about its tokens.
pub(super) struct Vocabulary {
    pub texts: Vec<String>,
    /// The longest first, so that the first match is the longest one.
    pub specials: Vec<(String, u32)>,
    pub add_bos: bool,
    split: SplitKind,
}

/// The ways of cutting text into words before merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitKind {
    /// `whole_words`: a word that is a token is not merged at all. Implied by the name, written nowhere in the file.
    Llama3 {
        whole_words: bool,
    },
    SmolLm,
    Gpt2,
    Qwen2,
}

impl SplitKind {
    fn by_name(pre: &str) -> Option<Self> {
        Some(match pre {
            "llama-bpe" | "llama3" | "llama-v3" => SplitKind::Llama3 { whole_words: true },
            "smaug-bpe" => SplitKind::Llama3 { whole_words: false },
            "smollm" => SplitKind::SmolLm,
            "gpt-2" => SplitKind::Gpt2,
            "qwen2" => SplitKind::Qwen2,
            _ => return None,
        })
    }

    fn pre_tokenizer(self) -> tokenizers::Result<PreTokenizerWrapper> {
        let by_pattern = |pattern: &str| -> tokenizers::Result<PreTokenizerWrapper> {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
            Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into())
        };
        let gpt2 = ByteLevel::new(false, true, true);
        match self {
            SplitKind::Llama3 { .. } => by_pattern(LLAMA3),
            SplitKind::Qwen2 => by_pattern(QWEN2),
            SplitKind::SmolLm => Ok(Sequence::new(vec![Digits::new(true).into(), gpt2.into()]).into()),
            SplitKind::Gpt2 => Ok(gpt2.into()),
        }
    }
}

impl Vocabulary {
    pub(super) fn read(file: &ModelFile) -> Result<Self> {
        match file.text("tokenizer.ggml.model") {
            Some("gpt2") => {}
            Some("llama") => return Err(refused(file, "it is a SentencePiece vocabulary, which is not served yet")),
            Some(other) => return Err(refused(file, &format!("its kind `{other}` is not known"))),
            None => return Err(file.missing_metadata("tokenizer.ggml.model")),
        }
        let pre = file.text("tokenizer.ggml.pre").ok_or_else(|| file.missing_metadata("tokenizer.ggml.pre"))?;
        let split = SplitKind::by_name(pre)
            .ok_or_else(|| refused(file, &format!("the pre-tokenizer `{pre}` is not known to this version")))?;
        let texts = texts(file, "tokenizer.ggml.tokens")?.to_vec();
        let kinds = match file.metadata("tokenizer.ggml.token_type") {
            Some(Value::Numbers(kinds)) if kinds.len() == texts.len() => kinds,
            _ => return Err(file.bad_metadata("tokenizer.ggml.token_type", "one number for each token is needed")),
        };
        let numbered = texts.iter().zip(0u32..).zip(kinds);
        let is_special = |kind: f64| kind == CONTROL || kind == USER_DEFINED;
        let mut specials: Vec<(String, u32)> = numbered
            .filter(|&((text, _), &kind)| is_special(kind) && !text.is_empty())
            .map(|((text, id), _)| (text.clone(), id))
            .collect();
        specials.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let add_bos = match file.metadata("tokenizer.ggml.add_bos_token") {
            Some(Value::Bool(add)) => *add,
            _ => matches!(split, SplitKind::Llama3 { .. }),
        };
        Ok(Vocabulary { texts, specials, add_bos, split })
    }

    /// A tokenizer that cannot produce a special token, whatever it is given.
    pub(super) fn tokenizer(&self, file: &ModelFile) -> Result<Tokenizer> {
        let failed = |error: tokenizers::Error| refused(file, &error.to_string());
        let mut words: Vocab = self.texts.iter().cloned().zip(0u32..).collect();
        for (text, _) in &self.specials {
            words.remove(text);
        }
        let merge = |line: &String| {
            let (left, right) = line.split_once(' ')?;
            Some((left.to_owned(), right.to_owned()))
        };
        let merges: Option<Vec<_>> = texts(file, "tokenizer.ggml.merges")?.iter().map(merge).collect();
        let merges = merges.ok_or_else(|| refused(file, "a merge is not made of two parts"))?;
        let bpe = BPE::builder()
            .vocab_and_merges(words, merges)
            .ignore_merges(self.split == SplitKind::Llama3 { whole_words: true })
            .cache_capacity(WORDS_KEPT)
            .build()
            .map_err(failed)?;
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_pre_tokenizer(Some(self.split.pre_tokenizer().map_err(failed)?));
        if self.split == SplitKind::Qwen2 {
            tokenizer.with_normalizer(Some(NFC)).map_err(failed)?;
        }
        Ok(tokenizer)
    }
}

fn texts<'a>(file: &'a ModelFile, key: &str) -> Result<&'a [String]> {
    match file.metadata(key) {
        Some(Value::Texts(texts)) => Ok(texts),
        Some(_) => Err(file.bad_metadata(key, "a list of texts is needed")),
        None => Err(file.missing_metadata(key)),
    }
}

fn refused(file: &ModelFile, problem: &str) -> InferenceError {
    InferenceError::Tokenizer { path: file.path().to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use tokenizers::tokenizer::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    fn check(pre: &str, text: &str, expected: &[&str]) {
        let mut split = PreTokenizedString::from(text);
        SplitKind::by_name(pre).unwrap().pre_tokenizer().unwrap().pre_tokenize(&mut split).unwrap();
        let words = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        assert_eq!(words.into_iter().map(|(word, _, _)| word.to_owned()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn llama_takes_up_to_three_digits_together() {
        check("llama-bpe", "It'S 12345\n\n  x", &["It", "'S", "Ġ", "123", "45", "ĊĊ", "Ġ", "Ġx"]);
    }

    #[test]
    fn smollm_takes_digits_one_by_one() {
        check("smollm", "it's 123  x", &["it", "'s", "Ġ", "1", "2", "3", "Ġ", "Ġx"]);
    }

    #[test]
    fn an_unknown_split_has_no_pipeline() {
        assert_eq!(SplitKind::by_name("tekken"), None);
        assert_eq!(SplitKind::by_name("default"), None);
    }
}
