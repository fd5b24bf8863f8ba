//! The pins of a PC's interrupt controllers, as far as deliveries show them.

use std::collections::BTreeMap;

use irqbroker_core::Trigger;
use irqbroker_core::Vector;

use crate::route::Irqchip;
use crate::vm_irq::LineLevel;

/// Pins of the IOAPIC.
const PINS: u32 = 24;

/// Pins of each PIC.
const PIC_PINS: u32 = 8;

/// Who drives a line; it is asserted while one of them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineSource {
    /// `KVM_IRQ_LINE` and plain irqfds, which share a source in the kernel.
    User,
    /// All resample irqfds of the GSI together.
    Resampler,
}

#[derive(Debug, Default)]
pub(super) struct Ioapic {
    pins: BTreeMap<u32, Pin>,
}

#[derive(Debug)]
struct Pin {
    vector: Vector,
    trigger: Trigger,
    user: LineLevel,
    resampler: LineLevel,
    /// A level interrupt was delivered and waits for its EOI.
    remote_irr: bool,
    delivered: u64,
}

/// Whether the controller has the pin (`kvm_set_routing_entry`).
pub(super) fn has_pin(chip: Irqchip, pin: u32) -> bool {
    match chip {
        Irqchip::PIC_MASTER | Irqchip::PIC_SLAVE => pin < PIC_PINS,
        Irqchip::IOAPIC => pin < PINS,
        _ => false,
    }
}

impl Pin {
    /// The power-up wiring of a PC: ISA pins are edge-triggered, PCI's level-triggered.
    fn new(pin: u32) -> Self {
        Self {
            vector: Vector(u8::try_from(0x30 + pin).unwrap_or(u8::MAX)),
            trigger: match pin {
                0..16 => Trigger::Edge,
                _ => Trigger::Level,
            },
            user: LineLevel::Low,
            resampler: LineLevel::Low,
            remote_irr: false,
            delivered: 0,
        }
    }

    fn is_asserted(&self) -> bool {
        self.user == LineLevel::High || self.resampler == LineLevel::High
    }

    fn set(&mut self, source: LineSource, level: LineLevel) {
        let before = self.is_asserted();
        match source {
            LineSource::User => self.user = level,
            LineSource::Resampler => self.resampler = level,
        }
        match self.trigger {
            Trigger::Edge if !before && self.is_asserted() => self.delivered += 1,
            Trigger::Edge => {}
            Trigger::Level => self.serve(),
        }
    }

    fn serve(&mut self) {
        if self.is_asserted() && !self.remote_irr {
            self.remote_irr = true;
            self.delivered += 1;
        }
    }

    fn eoi(&mut self) {
        if self.trigger == Trigger::Level {
            self.remote_irr = false;
            self.serve();
        }
    }
}

impl Ioapic {
    pub(super) fn set_line(
        &mut self,
        chip: Irqchip,
        pin: u32,
        source: LineSource,
        level: LineLevel,
    ) {
        if chip == Irqchip::IOAPIC {
            self.pin(pin).set(source, level);
        }
    }

    pub(super) fn eoi(&mut self, chip: Irqchip, pin: u32) {
        if chip == Irqchip::IOAPIC {
            self.pin(pin).eoi();
        }
    }

    pub(super) fn program(&mut self, pin: u32, vector: Vector, trigger: Trigger) {
        let pin = self.pin(pin);
        pin.vector = vector;
        pin.trigger = trigger;
    }

    pub(super) fn is_asserted(&self, pin: u32) -> bool {
        self.pins.get(&pin).is_some_and(Pin::is_asserted)
    }

    pub(super) fn delivered(&self, pin: u32) -> u64 {
        self.pins.get(&pin).map_or(0, |pin| pin.delivered)
    }

    pub(super) fn delivered_vector(&self, vector: Vector) -> u64 {
        let pins = self.pins.values().filter(|pin| pin.vector == vector);
        pins.map(|pin| pin.delivered).sum()
    }

    fn pin(&mut self, pin: u32) -> &mut Pin {
        self.pins.entry(pin).or_insert_with(|| Pin::new(pin))
    }
}
