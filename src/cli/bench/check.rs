//! `cervella bench check`: the sentence check, on sentences of the live index as they are and with one thing changed.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::answer::Checker;
use crate::app::App;
use crate::cli::eval::Percentiles;
use crate::cli::output;
use crate::domain::{Language, Passage, sentences};
use crate::retrieval::{Generation, IndexedPassage, Searcher};

/// Passages that a sentence is compared with: its own, and others of its document, which say similar things.
const PASSAGES: usize = 5;
/// Words of a sentence that is taken.
const WORDS: std::ops::RangeInclusive<usize> = 6..=50;
/// Passages looked at for each case that is wanted.
const PASSAGES_PER_CASE: usize = 8;

/// Measure the sentence check: true sentences of the index must pass, with one number, name, unit or denial changed they must
/// not.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct CheckBench {
    /// Changed sentences
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(10..=20_000))]
    cases: u16,
    /// Print one JSON object, with the sentences that were judged wrongly
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Number,
    Name,
    Unit,
    Denial,
}

impl Change {
    const ALL: [Change; 4] = [Change::Number, Change::Name, Change::Unit, Change::Denial];
}

#[derive(Default, Serialize)]
struct Counts {
    sentences: usize,
    judged_right: usize,
}

impl Counts {
    fn add(&mut self, is_right: bool) {
        self.sentences += 1;
        self.judged_right += usize::from(is_right);
    }
}

#[derive(Serialize)]
struct Wrong {
    /// `None`: it is as it stands in its document, and was refused.
    change: Option<Change>,
    passage: String,
    sentence: String,
}

#[derive(Default, Serialize)]
struct CheckFigures {
    untouched: BTreeMap<Language, Counts>,
    changed: BTreeMap<Language, BTreeMap<Change, Counts>>,
    /// Of one sentence, its passages prepared.
    check_ms: Option<Percentiles>,
    wrong: Vec<Wrong>,
}

impl CheckBench {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        let searcher = app.searcher(app.embedder()?)?;
        let figures = self.measure(&searcher)?;
        if self.json { output::json(&figures) } else { print(&figures) }
    }

    fn measure(&self, searcher: &Searcher) -> anyhow::Result<CheckFigures> {
        let generation = searcher.generation();
        let sample = generation.sample(usize::from(self.cases) * PASSAGES_PER_CASE)?;
        let mut random = StdRng::seed_from_u64(7);
        let names = Names::of(&sample);
        let mut figures = CheckFigures::default();
        let (mut cases, mut times) = (0, Vec::new());
        for passage in sample.iter().map(|indexed| &indexed.passage) {
            if cases == usize::from(self.cases) {
                break;
            }
            let statements: Vec<&str> = sentences(&passage.text)
                .into_iter()
                .map(|range| passage.text[range].trim())
                .filter(|s| is_statement(s))
                .collect();
            let numbered: Vec<&str> =
                statements.iter().copied().filter(|sentence| !number_places(sentence).is_empty()).collect();
            let statements = if numbered.is_empty() { statements } else { numbered };
            let Some(&sentence) = statements.choose(&mut random) else { continue };
            let sources = sources(passage, &generation)?;
            let language = passage.language;
            let changes: Vec<(Change, String)> = Change::ALL
                .into_iter()
                .filter_map(|change| {
                    Some((change, changed(sentence, change, language, &names, &sources, &mut random)?))
                })
                .collect();
            // Of the kind that was rarest so far: few sentences hold numbers or units.
            let done = |change: Change| -> usize {
                figures.changed.values().filter_map(|of_language| of_language.get(&change)).map(|c| c.sentences).sum()
            };
            let Some((change, false_one)) = changes.iter().min_by_key(|(change, _)| done(*change)) else { continue };
            let context = |at: &Passage| sample.iter().find(|other| other.passage.id == at.id)?.context.as_deref();
            let mut checker = Checker::new(sources.iter().map(|source| (source, context(source))), language);
            let mut passes = |sentence: &str| -> anyhow::Result<bool> {
                let start = Instant::now();
                let support = checker.support(sentence, searcher)?;
                times.push(start.elapsed().as_secs_f64() * 1000.0);
                Ok(support.is_some())
            };
            let mut note = |change: Option<Change>, sentence: &str, is_right: bool| {
                if !is_right {
                    figures.wrong.push(Wrong { change, passage: passage.path.clone(), sentence: sentence.to_owned() });
                }
            };
            let is_passed = passes(sentence)?;
            figures.untouched.entry(language).or_default().add(is_passed);
            note(None, sentence, is_passed);
            let is_flagged = !passes(false_one)?;
            figures.changed.entry(language).or_default().entry(*change).or_default().add(is_flagged);
            note(Some(*change), false_one, is_flagged);
            cases += 1;
        }
        figures.check_ms = Some(Percentiles::of(times));
        Ok(figures)
    }
}

