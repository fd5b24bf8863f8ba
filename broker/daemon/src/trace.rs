//! Tracing output on stderr, only where the user asked for details.

use std::io;

use tracing_subscriber::EnvFilter;

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
