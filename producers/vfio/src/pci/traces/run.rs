//! Running traces against anybody's state machine.

use std::fmt;

use irqbroker_core::Gsi;

use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::sim::Delivery;
use super::trace::At;
use super::trace::Step;
use super::trace::Trace;
use super::trace::Width;

/// Whether a target can do what is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has done it.
    Done,
    /// It cannot; the trace is passed over.
    Missing,
}

/// A PCI function's interrupts under test, with eventfds (or their like) that coalesce.
///
/// A shim makes a fresh one for each trace, of the trace's [`Shape`](super::Shape), after reset.
pub trait TraceTarget {
    /// A guest's read; all bytes are to be filled in.
    fn read(&mut self, at: At, data: &mut [u8]);

    /// A guest's write.
    fn write(&mut self, at: At, data: &[u8]);

    /// The device has an event for a vector: writes 1 to its eventfd.
    fn signal(&mut self, source: MessageSource);

    /// The device's line changes.
    fn set_device(&mut self, level: Level);

    /// The guest ends the interrupt at an input.
    fn eoi(&mut self, gsi: Gsi);

    /// What the guest got since this was last asked: each message sent, each time an input was
    /// taken.
    fn take_delivered(&mut self) -> Vec<Delivery>;

    /// The pin leads to another input.
    fn reroute(&mut self, _gsi: Gsi) -> Support {
        Support::Missing
    }

    /// Saves the function and continues in a fresh one that has but the saved state.
    fn save_restore(&mut self) -> Support {
        Support::Missing
    }

    /// Resets the function; what its eventfds hold stays there.
    fn reset(&mut self) -> Support {
        Support::Missing
    }

    /// How many times a vector's route or mask was told on since this was last asked, if counted.
    fn take_updates(&mut self) -> Option<u32> {
        None
    }
}

/// How a trace ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything came as it should.
    Passed,
    /// The target cannot do this step.
    PassedOver(Step),
}

/// What came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The guest read this.
    Value(u64),
    /// The guest got these.
    Delivered(Vec<Delivery>),
    /// So many updates were told.
    Updates(u32),
}

/// A trace that a target does not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFailure {
    /// Its name.
    pub trace: &'static str,
    /// Which step, from 0; the number of steps if it is what came after the last.
    pub index: usize,
    /// The step, unless it is what came after the last.
    pub step: Option<Step>,
    /// What came.
    pub found: Found,
}

impl fmt::Display for TraceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, index, found) = (self.trace, self.index, &self.found);
        match self.step {
            Some(step) => write!(f, "{trace}, step {index}: {step:x?} found {found:x?}"),
            None => write!(f, "{trace}, after its last step: {found:x?}"),
        }
    }
}

impl std::error::Error for TraceFailure {}

impl Trace {
    /// Runs the trace on a fresh target of its shape.
    ///
    /// # Errors
    ///
    /// [`TraceFailure`] at the first step that does not find what it tells of.
    pub fn run(&self, target: &mut dyn TraceTarget) -> Result<Outcome, TraceFailure> {
        let failure = |index, step, found| TraceFailure {
            trace: self.name,
            index,
            step,
            found,
        };
        for (index, step) in self.steps.iter().copied().enumerate() {
            match run_step(step, target) {
                Ok(Support::Done) => {}
                Ok(Support::Missing) => return Ok(Outcome::PassedOver(step)),
                Err(found) => return Err(failure(index, Some(step), found)),
            }
        }
        match expect_delivered(target, &[]) {
            Ok(()) => Ok(Outcome::Passed),
            Err(found) => Err(failure(self.steps.len(), None, found)),
        }
    }
}

fn run_step(step: Step, target: &mut dyn TraceTarget) -> Result<Support, Found> {
    match step {
        Step::Write(at, width, value) => write(target, at, width, value),
        Step::Read(at, width, bits, expected) => {
            let value = read(target, at, width);
            if value & bits != expected {
                return Err(Found::Value(value));
            }
        }
        Step::ReadOnly(at, width, bits) => {
            let before = read(target, at, width);
            write(target, at, width, before ^ bits);
            let after = read(target, at, width);
            if after != before {
                return Err(Found::Value(after));
            }
        }
        Step::Fill(vector, message) => {
            let entry = vector * 16;
            let low = message.address & 0xffff_ffff;
            write(target, At::Table(entry), Width::Dword, low);
            let high = message.address >> 32;
            write(target, At::Table(entry + 4), Width::Dword, high);
            let data = message.data.into();
            write(target, At::Table(entry + 8), Width::Dword, data);
        }
        Step::Signal(source) => target.signal(source),
        Step::Device(level) => target.set_device(level),
        Step::Eoi(gsi) => target.eoi(gsi),
        Step::Reroute(gsi) => return Ok(target.reroute(gsi)),
        Step::Delivered(expected) => expect_delivered(target, expected)?,
        Step::Updates(at_most) => {
            if let Some(updates) = target.take_updates().filter(|found| *found > at_most) {
                return Err(Found::Updates(updates));
            }
        }
        Step::SaveRestore => return Ok(target.save_restore()),
        Step::Reset => return Ok(target.reset()),
    }
    Ok(Support::Done)
}

fn expect_delivered(target: &mut dyn TraceTarget, expected: &[Delivery]) -> Result<(), Found> {
    let mut delivered = target.take_delivered();
    delivered.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    if delivered != expected {
        return Err(Found::Delivered(delivered));
    }
    Ok(())
}

fn read(target: &mut dyn TraceTarget, at: At, width: Width) -> u64 {
    let mut bytes = [0; 8];
    target.read(at, &mut bytes[..width.bytes()]);
    u64::from_le_bytes(bytes)
}

fn write(target: &mut dyn TraceTarget, at: At, width: Width, value: u64) {
    target.write(at, &value.to_le_bytes()[..width.bytes()]);
}
