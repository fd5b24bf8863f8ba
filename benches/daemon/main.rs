//! What the daemon costs: to register with it, beside the bare passing of the same fds, and to have
//! an interrupt relayed, beside the barest relay.
//!
//! * `bare`: a packet with fds to another process, which answers and closes them
//! * `identity`: the same, and it looks up what each fd is before it answers, one after the other
//! * `window`: the same, but all of a packet are looked up together, as the daemon does it
//! * `daemon`: a registration, or a batch of them, as one packet
//! * `client`: the same through [`Client`], with the making of the JSON and the reading of the answer
//! * `known`: the consumers of those producers, with their `event_id`: proved, not looked up
//!
//! each with 1 and with 253 fds a packet; withdrawing is not in the measured time, nor is, but in
//! `client`, the making of the JSON. Each round does every case once in random order, and the ratios
//! are taken within the round: `daemon` and `client` to `identity`, `daemon` to `window`, `known` to
//! `bare`. Then 10 000 links are registered, matched and listed, and the daemon's resident memory is
//! divided by them.
//!
//! `relay` is one interrupt after the other, from the signal of the producer's eventfd until the
//! consumer's has been read, through a process that waits, claims and writes (`bare`) and through the
//! daemon, by turns in random order.
//!
//! Prints one JSON object. Without `--bench` (under `cargo test`) all is cut short. Run with
//! `cargo bench -p irqbroker-daemon --bench daemon`.

#[path = "../median.rs"]
mod median;
mod relay;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::Token;
use irqbroker_protocol::Batch;
use irqbroker_protocol::BatchDone;
use irqbroker_protocol::Client;
use irqbroker_protocol::ClientFrame;
use irqbroker_protocol::Connection;
use irqbroker_protocol::Hello;
use irqbroker_protocol::MAX_FDS;
use irqbroker_protocol::Name;
use irqbroker_protocol::ReceiveError;
use irqbroker_protocol::RegisterConsumer;
use irqbroker_protocol::RegisterProducer;
use irqbroker_protocol::Registered;
use irqbroker_protocol::Request;
use irqbroker_protocol::Scope;
use irqbroker_protocol::Side;
use irqbroker_protocol::Unregister;
use rustix::event::EventfdFlags;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use serde_json::json;

use crate::median::median;

/// What makes this program a bare server, and how it looks identities up.
const BARE: &str = "--bare-server";
const IDENTITY: &str = "--identity-server";
const WINDOW: &str = "--window-server";
const RELAY: &str = "--relay-server";

/// Another process, and the socket to it.
struct Server {
    process: Child,
    connection: Connection,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(BARE) => return serve(Ok),
        Some(IDENTITY) => {
            return serve(|fds| {
                let tokens: Result<Vec<Token>, _> = fds.into_iter().map(Token::adopt).collect();
                Ok(tokens?)
            });
        }
        Some(WINDOW) => return serve(|fds| Ok(Token::adopt_each(fds)?)),
        Some(RELAY) => return relay::forward(),
        _ => {}
    }
    let full = arguments.iter().any(|argument| argument == "--bench");
    let (rounds, links) = if full { (400, 10_000) } else { (3, 300) };
    let socket = format!("{}/bench.sock", env!("CARGO_TARGET_TMPDIR"));
    let (_daemon, pid) = daemon(&socket)?;
    let mut cases = BTreeMap::new();
    for fds in [1, MAX_FDS] {
        cases.insert(fds.to_string(), measure(&socket, fds, rounds)?);
    }
    let relay = relay::measure(&socket, rounds)?;
    let many = many(&socket, pid, links)?;
    println!("{}", json!({ "fds": cases, "relay": relay, "links": many }));
    Ok(())
}

