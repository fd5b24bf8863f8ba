use proptest::prelude::*;

use super::*;
use crate::pi_desc::Post;
use crate::pir::Pir;

const VECTORS: NotificationVectors = NotificationVectors::LINUX;
/// Two processors' ids, told apart from each other and from zero.
const IDS: [u32; 2] = [0x11, 0x22];

fn processors() -> [Arc<Processor>; 2] {
    IDS.map(|ndst| Arc::new(Processor::new(ndst)))
}

fn woken(processor: &Processor) -> Vec<VcpuId> {
    let mut named = Vec::new();
    processor.wake(|vcpu| named.push(vcpu));
    named
}

fn notify(vector: u8, destination: u32) -> Post {
    Post::Notify(Notification {
        vector,
        destination,
    })
}

#[test]
fn loaded_vcpu_is_notified_where_it_runs() {
    let [first, second] = processors();
    let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
    vcpu.load(&first);
    assert_eq!(vcpu.desc().post(0x41), notify(0xf2, IDS[0]));
    vcpu.desc().drain();
    vcpu.load(&second);
    assert_eq!(vcpu.desc().post(0x41), notify(0xf2, IDS[1]));
}

#[test]
fn preempted_vcpu_is_left_alone_and_finds_its_posts_at_the_load() {
    for destination in [0, 1] {
        let processors = processors();
        let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
        vcpu.load(&processors[0]);
        vcpu.preempt().unwrap();
        assert_eq!(vcpu.desc().post(0x41), Post::Silent);
        assert!(vcpu.load(&processors[destination]));
        assert_eq!(vcpu.desc().drain(), Pir::from_iter([0x41]));
    }
}

#[test]
fn blocked_vcpu_is_woken_by_the_wakeup_vector_of_its_processor() {
    let [first, second] = processors();
    let mut vcpu = PiVcpu::new(VcpuId(7), VECTORS);
    vcpu.load(&first);
    assert_eq!(vcpu.block(), Ok(Blocked::Sleep));
    assert_eq!(woken(&first), []);
    assert_eq!(vcpu.desc().post(0x41), notify(0xf1, IDS[0]));
    assert_eq!(woken(&first), [VcpuId(7)]);
    assert_eq!(woken(&second), []);
    assert!(vcpu.load(&second));
    assert_eq!((first.blocked(), second.blocked()), (0, 0));
    assert_eq!(vcpu.desc().control().nv(), 0xf2);
}

#[test]
fn vcpu_that_blocks_with_a_notification_outstanding_is_not_to_sleep() {
    let [first, _] = processors();
    let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
    vcpu.load(&first);
    assert_eq!(vcpu.desc().post(0x41), notify(0xf2, IDS[0]));
    assert_eq!(vcpu.block(), Ok(Blocked::Wake));
    assert_eq!(woken(&first), [VcpuId(0)]);
}

#[test]
fn wakeup_names_only_the_vcpus_that_were_posted_to() {
    let [first, _] = processors();
    let mut vcpus = [0, 1, 2].map(|id| PiVcpu::new(VcpuId(id), VECTORS));
    for vcpu in &mut vcpus {
        vcpu.load(&first);
        vcpu.block().unwrap();
    }
    vcpus[1].desc().post(0x41);
    assert_eq!(woken(&first), [VcpuId(1)]);
}

#[test]
fn dropped_vcpu_leaves_no_entry_on_a_wakeup_list() {
    let [first, _] = processors();
    let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
    vcpu.load(&first);
    vcpu.block().unwrap();
    vcpu.desc().post(0x41);
    drop(vcpu);
    assert_eq!(woken(&first), []);
}

#[test]
fn vcpu_that_is_not_loaded_can_neither_be_preempted_nor_block() {
    let [first, _] = processors();
    let mut vcpu = PiVcpu::new(VcpuId(4), VECTORS);
    let refused = NotLoaded { vcpu: VcpuId(4) };
    assert_eq!(vcpu.preempt(), Err(refused));
    assert_eq!(vcpu.block(), Err(refused));
    vcpu.load(&first);
    vcpu.block().unwrap();
    let before = vcpu.desc().control();
    assert_eq!(vcpu.preempt(), Err(refused));
    assert_eq!(vcpu.block(), Err(refused));
    assert_eq!(vcpu.desc().control(), before);
    assert_eq!(first.blocked(), 1);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Load(usize),
    Preempt,
    Block,
    Post(u8),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_usize).prop_map(Step::Load),
        Just(Step::Preempt),
        Just(Step::Block),
        any::<u8>().prop_map(Step::Post),
        Just(Step::Drain),
    ]
}

proptest! {
    /// Whatever happens in whatever order: what was posted is taken or pending, and where it is
    /// pending somebody knows.
    #[test]
    fn any_schedule_loses_no_post_and_invents_none(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let processors = processors();
        let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
        let mut posted = Pir::default();
        for step in steps {
            match step {
                Step::Load(at) => {
                    vcpu.load(&processors[at]);
                }
                Step::Preempt => drop(vcpu.preempt()),
                Step::Block => drop(vcpu.block()),
                Step::Post(vector) => {
                    let outcome = vcpu.desc().post(vector);
                    prop_assert_eq!(outcome == Post::Coalesced, posted.contains(vector));
                    posted = posted.vectors().chain([vector]).collect();
                }
                Step::Drain => {
                    prop_assert_eq!(vcpu.desc().drain(), posted);
                    posted = Pir::default();
                }
            }
            prop_assert_eq!(vcpu.desc().is_pending(), !posted.is_empty());
            let control = vcpu.desc().control();
            prop_assert_eq!(control.sn(), matches!(vcpu.place, Place::Off(_)));
            let listed = processors.iter().map(|one| one.blocked()).sum::<usize>();
            prop_assert_eq!(listed, usize::from(matches!(vcpu.place, Place::Blocked(_))));
            prop_assert_eq!(control.nv() == VECTORS.wakeup, listed == 1);
        }
    }
}
