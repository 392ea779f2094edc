//! Which files of its folders a collection takes.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::domain::Collection;

/// The patterns of a collection, ready to be matched. A pattern without `/` is one name at any depth; one with `/` begins
/// at the folder. What matches a folder matches all that it holds.
pub(super) struct Patterns {
    /// `None`: everything.
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Patterns {
    /// # Errors
    /// A pattern is not one.
    pub fn of(collection: &Collection) -> Result<Self, globset::Error> {
        let include = (!collection.include.is_empty()).then(|| set(&collection.include)).transpose()?;
        Ok(Patterns { include, exclude: set(&collection.exclude)? })
    }

    /// Whether a file belongs to the collection; `path`: in its folder, with `/`.
    pub fn take(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(path)) && !self.exclude.is_match(path)
    }

    /// Whether nothing in this folder belongs to it.
    pub fn leave_out(&self, folder: &str) -> bool {
        self.exclude.is_match(folder)
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.trim_end_matches('/');
        let rooted = match pattern.strip_prefix('/') {
            Some(rooted) => rooted.to_owned(),
            None if pattern.contains('/') => pattern.to_owned(),
            None => format!("**/{pattern}"),
        };
        for pattern in [format!("{rooted}/**"), rooted] {
            set.add(GlobBuilder::new(&pattern).literal_separator(true).build()?);
        }
    }
    set.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(include: &[&str], exclude: &[&str], taken: &[&str], left: &[&str]) {
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let collection = Collection { include: owned(include), exclude: owned(exclude), ..Collection::default() };
        let patterns = Patterns::of(&collection).unwrap();
        for path in taken {
            assert!(patterns.take(path), "{path} was left out");
        }
        for path in left {
            assert!(!patterns.take(path), "{path} was taken");
        }
    }

    #[test]
    fn a_name_is_met_at_any_depth_and_a_path_at_its_place() {
        check(&[], &[], &["a.md", "b/c.pdf"], &[]);
        check(&["*.md"], &[], &["a.md", "b/c/d.md"], &["a.pdf", "md"]);
        check(&["it/*.md"], &[], &["it/a.md"], &["it/b/a.md", "x/it/a.md", "a.md"]);
        check(&["/a.md"], &[], &["a.md"], &["b/a.md"]);
        check(&["it/**"], &["archive/", "it/old"], &["it/a.md"], &["it/archive/a.md", "it/old/x.md", "en/a.md"]);
        check(&[], &["draft-*"], &["drafts/a.md"], &["draft-1/a.md", "b/draft-2.md"]);
    }
}
