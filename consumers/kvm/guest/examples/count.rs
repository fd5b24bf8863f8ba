//! Boots the guest, raises interrupts one after the other, prints what arrived and how fast.
//!
//! `cargo run --release -p irqbroker-guest --example count [SAMPLES]`, 1000 by default, then all
//! self-checks.

use std::error::Error;

use irqbroker_guest::CoreId;
use irqbroker_guest::Irqchip;
use irqbroker_guest::pin_current_thread;
use irqbroker_guest::selfcheck;
use irqbroker_guest::selfcheck::PacedRun;
use irqbroker_guest::selfcheck::Raise;

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(1000), |n| n.parse())?;
    let split = Irqchip::Split { reserved_pins: 24 };
    let cases = [
        ("signal-msi", Raise::SignalMsi, Irqchip::Full, 1),
        ("irqfd", Raise::Irqfd, Irqchip::Full, 1),
        ("irqfd, 8 vectors", Raise::Irqfd, Irqchip::Full, 8),
        ("irqfd, split irqchip", Raise::Irqfd, split, 1),
        ("source, no irqchip", Raise::Source, Irqchip::None, 1),
    ];
    // Back to any core before the checks, which start on the one they inherit.
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| measure(&cases, count).map_err(|error| error.to_string()));
        measured.join().map_err(|_| "measurement panicked")?
    })?;
    for (name, check) in selfcheck::all() {
        match check() {
            Ok(()) => println!("ok      {name}"),
            Err(error) => return Err(format!("{name}: {}", chain(&error)).into()),
        }
    }
    Ok(())
}

fn measure(cases: &[(&str, Raise, Irqchip, u8)], count: u64) -> Result<(), Box<dyn Error>> {
    let cores = std::thread::available_parallelism()?.get();
    pin_current_thread(CoreId(0))?;
    for halt_poll_ns in [0, 200_000] {
        for (name, raise, irqchip, vectors) in cases.iter().copied() {
            let run = PacedRun {
                raise,
                irqchip,
                vectors,
                halt_poll_ns: Some(halt_poll_ns),
                count,
                vcpu_core: (cores > 1).then_some(CoreId(1)),
            };
            let measured = run.measure()?;
            let [p50, p99, max] = [500, 990, 1000].map(|q| measured.latency.quantile(q));
            println!(
                "{name:22} halt_poll {halt_poll_ns:6} ns  {:?}",
                measured.tally
            );
            println!(
                "{:22} handler entry after p50 {p50} p99 {p99} max {max} ns",
                ""
            );
        }
    }
    Ok(())
}

fn chain(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
