use super::*;

use crate::latency::path::LatencyPath;
use crate::percentiles::Latencies;

/// Samples of each path; what `irqbroker latency` takes by default.
const SAMPLES: u32 = 20_000;

/// A body around `median` µs whose tail grows by `tail` with each nine, with one late straggler.
fn made_up(path: LatencyPath, median: f64, tail: f64) -> Measured {
    let mut latencies = Latencies::new().unwrap();
    for sample in 0..SAMPLES {
        let quantile = (f64::from(sample) + 0.5) / f64::from(SAMPLES);
        let nines = nines(quantile);
        let body = 0.94 + 0.12 * quantile;
        let latency = median * body * (1.0 + tail * (nines / 2.0).powi(3));
        latencies.record(nanoseconds(latency));
    }
    latencies.record(nanoseconds(median * 19.0));
    Measured {
        path,
        latencies,
        lost: 0,
        invented: 0,
        syscalls_per_event: None,
        broker_wakeups: None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "made-up latencies are positive and far below 2^63 ns"
)]
fn nanoseconds(microseconds: f64) -> u64 {
    (microseconds * 1000.0) as u64
}

/// What floors and paths looked like on a machine with halt polling.
fn made_up_run() -> Vec<Measured> {
    vec![
        made_up(LatencyPath::RawIrqfd, 4.06, 0.75),
        made_up(LatencyPath::Bypass, 4.07, 0.78),
        made_up(LatencyPath::BareRelay, 10.40, 0.45),
        made_up(LatencyPath::Relay, 10.65, 0.48),
        made_up(LatencyPath::SignalMsi, 4.15, 0.60),
        made_up(LatencyPath::Posted, 8.10, 0.55),
        made_up(LatencyPath::Userspace, 13.90, 0.50),
    ]
}

fn machine() -> Machine {
    Machine {
        kernel: "6.18.44".to_owned(),
        cpu: "Cores & Caches <2.7GHz>".to_owned(),
    }
}

#[test]
fn draw_names_every_path_both_axes_and_the_conditions() {
    let svg = draw(
        &made_up_run(),
        HaltPoll::from(irqbroker_guest::HaltPoll::Set(200_000)),
        &machine(),
    )
    .unwrap();
    for text in LatencyPath::ALL
        .map(LatencyPath::as_str)
        .into_iter()
        .chain([
            "Interrupt latency: device event to guest handler",
            "percentile",
            "latency in µs",
            "99.99 %",
            "max",
            "20001 samples per path",
            "halt polling 200 µs",
            "kernel 6.18.44",
            "Cores &amp; Caches &lt;2.7GHz&gt;",
        ])
    {
        assert!(svg.contains(text), "{text:?} is not in the picture");
    }
}

#[test]
fn draw_of_a_single_path_needs_no_other() {
    let run = [made_up(LatencyPath::Relay, 10.65, 0.48)];
    let svg = draw(
        &run,
        HaltPoll::from(irqbroker_guest::HaltPoll::Set(0)),
        &machine(),
    )
    .unwrap();
    assert!(svg.contains("relay") && !svg.contains("raw-irqfd"));
}

#[test]
fn draw_of_nothing_is_refused() {
    let error = draw(
        &[],
        HaltPoll::from(irqbroker_guest::HaltPoll::Set(0)),
        &machine(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("nothing was measured"));
}

#[test]
fn save_where_no_file_can_be_names_the_option() {
    let nowhere = Path::new("/nonexistent/plot.svg");
    let halt_poll = HaltPoll::from(irqbroker_guest::HaltPoll::Set(0));
    let error = save(nowhere, &made_up_run(), halt_poll, &machine()).unwrap_err();
    assert!(error.to_string().contains("--plot"), "{error}");
}

#[test]
fn save_writes_the_picture() {
    let file = std::env::temp_dir().join(format!("irqbroker-plot-{}.svg", std::process::id()));
    let halt_poll = HaltPoll::from(irqbroker_guest::HaltPoll::Set(200_000));
    save(&file, &made_up_run(), halt_poll, &machine()).unwrap();
    let svg = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}
