//! Words of one language and what they are in the other, learnt from the collection itself: from passages of the two
//! languages that are each other's nearest, the terms that come and go together. They let the words of a question count in
//! documents of the other language, where the embedding alone misses. Measured: `docs/decisions/0012-term-pairs.md`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::dense::Vectors;
use super::lexical::Lexical;
use super::{RetrievalError, terms};
use crate::domain::{Language, Passage, PassageId};

/// Pairs of passages in which both terms must stand.
const TOGETHER_MIN: u32 = 3;
/// Dice coefficient from which on two terms are a pair.
const DICE_MIN: f32 = 0.25;
/// Log-likelihood ratio from which on it is no chance that they come together (Dunning, "Accurate Methods for the
/// Statistics of Surprise and Coincidence", 1993): so few terms of a small collection are pairs, and many of a large one.
const LIKELIHOOD_RATIO_MIN: f64 = 15.0;
/// One passage in so many may come or go before the pairs are learnt anew, which takes seconds in a large collection.
const LEARNT_ANEW: usize = 50;
/// Others that a term has at most, the likeliest.
const OTHERS_MAX: usize = 3;

/// A term of the other language, and the Dice coefficient of the two, between 0 and 1.
pub(super) type Other = (String, f32);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TermPairs {
    /// By the Italian term, the likeliest first.
    italian: BTreeMap<String, Vec<Other>>,
    /// By the English term.
    english: BTreeMap<String, Vec<Other>>,
    /// Passages that have come and gone since they were learnt.
    changes: usize,
}

impl TermPairs {
    /// From the passages of an index.
    pub fn learn(lexical: &Lexical, vectors: &Vectors) -> Result<Self, RetrievalError> {
        let mut counts = Counts::default();
        for (italian, english) in vectors.twins() {
            if let (Some(italian), Some(english)) = (of_passage(lexical, italian)?, of_passage(lexical, english)?) {
                counts.add(&italian, &english);
            }
        }
        Ok(counts.pairs())
    }

    /// These pairs in the next generation, of so many `passages`: without the terms that it does not hold. `None`: too many
    /// passages have come and gone.
    pub fn after(&self, changes: usize, passages: usize, lexical: &Lexical) -> Result<Option<Self>, RetrievalError> {
        let changes = self.changes + changes;
        if changes * LEARNT_ANEW > passages {
            return Ok(None);
        }
        let mut pairs = TermPairs { changes, ..TermPairs::default() };
        for (of, kept, language) in [
            (&self.italian, &mut pairs.italian, Language::Italian),
            (&self.english, &mut pairs.english, Language::English),
        ] {
            for (term, others) in of {
                let mut still = Vec::new();
                for other in others {
                    if lexical.passages_with(&other.0, language.other())? > 0 {
                        still.push(other.clone());
                    }
                }
                if !still.is_empty() && lexical.passages_with(term, language)? > 0 {
                    kept.insert(term.clone(), still);
                }
            }
        }
        Ok(Some(pairs))
    }

    pub fn read(path: &Path) -> Result<Self, RetrievalError> {
        let json = std::fs::read(path).map_err(RetrievalError::file("read", path))?;
        serde_json::from_slice(&json).map_err(|e| RetrievalError::damaged(path, e))
    }

    pub fn to_json(&self) -> Result<Vec<u8>, RetrievalError> {
        serde_json::to_vec(self).map_err(|e| RetrievalError::damaged("the term pairs", e))
    }

    /// What a term of this language is in the other one.
    pub fn others(&self, term: &str, language: Language) -> &[Other] {
        let of = match language {
            Language::Italian => &self.italian,
            Language::English => &self.english,
        };
        of.get(term).map_or(&[], Vec::as_slice)
    }
}

fn of_passage(lexical: &Lexical, id: PassageId) -> Result<Option<Vec<String>>, RetrievalError> {
    let terms = |passage: Passage| {
        let text = format!("{}\n{}\n{}", passage.title, passage.heading(), passage.text);
        terms(&text, passage.language)
    };
    Ok(lexical.passage(id)?.map(|indexed| terms(indexed.passage)))
}

/// The terms of pairs of passages, by number.
#[derive(Default)]
struct Counts {
    numbers: [HashMap<String, usize>; 2],
    /// Distinct terms of each pair's Italian and English passage.
    passages: Vec<[HashSet<usize>; 2]>,
}

impl Counts {
    fn add(&mut self, italian: &[String], english: &[String]) {
        let pair = [(0, italian), (1, english)].map(|(side, terms)| {
            let numbers = &mut self.numbers[side];
            let number = |term: &String| {
                let next = numbers.len();
                *numbers.entry(term.clone()).or_insert(next)
            };
            terms.iter().map(number).collect()
        });
        self.passages.push(pair);
    }

