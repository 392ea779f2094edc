//! `cervella bench`: how fast this machine reads, writes, embeds and searches, and how well sentences are checked.

mod check;
mod embed;
mod generate;
mod perplexity;
mod read_ahead;
mod search;
mod speculate;

use clap::Subcommand;

use crate::app::App;

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    Check(check::CheckBench),
    Generate(generate::GenerateBench),
    Embed(embed::EmbedBench),
    Perplexity(perplexity::PerplexityBench),
    ReadAhead(read_ahead::ReadAheadBench),
    Search(search::SearchBench),
    Speculate(speculate::SpeculateBench),
}

impl BenchCommand {
    pub(super) fn run(self, app: &App) -> anyhow::Result<()> {
        match self {
            BenchCommand::Check(bench) => bench.run(app),
            BenchCommand::Generate(bench) => bench.run(),
            BenchCommand::Embed(bench) => bench.run(app),
            BenchCommand::Perplexity(bench) => bench.run(),
            BenchCommand::ReadAhead(bench) => bench.run(app),
            BenchCommand::Search(bench) => bench.run(app),
            BenchCommand::Speculate(bench) => bench.run(app),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
