use std::fs;

use irqbroker_core::Delivery;
use irqbroker_core::DeliveryState;
use irqbroker_core::Gsi;
use irqbroker_core::LinkSnapshot;
use irqbroker_core::LocalProducer;
use irqbroker_core::MsiMessage;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::Rid;
use irqbroker_core::RouteInfo;
use irqbroker_core::Unpostable;
use posted_irq::ApicMode;
use posted_irq::ApicOptions;
use posted_irq::DeliveryMode;
use posted_irq::LocalApic;
use posted_irq::SourceId;
use posted_irq::VcpuId;
use rustix::io::Errno;

use super::*;

mod parse;
mod route;

/// 3a:00.1, as in the remapping table below.
const DEVICE: Rid = Rid(0x3a << 8 | 1);

const APICV: &str = "sys/module/kvm_intel/parameters/enable_apicv";
const INTEL_POSTING: &str = "sys/module/kvm_intel/parameters/enable_device_posted_irqs";
const CAPABILITY: &str = "sys/class/iommu/dmar0/intel-iommu/cap";
const TABLE: &str = "sys/kernel/debug/iommu/intel/ir_translation_struct";
const INTERRUPTS: &str = "proc/interrupts";

const ROWS: &str = "\
           CPU0       CPU1
  9:          0          7  IR-IO-APIC    9-fasteoi   acpi
 24:          1          0  IR-PCI-MSIX-0000:3a:00.1    0-edge      vfio-msix[0](0000:3a:00.1)
PIN:        100         20   Posted-interrupt notification event
NPI:          0          0   Nested posted-interrupt event
PIW:          3          4   Posted-interrupt wakeup event
";

const ENTRIES: &str = "\
Remapped Interrupt supported on IOMMU: dmar0
 IR table address:100900000
 Entry SrcID   DstID    Vct IRTE_high\t\tIRTE_low
 0     3a:00.1 00000080 41  0000000000043a01\t000000800041000d

****

Posted Interrupt supported on IOMMU: dmar0
 IR table address:100900000
 Entry SrcID   PDA_high PDA_low  Vct IRTE_high\t\tIRTE_low
 7     3a:00.1 00000001 04c2d3c0 52  0000000100043a01\t04c2d3c00052800d
";

/// A host that posts: Linux 6.18 on Intel, asked as root.
const INTEL: &[(&str, &str)] = &[
    (APICV, "Y\n"),
    (INTEL_POSTING, "Y\n"),
    // Bit 59 (PI), among others.
    (CAPABILITY, "8d2078c106f0466\n"),
    (INTERRUPTS, ROWS),
    (TABLE, ENTRIES),
];

/// The same on AMD, with a kernel that has no parameter for device posting.
const AMD: &[(&str, &str)] = &[
    ("sys/module/kvm_amd/parameters/avic", "1\n"),
    // Bit 7 (GASup).
    (
        "sys/class/iommu/ivhd0/amd-iommu/features",
        "58f77ef22294ade\n",
    ),
    (INTERRUPTS, ROWS),
];

/// A host without an IOMMU.
const PLAIN: &[(&str, &str)] = &[
    (APICV, "Y\n"),
    (
        INTERRUPTS,
        "  24:  1  0  PCI-MSIX-0000:00:01.0 0-edge virtio0\nPIN: 0 0 Posted-interrupt\n",
    ),
];

/// A captured tree.
fn host(files: &[(&str, &str)]) -> HostPosting {
    let root = tempfile::tempdir().unwrap();
    for directory in ["sys/module", "sys/class/iommu"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    HostPosting::read(&HostRoot::at(root.path()))
}

fn with(
    files: &[(&'static str, &'static str)],
    change: (&'static str, &'static str),
) -> HostPosting {
    let mut files: Vec<_> = files
        .iter()
        .filter(|(path, _)| *path != change.0)
        .copied()
        .collect();
    files.push(change);
    host(&files)
}

fn without(files: &[(&'static str, &'static str)], path: &str) -> HostPosting {
    let files: Vec<_> = files
        .iter()
        .filter(|(at, _)| *at != path)
        .copied()
        .collect();
    host(&files)
}

/// Files that are there and may not be read.
struct Denied;

impl HostFiles for Denied {
    fn read(&self, _path: &str) -> Result<String, Errno> {
        Err(Errno::ACCESS)
    }
    fn list(&self, _path: &str) -> Result<Vec<String>, Errno> {
        Err(Errno::ACCESS)
    }
}

fn link(state: DeliveryState, reason: Reason) -> LinkSnapshot {
    // Ids are a registry's to make.
    let registry = Registry::new().unwrap();
    let producer = LocalProducer::new("gpu0.msix3").unwrap();
    let token = producer.token().clone();
    let handle = registry.register_producer(token, producer).unwrap();
    LinkSnapshot {
        source: Some(ProducerInfo {
            source_id: Some(DEVICE),
            ..ProducerInfo::edge()
        }),
        delivery: Delivery { state, reason },
        route: Some(RouteInfo::Msi {
            gsi: Some(Gsi(24)),
            message: message(0, 0x52),
        }),
        ..registry.link(handle.link()).unwrap()
    }
}

fn bypassed(message: MsiMessage) -> LinkSnapshot {
    LinkSnapshot {
        route: Some(RouteInfo::Msi {
            gsi: Some(Gsi(24)),
            message,
        }),
        ..link(DeliveryState::Bypass, Reason::Best)
    }
}

const fn message(apic: u64, data: u32) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000 | apic << 12,
        data,
    }
}

