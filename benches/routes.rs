//! What N interrupts cost to bring up, beside the fewest ioctls that can do it.
//!
//! Benchmarking cases, each on a VM of its own with a full irqchip:
//!
//! * `bare`: one table, N irqfds, no book-keeping: the reference
//! * `transaction`: one [`Transaction`](irqbroker_kvm::Transaction), no registry
//! * `consumers`: N [`MsiConsumer`]s prepared, one commit, N attached
//! * `registry`: N producers and N consumers registered under a hold, and its release
//! * `table-per-vector`: a table for each irqfd, as VMMs do that follow the guest's writes
//!
//! VM, eventfds, tokens and consumers are made before the clock starts. Each round makes every
//! case once, in random order, and ratios to `bare` are taken within the round.
//!
//! The gate is exact and comes first: N new interrupts write the table once, the same ones armed
//! again write none.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.
//! Without /dev/kvm there is nothing to measure, which is a failure only if `IRQBROKER_REQUIRE`
//! names `kvm`. Run with `cargo bench --bench routes`.

mod median;
mod on_kvm;

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker_core::Bypass;
use irqbroker_core::Consumer;
use irqbroker_core::ConsumerHandle;
use irqbroker_core::ConsumerInfo;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::PeerError;
use irqbroker_core::Producer;
use irqbroker_core::ProducerHandle;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Registry;
use irqbroker_core::ResampleBinding;
use irqbroker_core::RouteDomain;
use irqbroker_core::Token;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::Irqfd;
use irqbroker_kvm::MsiConsumer;
use irqbroker_kvm::MsiRoute;
use irqbroker_kvm::Route;
use irqbroker_kvm::RouteEntry;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::VmIrq;
use irqbroker_kvm::VmIrqFd;
use kvm_ioctls::Kvm;
use rustix::event::EventfdFlags;
use rustix::event::eventfd;
use serde_json::Value;
use serde_json::json;

use crate::median::median;

/// Routes a PC's interrupt controllers have in every table.
const PIN_ROUTES: usize = 40;
/// The first GSI above the IOAPIC's pins.
const FIRST_GSI: u32 = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Bare,
    Transaction,
    Consumers,
    Registry,
    TablePerVector,
}

const CASES: [Case; 5] = [
    Case::Bare,
    Case::Transaction,
    Case::Consumers,
    Case::Registry,
    Case::TablePerVector,
];

impl Case {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Transaction => "transaction",
            Self::Consumers => "consumers",
            Self::Registry => "registry",
            Self::TablePerVector => "table-per-vector",
        }
    }
}

/// A producer whose eventfd somebody else signals, as with a device in the kernel.
#[derive(Debug)]
struct Device;

impl Producer for Device {
    fn name(&self) -> String {
        "device".into()
    }
    fn info(&self) -> ProducerInfo {
        ProducerInfo::edge()
    }
    fn add_consumer(&self, _consumer: &ConsumerInfo) -> Result<ResampleBinding, PeerError> {
        Ok(ResampleBinding::Relay)
    }
    fn del_consumer(&self) {}
}

/// Interrupts that are up; dropping it takes them down.
#[expect(dead_code, reason = "held for its drop")]
enum Up {
    Ioctls,
    Transaction(Vec<Irqfd>),
    Consumers(Vec<Arc<MsiConsumer>>),
    Registry(Vec<(ProducerHandle, ConsumerHandle)>),
}

/// A VM with everything made that the clock does not count.
struct Bench {
    vm: Arc<CountingVm<VmIrqFd>>,
    domain: Arc<VmDomain>,
    events: Vec<Arc<OwnedFd>>,
    tokens: Vec<Token>,
    table: Vec<RouteEntry>,
}

