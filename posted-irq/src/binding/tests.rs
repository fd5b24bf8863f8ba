use proptest::prelude::*;

use super::*;
use crate::table::CachingMode;
use crate::table::VtdIrteTable;
use crate::vtd::PiDescAddress;
use crate::vtd::Urgency;
use crate::vtd::VtdIrte;
use crate::vtd::VtdPostTarget;
use crate::vtd::VtdRemapped;

type Binding = IrteBinding<VtdIrte, VtdPostTarget>;
type Event = BindingEvent<VtdIrte, VtdPostTarget>;
type Write = BindingWrite<VtdIrte, VtdPostTarget>;

fn host(vector: u8) -> VtdIrte {
    VtdRemapped::new()
        .with_p(true)
        .with_sid(0x0300)
        .with_vector(vector)
        .into()
}

fn target(vcpu: u64) -> VtdPostTarget {
    VtdPostTarget {
        descriptor: PiDescAddress::new(0x1000 + 64 * vcpu).unwrap(),
        vector: 0x41,
        urgency: Urgency::Normal,
    }
}

/// A step whose write succeeds, and what it wrote.
fn step(binding: &mut Binding, event: Event) -> (BindingStep, Option<Write>) {
    let mut written = None;
    let outcome = binding.step(event, |write| {
        written = Some(write);
        Ok::<_, ()>(())
    });
    (outcome.unwrap(), written)
}

fn posted() -> Binding {
    let mut binding = Binding::new(host(0x50));
    step(&mut binding, BindingEvent::Bind(Ok(target(0))));
    assert_eq!(binding.mode(), IrteMode::Posted);
    binding
}

const REFUSALS: [NotPosted; 4] = [
    NotPosted::NotMsi,
    NotPosted::SeveralVcpus,
    NotPosted::NoVcpu,
    NotPosted::Broadcast,
];

/// CVE-2025-37885: a route that was no MSI left the entry posting.
#[test]
fn p5_new_route_that_cannot_be_posted_restores_host_mode_whatever_it_is() {
    for reason in REFUSALS {
        let mut binding = posted();
        let (done, written) = step(&mut binding, BindingEvent::Route(Err(reason)));
        let (host, was) = (host(0x50), target(0));
        assert_eq!(written, Some(BindingWrite::Restore { host, was }));
        assert_eq!(done.from, IrteMode::Posted);
        let refused = IrteMode::Remapped(RemappedReason::Route(reason));
        assert_eq!(done.to, refused);
    }
}

/// The kernel forgot the route's type first, and then did not restore the entry.
#[test]
fn p2_deassign_restores_the_entry_whatever_became_of_the_route() {
    for route in REFUSALS.map(Err).into_iter().chain([Ok(target(1))]) {
        let mut binding = posted();
        step(&mut binding, BindingEvent::Route(route));
        step(&mut binding, BindingEvent::Unbind);
        // Late news of the route find nobody.
        let (done, written) = step(&mut binding, BindingEvent::Route(Ok(target(2))));
        assert_eq!((done.from, written), (done.to, None));
        assert_eq!(binding.target(), None);
    }
    let mut binding = posted();
    let (_, written) = step(&mut binding, BindingEvent::Unbind);
    let (host, was) = (host(0x50), target(0));
    assert_eq!(written, Some(BindingWrite::Restore { host, was }));
}

/// Host affinity changes went straight into the entry.
#[test]
fn p7_host_affinity_change_does_not_touch_a_posted_entry() {
    let mut binding = posted();
    let (_, written) = step(&mut binding, BindingEvent::HostMoved(host(0x51)));
    assert_eq!(written, None);
    assert_eq!(binding.mode(), IrteMode::Posted);
    let (_, written) = step(&mut binding, BindingEvent::Unbind);
    let (host, was) = (host(0x51), target(0));
    assert_eq!(written, Some(BindingWrite::Restore { host, was }));
}

