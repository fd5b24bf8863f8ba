//! A producer's process: signals eventfds at a pace once they have consumers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::bail;
use irqbroker::Masking;
use irqbroker::ProducerInfo;
use irqbroker::Registry;
use irqbroker::client::ClientEvent;
use irqbroker::client::ClientOptions;
use irqbroker::client::ControlClient;
use irqbroker::client::Name;
use irqbroker::client::ProducerSpec;
use irqbroker::client::Scope;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

use super::args::ProduceArgs;
use super::args::rejection;
use super::pace::Arrivals;
use super::report::Produced;
use super::source::Source;
use crate::output::Output;

/// Where the process stands.
struct Run {
    client: ControlClient,
    sources: Vec<Arc<Source>>,
    paired: BTreeSet<Name>,
    connects: u64,
    /// Nothing if nobody is waited for.
    arrivals: Option<Arrivals>,
}

/// Produces what was asked for.
///
/// # Errors
///
/// No consumer came in time, or one does not take what is sent.
pub(super) fn run(args: &ProduceArgs, output: &Output) -> anyhow::Result<()> {
    let mut run = Run::new(args)?;
    let until = Instant::now() + args.common.timeout;
    while run.paired.len() < run.sources.len() {
        if Instant::now() >= until {
            if run.connects == 0 {
                bail!(args.common.no_daemon());
            }
            bail!(
                "{} of {} links have a consumer after {} s; start `irqbroker client consume`",
                run.paired.len(),
                run.sources.len(),
                args.common.timeout.as_secs()
            );
        }
        run.serve_until(until)?;
    }
    let (start, pace) = (Instant::now(), Duration::from_secs(1) / args.rate);
    let mut produced = 0;
    for round in 0..args.events {
        let due = start + pace * u32::try_from(round).unwrap_or(u32::MAX);
        while Instant::now() < due {
            run.serve_until(due)?;
        }
        run.sources.iter().for_each(|source| source.signal());
        produced += args.common.links;
        run.wait_delivered(round + 1, args.common.timeout)?;
    }
    output.print(&Produced {
        links: args.common.links,
        produced,
        connects: run.connects,
    })
}

impl Run {
    fn new(args: &ProduceArgs) -> anyhow::Result<Self> {
        let options = ClientOptions {
            scopes: vec![Scope::Producer],
            ..ClientOptions::new(&args.common.socket, "irqbroker client produce")
        };
        let mut client = ControlClient::new(options, Registry::new()?)?;
        let arrivals =
            match args.unpaced {
                true => None,
                false => Some(Arrivals::new(&args.common).with_context(|| {
                    format!("another process produces for {}", args.common.link)
                })?),
            };
        let mut sources = Vec::new();
        for index in 0..args.common.links {
            let source = Arc::new(Source::new()?);
            client.produce(ProducerSpec {
                name: args.common.side_name("producer", index)?,
                link: Some(args.common.link_name(index)?),
                event: source.token().clone(),
                info: ProducerInfo {
                    masking: Masking::InProcess,
                    ..ProducerInfo::edge()
                },
                redirect: Some(Arc::clone(&source) as _),
            })?;
            sources.push(source);
        }
        Ok(Self {
            client,
            sources,
            paired: BTreeSet::new(),
            connects: 0,
            arrivals,
        })
    }

    /// Waits until each link has delivered so many events.
    fn wait_delivered(&mut self, events: u64, limit: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        while let Some(arrivals) = &mut self.arrivals {
            let delivered = arrivals.delivered();
            if delivered >= events {
                break;
            }
            if Instant::now() >= until {
                bail!(
                    "event {events} of a link has not arrived after {} s; `client consume` tells of {delivered}",
                    limit.as_secs()
                );
            }
            self.serve_until(until)?;
        }
        Ok(())
    }

    /// Serves the client until something came, or until `until`.
    fn serve_until(&mut self, until: Instant) -> anyhow::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left)?;
        let arrivals = self.arrivals.iter().map(Arrivals::poll_fd);
        let fds = arrivals.chain([self.client.poll_fd()]);
        let mut fds: Vec<_> = fds
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match rustix::event::poll(&mut fds, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => self.client.service(),
            Err(error) => return Err(error.into()),
        }
        for event in self.client.take_events() {
            match event {
                ClientEvent::Connected { .. } => self.connects += 1,
                ClientEvent::Paired {
                    name,
                    partner: Some(_),
                    ..
                } => drop(self.paired.insert(name)),
                ClientEvent::Rejected { error } => {
                    if let Some(rejection) = rejection(&error) {
                        bail!(rejection);
                    }
                }
                ClientEvent::Refused { name, error, .. } => bail!("{name}: {error}"),
                _ => {}
            }
        }
        Ok(())
    }
}
