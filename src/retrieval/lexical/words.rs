//! A question as it is looked for: its words in each language, what they are in the other one, what they may be slips of.

use tantivy::Term;
use tantivy::query::{BooleanQuery, BoostQuery, DisjunctionMaxQuery, FuzzyTermQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

use super::Lexical;
use crate::domain::{Language, LanguageDetector};
use crate::retrieval::pairs::TermPairs;
use crate::retrieval::{RetrievalError, Weights, analysis};

/// What BM25 with k1 = 1.2, as tantivy has it, gives for a term that occurs again and again, in parts of its idf.
const BM25_SATURATED: f32 = 2.2;
/// How much more a pair of terms is trusted than its Dice coefficient says.
const PAIR_TRUST: f32 = 0.3;
/// Letters from which on an unknown term may be a slip: shorter ones resemble too much.
const SLIP_LETTERS_MIN: usize = 5;
/// Letters from which on two of them may be wrong.
const TWO_SLIPS_LETTERS_MIN: usize = 8;
/// Terms that one may be a slip of, at most.
const SLIPS_MAX: usize = 3;

/// Terms that stand for one word of the question, with their weights; the best of them counts.
pub(super) type Group = Vec<(String, f32)>;

/// What is looked for. The text is analysed, never parsed: it has no query syntax.
pub(in crate::retrieval) struct Words<'a> {
    text: &'a str,
    /// `None`: it cannot be told.
    language: Option<Language>,
    weights: &'a Weights,
    pairs: &'a TermPairs,
}

impl<'a> Words<'a> {
    pub(in crate::retrieval) fn of(text: &'a str, weights: &'a Weights, pairs: &'a TermPairs) -> Self {
        Words { text, language: LanguageDetector.detect(text), weights, pairs }
    }

    /// These words in the language that they are taken to be in when it cannot be told.
    pub(in crate::retrieval) fn or_in(mut self, language: Language) -> Self {
        self.language.get_or_insert(language);
        self
    }
}

fn should(field: Field, term: &str, weight: f32) -> (Occur, Box<dyn Query>) {
    let query = TermQuery::new(Term::from_field_text(field, term), IndexRecordOption::WithFreqs);
    (Occur::Should, Box::new(BoostQuery::new(Box::new(query), weight)))
}

impl Lexical {
    /// The words of a question as they would stand in documents of a language.
    pub(in crate::retrieval) fn groups(
        &self,
        words: &Words<'_>,
        language: Language,
    ) -> Result<Vec<Group>, RetrievalError> {
        let Words { weights, pairs, .. } = words;
        let asked_in = words.language.filter(|_| weights.pairs > 0.0).unwrap_or(language);
        let mut groups = Vec::new();
        for (term, same_word) in analysis::terms_with_other(words.text, asked_in) {
            let slips = self.slips(&term, same_word.as_deref(), asked_in, weights)?;
            let forms: Group = match &slips[..] {
                [] => vec![(term.clone(), 1.0)],
                slips => slips.iter().map(|slip| (slip.clone(), weights.slips)).collect(),
            };
            if asked_in == language {
                groups.push(forms);
                continue;
            }
            let mut group = Group::new();
            for (form, of_form) in &forms {
                let others = pairs.others(form, asked_in).iter();
                let weight = |dice: f32| of_form * weights.pairs * (dice + PAIR_TRUST).min(1.0);
                group.extend(others.map(|(other, dice)| (other.clone(), weight(*dice))));
            }
            // Names, codes and loanwords are the same in both.
            let word = same_word.unwrap_or(term);
            // What is in no body, and what has no other, is looked for all the same: a title may hold it.
            if group.is_empty() || self.passages_with(&word, language)? > 0 {
                group.retain(|(other, _)| *other != word);
                group.push((word, 1.0));
            }
            groups.push(group);
        }
        Ok(groups)
    }

    /// For each word of a question whether it stands, as it is written, in any document of either language.
    pub(in crate::retrieval) fn known(&self, words: &Words<'_>) -> Result<Vec<bool>, RetrievalError> {
        let language = words.language.unwrap_or(Language::English);
        let terms = analysis::terms_with_other(words.text, language).into_iter();
        let known = |(term, same_word): (String, Option<String>)| {
            Ok(self.knows(&term, language)? || self.knows(same_word.as_deref().unwrap_or(&term), language.other())?)
        };
        terms.map(known).collect()
    }

