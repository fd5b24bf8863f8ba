//! Producers and device agree on what is bound, whatever happens.

use proptest::prelude::*;

use super::*;

/// What can be done to an index.
#[derive(Debug, Clone)]
enum Step {
    Bind(Range<u32>),
    Rebind(u32),
    Unbind(u32),
    Disable,
    RefuseVector(u32),
    FailNext,
}

/// Vectors of the device under random steps.
const VECTORS: u32 = 6;

fn step() -> impl Strategy<Value = Step> {
    let vector = 0..VECTORS;
    prop_oneof![
        4 => (vector.clone(), 1..4u32).prop_map(|(start, count)| Step::Bind(start..start + count)),
        2 => vector.clone().prop_map(Step::Rebind),
        2 => vector.clone().prop_map(Step::Unbind),
        1 => Just(Step::Disable),
        1 => vector.prop_map(Step::RefuseVector),
        1 => Just(Step::FailNext),
    ]
}

proptest! {
    /// After any steps the device has bound exactly what the producers say, and reaches them.
    #[test]
    fn index_and_device_agree_after_any_steps(
        steps in prop::collection::vec(step(), 1..40),
        old in any::<bool>(),
    ) {
        let profile = if old { KernelProfile::LINUX_6_1 } else { KernelProfile::LINUX_6_9 };
        let rig = Rig::new(SimDevice::pci().msix(VECTORS).kernel(profile));
        let index = rig.device.index(IrqIndex::MSIX).unwrap();
        let mut failed_at = u64::MAX;
        let bound = || (0..VECTORS).map(|vector| index.get(vector)).collect::<Vec<_>>();
        for step in steps {
            let before = bound();
            let lost = match step {
                Step::Bind(range) => index.bind(range).err().map(|_| false),
                Step::Rebind(vector) => {
                    index.rebind(vector).err().map(|error| matches!(error, RebindError::Lost { .. }))
                }
                Step::Unbind(vector) => index.unbind(vector).err().map(|_| false),
                Step::Disable => index.disable().err().map(|_| false),
                Step::RefuseVector(vector) => {
                    rig.sim.refuse_vector(vector, Errno::ENOSPC);
                    None
                }
                Step::FailNext => {
                    // One at a time: a device that refuses to unbind too is past knowing.
                    let so_far = rig.seam.counts().set_irqs;
                    if std::mem::replace(&mut failed_at, so_far) != so_far {
                        rig.sim.fail_next(Request::SetIrqs, Fault::Errno(Errno::EBUSY));
                    }
                    None
                }
            };
            if lost == Some(false) {
                // What failed has changed nothing.
                let tokens = |producers: &[Option<Arc<VfioProducer>>]| -> Vec<_> {
                    producers.iter().map(|one| one.as_ref().map(|one| one.token().id())).collect()
                };
                prop_assert_eq!(tokens(&before), tokens(&bound()));
            }
            for (vector, producer) in (0..VECTORS).zip(bound()) {
                prop_assert_eq!(rig.sim.is_bound(IrqIndex::MSIX, vector), producer.is_some());
                prop_assert!(producer.is_none_or(|producer| rig.reaches(&producer)));
            }
        }
    }
}
