//! Tracing output on stderr: where the user asked for details, and what a daemon logs.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogLevel;
use crate::failure::Detail;

/// Shows what the libraries trace: everything at debug, or what `RUST_LOG` selects.
pub(crate) fn install(detail: Detail) {
    if detail == Detail::Outermost {
        return;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("debug"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// Changes what a daemon logs.
#[derive(Debug)]
pub(crate) struct LogLevelHandle(reload::Handle<LevelFilter, Registry>);

impl LogLevelHandle {
    /// From this level on.
    pub(crate) fn set(&self, level: LogLevel) {
        // The subscriber lives as long as the process.
        let _unchanged = self.0.reload(filter(level));
    }
}

/// Shows what a daemon and its libraries trace, without colours and, for the journal, without the time.
pub(crate) fn install_daemon(level: LogLevel) -> LogLevelHandle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_writer(io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    // Where everything is shown already it stays so.
    let _shown = subscriber.try_init();
    LogLevelHandle(handle)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
