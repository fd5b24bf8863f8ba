//! What the latency measurement found out, as JSON and as a table.

use std::fmt;

use serde::Serialize;

use super::path::LatencyPath;
use crate::halt_poll::HaltPoll;
use crate::machine::Machine;
use crate::percentiles::Latencies;
use crate::percentiles::LatencyUs;
use crate::percentiles::cell;
use crate::table::Align;
use crate::table::Table;

/// What was measured on one path.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The path.
    pub(crate) path: LatencyPath,
    /// From the device's event to the guest's handler.
    pub(crate) latencies: Latencies,
    /// Events that no interrupt came of.
    pub(crate) lost: u64,
    /// Interrupts nobody sent.
    pub(crate) invented: u64,
    /// What forwarding cost in system calls; none where nothing forwards.
    pub(crate) syscalls_per_event: Option<f64>,
    /// How often the broker woke up; none where there was no broker.
    pub(crate) broker_wakeups: Option<u64>,
}

/// The report of `irqbroker latency`.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyReport {
    paths: Vec<PathReport>,
    order: &'static str,
    #[serde(flatten)]
    halt_poll: HaltPoll,
    #[serde(flatten)]
    machine: Machine,
}

/// One path's share of the report.
#[derive(Debug, Serialize)]
struct PathReport {
    path: LatencyPath,
    samples: u64,
    lost: u64,
    invented: u64,
    latency_us: LatencyUs,
    ratio_to_raw_irqfd: Option<f64>,
    ratio_to_bare: Option<f64>,
    ratio_to_userspace: Option<f64>,
    syscalls_per_event: Option<f64>,
    broker_wakeups: Option<u64>,
}

impl LatencyReport {
    /// Puts the paths in relation: ratios are of medians, and only paths of one run are compared,
    /// because the machine's speed drifts between runs.
    pub(crate) fn new(measured: &[Measured], halt_poll: HaltPoll, machine: Machine) -> Self {
        let median_of = |path: LatencyPath| {
            let of_path = measured.iter().find(|measured| measured.path == path);
            of_path.and_then(|measured| measured.latencies.at(0.5))
        };
        let raw = median_of(LatencyPath::RawIrqfd);
        let bare = median_of(LatencyPath::BareRelay);
        let userspace = median_of(LatencyPath::Userspace);
        let paths = measured.iter().map(|measured| {
            let latency_us = measured.latencies.summary();
            PathReport {
                path: measured.path,
                samples: measured.latencies.count(),
                lost: measured.lost,
                invented: measured.invented,
                latency_us,
                ratio_to_raw_irqfd: ratio(latency_us.p50, raw),
                ratio_to_bare: ratio(latency_us.p50, bare),
                ratio_to_userspace: ratio(latency_us.p50, userspace),
                syscalls_per_event: measured.syscalls_per_event,
                broker_wakeups: measured.broker_wakeups,
            }
        });
        Self {
            paths: paths.collect(),
            order: "randomised blocks",
            halt_poll,
            machine,
        }
    }

    fn find(&self, path: LatencyPath) -> Option<&PathReport> {
        self.paths.iter().find(|report| report.path == path)
    }

    /// Interrupts lost or invented, of which there may be none.
    pub(crate) fn faults(&self) -> u64 {
        self.paths
            .iter()
            .map(|path| path.lost + path.invented)
            .sum()
    }

    fn table(&self) -> Table {
        let mut columns = vec![("path", Align::Left)];
        let numbers = LatencyUs::TITLES.into_iter().chain([
            "× raw", "× bare", "× plain", "lost", "invented", "syscalls", "woken",
        ]);
        columns.extend(numbers.map(|title| (title, Align::Right)));
        let mut table = Table::new(&columns);
        for report in &self.paths {
            let mut cells = vec![report.path.to_string()];
            cells.extend(report.latency_us.cells());
            cells.extend([
                cell(report.ratio_to_raw_irqfd),
                cell(report.ratio_to_bare),
                cell(report.ratio_to_userspace),
                report.lost.to_string(),
                report.invented.to_string(),
                report
                    .syscalls_per_event
                    .map_or_else(|| "–".to_owned(), |calls| format!("{calls:.2}")),
                report
                    .broker_wakeups
                    .map_or_else(|| "–".to_owned(), |wakeups| wakeups.to_string()),
            ]);
            table.row(cells);
        }
        table
    }

    fn meaning(&self) -> String {
        let lost: u64 = self.paths.iter().map(|path| path.lost).sum();
        let invented: u64 = self.paths.iter().map(|path| path.invented).sum();
        if lost > 0 || invented > 0 {
            return format!(
                "Interrupts lost: {lost}, invented: {invented}. Neither may ever happen; please report \
                 it."
            );
        }
        let bypass = self
            .find(LatencyPath::Bypass)
            .and_then(|path| path.ratio_to_raw_irqfd)
            .map(|ratio| format!("a bypassed link takes {ratio:.2}× a raw irqfd"));
        let relay = self
            .find(LatencyPath::Relay)
            .and_then(|path| path.ratio_to_bare)
            .map(|ratio| format!("the relay {ratio:.2}× the barest forwarding loop"));
        let posted = self
            .find(LatencyPath::Posted)
            .and_then(|path| path.ratio_to_userspace)
            .map(|ratio| format!("posting {ratio:.2}× the plain way in user space"));
        let compared: Vec<String> = bypass.into_iter().chain(relay).chain(posted).collect();
        match compared.is_empty() {
            true => "No interrupt was lost and none invented.".to_owned(),
            false => format!("Nothing lost, nothing invented: {}.", compared.join(", ")),
        }
    }
}

impl fmt::Display for LatencyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.paths.iter().map(|path| path.samples).min();
        writeln!(
            f,
            "{} samples of each path, in {} · {}",
            samples.unwrap_or(0),
            self.order,
            self.halt_poll
        )?;
        writeln!(f, "{} · kernel {}\n", self.machine.cpu, self.machine.kernel)?;
        writeln!(f, "{}", self.table())?;
        writeln!(
            f,
            "Latencies: microseconds from the device's event to the guest's interrupt handler.\n\
             × raw, × bare, × plain: median over that of raw-irqfd, bare-relay, userspace in this run.\n\
             syscalls: per event, to forward it. woken: how often the broker's thread was."
        )?;
        writeln!(f, "{}", self.meaning())
    }
}

/// To three decimals, which is finer than two runs agree.
fn ratio(value: Option<f64>, reference: Option<f64>) -> Option<f64> {
    let ratio = value? / reference?;
    ratio.is_finite().then(|| (ratio * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests;
