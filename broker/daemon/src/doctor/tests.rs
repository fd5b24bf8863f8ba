//! Judging made-up hosts.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use irqbroker_vfio::ContainerError;
use irqbroker_vfio::ContainerSupport;
use irqbroker_vfio::IommuModel;
use rustix::io::Errno;

use super::check::Answer;
use super::check::Check;
use super::check::Status;
use super::host::Bounds;
use super::host::EventfdFacts;
use super::host::Host;
use super::host::KvmQuestion;
use super::host::Limit;
use super::report::DoctorReport;
use super::run::examine;
use super::verdict::Works;

const DEVICE_POSTING: &str = "/sys/module/kvm_intel/parameters/enable_device_posted_irqs";

/// A host with everything, to take things away from.
struct FakeHost {
    kvm_open: Answer<()>,
    kvm_version: Answer<i32>,
    without: Option<KvmQuestion>,
    files: BTreeMap<&'static str, &'static str>,
    directories: BTreeMap<&'static str, &'static [&'static str]>,
    nodes: Answer<()>,
    container: Option<Errno>,
    eventfd: EventfdFacts,
    hard_limit: Option<u64>,
    cpus: usize,
}

impl FakeHost {
    fn with_everything() -> Self {
        Self {
            kvm_open: Ok(()),
            kvm_version: Ok(12),
            without: None,
            files: BTreeMap::from([
                ("/sys/module/kvm_intel/parameters/enable_apicv", "Y"),
                (DEVICE_POSTING, "Y"),
                ("/sys/module/kvm/parameters/halt_poll_ns", "200000"),
                (
                    "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
                    "Y",
                ),
                // Bit 59 (PI) of the VT-d capability register, among others.
                ("/sys/class/iommu/dmar0/intel-iommu/cap", "8d2078c106f0466"),
                (
                    "/proc/interrupts",
                    "CPU0\n 16: 9 IR-IO-APIC 16-fasteoi ehci",
                ),
                ("/proc/sys/fs/nr_open", "1048576"),
                ("/proc/sys/kernel/osrelease", "6.18.44"),
                (
                    "/sys/devices/system/cpu/cpuidle/current_driver",
                    "intel_idle",
                ),
                ("/sys/devices/system/cpu/cpuidle/current_governor", "menu"),
            ]),
            directories: BTreeMap::from([
                ("/sys/module", &["kvm", "kvm_intel"][..]),
                ("/sys/class/iommu", &["dmar0"][..]),
                ("/sys/kernel/iommu_groups", &["0", "1"][..]),
                ("/dev/vfio/devices", &["vfio0"][..]),
            ]),
            nodes: Ok(()),
            container: None,
            eventfd: EventfdFacts {
                id: Some(3),
                shows_semaphore: true,
                same_file: Some(true),
            },
            hard_limit: None,
            cpus: 8,
        }
    }

    /// Everything fails with one error number.
    fn refusing(errno: Errno) -> Self {
        Self {
            kvm_open: Err(errno),
            kvm_version: Err(errno),
            without: None,
            files: BTreeMap::new(),
            directories: BTreeMap::new(),
            nodes: Err(errno),
            container: Some(errno),
            eventfd: EventfdFacts {
                id: None,
                shows_semaphore: false,
                same_file: None,
            },
            hard_limit: Some(1024),
            cpus: 1,
        }
    }
}

impl Host for FakeHost {
    fn kvm_node(&self) -> &Path {
        Path::new("/dev/kvm")
    }

    fn kvm(&self, question: KvmQuestion) -> Answer<i32> {
        self.kvm_open?;
        match question {
            KvmQuestion::Open => Ok(0),
            KvmQuestion::ApiVersion => self.kvm_version,
            question => {
                self.kvm_version.expect("asked something that is not kvm");
                match (Some(question) == self.without, question) {
                    (true, KvmQuestion::Extension(_)) => Ok(0),
                    (true, _) => Err(Errno::INVAL),
                    (false, KvmQuestion::Extension(_)) => Ok(4096),
                    (false, _) => Ok(0),
                }
            }
        }
    }

