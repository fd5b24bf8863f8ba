//! What `irqbroker serve --check` says of a configuration that holds.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::load::Loaded;
use super::schema::Config;

/// The report of `irqbroker serve --check`.
#[derive(Debug, Serialize)]
pub(crate) struct CheckReport {
    file: Option<PathBuf>,
    settings: Vec<String>,
    config: Config,
}

impl From<Loaded> for CheckReport {
    fn from(loaded: Loaded) -> Self {
        Self {
            file: loaded.file,
            settings: loaded.settings,
            config: loaded.config,
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => writeln!(f, "# {} holds", file.display())?,
            None => writeln!(f, "# no file; the defaults hold")?,
        }
        for setting in &self.settings {
            writeln!(f, "# set by {setting}")?;
        }
        let text = toml::to_string(&self.config).map_err(|_| fmt::Error)?;
        writeln!(f, "\n{}", text.trim_end())
    }
}