impl Bench {
    fn new(kvm: &Kvm, links: usize) -> anyhow::Result<Self> {
        let vm = kvm.create_vm()?;
        vm.create_irq_chip()?;
        let vm = Arc::new(CountingVm::new(VmIrqFd::new(Arc::new(vm))));
        let pins = EmbedderRoutes::pc_pins();
        let domain = VmDomain::new(vm.clone(), pins, DestinationIds::Bits8)?;
        let events = (0..links)
            .map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let tokens = events.iter().map(Token::of).collect::<Result<_, _>>()?;
        Ok(Self {
            vm,
            domain,
            events,
            tokens,
            table: table(links)?,
        })
    }

    /// Brings all up, and tells how long that took.
    fn bring_up(&self, case: Case) -> anyhow::Result<(Up, Duration)> {
        match case {
            Case::Bare => self.bare(),
            Case::Transaction => self.transaction(),
            Case::Consumers => self.consumers(),
            Case::Registry => self.registry(),
            Case::TablePerVector => self.table_per_vector(),
        }
    }

    fn bare(&self) -> anyhow::Result<(Up, Duration)> {
        let vm = &self.vm;
        let start = Instant::now();
        vm.commit_routes(&self.table)?;
        for (event, entry) in self.events.iter().zip(&self.table[PIN_ROUTES..]) {
            vm.assign_irqfd(event.as_fd(), entry.gsi)?;
        }
        Ok((Up::Ioctls, start.elapsed()))
    }

    fn table_per_vector(&self) -> anyhow::Result<(Up, Duration)> {
        let vm = &self.vm;
        let start = Instant::now();
        for (at, event) in (PIN_ROUTES..).zip(&self.events) {
            vm.commit_routes(&self.table[..=at])?;
            vm.assign_irqfd(event.as_fd(), self.table[at].gsi)?;
        }
        Ok((Up::Ioctls, start.elapsed()))
    }

    fn transaction(&self) -> anyhow::Result<(Up, Duration)> {
        let start = Instant::now();
        let mut transaction = self.domain.transaction();
        transaction.reserve(self.events.len());
        for (at, event) in self.events.iter().enumerate() {
            transaction.arm(Arc::clone(event), message(at)?, None)?;
        }
        let irqfds = transaction.commit()?;
        Ok((Up::Transaction(irqfds), start.elapsed()))
    }

    fn consumers(&self) -> anyhow::Result<(Up, Duration)> {
        let consumers = self.new_consumers()?;
        for (consumer, token) in consumers.iter().zip(&self.tokens) {
            consumer.add_producer(&ProducerInfo::edge(), token)?;
        }
        let start = Instant::now();
        for consumer in &consumers {
            consumer.prepare()?;
        }
        self.domain.commit()?;
        for consumer in &consumers {
            consumer.attach()?;
        }
        let elapsed = start.elapsed();
        Ok((Up::Consumers(consumers), elapsed))
    }

    fn registry(&self) -> anyhow::Result<(Up, Duration)> {
        let registry = Registry::new()?;
        let producer: Arc<dyn Producer> = Arc::new(Device);
        let consumers = self.new_consumers()?;
        let mut links = Vec::with_capacity(consumers.len());
        let start = Instant::now();
        let hold = registry.hold_promotions();
        for (consumer, token) in consumers.into_iter().zip(&self.tokens) {
            links.push((
                registry.register_producer(token.clone(), Arc::clone(&producer))?,
                registry.register_consumer(token.clone(), consumer)?,
            ));
        }
        let promoted = hold.release();
        let elapsed = start.elapsed();
        ensure!(
            promoted.bypassed == links.len(),
            "not all of {} links are bypassed: {promoted:?}",
            links.len()
        );
        Ok((Up::Registry(links), elapsed))
    }

    fn new_consumers(&self) -> anyhow::Result<Vec<Arc<MsiConsumer>>> {
        (0..self.events.len())
            .map(|at| Ok(self.domain.msi("routes", message(at)?, None)?))
            .collect()
    }
}

