//! The daemon as a service: configured, confined, supervised; [`serve`](crate::serve) is its loop.

mod activation;
mod args;
mod hosting;
mod notify;
mod options;
mod reload;
mod run;
mod scrape;

pub(crate) use args::ServeArgs;
pub(crate) use run::run;
