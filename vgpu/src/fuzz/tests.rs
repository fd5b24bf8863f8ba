use std::fs;
use std::panic;
use std::path::Path;

use super::*;

/// Mutations over all targets, most of them for those that make no system calls.
const MUTATIONS: [(&str, usize); 5] = [
    ("registers", 480_000),
    ("config_space", 480_000),
    ("device", 40_000),
    ("gfx", 6_000),
    ("saved", 500),
];
/// Any; the same each time, so that a failure can be repeated.
const SEED: u64 = 0x7667_7075;
/// Longer inputs find nothing that these do not.
const MUTANT_MAX: usize = 256;

/// Places at which registers begin or end, as two bytes of an operation.
const OFFSETS: [u16; 16] = [
    0x04, 0x10, 0x49, 0x82, 0x3fe, 0x400, 0x41a, 0x500, 0x508, 0x512, 0x514, 0x604, 0x900, 0x934,
    0x96c, 0xffe,
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
            (
                path.display().to_string(),
                fs::read(path).expect("readable"),
            )
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
        2 => {
            if let Some(offset) = data.get_mut(at..at + 2) {
                let known = random.choice(OFFSETS).unwrap_or(0);
                offset.copy_from_slice(&known.to_le_bytes());
            }
        }
        3 => data.truncate(at),
        // An operation once more, somewhere else.
        4 if at < data.len() => {
            let copy = data[at..data.len().min(at + 8)].to_vec();
            data.extend(copy);
        }
        _ => {
            let len = random.usize(..=12);
            data.extend((0..len).map(|_| random.u8(..)));
        }
    }
    data.truncate(MUTANT_MAX);
}

#[test]
fn corpora_of_all_targets_are_replayed() {
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "no corpus for {name}");
        for (_, seed) in seeds {
            target(&seed);
        }
    }
}

#[test]
fn a_million_mutated_guests_and_users_break_nothing() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut data = Vec::with_capacity(MUTANT_MAX);
    for ((name, target), (of, mutations)) in TARGETS.into_iter().zip(MUTATIONS) {
        assert_eq!(name, of);
        let seeds = corpus(name);
        for _ in 0..mutations {
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
