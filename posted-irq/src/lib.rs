//! MSI formats, posted-interrupt descriptors and interrupt remapping.
//!
//! No I/O and no `unsafe`: everything here is layouts and decisions.
#![forbid(unsafe_code)]
