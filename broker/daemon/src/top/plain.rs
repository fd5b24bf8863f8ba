//! The table where there is no terminal: one after the other.

use std::fmt;

use irqbroker_protocol::Status;
use serde::Serialize;

use super::model::COLUMNS;
use super::model::Row;
use super::model::Top;
use super::model::cells;
use crate::table::Align;
use crate::table::Table;

/// One look.
#[derive(Debug, Serialize)]
pub(super) struct Look<'a> {
    status: Option<&'a Status>,
    links: Vec<&'a Row>,
}

impl<'a> From<&'a Top> for Look<'a> {
    fn from(top: &'a Top) -> Self {
        Self {
            status: top.status.as_ref(),
            links: top.visible(),
        }
    }
}

impl fmt::Display for Look<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = ["id", "relayed/s", "relayed"];
        let columns = COLUMNS.map(|title| match numbers.contains(&title) {
            true => (title, Align::Right),
            false => (title, Align::Left),
        });
        let mut table = Table::new(&columns);
        for row in &self.links {
            table.row(cells(row).to_vec());
        }
        writeln!(f, "{table}")
    }
}
