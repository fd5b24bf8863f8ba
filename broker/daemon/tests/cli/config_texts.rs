//! What `irqbroker serve` says of a configuration it cannot use: the cause, and the remedy.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::command::fresh_path;
use crate::command::irqbroker;
use crate::deadline::ended;
use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "serve_that_cannot_start_says_why_and_what_helps",
        Need::Nothing,
        cannot_start,
    )]
}

fn cannot_start() -> anyhow::Result<()> {
    let missing = fresh_path("missing.toml")?;
    let twice = fresh_path("twice.toml")?;
    fs::write(&twice, "[quotas]\nfds = 1\nfds = 2\n")?;
    let cases: [(&[&str], String); 3] = [
        (
            &["--config", &missing],
            format!("cannot read {missing}: No such file"),
        ),
        (
            &["--config", &twice],
            format!("{twice}:3: quotas.fds: duplicate key"),
        ),
        (
            // Nobody makes folders there.
            &[
                "--config",
                "/dev/null",
                "--socket",
                "/proc/irqbroker/control.sock",
            ],
            "cannot make /proc/irqbroker: No such file or directory (os error 2); give --socket"
                .to_owned(),
        ),
    ];
    for (arguments, expected) in cases {
        let answer = ended(irqbroker().arg("serve").args(arguments))?;
        ensure!(answer.refusal()?.starts_with(&expected), "{answer:?}");
    }
    let mut mistyped = irqbroker();
    mistyped.env("IRQBROKER_QUOTAS_CONECTIONS", "5");
    let answer = ended(mistyped.args(["serve", "--check", "--config", "/dev/null"]))?;
    ensure!(
        answer
            .refusal()?
            .starts_with("IRQBROKER_QUOTAS_CONECTIONS: "),
        "{answer:?}"
    );
    Ok(())
}
