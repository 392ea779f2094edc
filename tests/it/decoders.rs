//! Every decoder on its examples, cut off anywhere and with wrong bytes in them: what the fuzzer (`scripts/fuzz.sh`) begins with,
//! without its build.

#[path = "../../fuzz/targets.rs"]
mod targets;
#[path = "../../fuzz/zipped.rs"]
mod zipped;

use std::fs;

use crate::fakes::chance::Chance;
use crate::support::root;

/// Changed copies of each example.
const CHANGED: usize = 150;

#[test]
fn no_decoder_panics_on_a_damaged_example() {
    for name in targets::names() {
        let decode = targets::named(name).unwrap();
        let folder = root().join("fuzz/seeds").join(name);
        let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let seeds: Vec<Vec<u8>> = seeds.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name} has no example");
        let mut chance = Chance::new(7);
        for seed in &seeds {
            decode(seed);
            for _ in 0..CHANGED {
                let mut changed = seed[..chance.below(seed.len() + 1)].to_vec();
                for _ in 0..chance.below(8) {
                    if !changed.is_empty() {
                        let at = chance.below(changed.len());
                        changed[at] = chance.below(256) as u8;
                    }
                }
                decode(&changed);
            }
        }
    }
    assert!(targets::named("no such decoder").is_none());
}
