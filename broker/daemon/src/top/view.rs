//! Draws the model.

use irqbroker_protocol::State;
use irqbroker_protocol::Status;
use ratatui::Frame;
use ratatui::layout::Constraint;
use ratatui::layout::Layout;
use ratatui::style::Color;
use ratatui::style::Modifier;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Row as TableRow;
use ratatui::widgets::Table;

use super::model::COLUMNS;
use super::model::Direction;
use super::model::Mode;
use super::model::Row;
use super::model::Top;
use super::model::cells;

/// Draws a whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let [header, table, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let lines = top.status.as_ref().map_or(vec![], summary);
    frame.render_widget(ratatui::widgets::Paragraph::new(lines), header);
    frame.render_widget(links(top, usize::from(table.height)), table);
    frame.render_widget(Line::from(prompt(top)).style(Modifier::DIM), footer);
}

fn summary(status: &Status) -> Vec<Line<'static>> {
    let links = status.links;
    vec![
        Line::from(format!(
            "{}  pid {}  {} connections  {} relayed",
            status.daemon, status.pid, status.connections, status.relayed
        )),
        Line::from(format!(
            "{} bypass  {} posted  {} relay  {} masked  {} unmatched",
            links.bypass, links.posted, links.relay, links.masked, links.unmatched
        )),
    ]
}

fn links(top: &Top, height: usize) -> Table<'static> {
    let shown = top.visible();
    let shown = shown.into_iter().skip(top.scrolled).take(height);
    let widths = [
        Constraint::Length(8),
        Constraint::Length(24),
        Constraint::Length(24),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    let header = TableRow::new(COLUMNS).style(Modifier::REVERSED);
    Table::new(shown.map(line), widths).header(header)
}

fn line(row: &Row) -> TableRow<'static> {
    let color = match row.link.state {
        State::Bypass | State::Posted => Color::Green,
        State::Relay => Color::Yellow,
        State::Masked | State::Unmatched | State::Other => Color::DarkGray,
    };
    TableRow::new(cells(row)).style(Style::new().fg(color))
}

fn prompt(top: &Top) -> String {
    let order = match top.direction {
        Direction::Natural => "",
        Direction::Reversed => " reversed",
    };
    let shown = top.visible().len();
    match top.mode {
        Mode::Filtering => format!("/{}_", top.filter),
        Mode::Browsing => format!(
            "{shown} of {} links by {}{order}{}  s sort  r reverse  / filter  q quit",
            top.total(),
            top.sort.name(),
            match top.filter.as_str() {
                "" => String::new(),
                filter => format!(" with \"{filter}\""),
            }
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::metrics::status;
    use crate::top::key::Key;
    use crate::top::model::tests::link;
    use crate::top::sort::Sort;

    /// What a terminal of this size shows, a string a line.
    fn screen(top: &Top, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, top)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
        let lines = cells.chunks(usize::from(width));
        lines
            .map(|line| line.concat().trim_end().to_owned())
            .collect()
    }

    fn top(links: u64) -> Top {
        let mut top = Top::new(Sort::Id, String::new());
        let rows = |events| {
            let row = move |id| link(id, &format!("dev{id}"), State::Relay, events);
            (1..=links).map(row).collect()
        };
        top.look(Duration::from_secs(1), status(), rows(10));
        top.look(Duration::from_secs(2), status(), rows(35));
        top
    }

    #[test]
    fn screen_shows_summary_titles_rows_and_keys() {
        let lines = screen(&top(2), 120, 8);
        assert_eq!(lines[0], "irqbroker 0.1.0  pid 1  3 connections  8 relayed");
        assert_eq!(
            lines[1],
            "0 bypass  0 posted  6 relay  0 masked  0 unmatched"
        );
        let titles: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(titles, COLUMNS);
        let cells: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "1",
                "dev1",
                "guest",
                "relay",
                "25.0",
                "35",
                "relay",
                "requested"
            ]
        );
        assert_eq!(
            lines[7],
            "2 of 2 links by id  s sort  r reverse  / filter  q quit"
        );
    }

    #[test]
    fn screen_with_more_rows_than_fit_begins_where_it_was_scrolled_to() {
        let mut top = top(50);
        for _ in 0..20 {
            top.press(Key::Down);
        }
        let lines = screen(&top, 80, 8);
        assert!(lines[3].starts_with("21 "), "{lines:?}");
        assert!(lines[6].starts_with("24 "), "{lines:?}");
    }

    #[test]
    fn screen_shows_the_filter_while_it_is_typed() {
        let mut top = top(3);
        for character in "/dev2".chars() {
            top.press(Key::Character(character));
        }
        let lines = screen(&top, 80, 8);
        assert_eq!(lines[7], "/dev2_");
        assert!(lines[3].starts_with("2 "), "{lines:?}");
        assert_eq!(lines[4], "");
    }

    #[test]
    fn screen_too_small_for_anything_is_drawn_without_a_panic() {
        for (width, height) in [(1, 1), (3, 2), (200, 1), (1, 50)] {
            let _lines = screen(&top(3), width, height);
        }
    }
}
