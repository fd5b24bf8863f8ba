//! Whatever the guest does, links go by what a small model says.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const LINKS: usize = 4;
const ENTRIES: usize = 4;
const VECTORS: usize = 4;
const FIRST_VECTOR: u8 = 0x40;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The guest writes an entry, present or not, and says nothing.
    Write(usize, Option<usize>),
    /// It says that entries have changed.
    Invalidate(usize, u8),
    /// The same of all.
    InvalidateAll,
    /// It gives a device another handle.
    Message(usize, usize),
    Signal(usize),
    Mask(usize),
    Unmask(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let link = 0..LINKS;
    let entry = 0..ENTRIES;
    prop_oneof![
        3 => (entry.clone(), option::weighted(0.8, 0..VECTORS)).prop_map(|(at, to)| Step::Write(at, to)),
        3 => (entry.clone(), 0..3_u8).prop_map(|(at, mask)| Step::Invalidate(at, mask)),
        1 => Just(Step::InvalidateAll),
        2 => (link.clone(), entry).prop_map(|(link, at)| Step::Message(link, at)),
        6 => link.clone().prop_map(Step::Signal),
        1 => link.clone().prop_map(Step::Mask),
        1 => link.prop_map(Step::Unmask),
    ]
}

/// What is known of a link.
#[derive(Debug, Clone, Copy, Default)]
struct Modelled {
    index: usize,
    /// The entry and the vector it goes by.
    cached: Option<(usize, usize)>,
    masked: bool,
    pending: bool,
}

#[derive(Debug, Default)]
struct Model {
    table: [Option<usize>; ENTRIES],
    links: [Modelled; LINKS],
    delivered: [u64; VECTORS],
    faults: usize,
}

impl Model {
    fn translate(&mut self, link: usize) {
        let index = self.links[link].index;
        self.links[link].cached = self.table[index].map(|vector| (index, vector));
    }

    fn event(&mut self, link: usize) {
        if self.links[link].cached.is_none() {
            self.translate(link);
        }
        match self.links[link].cached {
            Some((_, vector)) => self.delivered[vector] += 1,
            None => self.faults += 1,
        }
    }

    fn invalidate(&mut self, named: impl Fn(usize) -> bool) -> Vec<usize> {
        let links = self.links.iter_mut().enumerate();
        let gone = links.filter_map(|(at, link)| {
            link.cached.take_if(|(index, _)| named(*index))?;
            Some(at)
        });
        gone.collect()
    }

    fn step(&mut self, step: Step) -> Vec<usize> {
        match step {
            Step::Write(at, to) => self.table[at] = to,
            Step::Invalidate(at, mask) => {
                return self.invalidate(|index| index >> mask == at >> mask);
            }
            Step::InvalidateAll => return self.invalidate(|_| true),
            Step::Message(link, at) => {
                self.links[link].index = at;
                self.translate(link);
            }
            Step::Signal(link) if self.links[link].masked => self.links[link].pending = true,
            Step::Signal(link) => self.event(link),
            Step::Mask(link) => self.links[link].masked = true,
            Step::Unmask(link) => {
                self.links[link].masked = false;
                if std::mem::take(&mut self.links[link].pending) {
                    self.event(link);
                }
            }
        }
        Vec::new()
    }
}

fn vector(of: usize) -> Vector {
    Vector(FIRST_VECTOR + u8::try_from(of).unwrap())
}

fn entry(to: Option<usize>) -> VtdIrte {
    match to {
        Some(of) => vtd_entry(0).with_vector(vector(of).0).into(),
        None => VtdIrte::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn links_behind_a_unit_agree_with_the_model(steps in vec(step(), 1..80)) {
        let bench = Bench::new(vtd(), DestinationIds::Bits32);
        let mut model = Model::default();
        let links: Vec<Link> = (0..LINKS).map(|_| bench.link(DEVICE, handle(0))).collect();
        for step in steps {
            let bypassed: Vec<bool> = links.iter().map(|link| state(link) == BYPASS).collect();
            let before = bench.vm.counts();
            let gone = model.step(step);
            let invalidated = match step {
                Step::Write(at, to) => {
                    bench.memory.write_vtd(at, entry(to));
                    None
                }
                Step::Invalidate(at, mask) => {
                    let index = u16::try_from(at).unwrap();
                    Some(IecInvalidation::Index { index, mask })
                }
                Step::InvalidateAll => Some(IecInvalidation::Global),
                Step::Message(link, at) => {
                    let message = handle(u16::try_from(at).unwrap());
                    links[link].handle.update_route(message).unwrap();
                    None
                }
                Step::Signal(link) => {
                    links[link].device.signal();
                    None
                }
                Step::Mask(link) => {
                    links[link].handle.mask().unwrap();
                    None
                }
                Step::Unmask(link) => {
                    links[link].handle.unmask().unwrap();
                    None
                }
            };
            if let Some(invalidation) = invalidated {
                let named = bench.unit.invalidate(invalidation).unwrap();
                prop_assert_eq!(named.links, gone.len());
                let spent = bench.vm.counts() - before;
                let detached = gone.iter().filter(|link| bypassed[**link]).count() as u64;
                let only = IoctlCounts { deassigns: detached, ..IoctlCounts::default() };
                prop_assert_eq!(spent, only);
            }
            bench.settle();
            for of in 0..VECTORS {
                let delivered = bench.vm.inner().delivered(vector(of));
                prop_assert_eq!(delivered, model.delivered[of], "vector {} after {:?}", of, step);
            }
            prop_assert_eq!(bench.faults.lock().unwrap().len(), model.faults);
            let cached = model.links.iter().filter(|link| link.cached.is_some()).count();
            prop_assert_eq!(bench.unit.cached(), cached);
            for (link, modelled) in links.iter().zip(&model.links) {
                let expected = match (modelled.masked, modelled.cached) {
                    (true, _) => (DeliveryState::Masked, Reason::Masked),
                    (false, Some(_)) => BYPASS,
                    (false, None) => UNTRANSLATED,
                };
                prop_assert_eq!(state(link), expected, "after {:?}", step);
            }
        }
    }
}
