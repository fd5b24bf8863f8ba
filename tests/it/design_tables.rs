//! A "supported" row of a design page names the test that shows it, and the test is there.
//!
//! Rows look like `| what | yes | `test_name` |`, or `yes` with a restriction; a row that says `no`
//! names nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use libtest_mimic::Trial;

use crate::need::Need;
use crate::need::story;

pub(crate) fn stories() -> Vec<Trial> {
    vec![story(
        "every_supported_row_of_a_design_page_names_a_test_that_exists",
        Need::Nothing,
        check,
    )]
}

fn check() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = test_names(root)?;
    let mut rows = 0;
    let mut wrong = Vec::new();
    for page in files(&root.join("design"), "md")? {
        let text = fs::read_to_string(&page)?;
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [what, supported, shown, ..] = cells[..] else {
                continue;
            };
            if !supported.starts_with("yes") {
                continue;
            }
            rows += 1;
            let named: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
            if named.is_empty() {
                wrong.push(format!("{}: {what}: names no test", page.display()));
            }
            for name in named.iter().filter(|name| !known.contains(**name)) {
                wrong.push(format!("{}: {what}: no test {name}", page.display()));
            }
        }
    }
    anyhow::ensure!(
        rows > 0,
        "no supported row found: the check looks at nothing"
    );
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The names of all test functions, stories and conformance bodies.
fn test_names(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in [
        "broker",
        "consumers",
        "posted-irq",
        "producers",
        "tests",
        "vgpu",
    ] {
        for path in files(&root.join(folder), "rs")? {
            let text = fs::read_to_string(&path)?;
            let mut test = false;
            for line in text.lines().map(str::trim) {
                if line == "#[test]" {
                    test = true;
                } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| test) {
                    names.extend(rest.split(['(', '<']).next().map(str::to_owned));
                    test = false;
                }
                // Stories and conformance bodies are listed by name in a string.
                names.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
            }
        }
    }
    Ok(names)
}

fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