    fn read(&self, path: &str) -> Answer<String> {
        let text = self.files.get(path).ok_or(Errno::NOENT)?;
        Ok((*text).to_owned())
    }

    fn list(&self, path: &str) -> Answer<Vec<String>> {
        let names = self.directories.get(path).ok_or(Errno::NOENT)?;
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn open(&self, _path: &str) -> Answer<()> {
        self.nodes
    }

    fn vfio_container(&self) -> Result<ContainerSupport, ContainerError> {
        let source = |errno: Errno| io::Error::from(errno);
        match self.container {
            None => Ok(ContainerSupport {
                api_version: 0,
                iommu_model: IommuModel::Type1V2,
            }),
            Some(Errno::ACCESS) => Err(ContainerError::Denied {
                source: source(Errno::ACCESS),
            }),
            Some(errno) => Err(ContainerError::Missing {
                source: source(errno),
            }),
        }
    }

    fn eventfd(&self) -> EventfdFacts {
        self.eventfd
    }

    fn limit(&self, _limit: Limit) -> Bounds {
        Bounds {
            soft: Some(1024),
            hard: self.hard_limit,
        }
    }

    fn cpus(&self) -> usize {
        self.cpus
    }
}

fn check<'a>(report: &'a DoctorReport, name: &str) -> &'a Check {
    let found = report.checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("no check called {name}"))
}

#[test]
fn host_with_everything_is_all_found_and_all_works() {
    let report = examine(&FakeHost::with_everything());
    for check in &report.checks {
        assert_eq!(check.status, Status::Found, "{check:?}");
    }
    assert_eq!(
        report.verdict.to_string(),
        "bypass: yes; level bypass: yes; relay: yes; vfio: yes; kernel posting (inferred): yes"
    );
}

#[test]
fn host_with_nothing_finds_nothing_and_nothing_works() {
    let report = examine(&FakeHost::refusing(Errno::NOENT));
    for check in &report.checks {
        assert_ne!(check.status, Status::Found, "{check:?}");
    }
    assert_eq!(
        report.verdict.to_string(),
        "bypass: no; level bypass: no; relay: no; vfio: no; kernel posting (inferred): no"
    );
    let node = check(&report, "kvm device node");
    assert_eq!(node.answer, "errno 2 ENOENT");
    assert!(
        node.detail.contains("load kvm_intel or kvm_amd"),
        "{node:?}"
    );
}

#[test]
fn host_that_denies_is_told_from_one_that_lacks() {
    let report = examine(&FakeHost::refusing(Errno::ACCESS));
    for name in ["kvm device node", "vfio container", "iommufd", "udmabuf"] {
        let check = check(&report, name);
        assert_eq!(check.status, Status::Denied, "{check:?}");
        assert_eq!(check.answer, "errno 13 EACCES", "{check:?}");
    }
    assert!(
        check(&report, "kvm device node")
            .detail
            .contains("usermod -aG kvm")
    );
}

#[test]
fn node_that_is_not_kvm_is_found_but_asked_nothing_more() {
    // The fake panics if it is asked more.
    let report = examine(&FakeHost {
        kvm_version: Err(Errno::NOTTY),
        ..FakeHost::with_everything()
    });
    let api = check(&report, "kvm api");
    assert_eq!(check(&report, "kvm device node").status, Status::Found);
    assert_eq!(
        (api.status, api.answer.as_str()),
        (Status::Missing, "errno 25 ENOTTY")
    );
    assert_eq!(check(&report, "irqfd").answer, "not asked");
    assert_eq!(report.verdict.bypass, Works::No);
}

