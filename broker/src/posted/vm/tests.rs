use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use irqbroker_core::MsiMessage;
use irqbroker_core::Producer;
use irqbroker_core::ProducerInfo;
use irqbroker_core::Rid;
use irqbroker_core::Token;
use posted_irq::ApicMode;
use posted_irq::Blocked;

use super::*;
use crate::posted::PostedConsumer;

/// The device of these tests: 01:02.3.
const DEVICE: Rid = Rid(1 << 8 | 2 << 3 | 3);
const TWO: NonZero<u16> = NonZero::new(2).unwrap();

pub(crate) struct Bench {
    pub(crate) vm: Arc<PostedVm>,
    pub(crate) vcpus: Vec<PostedVcpu>,
    pub(crate) kicks: Vec<Arc<AtomicU32>>,
}

impl Bench {
    /// Two vCPUs with the APIC ids 0 and 1, two processors, four messages.
    pub(crate) fn new() -> Self {
        let kicks: Vec<Arc<AtomicU32>> = (0..2).map(|_| Arc::default()).collect();
        let setups = (0..).zip(&kicks).map(|(id, kicks)| VcpuSetup {
            apic: LocalApic {
                vcpu: VcpuId(0),
                x2apic_id: id,
                mode: ApicMode::X2Apic,
                software_enabled: true,
                priority: 0,
            },
            kick: {
                let kicks = Arc::clone(kicks);
                Arc::new(move || _ = kicks.fetch_add(1, SeqCst))
            },
        });
        let (vm, vcpus) = PostedVm::new(TWO, 4, setups.collect()).unwrap();
        Self { vm, vcpus, kicks }
    }

    /// A consumer with a producer.
    pub(crate) fn bound(&self, message: MsiMessage) -> Arc<PostedConsumer> {
        let consumer = self.vm.msi("test", DEVICE, message).unwrap();
        bind(&consumer).unwrap();
        consumer
    }

    fn kicked(&self, vcpu: usize) -> u32 {
        self.kicks[vcpu].swap(0, SeqCst)
    }
}

pub(crate) fn bind(consumer: &PostedConsumer) -> Result<(), irqbroker_core::PeerError> {
    use irqbroker_core::Consumer;
    let producer = irqbroker_core::LocalProducer::new("device").unwrap();
    let token: &Token = producer.token();
    consumer.add_producer(&ProducerInfo::edge(), token)?;
    assert_eq!(producer.name(), "device");
    Ok(())
}

pub(crate) fn message(vcpu: u64, vector: u8) -> MsiMessage {
    MsiMessage {
        address: 0xfee0_0000 | vcpu << 12,
        data: vector.into(),
    }
}

#[test]
fn posts_to_a_loaded_vcpu_kick_once_until_it_has_looked() {
    let mut bench = Bench::new();
    let consumer = bench.bound(message(0, 0x41));
    bench.vcpus[0].load(0);
    assert!(matches!(consumer.post(), Ok(Post::Notify(_))));
    assert_eq!(consumer.post(), Ok(Post::Coalesced));
    assert_eq!((bench.kicked(0), bench.kicked(1)), (1, 0));
    bench.vcpus[0].harvest();
    assert_eq!(bench.vcpus[0].accept(), Some(0x41));
    assert!(matches!(consumer.post(), Ok(Post::Notify(_))));
    assert_eq!(bench.kicked(0), 1);
}

#[test]
fn posts_to_a_preempted_vcpu_are_silent_and_found_when_it_is_loaded() {
    let mut bench = Bench::new();
    let consumer = bench.bound(message(1, 0x41));
    bench.vcpus[1].load(1);
    bench.vcpus[1].preempt();
    assert_eq!(consumer.post(), Ok(Post::Silent));
    assert_eq!(bench.kicked(1), 0);
    bench.vcpus[1].load(0);
    assert_eq!(bench.vcpus[1].accept(), Some(0x41));
}

#[test]
fn blocked_vcpu_is_kicked_by_the_next_post_and_does_not_sleep_on_an_earlier_one() {
    let mut bench = Bench::new();
    let consumer = bench.bound(message(0, 0x41));
    bench.vcpus[0].load(1);
    assert_eq!(bench.vcpus[0].block(), Blocked::Sleep);
    assert!(matches!(consumer.post(), Ok(Post::Notify(_))));
    assert_eq!(bench.kicked(0), 1);
    bench.vcpus[0].load(1);
    assert_eq!(bench.vcpus[0].accept(), Some(0x41));
    assert!(matches!(consumer.post(), Ok(Post::Notify(_))));
    assert_eq!(bench.vcpus[0].block(), Blocked::Wake);
}

#[test]
fn notification_follows_a_vcpu_that_changed_its_processor() {
    let mut bench = Bench::new();
    let consumer = bench.bound(message(0, 0x41));
    bench.vcpus[0].load(0);
    bench.vcpus[1].load(0);
    bench.vcpus[0].load(1);
    let Ok(Post::Notify(notification)) = consumer.post() else {
        panic!("the vcpu is loaded");
    };
    assert_eq!(notification.destination, 1);
    assert_eq!((bench.kicked(0), bench.kicked(1)), (1, 0));
}

#[test]
fn message_of_another_device_is_refused_and_posts_nothing() {
    let mut bench = Bench::new();
    let consumer = bench.bound(message(0, 0x41));
    let MsiMessage { address, data } = consumer.device_message();
    let source_id = SourceId(DEVICE.0 + 1);
    let refused = MessageFault::Refused {
        source_id,
        reason: VtdFaultReason::SourceId,
    };
    assert_eq!(
        bench.vm.deliver(source_id, Msi { address, data }),
        Err(refused)
    );
    bench.vcpus[0].load(0);
    assert!(bench.vcpus[0].registers().is_idle());
    let own = bench.vm.deliver(SourceId(DEVICE.0), Msi { address, data });
    assert!(matches!(own, Ok(Post::Notify(_))));
}

#[test]
fn message_that_names_no_entry_is_refused_with_hardwares_reason() {
    let bench = Bench::new();
    let source_id = SourceId(DEVICE.0);
    let handle = |handle| {
        RemappableMsi {
            handle,
            subhandle: None,
        }
        .encode()
    };
    let compatible = Msi {
        address: 0xfee0_0000,
        data: 0x41,
    };
    for (msi, reason) in [
        (handle(0), VtdFaultReason::NotPresent),
        (handle(4), VtdFaultReason::IndexOutOfRange),
        (compatible, VtdFaultReason::CompatibilityBlocked),
    ] {
        let refused = MessageFault::Refused { source_id, reason };
        assert_eq!(bench.vm.deliver(source_id, msi), Err(refused));
    }
}
