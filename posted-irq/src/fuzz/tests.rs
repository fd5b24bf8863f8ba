use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

type Target = fn(&[u8]);

/// The targets, named as in `fuzz/fuzz_targets` and `fuzz/corpus`.
const TARGETS: [(&str, Target); 5] = [
    ("vtd_entry", vtd_entry),
    ("vtd_translate", vtd_translate),
    ("amd_translate", amd_translate),
    ("invalidations", invalidations),
    ("posting_decision", posting_decision),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    // The order in a folder is the file system's.
    inputs.sort();
    inputs
}

#[test]
fn fuzz_corpora_replay_without_a_panic() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has a corpus");
        for input in inputs {
            target(&input);
        }
        target(&[]);
    }
}

/// A million inputs, the same in each run.
#[test]
fn fuzz_targets_survive_a_million_mutations() {
    const EACH: usize = 200_000;
    // Arbitrary, but the same in each run.
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        let mut input = Vec::new();
        for round in 0..EACH {
            // Sixteen mutations on top of each other, then from a seed again.
            if round % 16 == 0 {
                input.clone_from(&seeds[random.usize(..seeds.len())]);
            }
            mutate(&mut input, &mut random);
            target(&input);
        }
    }
}

/// Mutates each seed a little, as often as it takes to meet rare faults, and gathers what `fault`
/// says.
fn faults<T: Ord>(target: &str, fault: impl Fn(&[u8]) -> T) -> BTreeSet<T> {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let seeds = corpus(target);
    let mutated = (0..50_000).map(|round| {
        let mut input = seeds[round % seeds.len()].clone();
        for _ in 0..4 {
            mutate(&mut input, &mut random);
        }
        fault(&input)
    });
    mutated.collect()
}

/// The mutations reach every fault, so that agreement about them means something.
#[test]
fn fuzz_mutations_of_the_corpora_meet_every_fault() {
    let vtd = faults("vtd_translate", vtd_fault);
    assert_eq!(
        vtd.into_iter().flatten().collect::<Vec<_>>(),
        Vec::from_iter(0x20..=0x28)
    );
    let amd = faults("amd_translate", amd_refusal);
    let logged = [Some(1), Some(2), Some(3), Some(4), None].map(Err);
    assert_eq!(amd, BTreeSet::from_iter(logged.into_iter().chain([Ok(())])));
}

fn mutate(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    match random.u8(..6) {
        0 => input.truncate(at.max(8)),
        // No input needs to be longer than the largest seed by much.
        1 if input.len() < 1024 => input.insert(at, random.u8(..)),
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.u8(..);
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.u8(..8);
            }
        }
    }
}