fn message(at: usize) -> anyhow::Result<MsiMessage> {
    // 128 vectors for each of the destinations, all messages distinct.
    let (destination, vector) = (u64::try_from(at / 128)?, u32::try_from(0x40 + at % 128)?);
    Ok(MsiMessage {
        address: 0xfee0_0000 | destination << 12,
        data: vector,
    })
}

/// The pins' routes, then one for each link.
fn table(links: usize) -> anyhow::Result<Vec<RouteEntry>> {
    let mut table: Vec<RouteEntry> = EmbedderRoutes::pc_pins().entries().collect();
    ensure!(table.len() == PIN_ROUTES, "a pc has {PIN_ROUTES} routes");
    for at in 0..links {
        let message = message(at)?;
        let device = None;
        table.push(RouteEntry {
            gsi: Gsi(FIRST_GSI + u32::try_from(at)?),
            target: Route::Msi(MsiRoute { message, device }),
        });
    }
    Ok(table)
}

/// The exact gate of the ways that keep books: one table for new links, none for known ones.
fn gate(kvm: &Kvm, links: usize) -> anyhow::Result<()> {
    for case in [Case::Transaction, Case::Consumers, Case::Registry] {
        let bench = Bench::new(kvm, links)?;
        for commits in [1, 0] {
            let before = bench.vm.counts();
            let (up, _) = bench.bring_up(case)?;
            let made = bench.vm.counts() - before;
            ensure!(
                (made.commits, made.assigns) == (commits, u64::try_from(links)?),
                "{} of {links} links: wanted {commits} table writes and {links} irqfds, counted \
                 {made:?}",
                case.as_str()
            );
            drop(up);
        }
    }
    Ok(())
}

fn measure(kvm: &Kvm, links: usize, rounds: usize) -> anyhow::Result<Value> {
    gate(kvm, links)?;
    let mut seconds: [Vec<f64>; CASES.len()] = Default::default();
    let mut order: Vec<usize> = (0..CASES.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &place in &order {
            let bench = Bench::new(kvm, links)?;
            let (up, elapsed) = bench.bring_up(CASES[place])?;
            drop(up);
            seconds[place].push(elapsed.as_secs_f64());
        }
    }
    let cases: Vec<Value> = CASES
        .into_iter()
        .zip(&seconds)
        .map(|(case, own)| {
            let ratios = own.iter().zip(&seconds[0]).map(|(own, bare)| own / bare);
            json!({
                "name": case.as_str(),
                "us": median(own.clone()) * 1e6,
                "ratio_to_bare": median(ratios.collect()),
            })
        })
        .collect();
    Ok(json!({ "links": links, "table_writes": 1, "table_writes_again": 0, "cases": cases }))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let kvm = match on_kvm::open("routes") {
        Ok(kvm) => kvm,
        Err(ended) => return Ok(ended),
    };
    // An odd number of rounds, so that the median is one of them.
    let (sizes, rounds) = match has("--bench") && !has("--test") {
        true => ([256, 1024, 2048].as_slice(), 15),
        false => ([16].as_slice(), 1),
    };
    on_kvm::raise_fd_limit().context("cannot raise the limit of open files")?;
    let rows = sizes
        .iter()
        .map(|&links| measure(&kvm, links, rounds))
        .collect::<anyhow::Result<Vec<Value>>>()?;
    if has("--json") {
        println!(
            "{}",
            json!({ "bench": "routes", "rounds": rounds, "rows": rows })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{rounds} rounds; table written once for new links, not at all for known ones");
    println!("{:>6} {:<17}{:>12}{:>10}", "links", "case", "us", "x bare");
    for row in &rows {
        for case in row["cases"].as_array().into_iter().flatten() {
            println!(
                "{:>6} {:<17}{:>12.1}{:>10.2}",
                row["links"].as_u64().unwrap_or_default(),
                case["name"].as_str().unwrap_or_default(),
                case["us"].as_f64().unwrap_or(f64::NAN),
                case["ratio_to_bare"].as_f64().unwrap_or(f64::NAN),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