    /// Terms of the index that one nobody wrote may be a slip of, the commonest first; `same_word`: what it is in the other
    /// language.
    fn slips(
        &self,
        term: &str,
        same_word: Option<&str>,
        language: Language,
        weights: &Weights,
    ) -> Result<Vec<String>, RetrievalError> {
        let letters = term.chars().count();
        if weights.slips == 0.0 || letters < SLIP_LETTERS_MIN || !term.chars().all(char::is_alphabetic) {
            return Ok(Vec::new());
        }
        if self.knows(term, language)? || self.knows(same_word.unwrap_or(term), language.other())? {
            return Ok(Vec::new());
        }
        let mut similar = self.similar(term, language, 1)?;
        if similar.is_empty() && letters >= TWO_SLIPS_LETTERS_MIN {
            similar = self.similar(term, language, 2)?;
        }
        Ok(similar)
    }

    /// Whether a term stands anywhere in documents of a language.
    fn knows(&self, term: &str, language: Language) -> Result<bool, RetrievalError> {
        let searcher = self.reader.searcher();
        for fields in self.fields.prose.iter().filter(|fields| fields.language == language) {
            for field in [fields.body, fields.title, fields.heading] {
                if searcher.doc_freq(&Term::from_field_text(field, term))? > 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Terms of a language's bodies that begin with the same letter and differ by so many letters at most (two that changed
    /// places are one), the commonest first.
    fn similar(&self, term: &str, language: Language, letters: u8) -> Result<Vec<String>, RetrievalError> {
        let Some(fields) = self.fields.prose.iter().find(|fields| fields.language == language) else {
            return Ok(Vec::new());
        };
        let query = FuzzyTermQuery::new(Term::from_field_text(fields.body, term), letters, true);
        let first = term.chars().next();
        let mut similar: Vec<(String, u32)> = Vec::new();
        for segment in self.reader.searcher().segment_readers() {
            let inverted = segment.inverted_index(fields.body)?;
            let stream = inverted.terms().search(query.automaton()?).into_stream();
            let mut stream = stream.map_err(|e| RetrievalError::damaged("the full-text index", e))?;
            while stream.advance() {
                let Ok(found) = std::str::from_utf8(stream.key()) else { continue };
                if found.chars().next() != first {
                    continue;
                }
                let passages = stream.value().doc_freq;
                match similar.iter_mut().find(|(known, _)| known == found) {
                    Some((_, known)) => *known += passages,
                    None => similar.push((found.to_owned(), passages)),
                }
            }
        }
        similar.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        similar.truncate(SLIPS_MAX);
        Ok(similar.into_iter().map(|(found, _)| found).collect())
    }

    /// What a passage of this language scores when every word of the question stands often in its body.
    pub(super) fn best_score(&self, groups: &[Group], language: Language) -> Result<f32, RetrievalError> {
        let passages = self.count() as f32;
        let mut best = f32::EPSILON;
        for group in groups {
            let mut of_group = 0.0f32;
            for (term, weight) in group {
                let with = self.passages_with(term, language)? as f32;
                let idf = (1.0 + (passages - with + 0.5) / (with + 0.5)).ln();
                of_group = of_group.max(weight * BM25_SATURATED * idf);
            }
            best += of_group;
        }
        Ok(best)
    }

    pub(super) fn clauses(
        &self,
        groups: &[Vec<Group>; 2],
        words: &Words<'_>,
        only: Option<Language>,
    ) -> Vec<(Occur, Box<dyn Query>)> {
        let Words { weights, .. } = words;
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (fields, groups) in self.fields.prose.iter().zip(groups) {
            if only.is_some_and(|language| language != fields.language) {
                continue;
            }
            let weighted = [(fields.body, 1.0), (fields.title, weights.title), (fields.heading, weights.heading)];
            for group in groups {
                let one = |(term, weight): &(String, f32)| -> Box<dyn Query> {
                    let fields = weighted.iter().map(|&(field, of_field)| should(field, term, of_field * weight));
                    Box::new(BooleanQuery::new(fields.collect()))
                };
                // Below one level: a flat union of so many terms would be pruned block by block, which takes twice as long.
                let query = match &group[..] {
                    [single] => one(single),
                    several => Box::new(DisjunctionMaxQuery::new(several.iter().map(one).collect())),
                };
                clauses.push((Occur::Should, query));
            }
        }
        let codes = analysis::codes(words.text);
        clauses.extend(codes.iter().map(|code| should(self.fields.codes, code, weights.code)));
        clauses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DEFAULT_COLLECTION, Passage, PassageId};
    use crate::retrieval::generation::IndexedPassage;
    use crate::retrieval::lexical::LexicalWriter;

    /// An index with a passage of each text.
    fn index(texts: &[(Language, &str)]) -> (tempfile::TempDir, Lexical) {
        let folder = tempfile::tempdir().unwrap();
        let writer = LexicalWriter::open(folder.path()).unwrap();
        for (at, (language, text)) in texts.iter().enumerate() {
            let passage = Passage {
                id: PassageId([at as u8; 16]),
                collection: DEFAULT_COLLECTION.to_owned(),
                path: format!("{at}.md"),
                title: "Libretto".to_owned(),
                headings: Vec::new(),
                anchor: None,
                date: None,
                link: None,
                language: *language,
                ordinal: 0,
                text: (*text).to_owned(),
            };
            writer.add(&IndexedPassage::alone(passage)).unwrap();
        }
        writer.finish().unwrap();
        let lexical = Lexical::open(folder.path()).unwrap();
        (folder, lexical)
    }

    #[track_caller]
    fn check(lexical: &Lexical, word: &str, expect: &[&str]) {
        let found = lexical.slips(word, None, Language::English, &Weights::default()).unwrap();
        assert_eq!(found, expect, "{word}");
    }

    #[test]
    fn a_word_that_nobody_wrote_is_what_it_resembles() {
        let (_folder, lexical) = index(&[
            (Language::English, "password token"),
            (Language::English, "password backup"),
            (Language::English, "passport"),
            (Language::Italian, "portatile tokem"),
        ]);
        for slip in ["pasword", "passwrod", "passsword", "passwird", "paswsord"] {
            check(&lexical, slip, &["password"]);
        }
        // Two letters, from eight on; the commonest first.
        check(&lexical, "passwwwrd", &["password"]);
        check(&lexical, "passwort", &["password", "passport"]);
        check(&lexical, "bakcpu", &[]);
        // What is written somewhere, in either language, is meant.
        check(&lexical, "password", &[]);
        check(&lexical, "tokem", &[]);
        check(&lexical, "token", &[]);
        check(&lexical, "libretto", &[]);
        // Another first letter, too short, no word.
        check(&lexical, "bassword", &[]);
        check(&lexical, "tokn", &[]);
        check(&lexical, "passw0rd", &[]);
        let off = Weights { slips: 0.0, ..Weights::default() };
        assert!(lexical.slips("pasword", None, Language::English, &off).unwrap().is_empty());
    }

    #[test]
    fn a_slip_is_found_in_both_languages() {
        let (_folder, lexical) =
            index(&[(Language::English, "the password"), (Language::Italian, "la chiave segreta")]);
        let json = r#"{"italian":{},"english":{"password":[["chiav",0.7]]},"changes":0}"#;
        let (weights, pairs): (_, TermPairs) = (Weights::default(), serde_json::from_str(json).unwrap());
        let words = Words { text: "pasword", language: Some(Language::English), weights: &weights, pairs: &pairs };
        assert_eq!(lexical.groups(&words, Language::English).unwrap(), [vec![("password".to_owned(), weights.slips)]]);
        let italian = lexical.groups(&words, Language::Italian).unwrap();
        assert_eq!(italian, [vec![("chiav".to_owned(), weights.slips)]]);
    }

    #[test]
    fn pairs_outlive_a_few_changes_without_the_terms_that_are_gone() {
        let (_folder, lexical) = index(&[(Language::English, "key password"), (Language::Italian, "chiave segreta")]);
        let json = r#"{"italian":{"chiav":[["key",0.8],["lock",0.5]],"port":[["key",0.4]]},
                       "english":{"key":[["chiav",0.8]],"lock":[["chiav",0.5]]},"changes":3}"#;
        let pairs: TermPairs = serde_json::from_str(json).unwrap();
        let kept = pairs.after(1, 200, &lexical).unwrap().unwrap();
        let expect = r#"{"italian":{"chiav":[["key",0.8]]},"english":{"key":[["chiav",0.8]]},"changes":4}"#;
        assert_eq!(kept, serde_json::from_str(expect).unwrap());
        assert_eq!(pairs.after(2, 200, &lexical).unwrap(), None);
    }
}
