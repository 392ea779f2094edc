//! Text to tokens and back: the vocabulary of a model file, its chat template, and the stream of generated text.
//!
//! What people and documents write is never read as a special token: contents are encoded with a vocabulary that
//! has no special tokens at all, only the template's own text is searched for them.

mod byte_level;
mod stream;
mod template;
mod vocabulary;

use std::collections::HashSet;

use tokenizers::Tokenizer;

pub use stream::{StopFilter, TokenStream};
pub use template::{ChatMessage, ChatRole};

use self::template::{ChatTemplate, Part};
use super::error::{InferenceError, Result};
use super::weights::ModelFile;

/// Turns that a model ends with, by name: conversions of the same model disagree on which of them they declare.
const STOP_TOKENS: [&str; 5] = ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end_of_text|>", "<|endoftext|>"];

/// The tokenizer and the chat template of a model file. Cheap to share, never changes.
pub struct Tokens {
    /// Without special tokens.
    tokenizer: Tokenizer,
    /// Text of every token by its number, as the file spells it.
    texts: Vec<String>,
    /// Special tokens with their numbers, the longest first.
    specials: Vec<(String, u32)>,
    special_ids: HashSet<u32>,
    stop_ids: HashSet<u32>,
    /// The token that every prompt starts with, if the model wants one.
    bos: Option<u32>,
    template: ChatTemplate,
}

impl Tokens {
    /// Reads vocabulary and template of `file`.
    ///
    /// # Errors
    /// The vocabulary is missing, damaged, or split in a way that is not known.
    pub fn read(file: &ModelFile) -> Result<Self> {
        let vocabulary = vocabulary::Vocabulary::read(file)?;
        let tokenizer = vocabulary.tokenizer(file)?;
        let number = |key: &str| Ok::<_, InferenceError>(file.number(key)?.and_then(|id| u32::try_from(id).ok()));
        let bos = number("tokenizer.ggml.bos_token_id")?;
        let eos = number("tokenizer.ggml.eos_token_id")?;
        let special = |name: &str| vocabulary.specials.iter().find(|(text, _)| text == name).map(|(_, id)| *id);
        let mut stop_ids: HashSet<u32> = STOP_TOKENS.into_iter().filter_map(special).collect();
        for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            stop_ids.extend(number(key)?);
        }
        stop_ids.extend(eos);
        let spelled = |id: Option<u32>| id.and_then(|id| vocabulary.texts.get(id as usize)).map_or("", String::as_str);
        let template = ChatTemplate::read(file, |name| special(name).is_some(), (spelled(bos), spelled(eos)))?;
        Ok(Tokens {
            tokenizer,
            special_ids: vocabulary.specials.iter().map(|(_, id)| *id).collect(),
            stop_ids,
            bos: bos.filter(|_| vocabulary.add_bos),
            template,
            texts: vocabulary.texts,
            specials: vocabulary.specials,
        })
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        self.texts.len()
    }

    /// Tokens of text that people or documents wrote. Text that looks like a special token stays text.
    ///
    /// # Errors
    /// The tokenizer fails, which no text is known to cause.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false);
        Ok(encoding.map_err(|error| InferenceError::Encode(error.to_string()))?.get_ids().to_vec())
    }

    /// Tokens of trusted text, in which the names of special tokens stand for these.
    ///
    /// # Errors
    /// See [`encode`](Self::encode).
    pub fn encode_trusted(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut plain_start = 0;
        let mut at = 0;
        while at < text.len() {
            match self.specials.iter().find(|(name, _)| text[at..].starts_with(name)) {
                Some((name, id)) => {
                    ids.extend(self.encode(&text[plain_start..at])?);
                    ids.push(*id);
                    at += name.len();
                    plain_start = at;
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        ids.extend(self.encode(&text[plain_start..])?);
        Ok(ids)
    }

    /// Tokens of a conversation in the model's chat format, up to where the model's own turn begins.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for part in self.template.render(messages)? {
            match part {
                Part::Template(text) => ids.extend(self.encode_trusted(&text)?),
                Part::Content(text) => ids.extend(self.encode(text)?),
            }
        }
        if let Some(bos) = self.bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// As [`encode_chat`](Self::encode_chat), where the last message is encoded in pieces that end at the bytes `cuts` of it. With the
    /// number of tokens up to the first piece, and up to the end of each.
    ///
    /// # Errors
    /// The template refuses the conversation, or changes the last message.
    pub fn encode_chat_apart(&self, messages: &[ChatMessage], cuts: &[usize]) -> Result<(Vec<u32>, Vec<usize>)> {
        let last = messages.last().map_or("", |message| message.content.as_str());
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for part in self.template.render(messages)? {
            match part {
                Part::Content(text) if std::ptr::eq(text, last) => {
                    ends.push(ids.len());
                    let mut start = 0;
                    for &cut in cuts {
                        ids.extend(self.encode(&text[start..cut])?);
                        ends.push(ids.len());
                        start = cut;
                    }
                    ids.extend(self.encode(&text[start..])?);
                }
                Part::Template(text) => ids.extend(self.encode_trusted(&text)?),
                Part::Content(text) => ids.extend(self.encode(text)?),
            }
        }
        if ends.is_empty() {
            return Err(InferenceError::Encode("the chat template changes what was asked".to_owned()));
        }
        if let Some(bos) = self.bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
            ends.iter_mut().for_each(|end| *end += 1);
        }
        Ok((ids, ends))
    }

    /// Whether a model says with `token` that its turn is over.
    pub fn is_stop(&self, token: u32) -> bool {
        self.stop_ids.contains(&token)
    }

    /// Whether `token` is part of the chat format and not of any text.
    pub fn is_special(&self, token: u32) -> bool {
        self.special_ids.contains(&token)
    }

    /// The number of a special token.
    pub fn special(&self, name: &str) -> Option<u32> {
        self.specials.iter().find(|(text, _)| text == name).map(|(_, id)| *id)
    }

    /// Bytes that `token` stands for: none for special tokens and numbers outside the vocabulary.
    pub fn bytes(&self, token: u32) -> Vec<u8> {
        match self.texts.get(token as usize) {
            Some(text) if !self.is_special(token) => byte_level::to_bytes(text),
            _ => Vec::new(),
        }
    }

    /// Text of `tokens`; what is not UTF-8 becomes U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.bytes(token)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
