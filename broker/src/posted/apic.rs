//! The interrupt registers of a local APIC: what is requested, in service, and next.
//!
//! Intel SDM 3A, "Interrupt Acceptance for Fixed Interrupts", "Task and Processor Priorities" and
//! "Signaling Interrupt Servicing Completion". A vector's priority is its upper half.

use posted_irq::Pir;

/// Below, vectors are illegal and never requested.
const FIRST_LEGAL: u8 = 16;

/// IRR, ISR and TPR of one local APIC. Plain data: its vCPU's thread has it for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApicRegisters {
    irr: [u64; 4],
    isr: [u64; 4],
    tpr: u8,
}

impl ApicRegisters {
    /// Nothing requested or in service, every priority let through.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests vectors; one that is requested already stays one, an illegal one is dropped.
    pub fn request(&mut self, vectors: Pir) {
        for (word, new) in self.irr.iter_mut().zip(vectors.words()) {
            *word |= new;
        }
        self.irr[0] &= !0 << FIRST_LEGAL;
    }

    /// TPR: vectors of this priority and below wait.
    pub fn set_task_priority(&mut self, tpr: u8) {
        self.tpr = tpr;
    }

    /// PPR: the higher of TPR and the vector in service, of which only the upper half counts.
    #[must_use]
    pub fn processor_priority(&self) -> u8 {
        let serving = highest(&self.isr).unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 {
            self.tpr
        } else {
            serving & 0xf0
        }
    }

    /// The vector the processor is to be interrupted with: the highest requested one, if it is of
    /// higher priority than what the processor does.
    #[must_use]
    pub fn next(&self) -> Option<u8> {
        highest(&self.irr).filter(|vector| vector >> 4 > self.processor_priority() >> 4)
    }

    /// The processor takes [`next`](Self::next): it is in service from now on.
    pub fn accept(&mut self) -> Option<u8> {
        let vector = self.next()?;
        flip(&mut self.irr, vector);
        flip(&mut self.isr, vector);
        Some(vector)
    }

    /// The guest ends an interrupt: the highest in service, `None` if there is none.
    pub fn eoi(&mut self) -> Option<u8> {
        let vector = highest(&self.isr)?;
        flip(&mut self.isr, vector);
        Some(vector)
    }

    /// How many vectors are in service: how deep handlers have nested.
    #[must_use]
    pub fn in_service(&self) -> u32 {
        self.isr.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether nothing is requested or in service.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.irr.iter().chain(&self.isr).all(|word| *word == 0)
    }
}

fn highest(words: &[u64; 4]) -> Option<u8> {
    // From 192, 128, 64 and 0 on.
    (0..4u8).rev().find_map(|at| {
        let bit = words[usize::from(at)].checked_ilog2()?;
        u8::try_from(u32::from(at) * 64 + bit).ok()
    })
}

fn flip(words: &mut [u64; 4], vector: u8) {
    words[usize::from(vector >> 6)] ^= 1 << (vector & 63);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::Just;
    use proptest::prelude::Strategy;
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::prop_oneof;
    use proptest::proptest;

    use super::*;

    fn requested(vectors: impl IntoIterator<Item = u8>) -> ApicRegisters {
        let mut registers = ApicRegisters::new();
        registers.request(vectors.into_iter().collect());
        registers
    }

    #[test]
    fn apic_nests_one_vector_of_each_priority_and_ends_them_inside_out() {
        let mut registers = ApicRegisters::new();
        let classes: Vec<u8> = (0x21..=0xf1).step_by(0x10).collect();
        for &vector in &classes {
            registers.request([vector].into_iter().collect());
            assert_eq!(registers.accept(), Some(vector));
        }
        assert_eq!(registers.in_service(), 14);
        for &vector in classes.iter().rev() {
            assert_eq!(registers.eoi(), Some(vector));
        }
        assert_eq!(registers.eoi(), None);
        assert!(registers.is_idle());
    }

    #[test]
    fn apic_keeps_a_vector_of_the_same_priority_back_until_the_end_of_the_first() {
        let mut registers = requested([0x41]);
        registers.accept();
        registers.request([0x41, 0x4f].into_iter().collect());
        assert_eq!(registers.accept(), None);
        registers.eoi();
        assert_eq!(registers.accept(), Some(0x4f));
        assert_eq!(registers.accept(), None);
        registers.eoi();
        assert_eq!(registers.accept(), Some(0x41));
    }

    #[test]
    fn apic_task_priority_holds_its_class_and_those_below_back() {
        let mut registers = requested([0x4f, 0x50]);
        registers.set_task_priority(0x53);
        assert_eq!(registers.processor_priority(), 0x53);
        assert_eq!(registers.next(), None);
        registers.set_task_priority(0x4f);
        assert_eq!(registers.accept(), Some(0x50));
        assert_eq!(registers.processor_priority(), 0x50);
    }

    #[test]
    fn apic_drops_illegal_vectors() {
        assert!(requested(0..16).is_idle());
        assert_eq!(requested(0..17).next(), Some(16));
    }

    /// The same, as sets and in the words of the manual.
    #[derive(Debug, Default)]
    struct Model {
        irr: BTreeSet<u8>,
        isr: BTreeSet<u8>,
        tpr: u8,
    }

    impl Model {
        fn accept(&mut self) -> Option<u8> {
            let candidate = *self.irr.last()?;
            let serving = self.isr.last().map_or(0, |vector| vector / 16);
            if candidate / 16 <= serving.max(self.tpr / 16) {
                return None;
            }
            self.irr.remove(&candidate);
            self.isr.insert(candidate);
            Some(candidate)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Request(Vec<u8>),
        Accept,
        Eoi,
        TaskPriority(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => vec(any::<u8>(), 1..4).prop_map(Step::Request),
            3 => Just(Step::Accept),
            2 => Just(Step::Eoi),
            1 => any::<u8>().prop_map(Step::TaskPriority),
        ]
    }

    proptest! {
        #[test]
        fn apic_agrees_with_the_model(steps in vec(step(), 1..200)) {
            let mut registers = ApicRegisters::new();
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Request(vectors) => {
                        model.irr.extend(vectors.iter().filter(|vector| **vector >= FIRST_LEGAL));
                        registers.request(vectors.into_iter().collect());
                    }
                    Step::Accept => prop_assert_eq!(registers.accept(), model.accept()),
                    Step::Eoi => prop_assert_eq!(registers.eoi(), model.isr.pop_last()),
                    Step::TaskPriority(tpr) => {
                        registers.set_task_priority(tpr);
                        model.tpr = tpr;
                    }
                }
                prop_assert_eq!(registers.in_service() as usize, model.isr.len());
            }
        }
    }
}
