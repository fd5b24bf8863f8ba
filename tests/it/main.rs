//! Stories across the crates.
fn main() {}
