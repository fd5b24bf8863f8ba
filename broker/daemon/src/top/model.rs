//! What the table shows, and what keys do to it, without a terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use irqbroker_protocol::LinkRow;
use irqbroker_protocol::State;
use irqbroker_protocol::Status;
use serde::Serialize;

use super::key::Key;
use super::sort::Sort;
use crate::operator::printable;
use crate::operator::side;

/// Rows a page key moves by.
const PAGE: usize = 10;
/// Characters a filter may have.
const FILTER_LIMIT: usize = 64;

/// A link and how fast it is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) link: LinkRow,
    /// Interrupts the daemon relayed a second, since the last look.
    pub(super) rate: f64,
}

/// Which way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// As the column says.
    Natural,
    /// The other way.
    Reversed,
}

/// Whether keys are commands or text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Commands.
    Browsing,
    /// Text of the filter.
    Filtering,
}

/// What to do after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    Stay,
    /// End.
    Leave,
}

/// What is shown, and how.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) status: Option<Status>,
    rows: Vec<Row>,
    /// Relayed by each link at the last look, and when that was.
    before: BTreeMap<u64, u64>,
    looked_at: Option<Duration>,
    pub(super) sort: Sort,
    pub(super) direction: Direction,
    pub(super) filter: String,
    pub(super) mode: Mode,
    /// Rows above the first one shown.
    pub(super) scrolled: usize,
}

impl Top {
    pub(super) fn new(sort: Sort, filter: String) -> Self {
        Self {
            status: None,
            rows: Vec::new(),
            before: BTreeMap::new(),
            looked_at: None,
            sort,
            direction: Direction::Natural,
            filter,
            mode: Mode::Browsing,
            scrolled: 0,
        }
    }

    /// Takes over a look at the daemon, `at` a time that only grows.
    pub(super) fn look(&mut self, at: Duration, status: Status, links: Vec<LinkRow>) {
        // Another run counts from 0, and its numbers are of other links.
        if self
            .status
            .as_ref()
            .is_some_and(|before| before.run != status.run)
        {
            self.before.clear();
        }
        let elapsed = self
            .looked_at
            .map(|before| at.saturating_sub(before).as_secs_f64());
        let rate = |link: &LinkRow| match (self.before.get(&link.id), elapsed) {
            (Some(&before), Some(elapsed)) if elapsed > 0.0 => {
                as_float(link.events.saturating_sub(before)) / elapsed
            }
            _ => 0.0,
        };
        self.rows = links
            .into_iter()
            .map(|link| Row {
                rate: rate(&link),
                link,
            })
            .collect();
        self.before = self
            .rows
            .iter()
            .map(|row| (row.link.id, row.link.events))
            .collect();
        self.looked_at = Some(at);
        self.status = Some(status);
        self.clamp();
    }

    /// The rows to show, in order, from the first on; scrolling is left to the view.
    pub(super) fn visible(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| self.admits(row)).collect();
        rows.sort_by(|a, b| self.sort.compare(a, b));
        if self.direction == Direction::Reversed {
            rows.reverse();
        }
        rows
    }

    /// All links there are, shown or not.
    pub(super) fn total(&self) -> usize {
        self.rows.len()
    }

    fn admits(&self, row: &Row) -> bool {
        let wanted = self.filter.to_lowercase();
        let link = &row.link;
        let texts = [
            side(link.producer.as_ref()),
            side(link.consumer.as_ref()),
            link.link.as_ref().map_or("", |name| name.as_str()),
            link.state.as_str(),
            &link.reason,
        ];
        texts
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    }

    /// Does what a key asks for.
    pub(super) fn press(&mut self, key: Key) -> Next {
        match (self.mode, key) {
            (_, Key::Quit) | (Mode::Browsing, Key::Character('q')) => return Next::Leave,
            (Mode::Browsing, Key::Character('s')) => self.sort = self.sort.next(),
            (Mode::Browsing, Key::Character('r')) => {
                self.direction = match self.direction {
                    Direction::Natural => Direction::Reversed,
                    Direction::Reversed => Direction::Natural,
                }
            }
            (Mode::Browsing, Key::Character('/')) => self.mode = Mode::Filtering,
            (Mode::Browsing, Key::Escape) => self.filter.clear(),
            (Mode::Filtering, Key::Character(character)) => {
                if self.filter.chars().count() < FILTER_LIMIT {
                    self.filter.push(character);
                }
            }
            (Mode::Filtering, Key::Backspace) => drop(self.filter.pop()),
            (Mode::Filtering, Key::Enter) => self.mode = Mode::Browsing,
            (Mode::Filtering, Key::Escape) => {
                self.filter.clear();
                self.mode = Mode::Browsing;
            }
            (_, Key::Up) => self.scrolled = self.scrolled.saturating_sub(1),
            (_, Key::Down) => self.scrolled += 1,
            (_, Key::PageUp) => self.scrolled = self.scrolled.saturating_sub(PAGE),
            (_, Key::PageDown) => self.scrolled += PAGE,
            (Mode::Browsing, _) => {}
        }
        self.clamp();
        Next::Stay
    }

    /// The last row cannot be scrolled away.
    fn clamp(&mut self) {
        let last = self.visible().len().saturating_sub(1);
        self.scrolled = self.scrolled.min(last);
    }
}

/// The titles of the columns.
pub(super) const COLUMNS: [&str; 7] = [
    "id",
    "producer",
    "consumer",
    "state",
    "relayed/s",
    "relayed",
    "reason",
];

/// A row's cells, in the order of [`COLUMNS`].
pub(super) fn cells(row: &Row) -> [String; 7] {
    let link = &row.link;
    let rate = match link.state {
        // The kernel delivers, and tells nobody how often.
        State::Bypass | State::Posted => "-".to_owned(),
        _ => format!("{:.1}", row.rate),
    };
    [
        link.id.to_string(),
        side(link.producer.as_ref()).to_owned(),
        side(link.consumer.as_ref()).to_owned(),
        link.state.to_string(),
        rate,
        link.events.to_string(),
        printable(&link.reason).into_owned(),
    ]
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate of more than 2^53 is none"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests;