/// Prose of one sentence, as a model would write it.
fn is_statement(sentence: &str) -> bool {
    let words = sentence.split_whitespace().count();
    WORDS.contains(&words)
        && sentence.starts_with(char::is_uppercase)
        && sentence.ends_with('.')
        && !sentence.contains(['|', '\t', '\n', '#'])
}

/// The passage and the ones after it in its document.
fn sources(passage: &Passage, generation: &Generation) -> anyhow::Result<Vec<Passage>> {
    let of_document = generation.document_of(passage.id)?;
    let others = of_document.into_iter().filter(|other| other.id != passage.id).take(PASSAGES - 1);
    Ok(std::iter::once(passage.clone()).chain(others).collect())
}

/// Words in capitals inside sentences, of each language.
struct Names(BTreeMap<Language, Vec<String>>);

impl Names {
    fn of(sample: &[IndexedPassage]) -> Self {
        let mut names: BTreeMap<Language, Vec<String>> = BTreeMap::new();
        for IndexedPassage { passage, .. } in sample {
            for range in sentences(&passage.text) {
                let sentence = &passage.text[range];
                let found = name_places(sentence).into_iter().map(|range| sentence[range].to_owned());
                names.entry(passage.language).or_default().extend(found);
            }
        }
        names.values_mut().for_each(|names| {
            names.sort_unstable();
            names.dedup();
        });
        Names(names)
    }
}

/// `None`: there is nothing of the kind in the sentence.
fn changed(
    sentence: &str,
    change: Change,
    language: Language,
    names: &Names,
    sources: &[Passage],
    random: &mut StdRng,
) -> Option<String> {
    let with = |range: std::ops::Range<usize>, word: &str| {
        format!("{}{word}{}", &sentence[..range.start], &sentence[range.end..])
    };
    match change {
        Change::Number => {
            let range = number_places(sentence).choose(random)?.clone();
            let digits: Vec<char> = sentence[range.clone()].chars().collect();
            let at = random.random_range(0..digits.len());
            let other = loop {
                // A number does not begin with 0, which would not change it.
                let digit = char::from_digit(random.random_range(u32::from(at == 0)..10), 10)?;
                if digit != digits[at] {
                    break digit;
                }
            };
            let number: String = digits.iter().enumerate().map(|(i, &d)| if i == at { other } else { d }).collect();
            Some(with(range, &number))
        }
        Change::Name => {
            let range = name_places(sentence).choose(random)?.clone();
            let known =
                |name: &str| sources.iter().any(|source| source.text.to_lowercase().contains(&name.to_lowercase()));
            let strange: Vec<&String> =
                (0..20).filter_map(|_| names.0.get(&language)?.choose(random)).filter(|name| !known(name)).collect();
            Some(with(range, strange.first()?))
        }
        Change::Unit => {
            let words = places(sentence);
            let after_number = words
                .windows(2)
                .filter(|pair| sentence[pair[0].clone()].chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',')));
            let changes: Vec<_> = after_number
                .filter_map(|pair| Some((pair[1].clone(), other_unit(&sentence[pair[1].clone()])?)))
                .collect();
            let (range, other) = changes.choose(random)?.clone();
            Some(with(range, other))
        }
        Change::Denial => {
            let words = places(sentence);
            let is_denial = |at: usize| {
                words.get(at).is_some_and(|range| matches!(&sentence[range.clone()], "non" | "not" | "no" | "never"))
            };
            // Denied twice says little.
            let single = (0..words.len()).filter(|&at| !is_denial(at + 1) && !at.checked_sub(1).is_some_and(is_denial));
            let changes: Vec<_> = single
                .filter_map(|at| Some((words[at].clone(), opposite(&sentence[words[at].clone()], language)?)))
                .collect();
            let (range, other) = changes.choose(random)?.clone();
            let space = sentence[range.end..].starts_with(' ');
            let end = range.end + usize::from(other.is_empty() && space);
            Some(with(range.start..end, other))
        }
    }
}

