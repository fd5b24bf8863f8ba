//! The routes that are the embedder's own, and part of every table write.

use std::collections::BTreeMap;

use irqbroker_core::Gsi;

use crate::capabilities::Capabilities;
use crate::capabilities::IrqchipMode;
use crate::message::MessageRefused;
use crate::message::check_address;
use crate::route::Irqchip;
use crate::route::MsiRoute;
use crate::route::Route;
use crate::route::RouteEntry;

/// Pins of a PC's IOAPIC.
const IOAPIC_PINS: u32 = 24;

/// ISA interrupts: the pins the two 8259 have as well.
const PIC_PINS: u32 = 16;

/// The GSIs that belong to the embedder, and what they lead to.
///
/// A table write replaces the whole table, and the kernel has no call to read it back: what is
/// not handed over here is dead after the first commit. GSIs named here are never given to
/// anybody else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbedderRoutes {
    routes: BTreeMap<Gsi, Vec<Route>>,
}

/// Routes of the embedder that the kernel would refuse, and every table with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmbedderRoutesError {
    /// A GSI the table has no place for.
    #[error("gsi {gsi} is not below {limit}")]
    GsiOutOfRange {
        /// The GSI.
        gsi: Gsi,
        /// The first GSI that is out of range.
        limit: u32,
    },
    /// More entries than the table can have, leased ones included.
    #[error("{entries} entries do not fit a table of {limit}")]
    TooMany {
        /// Entries there would be.
        entries: usize,
        /// Entries the table can have.
        limit: u32,
    },
    /// A message beside another target, or two pins of one controller.
    #[error("gsi {gsi} has targets that exclude each other")]
    Conflict {
        /// The GSI.
        gsi: Gsi,
    },
    /// A route to a controller the VM does not have in the kernel.
    #[error("gsi {gsi} leads to an in-kernel controller, and the vm's irqchip is {}", irqchip.as_str())]
    NoIrqchip {
        /// The GSI.
        gsi: Gsi,
        /// What the VM has.
        irqchip: IrqchipMode,
    },
    /// A message the kernel would refuse.
    #[error("the message of gsi {gsi} cannot be routed")]
    Message {
        /// The GSI.
        gsi: Gsi,
        /// Why not.
        #[source]
        source: MessageRefused,
    },
    /// The GSI was not handed over at creation.
    #[error("gsi {gsi} is not the embedder's")]
    NotEmbedders {
        /// The GSI.
        gsi: Gsi,
    },
}

impl EmbedderRoutes {
    /// No GSI is the embedder's.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The table a PC's VM has after `KVM_CREATE_IRQCHIP` (`arch/x86/kvm/irq_comm.c`): GSI 0-23 to
    /// the IOAPIC pin of that number, GSI 0-15 to the PIC pin as well.
    #[must_use]
    pub fn pc_pins() -> Self {
        (0..IOAPIC_PINS).fold(Self::none(), |routes, gsi| {
            let ioapic = Route::Pin {
                chip: Irqchip::IOAPIC,
                pin: gsi,
            };
            let routes = routes.with(Gsi(gsi), ioapic);
            let chip = match gsi {
                0..8 => Irqchip::PIC_MASTER,
                8..PIC_PINS => Irqchip::PIC_SLAVE,
                _ => return routes,
            };
            routes.with(Gsi(gsi), Route::Pin { chip, pin: gsi % 8 })
        })
    }

    /// GSI 0 to `pins - 1` are kept for an interrupt controller in user space (split irqchip), and
    /// lead nowhere until [`VmDomain::reroute`](crate::VmDomain::reroute) says so.
    #[must_use]
    pub fn reserved(pins: u32) -> Self {
        Self {
            routes: (0..pins).map(|gsi| (Gsi(gsi), Vec::new())).collect(),
        }
    }

    /// Adds a message on a GSI of the embedder's choice.
    #[must_use]
    pub fn with_msi(self, gsi: Gsi, route: MsiRoute) -> Self {
        self.with(gsi, Route::Msi(route))
    }

    /// Adds a pin on a GSI of the embedder's choice.
    #[must_use]
    pub fn with_pin(self, gsi: Gsi, chip: Irqchip, pin: u32) -> Self {
        self.with(gsi, Route::Pin { chip, pin })
    }

    fn with(mut self, gsi: Gsi, route: Route) -> Self {
        self.routes.entry(gsi).or_default().push(route);
        self
    }

    /// Whether the GSI is the embedder's.
    #[must_use]
    pub fn owns(&self, gsi: Gsi) -> bool {
        self.routes.contains_key(&gsi)
    }

