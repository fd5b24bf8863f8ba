//! Errors as the user sees them: one line on stderr.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;

/// The exit code of a usage error, as shells have it.
const USAGE: u8 = 2;

/// How much of an error to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The outermost text, which names the remedy.
    Outermost,
    /// That and every cause below it.
    Chain,
}

/// Prints `error` on stderr.
pub(crate) fn print(error: &anyhow::Error, detail: Detail) {
    // A closed stderr leaves nobody to tell; the exit code still does.
    let _ = writeln!(std::io::stderr().lock(), "{}", line(error, detail));
}

/// The same with all its causes in the outermost text, for one that says nothing without them.
pub(crate) fn with_causes(error: anyhow::Error) -> anyhow::Error {
    anyhow::Error::msg(format!("{error:#}"))
}

/// Prints what is wrong with the command line, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let is_help = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        _ => !error.use_stderr(),
    };
    // As above.
    let _ = match is_help {
        true => error.print(),
        false => writeln!(
            std::io::stderr().lock(),
            "{}",
            usage_line(&error.to_string())
        ),
    };
    match error.use_stderr() {
        true => ExitCode::from(USAGE),
        false => ExitCode::SUCCESS,
    }
}

/// What clap says on several lines, without the summary of all options.
fn usage_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let end = ["\n\nUsage:", "\n\nFor more information"];
    let ends = end.iter().filter_map(|end| text.find(end));
    let told = &text[..ends.min().unwrap_or(text.len())];
    one_line(&format!("{told}; try --help"))
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("irqbroker: {}", words.join(" "))
}

/// `irqbroker: text`, with `: cause` for each cause when asked for, on exactly one line.
fn line(error: &anyhow::Error, detail: Detail) -> String {
    let text = match detail {
        Detail::Outermost => error.to_string(),
        Detail::Chain => format!("{error:#}"),
    };
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> anyhow::Error {
        anyhow::anyhow!("errno 2")
            .context("open failed")
            .context("no kvm: load kvm_intel")
    }

    #[test]
    fn line_without_detail_is_the_outermost_text() {
        assert_eq!(
            line(&error(), Detail::Outermost),
            "irqbroker: no kvm: load kvm_intel"
        );
    }

    #[test]
    fn error_with_its_causes_is_told_whole_without_detail() {
        assert_eq!(
            line(&with_causes(error()), Detail::Outermost),
            line(&error(), Detail::Chain)
        );
    }

    #[test]
    fn usage_line_is_what_is_wrong_and_the_way_to_the_rest() {
        let of = |arguments: &[&str]| {
            let command = clap::Command::new("x").arg(clap::arg!(--size <N>).required(true));
            let error = command.try_get_matches_from(arguments).unwrap_err();
            usage_line(&error.to_string())
        };
        assert_eq!(
            of(&["x"]),
            "irqbroker: the following required arguments were not provided: --size <N>; try --help"
        );
        let tip = of(&["x", "--siz", "1"]);
        assert!(tip.contains("tip:") && !tip.contains("Usage"), "{tip}");
    }

    #[test]
    fn line_with_the_chain_joins_every_cause() {
        assert_eq!(
            line(&error(), Detail::Chain),
            "irqbroker: no kvm: load kvm_intel: open failed: errno 2"
        );
    }

    #[test]
    fn line_of_a_text_with_line_breaks_is_one_line() {
        let error = anyhow::anyhow!("first\n  second\r\nthird\n");
        assert_eq!(
            line(&error, Detail::Outermost),
            "irqbroker: first second third"
        );
    }
}
