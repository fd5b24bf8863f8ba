use std::sync::Arc;
use std::sync::Mutex;

use irqbroker_core::ConsumerHandle;
use irqbroker_core::DeliveryState;
use irqbroker_core::LocalProducer;
use irqbroker_core::MsiMessage;
use irqbroker_core::Options;
use irqbroker_core::ProducerHandle;
use irqbroker_core::Reason;
use irqbroker_core::Registry;
use irqbroker_core::Rid;
use irqbroker_core::Vector;
use irqbroker_core::Wait;
use irqbroker_kvm::CountingVm;
use irqbroker_kvm::DestinationIds;
use irqbroker_kvm::EmbedderRoutes;
use irqbroker_kvm::IoctlCounts;
use irqbroker_kvm::IrqchipMode;
use irqbroker_kvm::KvmErrno;
use irqbroker_kvm::SimCallKind;
use irqbroker_kvm::SimHost;
use irqbroker_kvm::SimVm;
use irqbroker_kvm::VmDomain;
use irqbroker_kvm::conformance::VmShape;
use posted_irq::AmdIrte;
use posted_irq::AmdRemapped;
use posted_irq::ApicId;
use posted_irq::DteInterrupt;
use posted_irq::IntCtl;
use posted_irq::PiDescAddress;
use posted_irq::RemappableMsi;
use posted_irq::SourceId;
use posted_irq::SourceValidation;
use posted_irq::Urgency;
use posted_irq::VtdIrte;
use posted_irq::VtdPostTarget;
use posted_irq::VtdRemapped;

use super::*;

mod model;

/// 00:02.0, and its neighbour 00:03.0.
const DEVICE: Rid = Rid(2 << 3);
const NEIGHBOUR: Rid = Rid(3 << 3);
/// VT-d's table of 16 entries is at zero, AMD's device table too; interrupt tables follow it.
const AMD_TABLES: usize = 0x2000;
const MEMORY: usize = 0x3000;
const VECTOR: Vector = Vector(0x41);

#[derive(Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn write(&self, at: usize, bytes: &[u8]) {
        self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn write_vtd(&self, index: usize, entry: VtdIrte) {
        self.write(16 * index, &entry.into_bits().to_le_bytes());
    }
}

impl GuestMemory for Memory {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Unmapped> {
        self.0.lock().unwrap().as_slice().read(address, bytes)
    }
}

struct Bench<R: GuestRemapper> {
    vm: Arc<CountingVm<Arc<SimVm>>>,
    registry: Registry,
    memory: Memory,
    unit: Arc<RemappingUnit<R>>,
    faults: Arc<Mutex<Vec<R::Fault>>>,
}

struct Link {
    device: Arc<LocalProducer>,
    handle: ConsumerHandle,
    _producer: ProducerHandle,
}

impl<R: GuestRemapper<Fault: Copy>> Bench<R> {
    fn new(remapper: R, destination_ids: DestinationIds) -> Self {
        let shape = VmShape {
            irqchip: IrqchipMode::Split,
            destination_ids,
        };
        let vm = Arc::new(CountingVm::new(SimHost::default().vm(shape)));
        let domain = VmDomain::new(vm.clone(), EmbedderRoutes::none(), destination_ids).unwrap();
        let registry = Registry::with_options(Options::default()).unwrap();
        let memory = Memory(Arc::new(Mutex::new(vec![0; MEMORY])));
        let faults: Arc<Mutex<Vec<R::Fault>>> = Arc::default();
        let recorded = Arc::clone(&faults);
        let record = move |fault: &R::Fault| recorded.lock().unwrap().push(*fault);
        let unit = RemappingUnit::new(registry.clone(), domain, remapper, memory.clone(), record);
        Self {
            vm,
            registry,
            memory,
            unit,
            faults,
        }
    }

    fn link(&self, device: Rid, message: MsiMessage) -> Link {
        let local = LocalProducer::new("device").unwrap();
        let token = local.token().clone();
        let consumer = self.unit.msi("msi", device, message).unwrap();
        let producer = self
            .registry
            .register_producer(token.clone(), local.clone());
        Link {
            device: local,
            handle: self.registry.register_consumer(token, consumer).unwrap(),
            _producer: producer.unwrap(),
        }
    }

