//! `irqbroker links`: which interrupt takes which path, and why not a better one.

use std::fmt;

use clap::Args;
use irqbroker_protocol::LinkRow;
use irqbroker_protocol::Name;
use irqbroker_protocol::State;
use serde::Serialize;

use super::connect::ControlArgs;
use super::connect::told;
use super::printable;
use crate::output::Output;
use crate::table::Align;
use crate::table::Table;

/// What `--state` may be.
const STATES: [&str; 5] = [
    State::Unmatched.as_str(),
    State::Masked.as_str(),
    State::Relay.as_str(),
    State::Bypass.as_str(),
    State::Posted.as_str(),
];

/// Options of `irqbroker links`.
#[derive(Debug, Args)]
pub(crate) struct LinksArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Only links in this state: unmatched, masked, relay, bypass or posted
    #[arg(long, value_name = "STATE", hide_possible_values = true, value_parser = STATES)]
    state: Option<String>,
}

/// The report of `irqbroker links`.
#[derive(Debug, Serialize)]
struct LinksReport {
    links: Vec<LinkRow>,
}

/// Asks and prints.
///
/// # Errors
///
/// No daemon answers, or it refuses.
pub(crate) fn run(args: &LinksArgs, output: &Output) -> anyhow::Result<()> {
    let mut links = args.control.look()?.links().map_err(told)?;
    if let Some(state) = &args.state {
        links.retain(|row| row.state.as_str() == state);
    }
    output.print(&LinksReport { links })
}

/// A side's name, or a dash.
pub(crate) fn side(name: Option<&Name>) -> &str {
    name.map_or("-", Name::as_str)
}

impl fmt::Display for LinksReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            ("id", Align::Right),
            ("producer", Align::Left),
            ("consumer", Align::Left),
            ("state", Align::Left),
            ("relayed", Align::Right),
            ("route", Align::Left),
            ("reason", Align::Left),
        ]);
        for row in &self.links {
            table.row(vec![
                row.id.to_string(),
                side(row.producer.as_ref()).to_owned(),
                side(row.consumer.as_ref()).to_owned(),
                row.state.to_string(),
                row.events.to_string(),
                row.route.map_or("-".to_owned(), |route| route.to_string()),
                printable(&row.reason).into_owned(),
            ]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use irqbroker_protocol::PathPolicy;
    use irqbroker_protocol::ReasonCode;
    use irqbroker_protocol::Route;

    fn row() -> LinkRow {
        LinkRow {
            id: 3,
            link: None,
            token: 41,
            producer: Name::new("vgpu0.head0").ok(),
            consumer: None,
            state: State::Unmatched,
            reason: "no\x1b consumer".into(),
            reason_code: ReasonCode::NoConsumer,
            route: Some(Route::Pin { gsi: 9 }),
            events: 5,
            path: PathPolicy::Auto,
        }
    }

    #[test]
    fn json_has_every_key_scripts_rely_on() {
        let report = LinksReport { links: vec![row()] };
        let json = serde_json::to_value(&report).unwrap();
        let keys = [
            "id", "token", "producer", "consumer", "state", "reason", "route", "events",
        ];
        for key in keys {
            assert!(json["links"][0].get(key).is_some(), "no {key} in {json}");
        }
    }

    #[test]
    fn table_shows_a_missing_side_as_a_dash_and_no_control_characters() {
        let text = LinksReport { links: vec![row()] }.to_string();
        let line = text.lines().nth(2).unwrap();
        let words: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(
            words,
            [
                "3",
                "vgpu0.head0",
                "-",
                "unmatched",
                "5",
                "pin 9",
                "no\\u{1b} consumer"
            ]
        );
    }
}
