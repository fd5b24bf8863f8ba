//! Our own state machine as a target; what a shim looks like.

use irqbroker_core::Gsi;

use super::super::effect::Level;
use super::super::effect::MessageSource;
use super::super::interrupts::Capability;
use super::super::interrupts::IntxLayout;
use super::super::interrupts::LayoutError;
use super::super::interrupts::PciInterruptsLayout;
use super::super::intx::IntxPin;
use super::super::intx::IntxSource;
use super::super::msix::BarOffset;
use super::super::msix::MsixLayout;
use super::super::sim::Delivery;
use super::super::sim::SimFunction;
use super::run::Support;
use super::run::TraceTarget;
use super::trace::At;
use super::trace::Shape;

const MSI: u8 = 0x50;
const MSIX: u8 = 0x70;
const BAR: u8 = 2;
const TABLE: u32 = 0x1000;
/// Behind the largest table.
const PBA: u32 = 0xa000;

/// A [`SimFunction`] as traces want it.
#[derive(Debug)]
pub struct FunctionTarget {
    layout: PciInterruptsLayout,
    function: SimFunction,
}

impl FunctionTarget {
    /// A fresh function, with what a device tells of its line.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] if no function has such a shape.
    pub fn new(shape: &Shape, source: IntxSource) -> Result<Self, LayoutError> {
        let place = |offset| BarOffset { bar: BAR, offset };
        let layout = PciInterruptsLayout {
            intx: shape.intx.then_some(IntxLayout {
                pin: IntxPin::A,
                source,
            }),
            msi: shape.msi.map(|layout| Capability { at: MSI, layout }),
            msix: shape.msix.map(|vectors| Capability {
                at: MSIX,
                layout: MsixLayout {
                    vectors,
                    table: place(TABLE),
                    pba: place(PBA),
                },
            }),
        };
        let function = SimFunction::new(layout)?;
        Ok(Self { layout, function })
    }

    /// The function, to be looked at.
    #[must_use]
    pub fn function(&self) -> &SimFunction {
        &self.function
    }
}

/// Where this target has a register.
enum Place {
    Config(u16),
    Bar(u64),
}

fn place(at: At) -> Place {
    match at {
        At::Header(byte) => Place::Config(byte),
        At::Msi(byte) => Place::Config(u16::from(MSI) + byte),
        At::Msix(byte) => Place::Config(u16::from(MSIX) + byte),
        At::Table(byte) => Place::Bar(u64::from(TABLE) + u64::from(byte)),
        At::Pba(byte) => Place::Bar(u64::from(PBA) + u64::from(byte)),
    }
}

impl TraceTarget for FunctionTarget {
    fn read(&mut self, at: At, data: &mut [u8]) {
        match place(at) {
            Place::Config(offset) => self.function.read_config(offset, data),
            Place::Bar(offset) => self.function.read_bar(BAR, offset, data),
        }
    }

    fn write(&mut self, at: At, data: &[u8]) {
        match place(at) {
            Place::Config(offset) => self.function.write_config(offset, data),
            Place::Bar(offset) => self.function.write_bar(BAR, offset, data),
        }
    }

    fn signal(&mut self, source: MessageSource) {
        self.function.signal(source);
    }

    fn set_device(&mut self, level: Level) {
        self.function.set_device(level);
    }

    fn eoi(&mut self, gsi: Gsi) {
        self.function.eoi(gsi);
    }

    fn take_delivered(&mut self) -> Vec<Delivery> {
        self.function.take_delivered()
    }

    fn reroute(&mut self, gsi: Gsi) -> Support {
        self.function.reroute(gsi);
        Support::Done
    }

    fn save_restore(&mut self) -> Support {
        let continued = SimFunction::new(self.layout).map(|fresh| self.function.continue_in(fresh));
        match continued {
            Ok(Ok(function)) => self.function = function,
            // A function that refuses its own state has lost it, which the next step sees.
            Ok(Err(_)) | Err(_) => self.function.reset(),
        }
        Support::Done
    }

    fn reset(&mut self) -> Support {
        self.function.reset();
        Support::Done
    }

    fn take_updates(&mut self) -> Option<u32> {
        Some(self.function.take_effects())
    }
}
