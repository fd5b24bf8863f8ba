//! Where a command's report goes, and in which form.

use std::fmt;
use std::io;
use std::io::IsTerminal;
use std::io::Write;

use serde::Serialize;

use crate::failure;
use crate::progress::Progress;

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A table for people.
    Human,
    /// One JSON object on one line.
    Json,
}

/// Whether somebody reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as is known.
    There,
    /// It went away, as `head` does.
    Gone,
}

/// Prints a command's report and, meanwhile, its progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Output in the given form.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints the report on stdout, which must see nothing else.
    ///
    /// # Errors
    ///
    /// Stdout took no more, other than by a reader that went away (as `head` does).
    pub(crate) fn print(&self, report: &(impl Serialize + fmt::Display)) -> anyhow::Result<()> {
        self.print_line(report).map(drop)
    }

    /// Prints one of several reports, and says whether there is a point in the next.
    ///
    /// # Errors
    ///
    /// Stdout took no more, other than by a reader that went away.
    pub(crate) fn print_line(
        &self,
        report: &(impl Serialize + fmt::Display),
    ) -> anyhow::Result<Reader> {
        match self.write(report, &mut io::stdout().lock()) {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => {
                let error = anyhow::Error::new(error).context("cannot write to stdout");
                Err(failure::with_causes(error))
            }
        }
    }

    /// The form.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// A live line on stderr of a job with `total` steps; silent unless a person watches.
    pub(crate) fn progress(&self, total: u64) -> Progress {
        match self.format == Format::Human && io::stderr().is_terminal() {
            true => Progress::shown(total),
            false => Progress::hidden(),
        }
    }

    fn write(
        &self,
        report: &(impl Serialize + fmt::Display),
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self.format {
            Format::Human => write!(out, "{report}")?,
            Format::Json => {
                serde_json::to_writer(&mut *out, report)?;
                writeln!(out)?;
            }
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Answer {
        value: u32,
    }

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "the value is {}", self.value)
        }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        Output::new(format)
            .write(&Answer { value: 7 }, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn write_as_json_is_one_object_on_one_line() {
        assert_eq!(written(Format::Json), "{\"value\":7}\n");
    }

    #[test]
    fn write_for_people_is_the_display_text() {
        assert_eq!(written(Format::Human), "the value is 7\n");
    }
}
