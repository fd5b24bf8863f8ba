//! Models of a vCPU that moves while a device posts to it.

use loom::thread;

use super::*;
use crate::pi_desc::Post;

/// Preemptions explored; three suffice to interleave a post with two steps of the vCPU.
const PREEMPTION_BOUND: usize = 3;
const VECTORS: NotificationVectors = NotificationVectors::LINUX;
const VECTOR: u8 = 0x41;

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTION_BOUND);
    builder.check(body);
}

fn loaded() -> (PiVcpu, [Arc<Processor>; 2]) {
    let processors = [1, 2].map(|ndst| Arc::new(Processor::new(ndst)));
    let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
    vcpu.load(&processors[0]);
    (vcpu, processors)
}

fn poster(vcpu: &PiVcpu) -> thread::JoinHandle<Post> {
    let desc = Arc::clone(vcpu.desc());
    thread::spawn(move || desc.post(VECTOR))
}

/// A vCPU that sleeps is woken, by the post's wakeup or by having been told not to sleep.
#[test]
fn loom_post_against_block_always_wakes() {
    model(|| {
        let (mut vcpu, [first, _]) = loaded();
        let posting = poster(&vcpu);
        let blocked = vcpu.block().unwrap();
        let outcome = posting.join().unwrap();

        let Post::Notify(notification) = outcome else {
            panic!("nobody was notified: {outcome:?}");
        };
        let by_wakeup = notification.vector == VECTORS.wakeup;
        assert!(by_wakeup || blocked == Blocked::Wake, "asleep for ever");
        let mut named = Vec::new();
        first.wake(|vcpu| named.push(vcpu));
        assert_eq!(named, [VcpuId(0)]);
    });
}

/// Preempted here and loaded there: the post is notified there, or found at the load.
#[test]
fn loom_post_against_migration_loses_nothing() {
    model(|| {
        let (mut vcpu, [_, second]) = loaded();
        let posting = poster(&vcpu);
        vcpu.preempt().unwrap();
        vcpu.load(&second);
        let early = vcpu.desc().control().on();
        let taken = early.then(|| vcpu.desc().drain());
        posting.join().unwrap();

        let found = taken.is_some_and(|pir| pir.contains(VECTOR));
        let announced = vcpu.desc().control().on();
        let left = announced && vcpu.desc().drain().contains(VECTOR);
        assert!(found != left, "found early: {found}, after: {left}");
    });
}
