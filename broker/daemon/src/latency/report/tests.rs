use super::*;

fn measured(path: LatencyPath, nanoseconds: u64) -> Measured {
    let mut latencies = Latencies::new().unwrap();
    for _ in 0..100 {
        latencies.record(nanoseconds);
    }
    Measured {
        path,
        latencies,
        lost: 0,
        invented: 0,
        syscalls_per_event: (path == LatencyPath::Relay).then_some(3.0),
        broker_wakeups: (path == LatencyPath::Bypass).then_some(0),
    }
}

fn report(measured: &[Measured]) -> LatencyReport {
    let machine = Machine {
        kernel: "6.18.44".to_owned(),
        cpu: "Test CPU".to_owned(),
    };
    LatencyReport::new(
        measured,
        HaltPoll::from(irqbroker_guest::HaltPoll::Set(0)),
        machine,
    )
}

/// Powers of two, which the histogram holds exactly.
fn all() -> Vec<Measured> {
    vec![
        measured(LatencyPath::RawIrqfd, 1024),
        measured(LatencyPath::Bypass, 1024),
        measured(LatencyPath::BareRelay, 2048),
        measured(LatencyPath::Relay, 2048),
        measured(LatencyPath::SignalMsi, 1024),
        measured(LatencyPath::Posted, 2048),
        measured(LatencyPath::Userspace, 4096),
    ]
}

#[test]
fn json_has_every_key_of_the_contract() {
    let json = serde_json::to_value(report(&all())).unwrap();
    assert_eq!(json["paths"].as_array().unwrap().len(), 7);
    for path in json["paths"].as_array().unwrap() {
        for key in [
            "path",
            "samples",
            "lost",
            "invented",
            "latency_us",
            "ratio_to_raw_irqfd",
            "ratio_to_bare",
            "ratio_to_userspace",
            "syscalls_per_event",
            "broker_wakeups",
        ] {
            assert!(path.get(key).is_some(), "{key} is missing in {path}");
        }
        for key in ["p50", "p90", "p99", "p999", "max"] {
            assert!(
                path["latency_us"][key].is_f64(),
                "{key} is missing in {path}"
            );
        }
    }
    assert_eq!(json["halt_poll_ns"], 0);
    assert_eq!(json["order"], "randomised blocks");
    assert_eq!(json["paths"][0]["path"], "raw-irqfd");
}

#[test]
fn ratios_are_of_medians_to_the_references_of_the_run() {
    let json = serde_json::to_value(report(&all())).unwrap();
    let relay = &json["paths"][3];
    assert!(
        (relay["ratio_to_raw_irqfd"].as_f64().unwrap() - 2.0).abs() < 0.01,
        "{relay}"
    );
    assert!(
        (relay["ratio_to_bare"].as_f64().unwrap() - 1.0).abs() < 0.001,
        "{relay}"
    );
}

#[test]
fn ratios_without_their_reference_are_null() {
    let json = serde_json::to_value(report(&[measured(LatencyPath::Relay, 2048)])).unwrap();
    assert!(json["paths"][0]["ratio_to_raw_irqfd"].is_null());
    assert!(json["paths"][0]["ratio_to_bare"].is_null());
}

#[test]
fn meaning_compares_each_path_with_its_floor() {
    assert_eq!(
        report(&all()).meaning(),
        "Nothing lost, nothing invented: a bypassed link takes 1.00× a raw irqfd, the relay 1.00× \
         the barest forwarding loop, posting 0.50× the plain way in user space."
    );
}

#[test]
fn meaning_of_a_loss_on_any_path_is_a_defect() {
    let mut paths = all();
    paths[3].lost = 1;
    assert!(report(&paths).meaning().contains("lost: 1, invented: 0"));
}

#[test]
fn display_has_one_row_for_each_path_and_the_conditions() {
    let text = report(&all()).to_string();
    for path in LatencyPath::ALL {
        let rows = text.lines().filter(|line| line.starts_with(path.as_str()));
        assert_eq!(rows.count(), 1, "{text}");
    }
    assert!(
        text.contains("halt polling off") && text.contains("6.18.44"),
        "{text}"
    );
}

#[test]
fn faults_are_what_was_lost_and_what_was_invented_on_all_paths() {
    let mut paths = all();
    assert_eq!(report(&paths).faults(), 0);
    paths[1].lost = 2;
    paths[3].invented = 1;
    assert_eq!(report(&paths).faults(), 3);
}
