//! What N interrupts cost to bring up: bare ioctls, a transaction, consumers, a table per vector.
//!
//! `cargo run --release -p irqbroker-kvm --features testing --example bring_up`
//!
//! Each way brings N messages up on a VM of its own; eventfds and tokens are made before. The ways
//! take turns in one process, and the medians are told as ratios to the bare ioctls.

use std::error::Error;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use irqbroker_core::Bypass;
use irqbroker_core::Consumer;
use irqbroker_core::Gsi;
use irqbroker_core::MsiMessage;
use irqbroker_core::ProducerInfo;
use irqbroker_core::RouteDomain;
use irqbroker_core::Token;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
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

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Odd, so that the median is one of them.
const ROUNDS: usize = 15;

fn message(n: usize) -> Outcome<MsiMessage> {
    // 128 vectors for each of the destinations, all distinct.
    let (destination, vector) = (u64::try_from(n / 128)?, u32::try_from(0x40 + n % 128)?);
    Ok(MsiMessage {
        address: 0xfee0_0000 | destination << 12,
        data: vector,
    })
}

fn table(n: usize) -> Outcome<Vec<RouteEntry>> {
    let mut table: Vec<RouteEntry> = EmbedderRoutes::pc_pins().entries().collect();
    for n in 0..n {
        let route = MsiRoute {
            message: message(n)?,
            device: None,
        };
        table.push(RouteEntry {
            gsi: Gsi(24 + u32::try_from(n)?),
            target: Route::Msi(route),
        });
    }
    Ok(table)
}

fn vm(kvm: &Kvm) -> Outcome<Arc<VmIrqFd>> {
    let vm = kvm.create_vm()?;
    vm.create_irq_chip()?;
    Ok(Arc::new(VmIrqFd::new(Arc::new(vm))))
}

fn domain(kvm: &Kvm) -> Outcome<Arc<VmDomain>> {
    let pins = EmbedderRoutes::pc_pins();
    Ok(VmDomain::new(vm(kvm)?, pins, DestinationIds::Bits8)?)
}

fn bare(kvm: &Kvm, events: &[Arc<OwnedFd>]) -> Outcome<Duration> {
    let (vm, table) = (vm(kvm)?, table(events.len())?);
    let start = Instant::now();
    vm.commit_routes(&table)?;
    for (event, entry) in events.iter().zip(&table[40..]) {
        vm.assign_irqfd(event.as_fd(), entry.gsi)?;
    }
    Ok(start.elapsed())
}

fn table_per_vector(kvm: &Kvm, events: &[Arc<OwnedFd>]) -> Outcome<Duration> {
    let (vm, table) = (vm(kvm)?, table(events.len())?);
    let start = Instant::now();
    for (n, event) in events.iter().enumerate() {
        vm.commit_routes(&table[..=40 + n])?;
        vm.assign_irqfd(event.as_fd(), table[40 + n].gsi)?;
    }
    Ok(start.elapsed())
}

fn transaction(kvm: &Kvm, events: &[Arc<OwnedFd>]) -> Outcome<Duration> {
    let domain = domain(kvm)?;
    let start = Instant::now();
    let mut transaction = domain.transaction();
    transaction.reserve(events.len());
    for (n, event) in events.iter().enumerate() {
        transaction.arm(Arc::clone(event), message(n)?, None)?;
    }
    let irqfds = transaction.commit()?;
    let elapsed = start.elapsed();
    drop(irqfds);
    Ok(elapsed)
}

fn consumers(kvm: &Kvm, events: &[Arc<OwnedFd>]) -> Outcome<Duration> {
    let domain = domain(kvm)?;
    let mut consumers: Vec<Arc<MsiConsumer>> = Vec::new();
    for (n, event) in events.iter().enumerate() {
        let consumer = domain.msi("bring-up", message(n)?, None)?;
        consumer.add_producer(&ProducerInfo::edge(), &Token::of(event)?)?;
        consumers.push(consumer);
    }
    let start = Instant::now();
    for consumer in &consumers {
        consumer.prepare()?;
    }
    domain.commit()?;
    for consumer in &consumers {
        consumer.attach()?;
    }
    let elapsed = start.elapsed();
    for consumer in &consumers {
        consumer.detach()?;
    }
    Ok(elapsed)
}

fn main() -> Outcome {
    type Way = fn(&Kvm, &[Arc<OwnedFd>]) -> Outcome<Duration>;
    let ways: [(&str, Way); 4] = [
        ("bare", bare),
        ("transaction", transaction),
        ("consumers", consumers),
        ("table per vector", table_per_vector),
    ];
    let kvm = Kvm::new()?;
    for n in [16, 256, 1024, 2048] {
        let mut times = vec![Vec::new(); ways.len()];
        for round in 0..ROUNDS {
            for turn in 0..ways.len() {
                // Every way comes in every place.
                let way = (turn + round) % ways.len();
                let events: Vec<Arc<OwnedFd>> = (0..n)
                    .map(|_| eventfd(0, EventfdFlags::CLOEXEC).map(Arc::new))
                    .collect::<Result<_, _>>()?;
                times[way].push(ways[way].1(&kvm, &events)?);
            }
        }
        times.iter_mut().for_each(|times| times.sort_unstable());
        let median = |way: usize| times[way][ROUNDS / 2].as_secs_f64();
        for (way, (name, _)) in ways.iter().enumerate() {
            let (micros, ratio) = (median(way) * 1e6, median(way) / median(0));
            println!("{n:5} {name:18} {micros:10.1} us  {ratio:7.2} x bare");
        }
    }
    Ok(())
}
