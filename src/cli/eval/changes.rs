//! `cervella eval --changes BEFORE AFTER`: which questions fare otherwise in one of two runs, by what `eval --json` printed of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cli::output;
use crate::domain::Verdict;

#[derive(Deserialize)]
struct Run {
    results: Vec<Measured>,
}

/// A question of `eval --json`, with or without `--answers`.
#[derive(Deserialize)]
struct Measured {
    id: String,
    answerable: bool,
    rank: Option<usize>,
    evidence: Option<f64>,
    answer: Option<Given>,
    #[serde(default)]
    right_citations: Vec<usize>,
    says_it: Option<bool>,
    #[serde(default)]
    made_up_quotes: usize,
    #[serde(default)]
    made_up_facts: Vec<String>,
}

#[derive(Deserialize)]
struct Given {
    verdict: Verdict,
}

/// What is otherwise with one question.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    id: String,
    is_better: bool,
    what: String,
}

#[derive(Serialize)]
struct Changes {
    /// Questions of both runs.
    questions: usize,
    /// Of those that are in one run only.
    only_before: Vec<String>,
    only_after: Vec<String>,
    changes: Vec<Change>,
}

/// `evidence_min`: below it a question is refused.
pub(super) fn run(before: &Path, after: &Path, evidence_min: f64, json: bool) -> anyhow::Result<()> {
    let (old, new) = (read(before)?, read(after)?);
    let of_answers = |run: &BTreeMap<String, Measured>| run.values().any(|measured| measured.answer.is_some());
    anyhow::ensure!(
        of_answers(&old) == of_answers(&new),
        "one of {} and {} measured answers, the other one search alone: they cannot be compared",
        before.display(),
        after.display()
    );
    let changes = Changes::between(old, new, evidence_min);
    if json { output::json(&changes) } else { print(&changes) }
}

fn read(file: &Path) -> anyhow::Result<BTreeMap<String, Measured>> {
    let json = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let run: Run = serde_json::from_slice(&json)
        .with_context(|| format!("{} is not what `cervella eval --json` prints", file.display()))?;
    let mut results = BTreeMap::new();
    for measured in run.results {
        let id = measured.id.clone();
        anyhow::ensure!(results.insert(id.clone(), measured).is_none(), "{} holds {id} twice", file.display());
    }
    Ok(results)
}

impl Changes {
    fn between(before: BTreeMap<String, Measured>, mut after: BTreeMap<String, Measured>, evidence_min: f64) -> Self {
        let (mut questions, mut only_before, mut changes) = (0, Vec::new(), Vec::new());
        for (id, old) in before {
            match after.remove(&id) {
                None => only_before.push(id),
                Some(new) => {
                    questions += 1;
                    changes.extend(changed(&old, &new, evidence_min));
                }
            }
        }
        Changes { questions, only_before, only_after: after.into_keys().collect(), changes }
    }
}

fn changed(old: &Measured, new: &Measured, evidence_min: f64) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut note = |is_better: bool, what: String| changes.push(Change { id: old.id.clone(), is_better, what });
    if old.rank != new.rank {
        let place = |rank: Option<usize>| rank.map_or_else(|| "not found".to_owned(), |rank| format!("place {rank}"));
        let far = |rank: Option<usize>| rank.unwrap_or(usize::MAX);
        note(far(new.rank) < far(old.rank), format!("{} → {}", place(old.rank), place(new.rank)));
    }
    let taken = |measured: &Measured| match (&measured.answer, measured.evidence) {
        (Some(given), _) => Some(given.verdict == Verdict::Answered),
        (None, evidence) => evidence.map(|evidence| evidence >= evidence_min),
    };
    if let (Some(before), Some(now)) = (taken(old), taken(new))
        && before != now
    {
        let what = if now { "refused → answered" } else { "answered → refused" };
        note(now == new.answerable, what.to_owned());
    }
    let mut note_if_changed = |of: &dyn Fn(&Measured) -> bool, better: &str, worse: &str| {
        let (before, now) = (of(old), of(new));
        if before != now {
            note(now, if now { better } else { worse }.to_owned());
        }
    };
    note_if_changed(&|m| !m.right_citations.is_empty(), "cites a right document", "cites no right document");
    note_if_changed(&|m| m.says_it == Some(true), "says it", "does not say it");
    note_if_changed(&|m| m.made_up_quotes + m.made_up_facts.len() == 0, "makes nothing up", "makes something up");
    changes
}

