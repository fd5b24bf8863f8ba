use super::*;
use crate::ids::ApicIdFormat;
use crate::message::RemappableMsi;
use crate::remapper::CompatibilityFormat;
use crate::remapper::VtdFaultLog;
use crate::remapper::VtdRecorded;
use crate::remapper::VtdRemapper;
use crate::vtd::IecInvalidation;
use crate::vtd::Irta;
use crate::vtd::PostedInterrupts;
use crate::vtd::VtdFaultReason;
use crate::vtd::VtdIrte;
use crate::vtd::VtdRemapped;

const DEVICE: SourceId = SourceId(0x0300);
const NOT_OFFERED: PostedInterrupts = PostedInterrupts::NotOffered;

/// A table of 4096 entries at 0, all present, each with another destination.
struct Guest {
    memory: Vec<u8>,
    unit: Remapping<VtdRemapper>,
}

impl Guest {
    fn new(links: u16) -> Self {
        let remapper = VtdRemapper {
            table: Some(Irta::new().with_s(11).with_eime(true)),
            compatibility: CompatibilityFormat::Blocked,
            posting: NOT_OFFERED,
        };
        let mut guest = Self {
            memory: vec![0; 4096 * 16],
            unit: Remapping::new(remapper),
        };
        for index in 0..links {
            guest.write(
                index,
                VtdRemapped::new().with_p(true).with_dst(index.into()),
            );
            let prepared = guest.prepare(index);
            assert!(prepared.is_some());
        }
        guest
    }

    fn write(&mut self, index: u16, entry: VtdRemapped) {
        let at = usize::from(index) * 16;
        self.memory[at..at + 16].copy_from_slice(&entry.into_bits().to_le_bytes());
    }

    fn prepare(&mut self, index: u16) -> Option<Translation> {
        let Self { memory, unit } = self;
        let link = LinkKey(index.into());
        unit.prepare(link, memory.as_slice(), DEVICE, message(index))
    }

    fn deliver(&mut self, index: u16) -> Result<Delivery, crate::remapper::VtdFault> {
        let Self { memory, unit } = self;
        let link = LinkKey(index.into());
        unit.deliver(link, memory.as_slice(), DEVICE, message(index))
    }
}

fn message(handle: u16) -> Msi {
    let subhandle = None;
    RemappableMsi { handle, subhandle }.encode()
}

fn destination(delivery: Delivery) -> u32 {
    match delivery {
        Delivery::Cached(Translation::Remapped(request))
        | Delivery::Translated(Translation::Remapped(request)) => request.destination.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn invalidated_link_is_translated_anew_by_its_next_interrupt() {
    for links in [16, 4000] {
        let mut guest = Guest::new(links);
        guest.write(3, VtdRemapped::new().with_p(true).with_dst(0x777));
        // Hardware goes by what it has cached, until it is told.
        let stale = guest.deliver(3).unwrap();
        assert!(matches!(stale, Delivery::Cached(_)));
        assert_eq!(destination(stale), 3);

        let invalidation = IecInvalidation::Index { index: 3, mask: 0 };
        assert_eq!(guest.unit.invalidate(invalidation), [LinkKey(3)]);
        assert_eq!(guest.unit.cached(), usize::from(links) - 1);

        let fresh = guest.deliver(3).unwrap();
        assert!(matches!(fresh, Delivery::Translated(_)));
        assert_eq!(destination(fresh), 0x777);
        assert_eq!(guest.unit.cached(), usize::from(links));
    }
}

#[test]
fn fault_is_recorded_when_an_interrupt_is_refused_and_not_before() {
    let mut guest = Guest::new(16);
    let mut log = VtdFaultLog::new(1);
    guest.write(3, VtdRemapped::new());
    assert_eq!(guest.prepare(3), None);
    assert!(!log.is_pending());

    let fault = guest.deliver(3).unwrap_err();
    assert_eq!(fault.reason, VtdFaultReason::NotPresent);
    let recorded = VtdRecorded::Register {
        at: 0,
        interrupt: true,
    };
    assert_eq!(log.record(&fault), recorded);
    assert_eq!(guest.unit.cached(), 15);

    // The guest mends it; hardware does not cache what is not present, so nobody says so.
    guest.write(3, VtdRemapped::new().with_p(true).with_dst(5));
    assert_eq!(destination(guest.deliver(3).unwrap()), 5);
}

#[test]
fn reconfigured_unit_forgets_everything() {
    let mut guest = Guest::new(16);
    let off = VtdRemapper {
        table: None,
        ..*guest.unit.remapper()
    };
    assert_eq!(guest.unit.reconfigure(off).len(), 16);
    let passed = Translation::Passed(message(3));
    assert_eq!(guest.prepare(3), Some(passed));
}

#[test]
fn removed_link_is_not_named_any_more() {
    let mut guest = Guest::new(16);
    guest.unit.remove(LinkKey(3));
    let invalidation = IecInvalidation::Index { index: 3, mask: 0 };
    assert_eq!(guest.unit.invalidate(invalidation), []);
}

/// Garbage of every kind in one link's entry: its own fault, and nobody else's business.
#[test]
fn garbage_entry_faults_its_own_link_and_leaves_the_others_cached() {
    let mut guest = Guest::new(16);
    // Arbitrary, but the same in each run.
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..1000 {
        let garbage = VtdRemapped::from_bits(random.u128(..));
        guest.write(3, garbage);
        let invalidation = IecInvalidation::Index { index: 3, mask: 0 };
        guest.unit.invalidate(invalidation);

        let outcome = guest.deliver(3);

        let entry = VtdIrte::from(garbage);
        let valid = entry.validate(ApicIdFormat::X2Apic, NOT_OFFERED).map(drop);
        let expected = match valid {
            Ok(()) if !entry.accepts(DEVICE) => Err(VtdFaultReason::SourceId),
            valid => valid,
        };
        assert_eq!(outcome.map(drop).map_err(|fault| fault.reason), expected);
        for other in (0..16).filter(|other| *other != 3) {
            let Ok(delivery @ Delivery::Cached(_)) = guest.deliver(other) else {
                panic!("link {other} was touched");
            };
            assert_eq!(destination(delivery), other.into());
        }
    }
}
