//! The figures as OpenMetrics text.

use std::fmt;

use irqbroker_protocol::LinkRow;
use irqbroker_protocol::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// What is told at one scrape.
#[derive(Debug)]
struct Figures {
    status: Status,
    links: Vec<LinkRow>,
}

/// The daemon's figures, with series of their own for the links given.
pub(crate) fn encode(status: Status, links: Vec<LinkRow>) -> String {
    let mut registry = Registry::with_prefix("irqbroker");
    registry.register_collector(Box::new(Figures { status, links }));
    let mut text = String::new();
    // A string takes everything.
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => text,
        Err(fmt::Error) => String::new(),
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.daemon(&mut encoder)?;
        self.links(&mut encoder)
    }
}

impl Figures {
    fn daemon(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = &self.status;
        let gauges = [
            (
                "connections",
                "Open control connections",
                status.connections,
            ),
            ("producers", "Producers registered", status.producers),
            ("consumers", "Consumers registered", status.consumers),
            (
                "lingering",
                "Objects kept for a hand-over",
                status.lingering,
            ),
            ("fds", "File descriptors held for peers", status.fds),
            ("vgpus", "vGPUs hosted", status.vgpus),
        ];
        for (name, help, value) in gauges {
            let gauge = gauge(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let counters = [
            ("relayed", "Interrupts the daemon relayed", status.relayed),
            (
                "recovered",
                "Claims of an earlier run that were delivered again",
                status.recovered,
            ),
            ("requests", "Requests done", status.requests),
            ("refused", "Requests refused", status.refused),
            ("wakeups", "Times the daemon woke up", status.wakeups),
            (
                "uptime_milliseconds",
                "Time since the daemon started",
                status.uptime_ms,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }

    fn links(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.status.links;
        let states = [
            ("unmatched", counts.unmatched),
            ("masked", counts.masked),
            ("relay", counts.relay),
            ("bypass", counts.bypass),
            ("posted", counts.posted),
        ];
        let kind = gauge(0).metric_type();
        let mut family = encoder.encode_descriptor("links", "Links by state", None, kind)?;
        for (state, count) in states {
            gauge(count).encode(family.encode_family(&[("state", state)])?)?;
        }
        let help = "How a link's interrupts travel, and why not better";
        let mut family = encoder.encode_descriptor("link_state", help, None, kind)?;
        for row in &self.links {
            let mut labels = labels(row).to_vec();
            labels.push(("state", row.state.to_string()));
            labels.push(("reason", reason(row)));
            gauge(1).encode(family.encode_family(&labels)?)?;
        }
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Interrupts of a link the daemon relayed";
        let mut family = encoder.encode_descriptor("link_relayed", help, None, kind)?;
        for row in &self.links {
            let labels = labels(row);
            family_counter(&mut family, &labels, row.events)?;
        }
        Ok(())
    }
}

fn family_counter(
    family: &mut prometheus_client::encoding::MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> Result<(), fmt::Error> {
    ConstCounter::new(value).encode(family.encode_family(labels)?)
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// What tells a link from others: its sides' names last longer than its number.
fn labels(row: &LinkRow) -> [(&'static str, String); 3] {
    let name = |name: &Option<irqbroker_protocol::Name>| {
        name.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    [
        ("link", row.id.to_string()),
        ("producer", name(&row.producer)),
        ("consumer", name(&row.consumer)),
    ]
}

/// The reason as programs know it; its text is a peer's.
fn reason(row: &LinkRow) -> String {
    match serde_json::to_value(row.reason_code) {
        Ok(serde_json::Value::String(code)) => code,
        _ => String::new(),
    }
}
