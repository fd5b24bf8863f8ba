//! The daemon's configuration: what there is to say, where it is said, what a reload may change.
//!
//! Flags win over the environment, that over the file, that over the defaults. `default.toml` is the
//! operator's copy of the defaults; a test holds it to the code.

mod access;
mod args;
mod check;
mod error;
mod key;
mod layer;
mod load;
mod locate;
mod reload;
mod schema;
mod values;

pub(crate) use access::Allow;
pub(crate) use args::ConfigArgs;
pub(crate) use check::CheckReport;
pub(crate) use load::FILE;
pub(crate) use load::Loaded;
pub(crate) use load::load;
pub(crate) use reload::ReloadError;
pub(crate) use reload::reload;
pub(crate) use schema::Config;
pub(crate) use schema::Sandbox;
pub(crate) use schema::Vgpu;
pub(crate) use values::Landlock;
pub(crate) use values::LogLevel;
pub(crate) use values::MetricsAddress;
pub(crate) use values::SOCKET;
pub(crate) use values::Seccomp;
pub(crate) use values::Violation;

/// The commented defaults, as an operator gets them.
pub(crate) const DEFAULT_FILE: &str = include_str!("default.toml");

#[cfg(test)]
mod tests;
