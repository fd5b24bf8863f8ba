use std::collections::BTreeSet;

use super::super::intx::IntxSource;
use super::FunctionTarget;
use super::Outcome;
use super::all;

/// Runs every trace on our state machine and returns those that fail.
fn failures(source: IntxSource) -> Vec<String> {
    let mut failures = Vec::new();
    for trace in all() {
        let mut target = FunctionTarget::new(&trace.shape, source).unwrap();
        match trace.run(&mut target) {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::PassedOver(step)) => {
                failures.push(format!("{} stopped at {step:?}", trace.name));
            }
            Err(failure) => failures.push(failure.to_string()),
        }
        target.function().assert_consistent();
    }
    failures
}

#[test]
fn traces_all_pass_with_a_device_that_tells_its_level() {
    assert_eq!(failures(IntxSource::Tracked), Vec::<String>::new());
}

#[test]
fn traces_all_pass_with_an_automasked_line() {
    assert_eq!(failures(IntxSource::Automasked), Vec::<String>::new());
}

#[test]
fn traces_number_82_and_their_names_are_unique() {
    let names: BTreeSet<&str> = all().map(|trace| trace.name).collect();
    assert_eq!(names.len(), all().count());
    assert_eq!(names.len(), 82);
}
