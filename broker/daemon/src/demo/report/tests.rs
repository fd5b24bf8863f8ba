use super::*;

use serde_json::Value;

fn conditions() -> Conditions {
    Conditions {
        source: "vgpu".to_owned(),
        ran_for: Duration::from_millis(5000),
        refresh: Some(Refresh::new(60_000, 1001).unwrap()),
        halt_poll: HaltPoll::from(irqbroker_guest::HaltPoll::Set(200_000)),
        machine: Machine {
            kernel: "6.18.44".to_owned(),
            cpu: "Test CPU".to_owned(),
        },
    }
}

fn line(path: &str, counts: Counts) -> LineResult {
    let mut latencies = Latencies::new().unwrap();
    // A plausible latency in nanoseconds; what it is does not matter here.
    latencies.record(4060);
    LineResult {
        name: "head0.vblank".to_owned(),
        path: path.to_owned(),
        reason: format!("{path} for a reason"),
        counts,
        latencies,
    }
}

fn all_arrived(events: u64) -> Counts {
    Counts {
        produced: events,
        delivered: events,
        ..Counts::default()
    }
}

fn report(lines: &[LineResult]) -> DemoReport {
    DemoReport::new(conditions(), lines, RelayCounts::default()).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn json_has_every_key_of_the_contract() {
    let report = report(&[line("bypass", all_arrived(300))]);
    let json = serde_json::to_value(&report).unwrap();
    for key in [
        "source",
        "path",
        "reason",
        "produced",
        "delivered",
        "coalesced",
        "lost",
        "invented",
        "latency_us",
        "seconds",
        "refresh_hz",
        "halt_poll_ns",
        "interrupts",
        "missed",
        "relay",
        "broker_wakeups",
        "kernel",
        "cpu",
    ] {
        assert!(keys(&json).contains(&key), "{key} is missing in {json}");
    }
    for key in ["p50", "p90", "p99", "p999", "max"] {
        assert!(
            json["latency_us"][key].is_f64(),
            "{key} is missing in {json}"
        );
    }
    assert_eq!(json["source"], "vgpu");
    assert_eq!(json["halt_poll_ns"], 200_000);
    assert_eq!(json["interrupts"][0]["delivered"], 300);
}

#[test]
fn counts_of_the_whole_are_the_sum_of_the_lines() {
    let report = report(&[
        line("bypass", all_arrived(300)),
        line("bypass", all_arrived(299)),
    ]);
    assert_eq!(report.counts, all_arrived(599));
}

#[test]
fn path_of_the_whole_is_the_one_that_holds_it_back() {
    let mixed = report(&[
        line("bypass", all_arrived(1)),
        line("relay", all_arrived(1)),
    ]);
    let fast = report(&[
        line("bypass", all_arrived(1)),
        line("bypass", all_arrived(1)),
    ]);
    assert_eq!(
        (mixed.path.as_str(), mixed.reason.as_str()),
        ("relay", "relay for a reason")
    );
    assert_eq!(fast.path, "bypass");
}

#[test]
fn meaning_of_a_loss_is_a_defect_and_of_none_is_not() {
    let lost = Counts {
        lost: 2,
        ..all_arrived(300)
    };
    assert!(
        report(&[line("relay", lost)])
            .meaning()
            .contains("lost: 2, invented: 0")
    );
    let clean = report(&[line("bypass", all_arrived(300))]).meaning();
    assert!(clean.contains("No interrupt was lost"), "{clean}");
    let silent = report(&[line("bypass", Counts::default())]).meaning();
    assert!(silent.contains("nothing was measured"), "{silent}");
}

#[test]
fn meaning_of_a_bypass_depends_on_whether_the_broker_was_woken() {
    let lines = [line("bypass", all_arrived(300))];
    let woken = RelayCounts {
        wakeups: 1,
        ..RelayCounts::default()
    };
    let woken = DemoReport::new(conditions(), &lines, woken).unwrap();
    assert!(woken.meaning().contains("yet the broker was woken"));
    assert!(
        report(&lines)
            .meaning()
            .contains("without waking the broker")
    );
}

#[test]
fn display_shows_a_sum_row_only_for_several_lines() {
    let one = report(&[line("bypass", all_arrived(300))]).to_string();
    let two = report(&[
        line("bypass", all_arrived(300)),
        line("bypass", all_arrived(300)),
    ]);
    assert!(!one.contains("\nall "), "{one}");
    assert!(two.to_string().contains("\nall "), "{two}");
    assert!(
        one.contains("vgpu, 1 interrupt at 60000/1001 Hz for 5.0 s"),
        "{one}"
    );
}

#[test]
fn faults_are_what_was_lost_and_what_was_invented_on_all_lines() {
    let faulty = |lost, invented| Counts {
        produced: 9,
        lost,
        invented,
        ..Counts::default()
    };
    let lines = [line("bypass", faulty(1, 0)), line("relay", faulty(0, 2))];
    assert_eq!(report(&lines).faults(), 3);
    assert_eq!(report(&[line("bypass", faulty(0, 0))]).faults(), 0);
}