    fn settle(&self) {
        while self.registry.service(Wait::No).unwrap().events > 0 {}
        self.vm.inner().pump();
    }

    fn delivered(&self) -> u64 {
        self.vm.inner().delivered(VECTOR)
    }
}

fn state(link: &Link) -> (DeliveryState, Reason) {
    let delivery = link.handle.delivery().unwrap();
    (delivery.state, delivery.reason)
}

const BYPASS: (DeliveryState, Reason) = (DeliveryState::Bypass, Reason::Best);
const UNTRANSLATED: (DeliveryState, Reason) = (DeliveryState::Relay, Reason::Untranslated);

fn vtd() -> VtdRemapper {
    VtdRemapper {
        table: Some(Irta::new().with_s(3).with_eime(true)),
        compatibility: CompatibilityFormat::Blocked,
        posting: PostedInterrupts::Offered,
    }
}

fn vtd_entry(apic: u32) -> VtdRemapped {
    VtdRemapped::new()
        .with_p(true)
        .with_vector(VECTOR.0)
        .with_dst(apic)
        .with_svt(SourceValidation::Source)
        .with_sid(DEVICE.0)
}

fn handle(handle: u16) -> MsiMessage {
    let subhandle = None;
    let msi = RemappableMsi { handle, subhandle }.encode();
    MsiMessage {
        address: msi.address,
        data: msi.data,
    }
}

#[test]
fn entry_of_a_processor_beyond_the_vms_messages_is_no_route_and_drops_its_interrupt() {
    for (ids, expected) in [
        (DestinationIds::Bits8, UNTRANSLATED),
        (DestinationIds::Bits32, BYPASS),
    ] {
        let bench = Bench::new(vtd(), ids);
        bench.memory.write_vtd(3, vtd_entry(0x100).into());
        let link = bench.link(DEVICE, handle(3));
        assert_eq!(state(&link), expected);
        link.device.signal();
        bench.settle();
        assert_eq!(state(&link), expected);
        assert!(
            bench.faults.lock().unwrap().is_empty(),
            "no fault of the guest's"
        );
    }
}

#[test]
fn entry_that_posts_into_guest_memory_is_no_route_until_it_says_something_else() {
    let bench = Bench::new(vtd(), DestinationIds::Bits32);
    let target = VtdPostTarget {
        // Zeroes, which are a good descriptor.
        descriptor: PiDescAddress::new(0x1000).unwrap(),
        vector: VECTOR.0,
        urgency: Urgency::Normal,
    };
    let entry = VtdIrte::from(vtd_entry(0));
    bench.memory.write_vtd(3, entry.posting_to(target));
    let link = bench.link(DEVICE, handle(3));
    link.device.signal();
    bench.settle();
    assert_eq!((state(&link), bench.delivered()), (UNTRANSLATED, 0));
    bench.memory.write_vtd(3, entry);
    link.device.signal();
    bench.settle();
    assert_eq!((state(&link), bench.delivered()), (BYPASS, 1));
}

#[test]
fn unit_that_is_switched_on_and_off_translates_all_links_anew() {
    let off = VtdRemapper {
        table: None,
        ..vtd()
    };
    let bench = Bench::new(off, DestinationIds::Bits32);
    let compatible = MsiMessage {
        address: 0xfee0_0000,
        data: VECTOR.0.into(),
    };
    let link = bench.link(DEVICE, compatible);
    assert_eq!(state(&link), BYPASS, "passed");
    assert_eq!(bench.unit.reconfigure(vtd()).unwrap().links, 1);
    link.device.signal();
    bench.settle();
    assert_eq!((state(&link), bench.delivered()), (UNTRANSLATED, 0));
    let reasons: Vec<_> = bench.faults.lock().unwrap().drain(..).collect();
    assert!(matches!(
        reasons[..],
        [VtdFault {
            reason: VtdFaultReason::CompatibilityBlocked,
            ..
        }]
    ));
    assert_eq!(bench.unit.reconfigure(off).unwrap().links, 0);
    link.device.signal();
    bench.settle();
    assert_eq!((state(&link), bench.delivered()), (BYPASS, 1));
}