    /// The entries for the table.
    pub fn entries(&self) -> impl Iterator<Item = RouteEntry> + '_ {
        self.routes.iter().flat_map(|(&gsi, targets)| {
            targets
                .iter()
                .map(move |&target| RouteEntry { gsi, target })
        })
    }

    /// Changes where a GSI leads.
    ///
    /// # Errors
    ///
    /// The GSI is not the embedder's.
    pub(crate) fn reroute(
        &mut self,
        gsi: Gsi,
        targets: &[Route],
    ) -> Result<(), EmbedderRoutesError> {
        let current = self.routes.get_mut(&gsi);
        *current.ok_or(EmbedderRoutesError::NotEmbedders { gsi })? = targets.to_vec();
        Ok(())
    }

    /// Whether the kernel will take them (`virt/kvm/irqchip.c`, `setup_routing_entry`). Pin
    /// numbers are the controller's affair and not looked at.
    pub(crate) fn check(&self, vm: &Capabilities) -> Result<(), EmbedderRoutesError> {
        let limit = vm.kernel.max_routes;
        if let Some(gsi) = self.gsis().find(|gsi| gsi.0 >= limit) {
            return Err(EmbedderRoutesError::GsiOutOfRange { gsi, limit });
        }
        let entries = self.entries().count();
        if u32::try_from(entries).is_ok_and(|entries| entries > limit) {
            return Err(EmbedderRoutesError::TooMany { entries, limit });
        }
        for (&gsi, targets) in &self.routes {
            for (n, target) in targets.iter().enumerate() {
                if targets[..n].iter().any(|other| !target.goes_with(other)) {
                    return Err(EmbedderRoutesError::Conflict { gsi });
                }
                match target {
                    Route::Pin { .. } if vm.irqchip != IrqchipMode::Full => {
                        let irqchip = vm.irqchip;
                        return Err(EmbedderRoutesError::NoIrqchip { gsi, irqchip });
                    }
                    Route::Pin { .. } => {}
                    Route::Msi(msi) => check_address(msi.message.address, vm.destination_ids)
                        .map_err(|source| EmbedderRoutesError::Message { gsi, source })?,
                }
            }
        }
        Ok(())
    }

    pub(crate) fn gsis(&self) -> impl Iterator<Item = Gsi> + '_ {
        self.routes.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use irqbroker_core::MsiMessage;

    use super::*;
    use crate::message::DestinationIds;
    use crate::vm_irq::KernelCapabilities;

    #[test]
    fn pc_pins_has_an_entry_for_each_pin_of_the_three_controllers() {
        let routes = EmbedderRoutes::pc_pins();
        assert_eq!(routes.entries().count(), 24 + 8 + 8);
        // GSI 12 is pin 4 of the second PIC, and pin 12 of the IOAPIC.
        let twelve: Vec<Route> = routes
            .entries()
            .filter(|entry| entry.gsi == Gsi(12))
            .map(|entry| entry.target)
            .collect();
        let pin = |chip, pin| Route::Pin { chip, pin };
        assert_eq!(
            twelve,
            [pin(Irqchip::IOAPIC, 12), pin(Irqchip::PIC_SLAVE, 4)]
        );
    }

    #[test]
    fn reserved_owns_its_gsis_without_an_entry() {
        let routes = EmbedderRoutes::reserved(24);
        assert!(routes.owns(Gsi(23)));
        assert!(!routes.owns(Gsi(24)));
        assert_eq!(routes.entries().count(), 0);
    }

    /// A full irqchip and 8-bit ids, with a table of `max_routes`.
    fn vm(max_routes: u32) -> Capabilities {
        Capabilities {
            irqchip: IrqchipMode::Full,
            kernel: KernelCapabilities {
                max_routes,
                irqfd: true,
                resample: true,
                signal_msi: true,
                msi_devid: false,
            },
            destination_ids: DestinationIds::Bits8,
        }
    }

    fn msi(address: u64) -> MsiRoute {
        MsiRoute {
            message: MsiMessage { address, data: 0 },
            device: None,
        }
    }

    #[test]
    fn check_takes_the_pins_of_a_pc() {
        let check = EmbedderRoutes::pc_pins().check(&vm(40));
        assert_eq!(check, Ok(()));
    }

    #[test]
    fn check_refuses_more_entries_and_higher_gsis_than_the_table_has() {
        assert_eq!(
            EmbedderRoutes::pc_pins().check(&vm(39)),
            Err(EmbedderRoutesError::TooMany {
                entries: 40,
                limit: 39
            })
        );
        assert_eq!(
            EmbedderRoutes::pc_pins().check(&vm(23)),
            Err(EmbedderRoutesError::GsiOutOfRange {
                gsi: Gsi(23),
                limit: 23
            })
        );
    }

    #[test]
    fn check_refuses_targets_that_exclude_each_other() {
        let conflict = Err(EmbedderRoutesError::Conflict { gsi: Gsi(4) });
        let with_message = EmbedderRoutes::pc_pins().with_msi(Gsi(4), msi(0));
        assert_eq!(with_message.check(&vm(64)), conflict);
        let same_chip = EmbedderRoutes::pc_pins().with_pin(Gsi(4), Irqchip::IOAPIC, 5);
        assert_eq!(same_chip.check(&vm(64)), conflict);
    }

    #[test]
    fn check_refuses_pins_the_kernel_does_not_have() {
        let irqchip = IrqchipMode::Split;
        let split = Capabilities { irqchip, ..vm(64) };
        let gsi = Gsi(0);
        assert_eq!(
            EmbedderRoutes::pc_pins().check(&split),
            Err(EmbedderRoutesError::NoIrqchip { gsi, irqchip })
        );
    }

    #[test]
    fn check_refuses_a_message_only_where_its_bits_are_reserved() {
        let routes = EmbedderRoutes::none().with_msi(Gsi(5), msi(1 << 32));
        assert_eq!(routes.check(&vm(64)), Ok(()));
        let wide = Capabilities {
            destination_ids: DestinationIds::Bits32,
            ..vm(64)
        };
        assert!(matches!(
            routes.check(&wide),
            Err(EmbedderRoutesError::Message { gsi: Gsi(5), .. })
        ));
    }
}
