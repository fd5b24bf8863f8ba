use std::fs;
use std::panic;
use std::path::Path;

use super::*;

/// Mutations over all targets.
const MUTATIONS: usize = 20_000;
/// Any; the same each time, so that a failure can be repeated.
const SEED: u64 = 0x0052_4642;
/// Longer inputs find nothing that these do not.
const MUTANT_MAX: usize = 512;

/// Bytes at which the rules turn: message types, and what makes lengths large.
const BYTES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 8, 16, 32, 251, 255];

/// The corpus of a target, in order of name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).expect("each target has a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    let seeds = paths
        .into_iter()
        .map(|path| fs::read(path).expect("readable"));
    seeds.collect()
}

/// One small change, as a fuzzer makes them.
fn mutate(data: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=data.len());
    match random.u8(..5) {
        0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
        1 | 2 if at < data.len() => data[at] = random.choice(BYTES).unwrap_or(0),
        3 => data.truncate(at),
        _ => {
            let room = MUTANT_MAX.saturating_sub(data.len());
            let len = random.usize(..=16).min(room);
            data.extend((0..len).map(|_| random.choice(BYTES).unwrap_or(0)));
        }
    }
}

#[test]
fn corpora_are_replayed() {
    for (name, target) in TARGETS {
        let seeds = corpus(name);

        assert!(!seeds.is_empty(), "no corpus for {name}");
        for seed in seeds {
            target(&seed);
        }
    }
}

#[test]
fn mutations_of_the_corpora_hold_all_properties() {
    let mut random = fastrand::Rng::with_seed(SEED);
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        for _ in 0..MUTATIONS {
            let mut data = seeds[random.usize(..seeds.len())].clone();
            for _ in 0..random.usize(1..=4) {
                mutate(&mut data, &mut random);
            }

            let held = panic::catch_unwind(|| target(&data));

            assert!(held.is_ok(), "{name} with {data:02x?}");
        }
    }
}