/// Two vCPUs.
fn vm() -> VmView {
    let apic = |id| LocalApic {
        vcpu: VcpuId(id),
        x2apic_id: id,
        mode: ApicMode::X2Apic,
        software_enabled: true,
        priority: 0,
    };
    VmView {
        irqchip: Irqchip::Full,
        message_ids: MessageIds::Bits8,
        apics: Some(ApicMap::new(vec![apic(0), apic(1)], ApicOptions::default())),
    }
}

const POSTED: InterruptPath = InterruptPath::Bypass(KernelDelivery::Posted);
const THROUGH_HOST: InterruptPath = InterruptPath::Bypass(KernelDelivery::ThroughHost);

fn assert_answer(
    answer: PathAnswer,
    path: InterruptPath,
    evidence: Evidence,
    why_not: Option<WhyNot>,
) {
    let got = (answer.path, answer.evidence, answer.why_not);
    assert_eq!(got, (path, evidence, why_not), "{answer}");
}

#[test]
fn explain_of_an_entry_in_the_remapping_table_is_told_and_without_one_inferred() {
    let link = bypassed(message(0, 0x52));
    let shown = explain(&link, &vm(), &host(INTEL));
    assert_answer(shown, POSTED, Evidence::Told, None);
    assert_eq!(shown.to_string(), "bypass, posted by the kernel");
    let not_shown = explain(&link, &vm(), &without(INTEL, TABLE));
    assert_answer(not_shown, POSTED, Evidence::Inferred, None);
    let amd = explain(&link, &vm(), &host(AMD));
    assert_answer(amd, POSTED, Evidence::Inferred, None);
}

#[test]
fn explain_of_a_link_that_nothing_keeps_from_posting_and_no_entry_posts_says_so() {
    // The table has the vector only in remapped format.
    let answer = explain(&bypassed(message(0, 0x41)), &vm(), &host(INTEL));
    let why = Some(WhyNot::NotConnected);
    assert_answer(answer, THROUGH_HOST, Evidence::Inferred, why);
    assert_eq!(answer.remedy, Some(Remedy::KernelLog));
}

#[test]
fn explain_names_what_the_host_lacks_and_what_would_change_it() {
    let link = bypassed(message(0, 0x52));
    let cases = [
        (host(&[]), HostLacks::Backend, Evidence::Told),
        (host(PLAIN), HostLacks::Iommu, Evidence::Inferred),
        (
            with(AMD, ("sys/module/kvm_amd/parameters/avic", "N")),
            HostLacks::Apic,
            Evidence::Told,
        ),
        (
            with(INTEL, (INTEL_POSTING, "N")),
            HostLacks::DevicePosting,
            Evidence::Told,
        ),
        (
            with(PLAIN, (CAPABILITY, "8d2078c106f0466")),
            HostLacks::Remapping,
            Evidence::Inferred,
        ),
        (
            with(PLAIN, (INTEL_POSTING, "N")),
            HostLacks::Iommu,
            Evidence::Told,
        ),
    ];
    for (host, lacks, evidence) in cases {
        let answer = explain(&link, &vm(), &host);
        assert_answer(answer, THROUGH_HOST, evidence, Some(WhyNot::Host(lacks)));
        // Other hardware is nothing that the user can do something about here.
        assert_eq!(
            answer.remedy.is_none(),
            lacks == HostLacks::Iommu,
            "{answer}"
        );
    }
}

#[test]
fn explain_on_a_host_that_shows_nothing_says_that_it_does_not_know() {
    let link = bypassed(message(0, 0x52));
    let denied = HostPosting::read(&Denied);
    let answer = explain(&link, &vm(), &denied);
    let unknown = InterruptPath::Bypass(KernelDelivery::Unknown);
    assert_answer(answer, unknown, Evidence::Inferred, Some(WhyNot::Unknown));
    assert_eq!(answer.remedy, Some(Remedy::Root));
}

#[test]
fn explain_of_notifications_between_two_looks_infers_that_the_host_posts() {
    let link = bypassed(message(0, 0x52));
    // Neither parameter nor capability readable, as in a container.
    let only_rows = |rows| {
        host(&[
            ("sys/class/iommu/dmar0/x", ""),
            (APICV, "?"),
            (INTERRUPTS, rows),
        ])
    };
    let earlier = only_rows(ROWS);
    let unmoved = only_rows(ROWS).since(&earlier);
    assert_eq!(unmoved.can_post(), CanPost::Unknown);
    let by_the_kernel = "PIN: 900 20\nNPI: 9 0\nPIW: 3 4\n 9: 1 IR-IO-APIC";
    let injected = only_rows(by_the_kernel).since(&earlier);
    assert_eq!(injected.can_post(), CanPost::Unknown);
    let moved = "PIN: 100 20\nNPI: 0 0\nPIW: 3 5\n 9: 1 IR-IO-APIC";
    let later = only_rows(moved).since(&earlier);
    let woken = PostedCounts {
        woken: 1,
        ..PostedCounts::default()
    };
    assert_eq!(later.activity, Some(woken));
    assert_eq!(later.can_post(), CanPost::Yes(Evidence::Inferred));
    assert_answer(
        explain(&link, &vm(), &later),
        POSTED,
        Evidence::Inferred,
        None,
    );
}
