//! The doctor's answers, as JSON and as a grouped table.

use std::fmt;

use serde::Serialize;

use super::check::Check;
use super::check::Group;
use super::check::Status;
use super::verdict::Verdict;

/// Columns of the printed report.
const WIDTH: usize = 100;

/// Columns of a check's name.
const NAME_WIDTH: usize = 27;

/// Columns before a check's text: indent, mark, name, and the gaps between.
const TEXT_COLUMN: usize = 2 + 1 + 1 + NAME_WIDTH + 1;

/// The report of `irqbroker doctor`.
#[derive(Debug, Serialize)]
pub(crate) struct DoctorReport {
    /// Everything that was asked.
    pub(crate) checks: Vec<Check>,
    /// What it adds up to.
    pub(crate) verdict: Verdict,
}

impl DoctorReport {
    /// The report on these checks.
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        let verdict = Verdict::of(&checks);
        Self { checks, verdict }
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in Group::ALL {
            writeln!(f, "{}", group.title())?;
            for check in self.checks.iter().filter(|check| check.group == group) {
                write_check(f, check)?;
            }
            writeln!(f)?;
        }
        let legend = [
            Status::Found,
            Status::Missing,
            Status::Denied,
            Status::Unknown,
        ]
        .map(|status| format!("{} {}", status.mark(), word(status)));
        writeln!(f, "{}; → what that costs you\n", legend.join("  "))?;
        writeln!(f, "{}", self.verdict)
    }
}

fn write_check(f: &mut fmt::Formatter<'_>, check: &Check) -> fmt::Result {
    let mark = check.status.mark();
    let mut label = format!("{mark} {:<NAME_WIDTH$}", check.name);
    let cost = (check.status != Status::Found).then(|| format!("→ {}", check.cost));
    for text in [Some(check.detail.clone()), cost].into_iter().flatten() {
        for line in wrap(&text, WIDTH - TEXT_COLUMN) {
            writeln!(
                f,
                "  {label:<label_width$} {line}",
                label_width = TEXT_COLUMN - 3
            )?;
            label.clear();
        }
    }
    Ok(())
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Found => "found",
        Status::Missing => "missing",
        Status::Denied => "denied",
        Status::Unknown => "unknown",
    }
}

/// Breaks a text between words so that no line is longer than `width`, if words allow it.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrap_breaks_between_words_at_the_width() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 4), ["unbreakable"]);
        assert!(wrap("", 4).is_empty());
    }
}
