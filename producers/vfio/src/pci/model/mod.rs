//! A function's interrupts once more, written for clarity and independent of the real one.
//!
//! Registers are plain bytes, pending bits are kept inside, and after each access whatever can
//! be delivered is. It is the oracle of the property tests. With a [`Fault`] it has a bug that
//! some VMM has or had, which at least one trace must find.

mod fault;
mod function;
mod registers;
mod target;

pub(super) use fault::Fault;
pub(super) use function::Model;
