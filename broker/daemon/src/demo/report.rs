//! What the demo found out, as JSON and as a table.

use std::fmt;
use std::time::Duration;

use irqbroker_vgpu::Refresh;
use serde::Serialize;

use super::refresh;
use crate::halt_poll::HaltPoll;
use crate::machine::Machine;
use crate::percentiles::Latencies;
use crate::percentiles::LatencyUs;
use crate::table::Align;
use crate::table::Table;

/// The conditions of a run.
#[derive(Debug)]
pub(crate) struct Conditions {
    /// Where the interrupts came from.
    pub(crate) source: String,
    /// How long it ran.
    pub(crate) ran_for: Duration,
    /// How often each interrupt was raised; none where the device did it by itself.
    pub(crate) refresh: Option<Refresh>,
    /// How long KVM polled for a halted vCPU.
    pub(crate) halt_poll: HaltPoll,
    /// The machine it ran on.
    pub(crate) machine: Machine,
}

/// What one interrupt's link carried.
#[derive(Debug)]
pub(crate) struct LineResult {
    /// The interrupt, for people.
    pub(crate) name: String,
    /// The delivery state the link ended in.
    pub(crate) path: String,
    /// Why it is not in a better one.
    pub(crate) reason: String,
    /// What was counted.
    pub(crate) counts: Counts,
    /// From the device's event to the guest's handler.
    pub(crate) latencies: Latencies,
}

/// Interrupts, as both ends counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Events the device signalled.
    pub(crate) produced: u64,
    /// Times the guest's handler ran.
    pub(crate) delivered: u64,
    /// Events that met one still pending and became one with it.
    pub(crate) coalesced: u64,
    /// Rounds with events and no interrupt.
    pub(crate) lost: u64,
    /// Interrupts nobody sent.
    pub(crate) invented: u64,
    /// Events the source itself came too late for, so that there was none.
    pub(crate) missed: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            produced: self.produced + other.produced,
            delivered: self.delivered + other.delivered,
            coalesced: self.coalesced + other.coalesced,
            lost: self.lost + other.lost,
            invented: self.invented + other.invented,
            missed: self.missed + other.missed,
        }
    }

    fn cells(self) -> [String; 6] {
        [
            self.produced,
            self.delivered,
            self.coalesced,
            self.lost,
            self.invented,
            self.missed,
        ]
        .map(|count| count.to_string())
    }
}

/// What user space did for the interrupts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RelayCounts {
    /// Times the broker's poll returned with something to do; 0 where all links were bypassed.
    pub(crate) wakeups: u64,
    /// Times it claimed pending events from an eventfd.
    pub(crate) claims: u64,
    /// Interrupts it injected.
    pub(crate) injections: u64,
}

/// The report of `irqbroker demo`.
#[derive(Debug, Serialize)]
pub(crate) struct DemoReport {
    source: String,
    path: String,
    reason: String,
    #[serde(flatten)]
    counts: Counts,
    latency_us: LatencyUs,
    seconds: f64,
    refresh_hz: Option<f64>,
    /// As a person reads it, where it is a fraction.
    #[serde(skip)]
    refresh: Option<Refresh>,
    #[serde(flatten)]
    halt_poll: HaltPoll,
    broker_wakeups: u64,
    relay: RelayCounts,
    interrupts: Vec<LineReport>,
    #[serde(flatten)]
    machine: Machine,
}

/// One interrupt's share of the report.
#[derive(Debug, Serialize)]
struct LineReport {
    name: String,
    path: String,
    reason: String,
    #[serde(flatten)]
    counts: Counts,
    latency_us: LatencyUs,
}

