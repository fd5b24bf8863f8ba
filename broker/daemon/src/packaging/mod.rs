//! What packagers install beside the command, made from its own definition.

mod completions;
mod man;

pub(crate) use completions::CompletionsArgs;
pub(crate) use completions::run as completions;
pub(crate) use man::ManArgs;
pub(crate) use man::run as man;
