//! The orders of the table.

use std::cmp::Ordering;

use super::model::Row;
use crate::operator::side;

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sort {
    /// Relayed interrupts a second, most first.
    Rate,
    /// Relayed interrupts, most first.
    Relayed,
    /// The producer's name.
    Producer,
    /// The delivery state, the slowest first.
    State,
    /// The link's number.
    Id,
}

impl Sort {
    /// The next one, round and round.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Relayed,
            Self::Relayed => Self::Producer,
            Self::Producer => Self::State,
            Self::State => Self::Id,
            Self::Id => Self::Rate,
        }
    }

    /// The column's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Relayed => "relayed",
            Self::Producer => "producer",
            Self::State => "state",
            Self::Id => "id",
        }
    }

    /// How two rows stand; equal ones by their numbers, so that a table does not flicker.
    pub(super) fn compare(self, a: &Row, b: &Row) -> Ordering {
        let by_column = match self {
            Self::Rate => b.rate.total_cmp(&a.rate),
            Self::Relayed => b.link.events.cmp(&a.link.events),
            Self::Producer => side(a.link.producer.as_ref()).cmp(side(b.link.producer.as_ref())),
            Self::State => slowness(a).cmp(&slowness(b)),
            Self::Id => Ordering::Equal,
        };
        by_column.then(a.link.id.cmp(&b.link.id))
    }
}

fn slowness(row: &Row) -> u8 {
    use irqbroker_protocol::State;
    match row.link.state {
        State::Unmatched => 0,
        State::Masked => 1,
        State::Relay => 2,
        State::Posted => 3,
        State::Bypass => 4,
        State::Other => 5,
    }
}