/// The words of a sentence without the punctuation around them.
fn places(sentence: &str) -> Vec<std::ops::Range<usize>> {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let start = bare.as_ptr() as usize - sentence.as_ptr() as usize;
        start..start + bare.len()
    };
    sentence.split_whitespace().map(word).filter(|range| !range.is_empty()).collect()
}

fn number_places(sentence: &str) -> Vec<std::ops::Range<usize>> {
    places(sentence).into_iter().filter(|range| sentence[range.clone()].chars().all(|c| c.is_ascii_digit())).collect()
}

/// Words in capitals that do not begin the sentence.
fn name_places(sentence: &str) -> Vec<std::ops::Range<usize>> {
    let words = places(sentence);
    let is_name = |range: &std::ops::Range<usize>| {
        let word = &sentence[range.clone()];
        word.chars().count() >= 3 && word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphabetic)
    };
    words.into_iter().skip(1).filter(is_name).collect()
}

fn other_unit(word: &str) -> Option<&'static str> {
    const OTHERS: [(&str, &str); 22] = [
        ("days", "hours"),
        ("day", "hour"),
        ("hours", "minutes"),
        ("hour", "week"),
        ("minutes", "seconds"),
        ("seconds", "minutes"),
        ("weeks", "days"),
        ("months", "years"),
        ("years", "months"),
        ("giorni", "ore"),
        ("giorno", "ora"),
        ("ore", "minuti"),
        ("minuti", "secondi"),
        ("secondi", "minuti"),
        ("settimane", "giorni"),
        ("mesi", "anni"),
        ("anni", "mesi"),
        ("MB", "GB"),
        ("GB", "MB"),
        ("KB", "MB"),
        ("cm", "mm"),
        ("pixels", "cm"),
    ];
    OTHERS.iter().find(|(unit, _)| *unit == word).map(|(_, other)| *other)
}

/// The word that makes a sentence say the contrary; empty: without it.
fn opposite(word: &str, language: Language) -> Option<&'static str> {
    const ITALIAN: [(&str, &str); 12] = [
        ("non", ""),
        ("è", "non è"),
        ("sono", "non sono"),
        ("può", "non può"),
        ("possono", "non possono"),
        ("viene", "non viene"),
        ("vengono", "non vengono"),
        ("deve", "non deve"),
        ("devono", "non devono"),
        ("ha", "non ha"),
        ("con", "senza"),
        ("sempre", "mai"),
    ];
    const ENGLISH: [(&str, &str); 12] = [
        ("not", ""),
        ("is", "is not"),
        ("are", "are not"),
        ("can", "cannot"),
        ("cannot", "can"),
        ("will", "will not"),
        ("must", "must not"),
        ("should", "should not"),
        ("has", "has not"),
        ("with", "without"),
        ("without", "with"),
        ("always", "never"),
    ];
    let words = match language {
        Language::Italian => &ITALIAN,
        Language::English => &ENGLISH,
    };
    words.iter().find(|(one, _)| *one == word).map(|(_, other)| *other)
}

fn print(figures: &CheckFigures) -> anyhow::Result<()> {
    let share = |counts: &Counts| {
        let Counts { sentences, judged_right } = counts;
        format!("{judged_right} of {sentences} ({:.1} %)", 100.0 * *judged_right as f64 / (*sentences).max(1) as f64)
    };
    let total = |counts: &mut dyn Iterator<Item = &Counts>| {
        counts.fold(Counts::default(), |sum, counts| Counts {
            sentences: sum.sentences + counts.sentences,
            judged_right: sum.judged_right + counts.judged_right,
        })
    };
    output::line(format!("untouched sentences passed: {}", share(&total(&mut figures.untouched.values()))))?;
    for (language, counts) in &figures.untouched {
        output::line(format!("  {language}: {}", share(counts)))?;
    }
    let changed = || figures.changed.values().flat_map(BTreeMap::values);
    output::line(format!("changed sentences flagged: {}", share(&total(&mut changed()))))?;
    for (language, of_language) in &figures.changed {
        for (change, counts) in of_language {
            output::line(format!("  {language}, {}: {}", format!("{change:?}").to_lowercase(), share(counts)))?;
        }
    }
    let Some(ms) = &figures.check_ms else { return Ok(()) };
    output::line(format!("check: p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms a sentence", ms.p50, ms.p95, ms.p99))
}
