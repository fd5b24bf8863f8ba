//! What an operator may mistype is refused before a daemon is asked.

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::irqbroker;
use crate::deadline::ended;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "operator_who_mistypes_a_value_is_told_which_there_are",
        Need::Nothing,
        mistyped,
    )]
}

fn mistyped() -> anyhow::Result<()> {
    let commands: [(&[&str], &str); 3] = [
        (
            &["links", "--state", "bypased"],
            "unmatched, masked, relay, bypass, posted",
        ),
        (&["client", "produce", "--events", "0"], "0 is not in 1.."),
        (&["client", "consume", "--events", "0"], "0 is not in 1.."),
    ];
    for (command, expected) in commands {
        let answer = ended(irqbroker().args(command))?;
        // A usage error, with nothing on standard output.
        ensure!(answer.code == Some(2), "{answer:?}");
        ensure!(answer.stdout.is_empty(), "{answer:?}");
        ensure!(answer.stderr.contains(expected), "{answer:?}");
    }
    Ok(())
}
