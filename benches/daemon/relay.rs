//! One interrupt after the other, through the barest relay and through the daemon's.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use irqbroker_protocol::Client;
use irqbroker_protocol::Connection;
use irqbroker_protocol::Hello;
use irqbroker_protocol::Name;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::epoll;
use serde_json::json;

use crate::median::median;

/// Forwards from the first fd of the first packet to the second, until it is killed.
pub(super) fn forward() -> anyhow::Result<()> {
    let mut connection = Connection::new(std::io::stdin().as_fd().try_clone_to_owned()?);
    let fds = connection.receive()?.fds;
    let [source, sink] =
        <[OwnedFd; 2]>::try_from(fds).map_err(|fds| anyhow::anyhow!("{} fds", fds.len()))?;
    connection.send(b"{}", &[])?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, &source, epoll::EventData::new_u64(0), interest)?;
    let mut count = [0u8; 8];
    loop {
        let mut one = [MaybeUninit::uninit()];
        epoll::wait(&set, &mut one, None)?;
        rustix::io::read(&source, &mut count)?;
        rustix::io::write(&sink, &1u64.to_ne_bytes())?;
    }
}

/// Interrupts of one turn, each after the one before.
const PACED: u32 = 200;

/// From the signal of a source until its sink has been read; the mean of [`PACED`].
fn hop(source: &OwnedFd, sink: &OwnedFd) -> anyhow::Result<Duration> {
    let mut count = [0u8; 8];
    let start = Instant::now();
    for _ in 0..PACED {
        rustix::io::write(source, &1u64.to_ne_bytes())?;
        rustix::event::poll(&mut [PollFd::new(sink, PollFlags::IN)], None)?;
        rustix::io::read(sink, &mut count)?;
        ensure!(u64::from_ne_bytes(count) == 1, "not one for one");
    }
    Ok(start.elapsed() / PACED)
}

/// One interrupt after the other through a bare relay and the daemon's, by turns.
pub(super) fn measure(socket: &str, rounds: usize) -> anyhow::Result<serde_json::Value> {
    let (bare_ends, daemon_ends) = (crate::eventfds(2)?, crate::eventfds(2)?);
    let mut bare = crate::bare(crate::RELAY)?;
    let passed: Vec<BorrowedFd<'_>> = bare_ends.iter().map(AsFd::as_fd).collect();
    crate::round_trip(&mut bare.connection, b"{}", &passed)?;
    let scopes = [Scope::Producer, Scope::Consumer];
    let mut client = Client::connect(Path::new(socket), &Hello::new("bench", &scopes))?;
    let link = Some(Name::new("relay")?);
    let produce = Request::RegisterProducer(RegisterProducer {
        link: link.clone(),
        ..RegisterProducer::edge(Name::new("relay.producer")?)
    });
    let consume = Request::RegisterConsumer(RegisterConsumer {
        link,
        ..RegisterConsumer::reading(Name::new("relay.consumer")?)
    });
    for (request, end) in [produce, consume].iter().zip(&daemon_ends) {
        client.request::<Registered>(request, &[end.as_fd()])?;
    }
    let (mut through_bare, mut through_daemon) = (Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..rounds {
        let mut order = [true, false];
        random.shuffle(&mut order);
        for is_bare in order {
            let (ends, times) = match is_bare {
                true => (&bare_ends, &mut through_bare),
                false => (&daemon_ends, &mut through_daemon),
            };
            times.push(hop(&ends[0], &ends[1])?.as_secs_f64() * 1e6);
        }
        let last = |times: &[f64]| times.last().copied().unwrap_or(f64::NAN);
        ratios.push(last(&through_daemon) / last(&through_bare));
    }
    Ok(json!({
        "us": { "bare": median(through_bare), "daemon": median(through_daemon) },
        "ratio_daemon_to_bare": median(ratios),
    }))
}
