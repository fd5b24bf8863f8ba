use std::fs;
use std::panic;
use std::path::Path;

use super::*;

/// Mutations over all targets.
const MUTATIONS: usize = 1_000_000;
/// Any; the same each time, so that a failure can be repeated.
const SEED: u64 = 0x7666_696f;
/// Longer inputs find nothing that these do not.
const MUTANT_MAX: usize = 512;

/// Values at which the rules turn.
const WORDS: [u32; 16] = [
    0,
    1,
    4,
    8,
    16,
    20,
    24,
    32,
    36,
    40,
    48,
    60,
    64,
    0x7fff_ffff,
    u32::MAX - 1,
    u32::MAX,
];

/// The corpus of a target, in order of name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).expect("each target has a corpus");
    let mut seeds: Vec<_> = files
        .map(|file| {
            let path = file.expect("readable").path();
            let name = path.display().to_string();
            (name, fs::read(path).expect("readable"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// One small change, as a fuzzer makes them.
fn mutate(data: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=data.len());
    match random.u8(..6) {
        0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
        1 if at < data.len() => data[at] = random.u8(..),
        // Words are aligned nearly everywhere.
        2 | 3 => {
            if let Some(word) = data.get_mut(at / 4 * 4..at / 4 * 4 + 4) {
                word.copy_from_slice(&random.choice(WORDS).unwrap_or(0).to_ne_bytes());
            }
        }
        4 => data.truncate(at),
        _ => {
            let len = random
                .usize(..=16)
                .min(MUTANT_MAX.saturating_sub(data.len()));
            data.extend((0..len).map(|_| random.u8(..)));
        }
    }
}

#[test]
fn corpora_are_replayed() {
    for (name, target) in TARGETS {
        let seeds = corpus(name);

        assert!(!seeds.is_empty(), "no corpus for {name}");
        for (_, seed) in seeds {
            target(&seed);
        }
    }
}

#[test]
fn a_million_mutations_of_the_corpora_hold_all_properties() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut data = Vec::with_capacity(MUTANT_MAX);
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        for _ in 0..MUTATIONS / TARGETS.len() {
            let (_, seed) = &seeds[random.usize(..seeds.len())];
            data.clear();
            data.extend_from_slice(seed);
            for _ in 0..random.usize(1..=4) {
                mutate(&mut data, &mut random);
            }

            let held = panic::catch_unwind(|| target(&data));

            assert!(held.is_ok(), "{name} with {data:02x?}");
        }
    }
}