impl DemoReport {
    /// Sums up the interrupts.
    ///
    /// The path and reason of the whole are those of the first interrupt that is not on bypass, since
    /// they are what holds it back.
    ///
    /// # Errors
    ///
    /// The latencies could not be put together.
    pub(crate) fn new(
        conditions: Conditions,
        lines: &[LineResult],
        relay: RelayCounts,
    ) -> anyhow::Result<Self> {
        let mut latencies = Latencies::new()?;
        for line in lines {
            latencies.add(&line.latencies)?;
        }
        let slowest = lines.iter().find(|line| line.path != "bypass");
        let (path, reason) = slowest
            .or(lines.first())
            .map(|line| (line.path.clone(), line.reason.clone()))
            .unwrap_or_default();
        let sum = |counts: Counts, line: &LineResult| counts.plus(line.counts);
        Ok(Self {
            source: conditions.source,
            path,
            reason,
            counts: lines.iter().fold(Counts::default(), sum),
            latency_us: latencies.summary(),
            seconds: conditions.ran_for.as_secs_f64(),
            refresh_hz: conditions.refresh.map(refresh::hz),
            refresh: conditions.refresh,
            halt_poll: conditions.halt_poll,
            broker_wakeups: relay.wakeups,
            relay,
            interrupts: lines.iter().map(LineReport::new).collect(),
            machine: conditions.machine,
        })
    }

    /// Interrupts lost or invented, of which there may be none.
    pub(crate) fn faults(&self) -> u64 {
        self.counts.lost + self.counts.invented
    }

    fn table(&self) -> Table {
        let mut columns = vec![("interrupt", Align::Left), ("path", Align::Left)];
        let counts = [
            "produced",
            "delivered",
            "coalesced",
            "lost",
            "invented",
            "missed",
        ];
        let numbers = counts.into_iter().chain(LatencyUs::TITLES);
        columns.extend(numbers.map(|title| (title, Align::Right)));
        let mut table = Table::new(&columns);
        let mut row = |name: String, path: &str, counts: Counts, latency: LatencyUs| {
            let mut cells = vec![name, path.to_owned()];
            cells.extend(counts.cells());
            cells.extend(latency.cells());
            table.row(cells);
        };
        for line in &self.interrupts {
            row(line.name.clone(), &line.path, line.counts, line.latency_us);
        }
        if self.interrupts.len() > 1 {
            row("all".to_owned(), "", self.counts, self.latency_us);
        }
        table
    }

    fn meaning(&self) -> String {
        let Counts {
            produced,
            lost,
            invented,
            ..
        } = self.counts;
        if lost > 0 || invented > 0 {
            return format!(
                "Interrupts lost: {lost}, invented: {invented}. Neither may ever happen; please report \
                 it."
            );
        }
        if produced == 0 {
            return "The device signalled nothing, so nothing was measured.".to_owned();
        }
        let how = match (self.path.as_str(), self.broker_wakeups) {
            ("bypass", 0) => "the kernel delivered them without waking the broker",
            ("bypass", _) => "the kernel delivered them, yet the broker was woken",
            ("posted", 0) => "each was posted to the vCPU by the thread that signalled it",
            ("posted", _) => "the broker posted them to the vCPU",
            ("relay", _) => "the broker forwarded them in user space",
            (_, _) => "they travelled as the table says",
        };
        match self.latency_us.p50 {
            Some(p50) => format!(
                "No interrupt was lost and none invented; {how}, half of them within {p50:.1} µs."
            ),
            None => format!("No interrupt was lost and none invented; {how}."),
        }
    }
}

impl LineReport {
    fn new(result: &LineResult) -> Self {
        Self {
            name: result.name.clone(),
            path: result.path.clone(),
            reason: result.reason.clone(),
            counts: result.counts,
            latency_us: result.latencies.summary(),
        }
    }
}

impl fmt::Display for DemoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interrupts = match self.interrupts.len() {
            1 => "1 interrupt".to_owned(),
            interrupts => format!("{interrupts} interrupts"),
        };
        let rate = self.refresh.map(|refresh| format!(" at {refresh}"));
        let rate = rate.unwrap_or_default();
        writeln!(
            f,
            "{}, {interrupts}{rate} for {:.1} s: {} ({})",
            self.source, self.seconds, self.path, self.reason
        )?;
        writeln!(
            f,
            "{} · kernel {} · {}\n",
            self.machine.cpu, self.machine.kernel, self.halt_poll
        )?;
        writeln!(f, "{}", self.table())?;
        writeln!(
            f,
            "Latencies are microseconds from the device's event to the guest's interrupt handler."
        )?;
        writeln!(f, "{}", self.meaning())
    }
}

#[cfg(test)]
mod tests;