#[test]
fn a_missing_extension_or_irqchip_takes_only_what_rests_on_it() {
    let without = |question| {
        let host = FakeHost {
            without: Some(question),
            ..FakeHost::with_everything()
        };
        let verdict = examine(&host).verdict;
        (verdict.bypass, verdict.level_bypass, verdict.relay)
    };
    let routing = KvmQuestion::Extension(kvm_bindings::KVM_CAP_IRQ_ROUTING);
    let signal_msi = KvmQuestion::Extension(kvm_bindings::KVM_CAP_SIGNAL_MSI);
    let (yes, no) = (Works::Yes, Works::No);
    assert_eq!(without(routing), (no, yes, yes));
    assert_eq!(without(signal_msi), (yes, yes, no));
    // MSIs need either irqchip, level interrupts the full one.
    assert_eq!(without(KvmQuestion::FullIrqchip), (yes, no, yes));
    assert_eq!(without(KvmQuestion::SplitIrqchip), (yes, yes, yes));
    assert_eq!(without(KvmQuestion::Irqfd), (no, no, yes));
    assert_eq!(without(KvmQuestion::ResampleIrqfd), (yes, no, yes));
}

#[test]
fn call_and_answer_are_what_the_kernel_was_asked_and_said() {
    let report = examine(&FakeHost::with_everything());
    let routing = check(&report, "KVM_CAP_IRQ_ROUTING");
    assert_eq!(
        routing.call,
        "ioctl(/dev/kvm, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING)"
    );
    assert_eq!(routing.answer, "4096");
    assert!(routing.detail.starts_with("4096 entries"), "{routing:?}");
}

#[test]
fn iommu_that_cannot_post_is_told_from_one_that_does_not_say() {
    let with_cap = |cap: Option<&'static str>| {
        let mut host = FakeHost::with_everything();
        // A kernel that does not say by itself.
        host.files.remove(DEVICE_POSTING);
        host.files.remove("/sys/class/iommu/dmar0/intel-iommu/cap");
        if let Some(cap) = cap {
            host.files
                .insert("/sys/class/iommu/dmar0/intel-iommu/cap", cap);
        }
        let report = examine(&host);
        (
            check(&report, "posting iommu").status,
            report.verdict.kernel_posting,
        )
    };
    // Everything but bit 59.
    assert_eq!(
        with_cap(Some("f7ffffffffffffff")),
        (Status::Missing, Works::No)
    );
    assert_eq!(with_cap(None), (Status::Unknown, Works::Unknown));
}

#[test]
fn kernel_that_says_whether_it_posts_is_believed() {
    let with_parameter = |parameter| {
        let mut host = FakeHost::with_everything();
        host.files.insert(DEVICE_POSTING, parameter);
        // Which a kernel that posts has looked at.
        host.files.remove("/proc/interrupts");
        examine(&host).verdict.kernel_posting
    };
    assert_eq!(with_parameter("Y"), Works::Yes);
    assert_eq!(with_parameter("N"), Works::No);
}

#[test]
fn json_has_every_key_of_the_contract() {
    let json = serde_json::to_value(examine(&FakeHost::with_everything())).unwrap();
    for check in json["checks"].as_array().unwrap() {
        for key in [
            "name", "status", "detail", "cost", "call", "answer", "group",
        ] {
            let value = check[key].as_str();
            assert!(
                value.is_some_and(|text| !text.is_empty()),
                "{key} is missing in {check}"
            );
        }
    }
    assert_eq!(json["checks"][0]["status"], "found");
    assert_eq!(json["verdict"]["bypass"], "yes");
}

#[test]
fn check_names_are_unique() {
    let report = examine(&FakeHost::with_everything());
    let mut names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn display_fits_a_hundred_columns() {
    for host in [
        FakeHost::with_everything(),
        FakeHost::refusing(Errno::NOENT),
    ] {
        for line in examine(&host).to_string().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn display_tells_the_cost_only_of_what_is_not_found() {
    let found = examine(&FakeHost::with_everything()).to_string();
    let missing = examine(&FakeHost::refusing(Errno::NOENT)).to_string();
    let cost = "→ producer and consumer cannot be matched";
    assert!(!found.contains(cost));
    assert!(missing.contains(cost));
}
