//! Which passages a search looks at: decided before anything is scored.

use super::dense::Tag;
use crate::domain::{Language, Scope};

/// What passages must be to be found.
pub(super) struct Filter<'a> {
    pub language: Option<Language>,
    /// `None`: those of all collections.
    pub collections: Option<Allowed<'a>>,
}

pub(super) struct Allowed<'a> {
    pub names: Vec<&'a str>,
    /// By the number that the generation gave to each collection.
    is_allowed: Vec<bool>,
}

impl<'a> Filter<'a> {
    /// `collections`: those of the generation, by their number. `None`: nothing can be found.
    pub fn of(language: Option<Language>, scope: &Scope, collections: &'a [String]) -> Option<Self> {
        let is_allowed: Vec<bool> = collections.iter().map(|name| scope.holds(name)).collect();
        let names: Vec<&str> = collections.iter().map(String::as_str).filter(|name| scope.holds(name)).collect();
        if names.is_empty() && *scope != Scope::Everything {
            return None;
        }
        let collections = (names.len() < collections.len()).then_some(Allowed { names, is_allowed });
        Some(Filter { language, collections })
    }

    pub fn admits_all(&self) -> bool {
        self.language.is_none() && self.collections.is_none()
    }

    pub fn admits(&self, tag: Tag) -> bool {
        let is_allowed = |allowed: &Allowed| allowed.is_allowed.get(usize::from(tag.collection)) == Some(&true);
        self.language.is_none_or(|language| language == tag.language)
            && self.collections.as_ref().is_none_or(is_allowed)
    }
}
