use super::*;

/// A host that is over in a moment: 16 vCPUs on 4 processors.
const SMALL: SimConfig = SimConfig {
    seed: 1,
    processors: 4,
    vms: 4,
    vcpus_per_vm: 4,
    entries: 200,
    fault: None,
};

/// 256 vCPUs on 32 processors, in VMs larger than a cluster of 16.
const MIDDLE: SimConfig = SimConfig {
    seed: 2,
    processors: 32,
    vms: 8,
    vcpus_per_vm: 32,
    entries: 5_000,
    fault: None,
};

const MILLISECOND: u64 = 1_000_000;

fn run(config: SimConfig, milliseconds: u64) -> Result<SimReport, SimViolation> {
    let mut host = SimHost::new(config)?;
    host.run_until(milliseconds * MILLISECOND)?;
    host.finish()
}

#[test]
fn scale_small_hosts_of_many_seeds_violate_nothing() {
    for seed in 0..20 {
        // From one vCPU on a processor to more than a wakeup list's worth.
        let processors = 1 << (seed % 5);
        let config = SimConfig {
            seed,
            processors,
            ..SMALL
        };
        let report = run(config, 50).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(
            report.posted,
            report.delivered + report.coalesced + report.discarded
        );
    }
}

#[test]
fn scale_middle_host_violates_nothing_and_everything_happens() {
    let report = run(MIDDLE, 100).unwrap();
    let SimReport {
        posted,
        coalesced,
        discarded,
        silent,
        spurious,
        wakeups,
        synthesised,
        unclaimed,
        refused,
        preemptions,
        migrations,
        ..
    } = report;
    // Two thousand a second for each vCPU, for a tenth of a second, some to VMs that are away.
    assert!(posted > 40_000, "{posted}");
    for (what, count) in [
        ("coalesced", coalesced),
        ("discarded", discarded),
        ("silent", silent),
        ("spurious", spurious),
        ("wakeups", wakeups),
        ("synthesised", synthesised),
        ("unclaimed", unclaimed),
        ("refused", refused),
        ("preemptions", preemptions),
        ("migrations", migrations),
    ] {
        assert!(count > 0, "{what}");
    }
    for cause in SimCause::ALL {
        assert!(report.changes(cause).events > 0, "{cause:?}");
    }
}

#[test]
fn scale_invalidations_are_one_for_a_change_and_none_where_hardware_has_nothing_old() {
    let report = run(MIDDLE, 50).unwrap();
    for cause in [SimCause::Retarget, SimCause::Promote, SimCause::Demote] {
        let changes = report.changes(cause);
        assert_eq!(changes.events, changes.invalidations, "{cause:?}");
    }
    for cause in [SimCause::StayRemapped, SimCause::HostMovedPosted] {
        assert_eq!(report.changes(cause).invalidations, 0, "{cause:?}");
    }
    // One for a device's whole block.
    assert_eq!(
        report.changes(SimCause::Unplug).invalidations,
        report.refused
    );
}

#[test]
fn scale_runs_of_one_seed_are_the_same_and_of_two_are_not() {
    let other = SimConfig { seed: 2, ..SMALL };
    assert_eq!(run(SMALL, 20), run(SMALL, 20));
    assert_ne!(run(SMALL, 20), run(other, 20));
}

#[test]
fn scale_every_planted_fault_is_caught() {
    // Several seeds, so that none of them is a lucky one.
    for (fault, seed) in SimFault::ALL
        .iter()
        .flat_map(|fault| [1, 2, 3].map(|seed| (*fault, seed)))
    {
        let config = SimConfig {
            fault: Some(fault),
            seed,
            ..SMALL
        };
        let violation = run(config, 500).expect_err(&format!("{fault:?}"));
        let named = match fault {
            SimFault::NoInvalidation => matches!(
                violation,
                SimViolation::Stale { .. }
                    | SimViolation::Freed { .. }
                    | SimViolation::Remains { .. }
            ),
            SimFault::UnpostableKeepsEntry => matches!(violation, SimViolation::Stale { .. }),
            SimFault::EndKeepsEntries => matches!(violation, SimViolation::Freed { .. }),
            SimFault::HostMoveOverwrites => matches!(violation, SimViolation::Entry { .. }),
            SimFault::SleepsThroughWake | SimFault::WakeupIgnored => {
                matches!(violation, SimViolation::Overslept { .. })
            }
            SimFault::LoadedElsewhere => matches!(violation, SimViolation::Astray { .. }),
            SimFault::NotifiesInSilence => matches!(violation, SimViolation::Notified { .. }),
            SimFault::DeliversTwice => matches!(violation, SimViolation::Invented { .. }),
            SimFault::LeaksVcpu => matches!(violation, SimViolation::Wakeups { .. }),
        };
        assert!(named, "{fault:?}: {violation}");
    }
}
