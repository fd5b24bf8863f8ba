//! Errors as the user sees them: one line on stderr.

use std::io::Write;

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

/// `irqbroker: text`, with `: cause` for each cause when asked for, on exactly one line.
fn line(error: &anyhow::Error, detail: Detail) -> String {
    let text = match detail {
        Detail::Outermost => error.to_string(),
        Detail::Chain => format!("{error:#}"),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("irqbroker: {}", words.join(" "))
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
