//! Errors as the user sees them: one line on stderr.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;

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

/// Ends the process for arguments that are none: after what was asked for, as help, or one line on stderr.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // As above.
        let _ = error.print();
    } else {
        let _ = writeln!(std::io::stderr().lock(), "{}", usage(&error.to_string()));
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The parser's words without how to call the command, which `--help` tells.
fn usage(text: &str) -> String {
    let told = text.split("\nUsage: ").next().unwrap_or(text);
    let told = told.split("\nFor more information").next().unwrap_or(told);
    let told = told.strip_prefix("error: ").unwrap_or(told);
    one_line(&format!("{}; see --help", told.trim_end()))
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

    #[test]
    fn usage_is_one_line_without_the_synopsis() {
        let text = "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--y'\n\n\
                    Usage: irqbroker links --y <Y>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            usage(text),
            "irqbroker: unexpected argument '--x' found tip: a similar argument exists: '--y'; see --help"
        );
    }
}
