use std::fs;
use std::panic;
use std::path::Path;

use super::*;

/// Mutations of payloads, which take no system call.
const MUTATIONS: usize = 1_000_000;
/// Mutations of sessions, each of which has a device made for it.
const SESSIONS: usize = 50_000;
/// Mutations of replies, each of which has sockets made for it.
const CLIENTS: usize = 20_000;
/// Any; the same each time, so that a failure can be repeated.
const SEED: u64 = 0x7573_6572;
/// Longer inputs find nothing that these do not.
const MUTANT_MAX: usize = 1024;

/// Values at which the rules turn.
const WORDS: [u32; 14] = [
    0,
    1,
    8,
    15,
    16,
    20,
    24,
    32,
    36,
    8192,
    8225,
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
        2 | 3 => {
            if let Some(word) = data.get_mut(at..at + 4) {
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

fn mutations_hold(name: &str, target: Target, mutations: usize) {
    let mut random = fastrand::Rng::with_seed(SEED);
    let seeds = corpus(name);
    let mut data = Vec::with_capacity(MUTANT_MAX);
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
fn a_million_mutations_of_payloads_hold_all_properties() {
    mutations_hold("payload", payload, MUTATIONS);
}

#[test]
fn mutations_of_sessions_hold_all_properties() {
    mutations_hold("session", session, SESSIONS);
}

#[test]
fn mutations_of_replies_hold_all_properties() {
    mutations_hold("client", client, CLIENTS);
}
