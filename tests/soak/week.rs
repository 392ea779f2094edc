//! Everything that can go wrong, once each, in an order by chance, while people ask.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fakes::chance::Chance;
use crate::fakes::slack;
use crate::fakes::telegram;
use crate::house::{PATIENCE, Running};
use crate::scene::Scene;
use crate::shim::Disk;

const PEOPLE: usize = 24;
const CALM: Duration = Duration::from_secs(6);
const TROUBLE: Duration = Duration::from_secs(12);
/// Questions at once.
const BURST: usize = 60;
/// What may be newly taken while memory is short, in bytes.
const SHORT_OF_MEMORY: u64 = 64 << 20;

#[derive(Clone, Copy, Debug)]
enum Act {
    Burst,
    SlowPlatforms,
    TooManyRequests,
    ServerErrors,
    NoNetwork,
    DeadSockets,
    Stopped,
    Killed,
    Restarted,
    FullDisk,
    ReadOnlyDisk,
    ClockJumps,
    LittleMemory,
    DocumentChanges,
    Backup,
    DamagedStore,
    DamagedIndex,
}

const ACTS: [Act; 17] = [
    Act::Burst,
    Act::SlowPlatforms,
    Act::TooManyRequests,
    Act::ServerErrors,
    Act::NoNetwork,
    Act::DeadSockets,
    Act::Stopped,
    Act::Killed,
    Act::Restarted,
    Act::FullDisk,
    Act::ReadOnlyDisk,
    Act::ClockJumps,
    Act::LittleMemory,
    Act::DocumentChanges,
    Act::Backup,
    Act::DamagedStore,
    Act::DamagedIndex,
];

pub async fn run(seed: u64, rate: f64) -> Vec<String> {
    let scene = Scene::new(PEOPLE, 500).await;
    let mut running = Running::new(&scene);
    let mut chance = Chance::new(seed);
    let mut acts = ACTS.to_vec();
    for at in (1..acts.len()).rev() {
        acts.swap(at, chance.below(at + 1));
    }
    if let Err(why) = running.open().await {
        return vec![why];
    }
    if !running.closed_is_indexed() {
        return vec!["the closed collection is in no index".to_owned()];
    }
    let mut broken = Vec::new();
    scene.set_pace(rate);
    let week = async {
        for act in acts {
            tokio::time::sleep(CALM).await;
            let (start, from) = (Instant::now(), running.house.logged().len());
            let outcome = perform(act, &mut running, &mut chance, rate).await;
            let outcome = match outcome {
                Ok(()) => as_a_service_manager(act, &mut running).await,
                broken => broken,
            };
            println!("{act:?}: {:?}, {} questions so far", start.elapsed(), scene.asked());
            tell_complaints(&running.house.logged()[from..]);
            if let Err(why) = outcome {
                broken.push(format!("{act:?}: {why}"));
                return;
            }
        }
        tokio::time::sleep(CALM).await;
    };
    tokio::select! {
        () = week => {}
        () = scene.ask_on(seed) => {}
    }
    if broken.is_empty() {
        broken.extend(scene.settled().await.err());
        println!("memory {:.0} MB, {} open files", running.resident_mb(), running.open_files());
        broken.extend(running.stop().err());
    }
    println!("{} questions, {} answers, {} starts", scene.asked(), scene.answered(), running.starts);
    broken.extend(scene.faults());
    broken
}

