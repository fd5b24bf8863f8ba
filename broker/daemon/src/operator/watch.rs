//! `irqbroker watch`: what happens, one event a line.

use std::fmt;

use anyhow::bail;
use clap::Args;
use irqbroker_protocol::Done;
use irqbroker_protocol::Event;
use irqbroker_protocol::EventKind;
use irqbroker_protocol::Notice;
use irqbroker_protocol::Request;
use serde::Serialize;

use super::connect::ControlArgs;
use super::connect::ask;
use super::connect::told;
use super::printable;
use crate::output::Output;
use crate::output::Reader;

/// Options of `irqbroker watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// An event as a line.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(Event);

/// Prints events until the reader or the daemon is gone.
///
/// # Errors
///
/// No daemon answers, or it ends.
pub(crate) fn run(args: &WatchArgs, output: &Output) -> anyhow::Result<()> {
    let mut client = args.control.look()?;
    let Done {} = ask(&mut client, &Request::Watch)?;
    let mut left = args.count;
    while left != Some(0) {
        let notice = client.notice(None).map_err(told)?;
        match notice.map(|(notice, _fds)| notice) {
            Some(Notice::Event(event)) => {
                if output.print_line(&Line(event))? == Reader::Gone {
                    return Ok(());
                }
                left = left.map(|left| left - 1);
            }
            Some(Notice::Closing(closing)) => {
                bail!("{}: {}", closing.code, printable(&closing.text));
            }
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at_ms, kind, .. } = &self.0;
        write!(f, "{:>10}.{:03}  ", at_ms / 1000, at_ms % 1000)?;
        match kind {
            EventKind::Registered { link, side, name } => {
                writeln!(f, "link {link}: {side} {name} came")
            }
            EventKind::Unregistered { link, side, name } => {
                writeln!(f, "link {link}: {side} {name} left")
            }
            EventKind::Lingering { link, side, name } => {
                writeln!(f, "link {link}: {side} {name} waits for a hand-over")
            }
            EventKind::Delivery { link, from, to } => {
                let reason = printable(&to.reason.text);
                writeln!(f, "link {link}: {} -> {}, {reason}", from.state, to.state)
            }
            EventKind::Recovered { link } => {
                writeln!(
                    f,
                    "link {link}: a claim of an earlier run was delivered again"
                )
            }
            EventKind::Connected {
                session,
                uid,
                client,
            } => {
                let client = printable(client);
                writeln!(f, "session {session}: {client} of user {uid} connected")
            }
            EventKind::Disconnected { session } => writeln!(f, "session {session}: disconnected"),
            EventKind::Vgpu {
                uuid,
                state,
                reason,
            } => {
                write!(f, "vgpu {uuid}: {}", state_name(*state))?;
                match reason {
                    Some(reason) => writeln!(f, ", {}", printable(reason)),
                    None => writeln!(f),
                }
            }
            EventKind::Lagged { missed } => writeln!(f, "{missed} events were left out"),
            EventKind::Other => writeln!(f, "an event of a later version"),
        }
    }
}

/// As it stands on the wire.
pub(crate) fn state_name(state: irqbroker_protocol::VgpuState) -> &'static str {
    use irqbroker_protocol::VgpuState;
    match state {
        VgpuState::Starting => "starting",
        VgpuState::Running => "running",
        VgpuState::Stopped => "stopped",
        VgpuState::Destroyed => "destroyed",
        VgpuState::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use irqbroker_protocol::Delivery;
    use irqbroker_protocol::Reason;
    use irqbroker_protocol::ReasonCode;
    use irqbroker_protocol::State;

    fn line(kind: EventKind) -> String {
        let event = Event {
            sequence: 4,
            at_ms: 12_034,
            kind,
        };
        Line(event).to_string()
    }

    #[test]
    fn line_of_a_delivery_names_both_states_and_the_reason() {
        let delivery = |state, code, text: &str| Delivery {
            state,
            reason: Reason::new(code, text),
        };
        let from = delivery(State::Relay, ReasonCode::PromotionPending, "waits");
        let to = delivery(State::Bypass, ReasonCode::Best, "best path");
        let line = line(EventKind::Delivery { link: 3, from, to });
        assert_eq!(line, "        12.034  link 3: relay -> bypass, best path\n");
    }

    #[test]
    fn line_shows_no_control_characters_of_a_clients_name() {
        let line = line(EventKind::Connected {
            session: 1,
            uid: 0,
            client: "vmm\x1b]0;x\n".into(),
        });
        assert!(
            line.ends_with("session 1: vmm\\u{1b}]0;x\\n of user 0 connected\n"),
            "{line}"
        );
    }

    #[test]
    fn json_is_flat_with_the_event_by_name() {
        let event = Event {
            sequence: 4,
            at_ms: 1,
            kind: EventKind::Lagged { missed: 7 },
        };
        let json = serde_json::to_value(Line(event)).unwrap();
        assert_eq!(json["event"], "lagged");
        assert_eq!(json["missed"], 7);
    }
}
