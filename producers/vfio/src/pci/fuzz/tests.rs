use std::fs;
use std::path::Path;

use fastrand::Rng;

/// A million over the three entry points.
const MUTATIONS: u32 = 334_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no corpus for {name}");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn mutate(rng: &mut Rng, seeds: &[Vec<u8>], data: &mut Vec<u8>) {
    data.clear();
    data.extend_from_slice(&seeds[rng.usize(..seeds.len())]);
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=data.len());
        match rng.u8(..5) {
            0 => data.truncate(at),
            1 => data.insert(at, rng.u8(..)),
            2 if at < data.len() => data[at] ^= 1 << rng.u8(..8),
            3 if at < data.len() => data[at] = rng.u8(..),
            _ => {
                let other = &seeds[rng.usize(..seeds.len())];
                let from = rng.usize(..=other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
}

fn replay_and_mutate(name: &str, entry: fn(&[u8])) {
    let seeds = corpus(name);
    for seed in &seeds {
        entry(seed);
    }
    // Any fixed seed, so that a failure comes again.
    let mut rng = Rng::with_seed(0x1db0);
    let mut data = Vec::new();
    for _ in 0..MUTATIONS {
        mutate(&mut rng, &seeds, &mut data);
        entry(&data);
    }
}

#[test]
fn config_space_survives_its_corpus_and_mutations() {
    replay_and_mutate("config_space", super::config_space);
}

#[test]
fn msix_table_survives_its_corpus_and_mutations() {
    replay_and_mutate("msix_table", super::msix_table);
}

#[test]
fn saved_state_survives_its_corpus_and_mutations() {
    replay_and_mutate("saved_state", super::saved_state);
}