async fn perform(act: Act, running: &mut Running<'_>, chance: &mut Chance, rate: f64) -> Result<(), String> {
    let scene = running.scene;
    let seed = chance.next();
    match act {
        Act::Burst => (0..BURST).for_each(|_| scene.ask_one(chance)),
        Act::SlowPlatforms => {
            by_chance(scene, seed, 0.1, &[slack::Fault::Hang], &[telegram::Fault::Hang]).await;
        }
        Act::TooManyRequests => {
            by_chance(scene, seed, 0.5, &[slack::Fault::RetryAfter(2)], &[telegram::Fault::RetryAfter(2)]).await;
        }
        Act::ServerErrors => {
            let on_slack = [slack::Fault::ServerError(503), slack::Fault::Drop, slack::Fault::LostReceipt];
            let on_telegram = [telegram::Fault::ServerError(502), telegram::Fault::Drop, telegram::Fault::LostReceipt];
            by_chance(scene, seed, 0.3, &on_slack, &on_telegram).await;
        }
        Act::NoNetwork => {
            scene.slack.set_network(false);
            scene.telegram.set_network(false);
            tokio::time::sleep(TROUBLE).await;
            scene.slack.set_network(true);
            scene.telegram.set_network(true);
        }
        Act::DeadSockets => drop(scene.slack.half_open()),
        Act::Stopped => {
            running.signal(Signal::STOP);
            tokio::time::sleep(TROUBLE).await;
            running.signal(Signal::CONT);
        }
        Act::Killed => {
            running.kill();
            running.open().await?;
        }
        Act::Restarted => {
            running.stop()?;
            running.open().await?;
        }
        Act::FullDisk => with_disk(running, Disk::Full).await,
        Act::ReadOnlyDisk => with_disk(running, Disk::ReadOnly).await,
        Act::ClockJumps => {
            running.shim.set_clock(2 * 3600);
            tokio::time::sleep(TROUBLE).await;
            running.shim.set_clock(-3600);
            tokio::time::sleep(TROUBLE).await;
            running.shim.set_clock(0);
        }
        Act::LittleMemory => with_little_memory(running).await,
        Act::DocumentChanges => {
            let price = scene.price.load(Ordering::SeqCst) + 1;
            running.raise_price(price);
            running.price_is_known(price).await?;
        }
        Act::Backup => {
            let (mut backup, folder) = running.begin_backup();
            let start = Instant::now();
            while backup.try_wait().expect("it can be asked").is_none() && start.elapsed() < PATIENCE {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let is_made = backup.try_wait().expect("it can be asked").is_some_and(|status| status.success());
            let _ = backup.kill();
            if !is_made || !folder.join("manifest.json").is_file() {
                return Err("no backup was made".to_owned());
            }
        }
        Act::DamagedStore => {
            // What was accepted since the newest export would be lost with the store: nothing was.
            scene.set_pace(0.0);
            scene.settled().await?;
            with_damaged_store(running, chance).await?;
            scene.set_pace(rate);
        }
        Act::DamagedIndex => {
            running.kill();
            damage(&vectors(running.house.data()), chance, 1);
            running.open().await?;
        }
    }
    Ok(())
}

/// A share of all calls meets these faults for a while.
async fn by_chance(scene: &Scene, seed: u64, share: f64, on_slack: &[slack::Fault], on_telegram: &[telegram::Fault]) {
    scene.slack.faults_by_chance(seed, share, on_slack);
    scene.telegram.faults_by_chance(seed, share, on_telegram);
    tokio::time::sleep(TROUBLE).await;
    scene.slack.faults_by_chance(seed, share, &[]);
    scene.telegram.no_faults_by_chance();
}

async fn with_disk(running: &Running<'_>, disk: Disk) {
    running.shim.set_disk(disk);
    tokio::time::sleep(TROUBLE).await;
    running.shim.set_disk(Disk::Fine);
}

async fn with_damaged_store(running: &mut Running<'_>, chance: &mut Chance) -> Result<(), String> {
    running.stop()?;
    running.open().await?;
    running.kill();
    damage(&running.house.data().join("store/db"), chance, 64);
    running.open().await
}

/// By a control group of its own, where this machine lets us make one.
async fn with_little_memory(running: &Running<'_>) {
    let pid = running.pid();
    // Of the first version each controller has a tree of its own.
    let first = Path::new("/sys/fs/cgroup/memory");
    let is_first = first.is_dir();
    let (root, limit) =
        if is_first { (first, "memory.limit_in_bytes") } else { (Path::new("/sys/fs/cgroup"), "memory.max") };
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let its_own = groups.lines().find_map(|line| line.split_once(if is_first { ":memory:/" } else { "0::/" }));
    let before = root.join(its_own.map_or("", |(_, path)| path));
    let group = root.join(format!("cervella-soak-{pid}"));
    let put = |file: PathBuf, value: u64| fs::write(file, value.to_string());
    let made = fs::create_dir(&group)
        .and_then(|()| put(group.join(limit), SHORT_OF_MEMORY))
        .and_then(|()| put(group.join("cgroup.procs"), u64::from(pid)));
    match made {
        Ok(()) => tokio::time::sleep(TROUBLE).await,
        Err(error) => println!("NOT DONE: memory cannot be made short here: {error}"),
    }
    // The process may be gone, and then it is in no group.
    let _ = put(before.join("cgroup.procs"), u64::from(pid));
    let _ = fs::remove_dir(&group);
}

/// Starts the daemon again if the system has ended it, which it does to who takes memory that is not there.
async fn as_a_service_manager(act: Act, running: &mut Running<'_>) -> Result<(), String> {
    if !running.has_ended() {
        return Ok(());
    }
    running.kill();
    if !matches!(act, Act::LittleMemory) {
        return Err("the daemon has ended by itself".to_owned());
    }
    println!("the daemon had ended, and is started again");
    running.open().await
}

/// Noise in some places of a file.
fn damage(path: &Path, chance: &mut Chance, places: usize) {
    let file = OpenOptions::new().write(true).open(path).expect("it is there");
    let length = file.metadata().expect("readable").len() as usize;
    for _ in 0..places {
        let noise: Vec<u8> = (0..64).flat_map(|_| chance.next().to_ne_bytes()).collect();
        file.write_all_at(&noise, chance.below(length.saturating_sub(noise.len()).max(1)) as u64).expect("written");
    }
}

fn vectors(data: &Path) -> PathBuf {
    let current = fs::read_to_string(data.join("index/CURRENT")).expect("an index is live");
    data.join("index").join(current.trim()).join("vectors.bin")
}

/// What an operator reads: each sentence once.
fn tell_complaints(logged: &str) {
    let mut told: Vec<(&str, usize)> = Vec::new();
    for line in logged.lines() {
        let Some((_, said)) = line.split_once(" WARN ").or_else(|| line.split_once("ERROR ")) else { continue };
        match told.iter_mut().find(|(known, _)| *known == said) {
            Some((_, count)) => *count += 1,
            None => told.push((said, 1)),
        }
    }
    for (said, count) in told {
        println!("    {count} x {said}");
    }
}
