//! What posting costs a host with 4096 vCPUs, the more of them share a processor.
//!
//! Run with `cargo run --release -p posted-irq --features testing --example scale [FILE.svg]`.
//! Each point is a host of its own: 100 000 remapping entries over two units, 100 simulated
//! milliseconds. Any interrupt lost, invented or gone astray ends it with an error.

use std::io::IsTerminal;
use std::io::stderr;

use anyhow::Context;
use posted_irq::sim::SimConfig;
use posted_irq::sim::SimHost;
use posted_irq::sim::SimReport;

mod plot;

const VCPUS: u32 = 4096;
const ENTRIES: u32 = 100_000;
const MILLISECONDS: u64 = 100;
/// vCPUs to a processor.
const RATIOS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// One simulated host.
struct Point {
    ratio: u32,
    report: SimReport,
}

impl Point {
    fn per_delivered(&self, count: u64) -> f64 {
        count as f64 / self.report.delivered.max(1) as f64
    }
}

fn simulate(ratio: u32) -> anyhow::Result<Point> {
    let config = SimConfig {
        seed: u64::from(ratio),
        processors: VCPUS / ratio,
        vms: VCPUS / 16,
        vcpus_per_vm: 16,
        entries: ENTRIES,
        fault: None,
    };
    let mut host = SimHost::new(config)?;
    for millisecond in 1..=MILLISECONDS {
        host.run_until(millisecond * 1_000_000)?;
        if stderr().is_terminal() {
            let posted = host.report().posted;
            eprint!("{ratio:>5}  {posted:>9} posted, {millisecond:>3} ms\r");
        }
    }
    let report = host.finish()?;
    Ok(Point { ratio, report })
}

fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1).unwrap_or("scale.svg".to_owned());
    let mut points = Vec::new();
    println!("for each interrupt delivered, by vCPUs to a processor");
    println!("ratio  delivered  notifications  wake-ups  silent  invalidations");
    for ratio in RATIOS {
        let point = simulate(ratio).with_context(|| format!("at {ratio} vCPUs to a processor"))?;
        let report = point.report;
        let [notifications, wakeups, silent, invalidations] = [
            report.notifications,
            report.wakeups,
            report.silent + report.coalesced,
            report.invalidations(),
        ]
        .map(|count| point.per_delivered(count));
        println!(
            "{ratio:>5}  {:>9}  {notifications:>13.3}  {wakeups:>8.3}  {silent:>6.3}  {invalidations:>13.3}",
            report.delivered
        );
        points.push(point);
    }
    std::fs::write(&file, plot::draw(&points)?).with_context(|| format!("cannot write {file}"))?;
    println!("drawn into {file}; 0 lost, 0 invented, nothing stale");
    Ok(())
}