/// Answers packets on standard input until it closes.
fn serve<T>(look: impl Fn(Vec<OwnedFd>) -> anyhow::Result<T>) -> anyhow::Result<()> {
    let mut connection = Connection::new(std::io::stdin().as_fd().try_clone_to_owned()?);
    loop {
        let fds = match connection.receive() {
            Ok(packet) => packet.fds,
            Err(ReceiveError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let looked_at = look(fds)?;
        connection.send(b"{}", &[])?;
        // The daemon closes none either before it answers.
        drop(looked_at);
    }
}

fn bare(kind: &str) -> anyhow::Result<Server> {
    let flags = SocketFlags::CLOEXEC;
    let (here, there) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let process = Command::new(std::env::current_exe()?)
        .arg(kind)
        .stdin(Stdio::from(there))
        .spawn()?;
    Ok(Server {
        process,
        connection: Connection::new(here),
    })
}

fn daemon(socket: &str) -> anyhow::Result<(Server, u32)> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_irqbroker"))
        .args(["serve", "--json", "--socket", socket])
        // No limit: the machine would rest between the rounds.
        .args(["--set", "quotas.requests_per_second=100000000"])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = process.stdout.take().context("no stdout")?;
    BufReader::new(stdout).read_line(&mut String::new())?;
    let pid = process.id();
    let connection = Connection::connect(Path::new(socket))?;
    Ok((
        Server {
            process,
            connection,
        },
        pid,
    ))
}

fn eventfds(count: usize) -> anyhow::Result<Vec<OwnedFd>> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let fds: Result<Vec<OwnedFd>, _> = (0..count)
        .map(|_| rustix::event::eventfd(0, flags))
        .collect();
    Ok(fds?)
}

fn named(prefix: &str, index: usize) -> anyhow::Result<Name> {
    Ok(Name::new(&format!("{prefix}.{index}"))?)
}

fn registration(side: Side, index: usize, event_id: Option<u64>) -> anyhow::Result<Request> {
    let name = named("bench", index)?;
    Ok(match side {
        Side::Producer => Request::RegisterProducer(RegisterProducer::edge(name)),
        Side::Consumer => Request::RegisterConsumer(RegisterConsumer {
            event_id,
            ..RegisterConsumer::reading(name)
        }),
    })
}

fn withdrawal(side: Side, index: usize) -> anyhow::Result<Request> {
    let name = named("bench", index)?;
    Ok(Request::Unregister(Unregister { side, name }))
}

/// Alone, or as a batch.
fn together(mut requests: Vec<Request>) -> Request {
    match requests.len() {
        1 => requests.remove(0),
        _ => Request::Batch(Batch { requests }),
    }
}

fn packets(
    count: usize,
    one: impl Fn(usize) -> anyhow::Result<Request>,
) -> anyhow::Result<Vec<u8>> {
    let requests: anyhow::Result<Vec<Request>> = (0..count).map(one).collect();
    Ok(ClientFrame::encode(1, &together(requests?))?)
}