    fn pairs(self) -> TermPairs {
        let mut with_italian: Vec<Vec<usize>> = vec![Vec::new(); self.numbers[0].len()];
        let mut with_english = vec![0u32; self.numbers[1].len()];
        for (at, [italian, english]) in self.passages.iter().enumerate() {
            italian.iter().for_each(|&term| with_italian[term].push(at));
            english.iter().for_each(|&term| with_english[term] += 1);
        }
        let names = self.numbers.map(|numbers| {
            let mut names = vec![String::new(); numbers.len()];
            numbers.into_iter().for_each(|(name, number)| names[number] = name);
            names
        });
        let mut pairs = TermPairs::default();
        let (mut together, mut met) = (vec![0u32; with_english.len()], Vec::new());
        for (italian, passages) in with_italian.iter().enumerate() {
            for &english in passages.iter().flat_map(|&at| &self.passages[at][1]) {
                if together[english] == 0 {
                    met.push(english);
                }
                together[english] += 1;
            }
            for english in met.drain(..) {
                let together = std::mem::take(&mut together[english]);
                let (of_italian, of_english) = (passages.len() as u32, with_english[english]);
                let dice = 2.0 * together as f32 / (of_italian + of_english) as f32;
                let is_pair = together >= TOGETHER_MIN && dice >= DICE_MIN;
                let all = self.passages.len() as u32;
                if is_pair && likelihood_ratio(together, of_italian, of_english, all) >= LIKELIHOOD_RATIO_MIN {
                    let (italian, english) = (&names[0][italian], &names[1][english]);
                    pairs.italian.entry(italian.clone()).or_default().push((english.clone(), dice));
                    pairs.english.entry(english.clone()).or_default().push((italian.clone(), dice));
                }
            }
        }
        for others in pairs.italian.values_mut().chain(pairs.english.values_mut()) {
            others.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            others.truncate(OTHERS_MAX);
        }
        pairs
    }
}

/// How much likelier the counts are if two terms depend on each other; 0 when they come together less than by chance.
fn likelihood_ratio(together: u32, a: u32, b: u32, all: u32) -> f64 {
    let [k, a, b, n] = [together, a, b, all].map(f64::from);
    if k * n <= a * b {
        return 0.0;
    }
    let entropy = |counts: &[f64]| counts.iter().filter(|&&x| x > 0.0).map(|x| x * x.ln()).sum::<f64>();
    let cells = entropy(&[k, a - k, b - k, n - a - b + k]);
    2.0 * (cells - entropy(&[a, n - a]) - entropy(&[b, n - b]) + entropy(&[n]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_that_come_and_go_together_are_a_pair() {
        let mut counts = Counts::default();
        for (italian, english) in [
            ("stampa riga pagina", "print row page"),
            ("stampa colonna pagina", "print column page"),
            ("stampa riga", "print row"),
            ("riga file", "row file"),
            ("colonna pagina file", "column page file"),
        ] {
            counts.add(&words(italian), &words(english));
        }
        (0..20).for_each(|_| counts.add(&words("altro"), &words("other")));
        let pairs = counts.pairs();
        assert_eq!(pairs.others("stampa", Language::Italian)[0], ("print".to_owned(), 1.0));
        assert_eq!(pairs.others("row", Language::English)[0], ("riga".to_owned(), 1.0));
        assert!(pairs.others("colonna", Language::Italian).is_empty(), "twice together is chance");
        assert!(pairs.others("print", Language::Italian).is_empty());
        let json = pairs.to_json().unwrap();
        assert_eq!(serde_json::from_slice::<TermPairs>(&json).unwrap(), pairs);
    }

    #[test]
    fn frequent_words_that_meet_by_chance_are_no_pair() {
        assert!(likelihood_ratio(8, 12, 12, 24) < LIKELIHOOD_RATIO_MIN);
        assert_eq!(likelihood_ratio(3, 12, 12, 24), 0.0);
        // Four of four, the others without: 2 (4 ln 6 + 20 ln 1.2).
        assert!((likelihood_ratio(4, 4, 4, 24) - 21.627).abs() < 0.01);
    }

    #[test]
    fn a_term_has_few_others_and_the_likeliest_first() {
        let mut counts = Counts::default();
        (0..4).for_each(|_| counts.add(&words("carta"), &words("paper card map sheet")));
        counts.add(&words("carta"), &words("paper"));
        (0..20).for_each(|_| counts.add(&words("altro"), &words("other")));
        let pairs = counts.pairs();
        let others = pairs.others("carta", Language::Italian);
        assert_eq!(others.len(), OTHERS_MAX);
        assert_eq!(others[0], ("paper".to_owned(), 1.0));
    }
}
