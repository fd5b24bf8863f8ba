//! What an operator asks of a running daemon: status, links, explain, set-path, watch, metrics.

mod connect;
mod explain;
mod links;
mod metrics;
mod printable;
mod set_path;
mod status;
mod watch;

pub(crate) use connect::ControlArgs;
pub(crate) use connect::ask;
pub(crate) use connect::told;
pub(crate) use explain::ExplainArgs;
pub(crate) use explain::run as explain;
pub(crate) use links::LinksArgs;
pub(crate) use links::run as links;
pub(crate) use links::side;
pub(crate) use metrics::MetricsArgs;
pub(crate) use metrics::run as metrics;
pub(crate) use printable::printable;
pub(crate) use set_path::SetPathArgs;
pub(crate) use set_path::run as set_path;
pub(crate) use status::StatusArgs;
pub(crate) use status::run as status;
pub(crate) use watch::WatchArgs;
pub(crate) use watch::run as watch;
pub(crate) use watch::state_name;
