//! Aligned tables for people: a title line, a rule, rows.

use std::fmt;

/// On which side a column's cells are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table that prints itself with each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that are missing stay empty, ones too many are not shown.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn widths(&self) -> Vec<usize> {
        let of_column = |index: usize, title: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells
                .map(|cell| cell.chars().count())
                .chain([title.chars().count()])
                .max()
        };
        self.columns
            .iter()
            .enumerate()
            .map(|(index, (title, _))| of_column(index, title).unwrap_or(0))
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let titles: Vec<&str> = self.columns.iter().map(|(title, _)| *title).collect();
        let line = |cells: &[&str]| {
            let padded: Vec<String> = self
                .columns
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(index, ((_, align), width))| {
                    let cell = cells.get(index).copied().unwrap_or_default();
                    match align {
                        Align::Left => format!("{cell:<width$}"),
                        Align::Right => format!("{cell:>width$}"),
                    }
                })
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        writeln!(f, "{}", line(&titles))?;
        let gaps = 2 * widths.len().saturating_sub(1);
        writeln!(f, "{}", "─".repeat(widths.iter().sum::<usize>() + gaps))?;
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            writeln!(f, "{}", line(&cells))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_pads_text_on_the_right_and_numbers_on_the_left() {
        let mut table = Table::new(&[("path", Align::Left), ("µs", Align::Right)]);
        table.row(vec!["relay".to_owned(), "10.500".to_owned()]);
        table.row(vec!["bypass".to_owned(), "4.000".to_owned()]);
        assert_eq!(
            table.to_string(),
            "path        µs\n──────────────\nrelay   10.500\nbypass   4.000\n"
        );
    }

    #[test]
    fn display_of_a_short_row_leaves_the_rest_empty() {
        let mut table = Table::new(&[("a", Align::Left), ("b", Align::Left)]);
        table.row(vec!["1".to_owned()]);
        assert_eq!(table.to_string(), "a  b\n────\n1\n");
    }
}