#[test]
fn link_that_left_is_named_by_no_invalidation() {
    let bench = Bench::new(vtd(), DestinationIds::Bits32);
    bench.memory.write_vtd(3, vtd_entry(0).into());
    drop(bench.link(DEVICE, handle(3)));
    assert_eq!(bench.unit.cached(), 0);
    let second = bench.link(DEVICE, handle(3));
    assert_eq!(bench.unit.cached(), 1);
    let global = bench.unit.invalidate(IecInvalidation::Global).unwrap();
    assert_eq!((global.links, state(&second)), (1, UNTRANSLATED));
}

#[test]
fn link_that_the_kernel_does_not_let_go_is_reported_and_the_others_are_demoted() {
    let bench = Bench::new(vtd(), DestinationIds::Bits32);
    bench.memory.write_vtd(3, vtd_entry(0).into());
    let links: Vec<Link> = (0..3).map(|_| bench.link(DEVICE, handle(3))).collect();
    bench
        .vm
        .inner()
        .fail_next(SimCallKind::DeassignIrqfd, KvmErrno::INVAL);
    let error = bench.unit.invalidate(IecInvalidation::Global).unwrap_err();
    for link in &links {
        let expected = match link.handle.link() == error.link {
            true => BYPASS,
            false => UNTRANSLATED,
        };
        assert_eq!(state(link), expected);
    }
}

fn amd() -> AmdRemapper {
    AmdRemapper {
        table: Some(AmdDeviceTable {
            base: 0,
            devices: 256,
        }),
        layout: AmdIrteLayout::Wide {
            apic_ids: ApicIdFormat::X2Apic,
            guest_mode: GuestMode::NotOffered,
        },
    }
}

/// A device table entry with an interrupt table of 16 entries, and its first entry.
fn write_amd(memory: &Memory, device: Rid, at: usize, entry: AmdRemapped) {
    let table = AMD_TABLES + 0x100 * at;
    let dte = DteInterrupt::new()
        .with_iv(true)
        .with_int_tab_len(4)
        .with_int_table(table as u64 >> 6)
        .with_int_ctl(IntCtl::Remap);
    memory.write(
        32 * usize::from(device.0) + 16,
        &dte.into_bits().to_le_bytes(),
    );
    let entry = AmdIrte::from(entry).into_bits();
    memory.write(table, &entry.to_le_bytes());
}

fn amd_entry() -> AmdRemapped {
    AmdRemapped::new()
        .with_remap_en(true)
        .with_vector(VECTOR.0)
        .with_destination(ApicId(0))
}

#[test]
fn amd_invalidation_of_a_device_demotes_its_links_and_logs_with_the_interrupt() {
    let bench = Bench::new(amd(), DestinationIds::Bits32);
    for (at, device) in [DEVICE, NEIGHBOUR].into_iter().enumerate() {
        write_amd(&bench.memory, device, at, amd_entry());
    }
    // Index 0, fixed.
    let first = MsiMessage {
        address: 0xfee0_0000,
        data: 0,
    };
    let [link, neighbour] = [DEVICE, NEIGHBOUR].map(|device| bench.link(device, first));
    assert_eq!([state(&link), state(&neighbour)], [BYPASS; 2]);
    write_amd(&bench.memory, DEVICE, 0, AmdRemapped::new());
    let before = bench.vm.counts();
    let command = AmdInvalidation::InterruptTable(SourceId(DEVICE.0));
    assert_eq!(bench.unit.invalidate(command).unwrap().links, 1);
    let spent = bench.vm.counts() - before;
    assert_eq!((spent.deassigns, spent.commits), (1, 0));
    assert_eq!([state(&link), state(&neighbour)], [UNTRANSLATED, BYPASS]);
    assert!(bench.faults.lock().unwrap().is_empty());
    link.device.signal();
    bench.settle();
    let faults: Vec<AmdFault> = bench.faults.lock().unwrap().drain(..).collect();
    assert!(matches!(faults[..], [AmdFault { event: Some(_), .. }]));
    write_amd(&bench.memory, DEVICE, 0, amd_entry());
    link.device.signal();
    bench.settle();
    assert_eq!((state(&link), bench.delivered()), (BYPASS, 1));
}
