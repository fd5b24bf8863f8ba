//! Why a configuration was refused.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What was said where is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer; part of the text, since the one line that is shown has to say it.
        cause: io::Error,
    },
    /// A line of the file is wrong.
    #[error("{}:{line}: {}{message}", path.display(), Key(key.as_deref()))]
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The key on that line, where there is one.
        key: Option<String>,
        /// What is wrong with it, in the parser's words.
        message: String,
    },
    /// A variable or a flag is wrong.
    #[error("{origin}: {key}: {message}")]
    Setting {
        /// The variable or the flag.
        origin: String,
        /// The key it sets.
        key: String,
        /// What is wrong with it, in the parser's words.
        message: String,
    },
    /// A variable of one of the configuration's sections names no key.
    #[error(
        "{variable}: the configuration has no such key; `irqbroker serve --default-config` lists them"
    )]
    UnknownVariable {
        /// The variable.
        variable: String,
    },
    /// A flag names no key.
    #[error("{setting}: must be KEY=VALUE, as log.level=info")]
    NotASetting {
        /// What was given.
        setting: String,
    },
}

/// A key with a colon, or nothing.
struct Key<'a>(Option<&'a str>);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |key| write!(f, "{key}: "))
    }
}
