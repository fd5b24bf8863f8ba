//! `irqbroker top`: the links as they live, with rates; to sort, to filter, to leave.
//!
//! What is shown is computed by [`model`], which knows no terminal; [`view`] draws it.

mod args;
mod key;
mod model;
mod plain;
mod run;
mod sort;
mod view;

pub(crate) use args::TopArgs;
pub(crate) use run::run;
