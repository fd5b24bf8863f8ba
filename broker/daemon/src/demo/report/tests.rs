use super::*;

use serde_json::Value;

fn conditions() -> Conditions {
    Conditions {
        source: Source::Vgpu,
        ran_for: Duration::from_millis(5000),
        refresh: Refresh::new(60_000, 1001).unwrap(),
        halt_poll: HaltPoll::from(irqbroker_guest::HaltPoll::Set(200_000)),
        machine: Machine {
            kernel: "6.18.44".to_owned(),
            cpu: "Test CPU".to_owned(),
        },
    }
}

fn head(path: &str, counts: Counts) -> HeadResult {
    let mut latencies = Latencies::new().unwrap();
    // A plausible latency in nanoseconds; what it is does not matter here.
    latencies.record(4060);
    HeadResult {
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

fn report(heads: &[HeadResult]) -> DemoReport {
    DemoReport::new(conditions(), heads, RelayCounts::default()).unwrap()
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
    let report = report(&[head("bypass", all_arrived(300))]);
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
        "heads",
        "halt_poll_ns",
        "per_head",
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
    assert_eq!(json["per_head"][0]["delivered"], 300);
}

#[test]
fn counts_of_the_whole_are_the_sum_of_the_heads() {
    let report = report(&[
        head("bypass", all_arrived(300)),
        head("bypass", all_arrived(299)),
    ]);
    assert_eq!(report.counts, all_arrived(599));
}

#[test]
fn path_of_the_whole_is_the_one_that_holds_it_back() {
    let mixed = report(&[
        head("bypass", all_arrived(1)),
        head("relay", all_arrived(1)),
    ]);
    let fast = report(&[
        head("bypass", all_arrived(1)),
        head("bypass", all_arrived(1)),
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
        report(&[head("relay", lost)])
            .meaning()
            .contains("lost: 2, invented: 0")
    );
    let clean = report(&[head("bypass", all_arrived(300))]).meaning();
    assert!(clean.contains("No interrupt was lost"), "{clean}");
    let silent = report(&[head("bypass", Counts::default())]).meaning();
    assert!(silent.contains("nothing was measured"), "{silent}");
}

#[test]
fn meaning_of_a_bypass_depends_on_whether_the_broker_was_woken() {
    let heads = [head("bypass", all_arrived(300))];
    let woken = RelayCounts {
        wakeups: 1,
        ..RelayCounts::default()
    };
    let woken = DemoReport::new(conditions(), &heads, woken).unwrap();
    assert!(woken.meaning().contains("yet the broker was woken"));
    assert!(
        report(&heads)
            .meaning()
            .contains("without waking the broker")
    );
}

#[test]
fn display_shows_a_sum_row_only_for_several_heads() {
    let one = report(&[head("bypass", all_arrived(300))]).to_string();
    let two = report(&[
        head("bypass", all_arrived(300)),
        head("bypass", all_arrived(300)),
    ]);
    assert!(!one.contains("\n all "), "{one}");
    assert!(two.to_string().contains("\n all "), "{two}");
    assert!(
        one.contains("vgpu, 1 head at 60000/1001 Hz for 5.0 s"),
        "{one}"
    );
}

#[test]
fn faults_are_what_was_lost_and_what_was_invented_on_all_heads() {
    let faulty = |lost, invented| Counts {
        produced: 9,
        lost,
        invented,
        ..Counts::default()
    };
    let heads = [head("bypass", faulty(1, 0)), head("relay", faulty(0, 2))];
    assert_eq!(report(&heads).faults(), 3);
    assert_eq!(report(&[head("bypass", faulty(0, 0))]).faults(), 0);
}
