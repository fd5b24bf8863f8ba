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
    vec![
        story(
            "every_supported_row_of_a_design_page_names_a_test_that_exists",
            Need::Nothing,
            check,
        ),
        story(
            "string_that_is_no_name_in_a_list_passes_for_no_test",
            Need::Nothing,
            only_lists,
        ),
    ]
}

fn only_lists() -> anyhow::Result<()> {
    let source = r#"
        const VARIABLE: &str = "variable";
        fn run() { Command::new("command").env("key", "value"); }
        fn plain() {}
        #[test]
        #[ignore = "reason"]
        fn function() {}
        fn after() {}
        vec![story(
            "alone",
            Need::Nothing,
            run,
        )];
        [("first", run), ("second", run)];
        Trace { name: "trace" }
    "#;
    let mut found = BTreeSet::new();
    collect(source, &mut found);
    let expected = ["alone", "first", "function", "second", "trace"];
    anyhow::ensure!(found.iter().eq(expected), "{found:?}");
    Ok(())
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

/// The names of all test functions, of the stories and traces that are listed, and of the lab's.
fn test_names(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let lab = fs::read_to_string(root.join("tests/lab/stories.table"))?;
    let lab = lab.lines().filter(|line| !line.starts_with('#'));
    let mut names: BTreeSet<String> = lab
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    for folder in [
        "broker",
        "consumers",
        "posted-irq",
        "producers",
        "tests",
        "vgpu",
    ] {
        for path in files(&root.join(folder), "rs")? {
            collect(&fs::read_to_string(&path)?, &mut names);
        }
    }
    Ok(names)
}

/// What a story's or trace's name stands behind, besides the bracket of a table's row.
const LISTED_BEHIND: [&str; 6] = [
    "story(",
    "on_both(",
    "on_both_split(",
    "Trial::test(",
    "name:",
    "let name =",
];

/// The test functions of a source file, and the names it lists in strings.
fn collect(text: &str, names: &mut BTreeSet<String>) {
    let mut test = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        match line.trim().strip_prefix("fn ") {
            Some(rest) if test => {
                names.extend(rest.split(['(', '<']).next().map(str::to_owned));
                test = false;
            }
            // Other attributes and comments may stand between.
            _ => test = line.trim() == "#[test]" || test && line.trim().starts_with(['#', '/']),
        }
        let mut at = start;
        for (place, piece) in line.split('"').enumerate() {
            if place % 2 == 1 && is_listed(&text[..at - 1]) {
                names.insert(piece.to_owned());
            }
            at += piece.len() + 1;
        }
        start += line.len();
    }
}

/// Whether a string behind this is a name in a list.
fn is_listed(before: &str) -> bool {
    let before = before.trim_end();
    let row = before.strip_suffix('(').map(str::trim_end);
    row.is_some_and(|before| before.ends_with(['[', ',']))
        || LISTED_BEHIND.iter().any(|list| before.ends_with(list))
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
