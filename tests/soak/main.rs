//! `make soak`: the built program between both platforms, played, for as long as wanted, with everything going wrong that
//! can. The same seed gives the same run, as far as the machine's timing lets it. Ends with 1 when a promise was broken.

#![expect(clippy::print_stdout, reason = "the course of a run is told on stdout")]

#[path = "../it/chats/daemon.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod daemon;
#[path = "../support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
mod fakes;
mod house;
#[path = "../it/http.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod http;
mod kills;
mod scene;
mod shim;
#[path = "../it/skip.rs"]
mod skip;
mod steady;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;
#[path = "../it/inference/tiny.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod tiny;
mod week;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Questions a second
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    #[command(subcommand)]
    run: Option<Run>,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Everything that can go wrong, once each, while people ask
    Week,
    /// SIGKILL at random moments: while it opens, answers, exports its store, takes over a new index
    Kills {
        #[arg(long, default_value_t = 300)]
        kills: usize,
        /// Each of them is a loss of power: what was not synced is lost
        #[arg(long)]
        power: bool,
    },
    /// Nothing goes wrong for a long time: memory, open files, times until events are acknowledged
    Steady {
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Arguments { seed, rate, run } = Arguments::parse();
    let run = run.unwrap_or(Run::Week);
    println!("{run:?}, seed {seed}, {rate} questions a second");
    let broken = match run {
        Run::Week => week::run(seed, rate).await,
        Run::Kills { kills, power } => kills::run(seed, rate, kills, power).await,
        Run::Steady { minutes } => steady::run(seed, rate, minutes).await,
    };
    for broken in &broken {
        println!("BROKEN {broken}");
    }
    println!("{}", if broken.is_empty() { "every promise was kept" } else { "promises were broken" });
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