/// A host that posts MSIs to itself lost that when a vCPU's posting ended.
#[test]
fn p7_restored_entry_posts_to_the_host_if_the_host_did() {
    let posted_msi = host(0x50).posting_to(target(63));
    let mut binding = Binding::new(posted_msi);
    step(&mut binding, BindingEvent::Bind(Ok(target(0))));
    let (_, written) = step(&mut binding, BindingEvent::Unbind);
    let (host, was) = (posted_msi, target(0));
    assert_eq!(written, Some(BindingWrite::Restore { host, was }));
}

/// The kernel took the producer for paired although the entry had not been written.
#[test]
fn p8_write_that_fails_leaves_the_binding_as_it_was() {
    let events = [
        BindingEvent::Bind(Ok(target(1))),
        BindingEvent::Route(Err(NotPosted::NoVcpu)),
        BindingEvent::Unbind,
    ];
    for event in events {
        let mut binding = posted();
        assert_eq!(binding.step(event, |_| Err("raced")), Err("raced"));
        assert_eq!(binding.target(), Some(target(0)));
        assert_eq!(binding.host(), host(0x50));
        let (_, written) = step(&mut binding, event);
        assert!(written.is_some(), "{event:?} can be tried again");
    }
    let mut unbound = Binding::new(host(0x50));
    let bind = BindingEvent::Bind(Ok(target(1)));
    assert_eq!(unbound.step(bind, |_| Err("raced")), Err("raced"));
    let no_producer = IrteMode::Remapped(RemappedReason::NoProducer);
    assert_eq!(unbound.mode(), no_producer);
}

#[test]
fn unchanged_target_is_not_written_again() {
    let mut binding = posted();
    let (_, written) = step(&mut binding, BindingEvent::Route(Ok(target(0))));
    assert_eq!(written, None);
    let (_, written) = step(&mut binding, BindingEvent::Route(Ok(target(1))));
    let (host, target) = (host(0x50), target(1));
    assert_eq!(written, Some(BindingWrite::Post { host, target }));
}

#[test]
fn host_affinity_change_of_a_remapped_entry_is_written() {
    let mut binding = Binding::new(host(0x50));
    let (_, written) = step(&mut binding, BindingEvent::HostMoved(host(0x51)));
    assert_eq!(written, Some(BindingWrite::Host { host: host(0x51) }));
    let (_, written) = step(&mut binding, BindingEvent::HostMoved(host(0x51)));
    assert_eq!(written, None);
}

fn event() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![
        (0..3_u64).prop_map(|vcpu| Ok(target(vcpu))),
        prop::sample::select(&REFUSALS).prop_map(Err),
    ];
    prop_oneof![
        verdict.clone().prop_map(BindingEvent::Bind),
        verdict.prop_map(BindingEvent::Route),
        (0x50..0x53_u8).prop_map(|vector| BindingEvent::HostMoved(host(vector))),
        Just(BindingEvent::Unbind),
    ]
}

proptest! {
    /// A live entry that is written as told says what the binding says it does, and after an
    /// unbind never anything but what the host says.
    #[test]
    fn live_entry_always_says_what_the_binding_says(
        events in prop::collection::vec((event(), any::<bool>()), 0..40),
    ) {
        let table = VtdIrteTable::new(2, CachingMode::PresentOnly).unwrap();
        let block = table.allocate(1).unwrap();
        let mut binding = Binding::new(host(0x50));
        let _ = table.update(&block, 0, binding.host()).unwrap();
        for (event, works) in events {
            let _ = binding.step(event, |write| {
                let entry = match write {
                    BindingWrite::Post { host, target } => host.posting_to(target),
                    BindingWrite::Restore { host, .. } | BindingWrite::Host { host } => host,
                    BindingWrite::Nothing => return Err(()),
                };
                // An entry that hardware has cached is never changed behind its back.
                let update = works.then(|| table.update(&block, 0, entry)).ok_or(())?;
                update.unwrap().invalidate.map(drop).ok_or(())
            });
            let live = table.get(block.first()).unwrap();
            let same_check = live.into_bits() >> 64 & 0xffff == 0x0300;
            prop_assert!(same_check);
            match binding.target() {
                Some(target) => prop_assert_eq!(live, live.posting_to(target)),
                None => prop_assert_eq!(live, binding.host()),
            }
            prop_assert_eq!(live.is_posted(), binding.mode() == IrteMode::Posted);
        }
    }
}
