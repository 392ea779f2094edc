//! A process that is killed again and again, by SIGKILL or by a loss of power.

use std::time::Duration;

use crate::fakes::chance::Chance;
use crate::house::Running;
use crate::scene::Scene;

/// Price of the lunch at the start; each of its changes is one more.
const PRICE: usize = 500;
const PEOPLE: usize = 12;
/// Share of the kills that come while the daemon opens.
const OPENING: f64 = 0.4;
const OPENING_MS: usize = 1500;
const AT_WORK_MS: usize = 3000;

pub async fn run(seed: u64, rate: f64, kills: usize, power: bool) -> Vec<String> {
    let scene = Scene::new(PEOPLE, PRICE).await;
    let mut running = Running::new(&scene);
    let mut chance = Chance::new(seed);
    let mut broken = Vec::new();
    let (mut opening, mut backups, mut swaps, mut lost) = (0, 0, 0, 0);
    scene.set_pace(rate);
    let mut price = PRICE;
    let all = async {
        for kill in 1..=kills {
            let mut backup = None;
            if chance.share() < OPENING {
                opening += 1;
                running.begin();
                tokio::time::sleep(Duration::from_millis(chance.below(OPENING_MS) as u64)).await;
            } else {
                if let Err(why) = running.open().await {
                    broken.push(format!("start {}: {why}", running.starts));
                    return;
                }
                match chance.below(3) {
                    0 => {
                        backups += 1;
                        backup = Some(running.begin_backup());
                    }
                    1 => {
                        swaps += 1;
                        price += 1;
                        running.raise_price(price);
                        // Every other time it is killed while the index is made, else when nobody may hear the old price any more.
                        if swaps % 2 == 0
                            && let Err(why) = running.price_is_known(price).await
                        {
                            broken.push(why);
                            return;
                        }
                    }
                    _ => {}
                }
                tokio::time::sleep(Duration::from_millis(chance.below(AT_WORK_MS) as u64)).await;
            }
            running.kill();
            if let Some((mut backup, folder)) = backup {
                backup.wait().expect("it ends");
                let _ = std::fs::remove_dir_all(folder);
            }
            if power {
                lost += running.shim.lose_power(running.house.data(), &mut chance);
            } else {
                running.shim.keep_all();
            }
            if kill % 10 == 0 {
                println!("{kill} kills, {} of {} questions answered", scene.answered(), scene.asked());
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = scene.ask_on(seed) => {}
    }
    println!(
        "{opening} kills while it opened, {backups} during a backup, {swaps} after a document changed; {lost} writes lost"
    );
    if broken.is_empty() {
        broken.extend(end(&mut running, price).await.err());
    }
    println!("{} questions, {} answers, {} starts", scene.asked(), scene.answered(), running.starts);
    broken.extend(scene.faults());
    if !broken.is_empty() {
        println!("{}", running.house.logged());
    }
    broken
}

/// What must come after the last kill.
async fn end(running: &mut Running<'_>, price: usize) -> Result<(), String> {
    running.open().await?;
    running.price_is_known(price).await?;
    if !running.closed_is_indexed() {
        return Err("the closed collection is in no index".to_owned());
    }
    running.scene.settled().await?;
    running.stop()
}
