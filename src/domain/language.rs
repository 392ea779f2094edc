//! The languages that questions are asked in and documents are written in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A language that Cervella understands. Text in any other language is filed under the closer of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Language {
    #[serde(rename = "it")]
    Italian,
    #[serde(rename = "en")]
    English,
}

#[derive(Debug, Error)]
#[error("unknown language `{0}`: use `it` or `en`")]
pub struct UnknownLanguage(String);

impl Language {
    /// Every language, in the order in which figures are reported.
    pub const ALL: [Language; 2] = [Language::Italian, Language::English];

    pub fn other(self) -> Language {
        match self {
            Language::Italian => Language::English,
            Language::English => Language::Italian,
        }
    }

    /// ISO 639-1 code.
    pub fn code(self) -> &'static str {
        match self {
            Language::Italian => "it",
            Language::English => "en",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        match code {
            "it" => Ok(Language::Italian),
            "en" => Ok(Language::English),
            other => Err(UnknownLanguage(other.to_owned())),
        }
    }
}
