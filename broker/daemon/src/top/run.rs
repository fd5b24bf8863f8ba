//! Looks at the daemon, again and again.

use std::io::IsTerminal;
use std::time::Duration;
use std::time::Instant;

use irqbroker_protocol::Client;
use irqbroker_protocol::Request;
use ratatui::crossterm::event;
use ratatui::crossterm::event::Event;

use super::args::TopArgs;
use super::key::Key;
use super::model::Next;
use super::model::Top;
use super::plain::Look;
use super::view;
use crate::operator::ask;
use crate::operator::told;
use crate::output::Format;
use crate::output::Output;
use crate::output::Reader;

/// Shows the links until the user has seen enough.
///
/// # Errors
///
/// No daemon answers, it ends, or the terminal fails.
pub(crate) fn run(args: &TopArgs, output: &Output) -> anyhow::Result<()> {
    let mut source = Source {
        client: args.control.look()?,
        begun: Instant::now(),
    };
    let mut top = Top::new(args.sort, args.filter.clone());
    let interval = Duration::from_secs_f64(args.interval);
    source.look(&mut top)?;
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    match output.format() {
        Format::Human if terminal && args.count.is_none() => {
            ratatui::run(|screen| interactive(screen, &mut source, &mut top, interval))
        }
        Format::Human => repeated(&mut source, &mut top, interval, args.count, output),
        Format::Json => {
            let count = args.count.or(Some(1));
            repeated(&mut source, &mut top, interval, count, output)
        }
    }
}

struct Source {
    client: Client,
    begun: Instant,
}

impl Source {
    fn look(&mut self, top: &mut Top) -> anyhow::Result<()> {
        let status = ask(&mut self.client, &Request::Status)?;
        let links = self.client.links().map_err(told)?;
        top.look(self.begun.elapsed(), status, links);
        Ok(())
    }
}

fn interactive(
    screen: &mut ratatui::DefaultTerminal,
    source: &mut Source,
    top: &mut Top,
    interval: Duration,
) -> anyhow::Result<()> {
    let mut due = Instant::now() + interval;
    loop {
        screen.draw(|frame| view::draw(frame, top))?;
        if event::poll(due.saturating_duration_since(Instant::now()))? {
            if let Event::Key(pressed) = event::read()?
                && let Some(key) = Key::of(pressed)
                && top.press(key) == Next::Leave
            {
                return Ok(());
            }
        } else {
            source.look(top)?;
            due = Instant::now() + interval;
        }
    }
}

/// A rate needs two looks: the first table comes an interval after the start.
fn repeated(
    source: &mut Source,
    top: &mut Top,
    interval: Duration,
    count: Option<u64>,
    output: &Output,
) -> anyhow::Result<()> {
    let mut left = count;
    while left != Some(0) {
        std::thread::sleep(interval);
        source.look(top)?;
        if output.print_line(&Look::from(&*top))? == Reader::Gone {
            return Ok(());
        }
        left = left.map(|left| left - 1);
    }
    Ok(())
}
