//! Rounds of all cases, and what is reported of them.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::CASES;
use crate::Case;
use crate::Failure;
use crate::Measure;
use crate::float;
use crate::median::median;
use crate::run;

/// How often a round that was disturbed is measured again.
const AGAIN: usize = 1;
/// Places of two cases that others are compared with.
const BARE: usize = 0;
const EXACT: usize = 1;

/// Whether the ticking thread had a core whenever it wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    Yes,
    No,
}

/// One case, once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) micros_per_tick: f64,
    /// How late vblanks were; nothing if that was not measured.
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) missed: u64,
    pub(crate) quiet: Quiet,
}

/// All cases, a list of rounds each.
type Rounds = [Vec<Round>; 3];

/// Runs all cases, in random order in each round.
pub(crate) fn measure(
    heads: usize,
    rounds: usize,
    length: Duration,
) -> Result<Vec<Value>, Failure> {
    let all = |measure| -> Result<Rounds, Failure> {
        let mut all = Rounds::default();
        for _ in 0..rounds {
            for place in shuffled() {
                all[place].push(undisturbed(CASES[place], heads, measure, length)?);
            }
        }
        Ok(all)
    };
    let cpu = all(Measure::Cpu)?;
    let late = all(Measure::Lateness)?;
    let per_tick = |round: &Round| round.micros_per_tick;
    let p99 = |round: &Round| round.p99_micros;
    let cases = CASES.into_iter().enumerate().map(|(place, case)| {
        let micros = median(quiet(&cpu[place], per_tick));
        json!({
            "name": match case {
                Case::Bare => "bare",
                Case::Scheduler(name, _) => name,
            },
            "cpu_us_per_tick": micros,
            "cpu_percent": micros * 60.0 * float(heads as u64) / 1e6 * 100.0,
            "ratio_to_bare": ratio(&cpu, place, BARE, per_tick),
            "ratio_to_exact": ratio(&cpu, place, EXACT, per_tick),
            "missed": cpu[place].iter().map(|round| round.missed).sum::<u64>(),
            "late_p50_us": median(quiet(&late[place], |round| round.p50_micros)),
            "late_p99_us": median(quiet(&late[place], p99)),
            "p99_ratio_to_bare": ratio(&late, place, BARE, p99),
            "quiet": cpu[place].iter().filter(|round| round.quiet == Quiet::Yes).count(),
        })
    });
    Ok(cases.collect())
}

/// A round that is quiet, if one of some is; else the last.
fn undisturbed(
    case: Case,
    heads: usize,
    measure: Measure,
    length: Duration,
) -> Result<Round, Failure> {
    let mut round = run(case, heads, measure, length)?;
    for _ in 0..AGAIN {
        if round.quiet == Quiet::Yes {
            break;
        }
        round = run(case, heads, measure, length)?;
    }
    Ok(round)
}

/// One case over another, round by round: the median of the rounds that were quiet for both.
fn ratio(rounds: &Rounds, place: usize, base: usize, of: impl Fn(&Round) -> f64) -> f64 {
    let pairs = || rounds[place].iter().zip(&rounds[base]);
    let ratio = |(own, base): (&Round, &Round)| of(own) / of(base);
    let both = |(own, base): &(&Round, &Round)| (own.quiet, base.quiet) == (Quiet::Yes, Quiet::Yes);
    let quiet: Vec<f64> = pairs().filter(both).map(ratio).collect();
    median(match quiet.is_empty() {
        true => pairs().map(ratio).collect(),
        false => quiet,
    })
}

/// Of the quiet rounds, or of all if there is none.
fn quiet(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Vec<f64> {
    let is_quiet = |round: &&Round| round.quiet == Quiet::Yes;
    let quiet: Vec<f64> = rounds.iter().filter(is_quiet).map(&of).collect();
    match quiet.is_empty() {
        true => rounds.iter().map(of).collect(),
        false => quiet,
    }
}

/// A percentile of `sorted` nanoseconds, in microseconds.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted
        .get(index)
        .map_or(f64::NAN, |nanos| float(*nanos) / 1e3)
}

/// The places of the cases, in random order.
fn shuffled() -> [usize; 3] {
    let mut places = [0, 1, 2];
    places.sort_by_key(|place| RandomState::new().hash_one(place));
    places
}
