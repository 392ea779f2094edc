//! A long time in which nothing goes wrong.

use std::time::{Duration, Instant};

use crate::house::Running;
use crate::scene::Scene;

const PEOPLE: usize = 40;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Caches fill before.
const WARM: f64 = 0.25;
/// Fewer say nothing.
const SAMPLES_MIN: usize = 20;
/// What the memory may grow by in an hour.
const GROWTH_MB: f64 = 20.0;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(300);

struct Sample {
    hours: f64,
    resident_mb: f64,
    files: f64,
}

pub async fn run(seed: u64, rate: f64, minutes: u64) -> Vec<String> {
    let scene = Scene::new(PEOPLE, 500).await;
    let mut running = Running::new(&scene);
    if let Err(why) = running.open().await {
        return vec![why];
    }
    scene.set_pace(rate);
    let mut samples = Vec::new();
    let watch = async {
        let start = Instant::now();
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        while start.elapsed() < Duration::from_secs(minutes * 60) {
            ticks.tick().await;
            let (resident_mb, files) = (running.resident_mb(), running.open_files() as f64);
            samples.push(Sample { hours: start.elapsed().as_secs_f64() / 3600.0, resident_mb, files });
            if samples.len() % 30 == 0 {
                println!("{:?}: {resident_mb:.0} MB, {files} files, {} questions", start.elapsed(), scene.asked());
            }
        }
    };
    tokio::select! {
        () = watch => {}
        () = scene.ask_on(seed) => {}
    }
    let mut broken = Vec::new();
    broken.extend(scene.settled().await.err());
    let warm = &samples[(samples.len() as f64 * WARM) as usize..];
    let (growth, files) = (slope(warm, |sample| sample.resident_mb), slope(warm, |sample| sample.files));
    let mean = |value: fn(&Sample) -> f64| warm.iter().map(value).sum::<f64>() / warm.len().max(1) as f64;
    println!(
        "memory {:.0} MB, {growth:+.1} MB an hour; open files {:.0}, {files:+.1} an hour",
        mean(|sample| sample.resident_mb),
        mean(|sample| sample.files)
    );
    if warm.len() < SAMPLES_MIN || scene.slack.ack_delays().len() < SAMPLES_MIN {
        broken.push("the run was too short to say anything".to_owned());
    }
    if growth > GROWTH_MB {
        broken.push(format!("the memory grows by {growth:.1} MB an hour"));
    }
    if files > 1.0 {
        broken.push(format!("the open files grow by {files:.1} an hour"));
    }
    let mut delays: Vec<Duration> = scene.slack.ack_delays().iter().map(|ack| ack.delay).collect();
    delays.sort_unstable();
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!("acknowledged: p50 {:?}, p95 {:?}, p99 {:?} of {} events", at(0.5), at(0.95), at(0.99), delays.len());
    if at(0.99) > ACKNOWLEDGED_WITHIN {
        broken.push(format!("p99 of the acknowledgement is {:?}", at(0.99)));
    }
    println!("{} questions, {} answers", scene.asked(), scene.answered());
    broken.extend(running.stop().err());
    broken.extend(scene.faults());
    broken
}

/// Of the straight line through the samples, an hour.
fn slope(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (hours, values) = (mean(&|sample| sample.hours), mean(&value));
    let above: f64 = samples.iter().map(|sample| (sample.hours - hours) * (value(sample) - values)).sum();
    let below: f64 = samples.iter().map(|sample| (sample.hours - hours).powi(2)).sum();
    above / below
}
