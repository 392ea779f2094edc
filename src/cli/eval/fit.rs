//! `cervella eval --fit RESULTS…`: the weights of the evidence gate, from what `eval --json` printed.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::measures::FOUND;
use crate::answer::{Evidence, Gate, Sample};
use crate::cli::output;

#[derive(Deserialize)]
struct Results {
    results: Vec<Measured>,
}

#[derive(Deserialize)]
struct Measured {
    answerable: bool,
    indexed: bool,
    rank: Option<usize>,
    grounds: Evidence,
}

impl Measured {
    /// `None`: its answer was not found, which says nothing of how one looks.
    fn sample(&self) -> Option<Sample> {
        let is_answered = self.answerable && self.indexed;
        let is_found = self.rank.is_some_and(|rank| rank <= FOUND);
        (is_found || !is_answered).then_some(Sample { evidence: self.grounds, is_answered })
    }
}

pub(super) fn run(files: &[PathBuf]) -> anyhow::Result<()> {
    let samples: Vec<Vec<Sample>> = files.iter().map(|file| read(file)).collect::<anyhow::Result<_>>()?;
    let gate = Gate::fit(&samples.concat())
        .context("the gate is fitted to answerable and to unanswerable questions: these results hold one kind only")?;
    for (file, samples) in files.iter().zip(&samples) {
        let refused = |is_answered: bool| {
            let of_kind = || samples.iter().filter(move |sample| sample.is_answered == is_answered);
            (of_kind().filter(|sample| gate.probability(&sample.evidence) < 0.5).count(), of_kind().count())
        };
        let ((silent, of_silent), (answered, of_answered)) = (refused(false), refused(true));
        eprintln!(
            "{}: {silent} of {of_silent} unanswerable and {answered} of {of_answered} answerable questions refused",
            file.display()
        );
    }
    output::json(&gate)
}

fn read(file: &Path) -> anyhow::Result<Vec<Sample>> {
    let json = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let results: Results = serde_json::from_slice(&json)
        .with_context(|| format!("{} is not what `cervella eval --json` prints", file.display()))?;
    Ok(results.results.iter().filter_map(Measured::sample).collect())
}
