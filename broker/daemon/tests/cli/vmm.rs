//! A VMM in a process of its own: the built-in guest, whose interrupts come through the daemon.
//!
//! The test's program started with [`SOCKET`] in its environment. It answers each line of its
//! standard input with what the guest has had, and ends with it.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use irqbroker::Consumer;
use irqbroker::Gsi;
use irqbroker::MsiMessage;
use irqbroker::Registry;
use irqbroker::Wait;
use irqbroker::client::ClientEvent;
use irqbroker::client::ClientOptions;
use irqbroker::client::ConsumerSpec;
use irqbroker::client::ControlClient;
use irqbroker::kvm::DestinationIds;
use irqbroker::kvm::EmbedderRoutes;
use irqbroker::kvm::VmDomain;
use irqbroker::kvm::VmIrqFd;
use irqbroker_guest::GuestVector;
use irqbroker_guest::GuestVm;
use irqbroker_guest::RunOptions;
use irqbroker_guest::RunningGuest;
use irqbroker_guest::Trigger;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::serve_rig::name;

/// Names the daemon's socket, and makes this program the VMM.
const SOCKET: &str = "IRQBROKER_STORY_VMM";

/// What its guest takes.
const TAKES: &str = "IRQBROKER_STORY_VMM_TAKES";

/// A pin above those that lead to the PIC too, and what the guest has programmed it with.
const PIN: u8 = 20;
const PIN_VECTOR: u8 = 0xe0;

/// What the guest takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// A level line, of the link `line`.
    Level,
    /// So many messages, of the links `msi.0` and so on.
    Messages(usize),
}

impl Takes {
    /// Its links.
    pub(crate) fn links(self) -> Vec<String> {
        match self {
            Self::Level => vec!["line".to_owned()],
            Self::Messages(count) => (0..count).map(|index| format!("msi.{index}")).collect(),
        }
    }
}

/// What the VMM says of its links, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Interrupts the guest has taken.
    pub(crate) delivered: Vec<u64>,
    /// Whether the link is bound to the producer's own eventfd.
    pub(crate) bound: Vec<bool>,
    /// Daemons that have answered.
    pub(crate) connects: u64,
}

impl Seen {
    /// Whether every link has had this many.
    pub(crate) fn all_delivered(&self, count: u64) -> bool {
        self.delivered.iter().all(|&delivered| delivered == count)
    }

    pub(crate) fn all_bound(&self) -> bool {
        self.bound.iter().all(|&bound| bound)
    }
}

/// The VMM's process; it ends with the story.
pub(crate) struct Vmm {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Vmm {
    pub(crate) fn start(socket: &str, takes: Takes) -> anyhow::Result<Self> {
        let messages = match takes {
            Takes::Level => 0,
            Takes::Messages(count) => count,
        };
        let mut process = Command::new(std::env::current_exe()?)
            .env(SOCKET, socket)
            .env(TAKES, messages.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let asks = process.stdin.take().context("no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("no stdout")?);
        Ok(Self {
            process,
            asks,
            answers,
        })
    }

    pub(crate) fn look(&mut self) -> anyhow::Result<Seen> {
        self.asks.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the vmm has ended")
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        // It may have ended already; then there is nobody to kill.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

/// Is the VMM, if this process is to be it.
pub(crate) fn in_this_process() -> Option<ExitCode> {
    let socket = std::env::var(SOCKET).ok()?;
    Some(match run(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vmm: {error:#}");
            ExitCode::FAILURE
        }
    })
}

type Consumers = Vec<(GuestVector, Arc<dyn Consumer>)>;

/// A running guest, and what it takes.
fn boot(takes: Takes) -> anyhow::Result<(RunningGuest, Consumers)> {
    let guest = GuestVm::builder().build()?;
    let line = GuestVector::new(PIN_VECTOR).context("no handler")?;
    guest.route_pin(PIN, line, Trigger::Level)?;
    let guest = guest.run(RunOptions::default())?;
    let irqs = Arc::new(VmIrqFd::new(guest.vm()));
    let domain = VmDomain::new(irqs, EmbedderRoutes::pc_pins(), DestinationIds::Bits8)?;
    let mut consumers: Consumers = Vec::new();
    match takes {
        Takes::Level => consumers.push((line, domain.pin("line", Gsi(PIN.into()))?)),
        Takes::Messages(count) => {
            for vector in GuestVector::all().take(count) {
                let message = MsiMessage {
                    address: vector.msi_address(),
                    data: vector.msi_data(),
                };
                consumers.push((vector, domain.msi("msi", message, None)?));
            }
        }
    }
    Ok((guest, consumers))
}

fn run(socket: &str) -> anyhow::Result<()> {
    let takes = match std::env::var(TAKES)?.parse()? {
        0 => Takes::Level,
        messages => Takes::Messages(messages),
    };
    let (guest, consumers) = boot(takes)?;
    let registry = Registry::new()?;
    let mut client = ControlClient::new(ClientOptions::new(socket, "vmm"), registry.clone())?;
    let mut links = Vec::new();
    for (link, (vector, consumer)) in takes.links().iter().zip(consumers) {
        let consumer_name = name(&format!("{link}.c"))?;
        let spec = ConsumerSpec {
            name: consumer_name.clone(),
            link: Some(name(link)?),
            event: None,
        };
        client.consume(spec, consumer)?;
        links.push((consumer_name, vector));
    }
    let mut connects = 0;
    let mut input = std::io::stdin().lock();
    loop {
        let mut fds = [
            PollFd::new(&input, PollFlags::IN),
            PollFd::from_borrowed_fd(client.poll_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(registry.poll_fd(), PollFlags::IN),
        ];
        rustix::event::poll(&mut fds, None)?;
        let asked = !fds[0].revents().is_empty();
        client.service();
        registry.service(Wait::No)?;
        let connected = |event: &ClientEvent| matches!(event, ClientEvent::Connected { .. });
        connects += client
            .take_events()
            .filter(connected)
            .map(|_| 1)
            .sum::<u64>();
        if !asked {
            continue;
        }
        // Never more than one byte waits: the next comes after the answer.
        if input.read(&mut [0])? == 0 {
            return Ok(guest.stop()?);
        }
        let counters = guest.counters();
        let bound = links.iter().map(|(name, _)| Ok(client.delivery(name)?.1));
        let seen = Seen {
            delivered: links
                .iter()
                .map(|&(_, vector)| counters.delivered(vector))
                .collect(),
            bound: bound.collect::<anyhow::Result<_>>()?,
            connects,
        };
        println!("{}", serde_json::to_string(&seen)?);
    }
}
