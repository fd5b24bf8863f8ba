//! What the command line can say of the configuration.

use std::path::PathBuf;

use clap::Args;

/// Flags that go over everything else.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration; /etc/irqbroker/irqbroker.toml is read if it is there and nothing is given
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The control socket's file (control.socket)
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Where metrics are served: off, unix:PATH or 127.0.0.1:PORT (metrics.listen)
    #[arg(long, value_name = "WHERE")]
    pub(crate) metrics: Option<String>,
    /// Any key of the configuration, as often as there are keys
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

impl ConfigArgs {
    /// Each flag that was given: how it was written, its key and its value. A path is of this process's folder.
    pub(super) fn given(&self) -> Vec<(&'static str, &'static str, String)> {
        let socket = self.socket.as_ref().map(|path| {
            let absolute = std::path::absolute(path);
            absolute.unwrap_or(path.clone()).display().to_string()
        });
        let own = [
            ("--socket", "control.socket", socket),
            ("--metrics", "metrics.listen", self.metrics.clone()),
        ];
        own.into_iter()
            .filter_map(|(flag, key, value)| Some((flag, key, value?)))
            .collect()
    }
}
