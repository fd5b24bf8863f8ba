//! Entry points for fuzzing, one for each folder of `fuzz/corpus`.

mod accesses;
mod input;
mod saved_state;
#[cfg(test)]
mod tests;

pub use accesses::config_space;
pub use accesses::msix_table;
pub use saved_state::saved_state;