fn print(changes: &Changes) -> anyhow::Result<()> {
    let count = |is_better: bool| changes.changes.iter().filter(|change| change.is_better == is_better).count();
    output::line(format!(
        "{} questions in both runs: {} changes for the better, {} for the worse",
        changes.questions,
        count(true),
        count(false)
    ))?;
    for (what, ids) in [("before", &changes.only_before), ("after", &changes.only_after)] {
        if !ids.is_empty() {
            output::line(format!("only in the run {what}: {}", ids.join(", ")))?;
        }
    }
    for is_better in [false, true] {
        for change in changes.changes.iter().filter(|change| change.is_better == is_better) {
            output::line(format!("{} {:12} {}", if is_better { "+" } else { "-" }, change.id, change.what))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(before: serde_json::Value, after: serde_json::Value) -> Changes {
        let read = |json: serde_json::Value| -> BTreeMap<String, Measured> {
            let measured: Vec<Measured> = serde_json::from_value(json).unwrap();
            measured.into_iter().map(|measured| (measured.id.clone(), measured)).collect()
        };
        Changes::between(read(before), read(after), 0.5)
    }

    fn told(changes: &Changes) -> Vec<(&str, bool, &str)> {
        changes.changes.iter().map(|change| (change.id.as_str(), change.is_better, change.what.as_str())).collect()
    }

    #[test]
    fn places_and_refusals_are_compared() {
        let changes = runs(
            serde_json::json!([
                {"id": "a", "answerable": true, "rank": 7, "evidence": 0.9},
                {"id": "b", "answerable": true, "rank": 1, "evidence": 0.6},
                {"id": "c", "answerable": false, "rank": null, "evidence": 0.6},
                {"id": "gone", "answerable": false, "rank": null, "evidence": 0.6},
            ]),
            serde_json::json!([
                {"id": "a", "answerable": true, "rank": 2, "evidence": 0.9},
                {"id": "b", "answerable": true, "rank": null, "evidence": 0.4},
                {"id": "c", "answerable": false, "rank": null, "evidence": 0.4},
                {"id": "new", "answerable": false, "rank": null, "evidence": 0.6},
            ]),
        );
        assert_eq!(
            (changes.questions, &changes.only_before[..], &changes.only_after[..]),
            (3, &["gone".to_owned()][..], &["new".to_owned()][..])
        );
        let expect = [
            ("a", true, "place 7 → place 2"),
            ("b", false, "place 1 → not found"),
            ("b", false, "answered → refused"),
            ("c", true, "answered → refused"),
        ];
        assert_eq!(told(&changes), expect);
    }

    #[test]
    fn answers_are_compared() {
        let answer = |verdict: &str, right: &[usize], says_it: bool, made_up: &[&str]| {
            serde_json::json!([{"id": "a", "answerable": true, "answer": {"verdict": verdict}, "right_citations": right,
                "says_it": says_it, "made_up_quotes": 0, "made_up_facts": made_up}])
        };
        let changes = runs(answer("abstained", &[], false, &[]), answer("answered", &[1], true, &["42"]));
        let expect = [
            ("a", true, "refused → answered"),
            ("a", true, "cites a right document"),
            ("a", true, "says it"),
            ("a", false, "makes something up"),
        ];
        assert_eq!(told(&changes), expect);
    }
}