/// From the packet to its answer.
fn round_trip(
    connection: &mut Connection,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    connection.send(bytes, fds)?;
    // Notices come as well: a consumer has met its producer.
    let answer = loop {
        let packet = connection.receive()?;
        if !packet.bytes.starts_with(b"{\"notice\"") {
            break packet.bytes.to_vec();
        }
    };
    let took = start.elapsed();
    ensure!(
        !answer.windows(7).any(|part| part == b"\"error\""),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(took)
}

/// The same through the client, from the request to what the daemon said of it.
fn client_round_trip(
    client: &mut Client,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let registered = match request {
        Request::Batch(_) => client.request::<BatchDone>(request, fds)?.body.registered,
        _ => vec![client.request::<Registered>(request, fds)?.body],
    };
    let took = start.elapsed();
    ensure!(registered.len() == fds.len(), "{registered:?}");
    Ok(took)
}

fn measure(socket: &str, count: usize, rounds: usize) -> anyhow::Result<serde_json::Value> {
    let events = eventfds(count)?;
    let ids: Result<Vec<u64>, _> = events
        .iter()
        .map(|event| Token::of(event).map(|token| token.id().0))
        .collect();
    let ids = ids?;
    let fds: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
    let produce = packets(count, |at| registration(Side::Producer, at, None))?;
    let consume = packets(count, |at| registration(Side::Consumer, at, Some(ids[at])))?;
    let leave = |side| packets(count, |at| withdrawal(side, at));
    let (leave_producers, leave_consumers) = (leave(Side::Producer)?, leave(Side::Consumer)?);
    let (mut plain, mut identity, mut window) = (bare(BARE)?, bare(IDENTITY)?, bare(WINDOW)?);
    let hello = Request::Hello(Hello::new("bench", &[Scope::Producer, Scope::Consumer]));
    let mut peer = Connection::connect(Path::new(socket))?;
    peer.send(&ClientFrame::encode(0, &hello)?, &[])?;
    peer.receive()?;
    let mut client = Client::connect(Path::new(socket), &Hello::new("bench", &[Scope::Producer]))?;
    let through_client = |of: fn(Name) -> Request| -> anyhow::Result<Request> {
        let requests: anyhow::Result<Vec<Request>> =
            (0..count).map(|at| Ok(of(named("client", at)?))).collect();
        Ok(together(requests?))
    };
    let come = through_client(|name| Request::RegisterProducer(RegisterProducer::edge(name)))?;
    let go = through_client(|name| {
        let side = Side::Producer;
        Request::Unregister(Unregister { side, name })
    })?;
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut ratios = Vec::new();
    let mut window_ratios = Vec::new();
    let mut client_ratios = Vec::new();
    let mut known_ratios = Vec::new();
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..rounds {
        let mut order = ["bare", "identity", "window", "daemon", "client"];
        random.shuffle(&mut order);
        let mut took = BTreeMap::new();
        for case in order {
            let one = match case {
                "bare" => round_trip(&mut plain.connection, &produce, &fds)?,
                "identity" => round_trip(&mut identity.connection, &produce, &fds)?,
                "window" => round_trip(&mut window.connection, &produce, &fds)?,
                "client" => {
                    let one = client_round_trip(&mut client, &come, &fds)?;
                    client.ask::<serde_json::Value>(&go)?;
                    one
                }
                _ => {
                    let one = round_trip(&mut peer, &produce, &fds)?;
                    took.insert("known", round_trip(&mut peer, &consume, &fds)?);
                    round_trip(&mut peer, &leave_consumers, &[])?;
                    round_trip(&mut peer, &leave_producers, &[])?;
                    one
                }
            };
            took.insert(case, one);
        }
        let ratio = |of: &str, to: &str| took[of].as_secs_f64() / took[to].as_secs_f64();
        ratios.push(ratio("daemon", "identity"));
        window_ratios.push(ratio("daemon", "window"));
        client_ratios.push(ratio("client", "identity"));
        known_ratios.push(ratio("known", "bare"));
        for (case, one) in took {
            times.entry(case).or_default().push(one);
        }
    }
    let per_fd: BTreeMap<&str, f64> = times
        .into_iter()
        .map(|(case, mut all)| {
            all.sort_unstable();
            let middle = all[all.len() / 2].as_secs_f64() * 1e6;
            (case, middle / f64::from(u32::try_from(count).unwrap_or(1)))
        })
        .collect();
    Ok(json!({
        "us_per_fd": per_fd,
        "ratio_daemon_to_identity": median(ratios),
        "ratio_daemon_to_window": median(window_ratios),
        "ratio_client_to_identity": median(client_ratios),
        "ratio_known_to_bare": median(known_ratios),
    }))
}

/// Registers and matches many links, and lists them.
fn many(socket: &str, pid: u32, links: usize) -> anyhow::Result<serde_json::Value> {
    let before = resident(pid)?;
    let hello = Hello::new("bench", &Scope::ALL);
    // Neither may hold both sides of so many.
    let mut producing = Client::connect(Path::new(socket), &hello)?;
    let mut consuming = Client::connect(Path::new(socket), &hello)?;
    let start = Instant::now();
    for first in (0..links).step_by(100) {
        let last = links.min(first + 100);
        let events = eventfds(last - first)?;
        let fds: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
        for side in [Side::Producer, Side::Consumer] {
            let requests: anyhow::Result<Vec<Request>> = (first..last)
                .zip(&events)
                .map(|(at, event)| {
                    // Proved to be the producer's, so that the daemon holds one fd for both.
                    let event_id = match side {
                        Side::Producer => None,
                        Side::Consumer => Some(Token::of(event)?.id().0),
                    };
                    registration(side, at, event_id)
                })
                .collect();
            let request = Request::Batch(Batch {
                requests: requests?,
            });
            let client = match side {
                Side::Producer => &mut producing,
                Side::Consumer => &mut consuming,
            };
            client.request::<BatchDone>(&request, &fds)?;
        }
    }
    let registered = start.elapsed();
    let start = Instant::now();
    let rows = producing.links()?.len();
    let listed = start.elapsed();
    ensure!(rows == links, "{rows} of {links} links");
    let used = resident(pid)?.saturating_sub(before);
    Ok(json!({
        "links": links,
        "registered_ms": registered.as_secs_f64() * 1e3,
        "listed_ms": listed.as_secs_f64() * 1e3,
        "resident_bytes_per_link": used * 1024 / u64::try_from(links)?,
    }))
}

/// KiB.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}
