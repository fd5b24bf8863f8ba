//! Which of a display's events tell of a head, and what is to be fetched after each.
//!
//! Follows `design/irq-info-capabilities.md` section 4 and `design/display-irq.md` section 2: an
//! index is found by its type, an event by its kind, and nothing is bound whose kind is not known.

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::PlaneMask;

/// How many indexes a device is asked about, whatever it claims to have.
const INDEXES_MAX: u32 = 256;
/// How many events are bound of a display that does not tell what they mean.
const EVENTS_MAX: u32 = 64;

/// What may have changed, and so is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetches {
    /// The primary plane and what it shows.
    pub primary: bool,
    /// The cursor plane and what it shows.
    pub cursor: bool,
    /// Whether and which monitor is plugged in.
    pub monitor: bool,
}

impl Fetches {
    /// What either asks for.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            primary: self.primary | other.primary,
            cursor: self.cursor | other.cursor,
            monitor: self.monitor | other.monitor,
        }
    }
}

/// An event to be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The sub-index.
    pub sub_index: u32,
    /// What its signal asks for.
    pub fetches: Fetches,
}

/// What to bind of a device so as to know what a head shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The index of the display's events.
    pub index: IrqIndex,
    /// In ascending order of sub-index, none twice.
    pub bindings: Vec<Binding>,
}

/// Why a device cannot be waited for.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The device does not tell what it is.
    #[error("the device does not tell what it is")]
    Info {
        /// What it answered.
        #[source]
        source: Errno,
    },
    /// None of its interrupts is a display's.
    #[error("the device has no display interrupt")]
    NoIndex,
    /// None of the display's events tells that the head's primary plane has changed.
    #[error("display interrupt {index} does not tell when head {head} has changed", index = index.0)]
    NoEvent {
        /// The display's index.
        index: IrqIndex,
        /// Which head.
        head: u32,
    },
}

impl Plan {
    /// Looks for the display's index of a device and for the events of a head.
    ///
    /// # Errors
    ///
    /// See [`PlanError`].
    pub fn find(device: &dyn Device, head: u32) -> Result<Self, PlanError> {
        let info = device.info().map_err(|source| PlanError::Info { source })?;
        let indexes = (0..info.num_irqs.min(INDEXES_MAX)).map(IrqIndex);
        let display = indexes
            // One that does not answer is no display.
            .filter_map(|index| device.irq_info(index).ok())
            .find(is_display)
            .ok_or(PlanError::NoIndex)?;
        Self::of(&display, head)
    }

    /// The plan for a head by what the display's index tells of itself.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoEvent`].
    pub fn of(display: &IrqInfo, head: u32) -> Result<Self, PlanError> {
        let mut plan = Self {
            index: display.index,
            bindings: Vec::new(),
        };
        let Some(events) = display.display_events() else {
            // Each of them may mean anything.
            for sub_index in 0..display.count.min(EVENTS_MAX) {
                plan.add(sub_index, ALL);
            }
            return (display.count > 0)
                .then_some(plan)
                .ok_or(PlanError::NoEvent {
                    index: display.index,
                    head,
                });
        };
        let of_head: Vec<_> = events.iter().filter(|event| event.head == head).collect();
        let primary = telling(&of_head, PlaneMask::PRIMARY).ok_or(PlanError::NoEvent {
            index: display.index,
            head,
        })?;
        plan.add(primary.sub_index, fetches(primary));
        if let Some(cursor) = telling(&of_head, PlaneMask::CURSOR) {
            plan.add(cursor.sub_index, fetches(cursor));
        }
        let hotplug = |event: &&&DisplayEvent| event.kind == DisplayEventKind::HOTPLUG;
        if let Some(hotplug) = of_head.iter().find(hotplug) {
            plan.add(hotplug.sub_index, ALL);
        }
        plan.bindings.sort_by_key(|binding| binding.sub_index);
        Ok(plan)
    }

    fn add(&mut self, sub_index: u32, fetches: Fetches) {
        let same = |binding: &&mut Binding| binding.sub_index == sub_index;
        if let Some(binding) = self.bindings.iter_mut().find(same) {
            binding.fetches = binding.fetches.with(fetches);
        } else {
            self.bindings.push(Binding { sub_index, fetches });
        }
    }
}

/// A monitor that is plugged in may come with another picture.
const ALL: Fetches = Fetches {
    primary: true,
    cursor: true,
    monitor: true,
};

fn is_display(info: &IrqInfo) -> bool {
    info.irq_type() == Some(IrqType::GFX_DISPLAY) && info.flags.contains(IrqFlags::EVENTFD)
}

/// The event that tells of changes of a plane: a refresh, which misses none, before a flip.
fn telling<'a>(events: &[&'a DisplayEvent], plane: PlaneMask) -> Option<&'a DisplayEvent> {
    [DisplayEventKind::REFRESH, DisplayEventKind::FLIP]
        .into_iter()
        .find_map(|kind| {
            events
                .iter()
                .find(|event| event.kind == kind && event.planes.contains(plane))
                .copied()
        })
}

fn fetches(event: &DisplayEvent) -> Fetches {
    Fetches {
        primary: event.planes.contains(PlaneMask::PRIMARY),
        cursor: event.planes.contains(PlaneMask::CURSOR),
        monitor: false,
    }
}

#[cfg(test)]
mod tests;
