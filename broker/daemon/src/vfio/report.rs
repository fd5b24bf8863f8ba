//! What a device told, as JSON and as tables.

use std::fmt;

use serde::Serialize;

use super::device::DeviceRow;
use super::irq::IrqCap;
use super::irq::IrqRow;
use super::plane::PlaneRow;
use super::region::RegionCap;
use super::region::RegionRow;
use crate::table::Align;
use crate::table::Table;

/// The report of `irqbroker vfio probe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ProbeReport {
    pub(super) device: DeviceRow,
    pub(super) regions: Vec<RegionRow>,
    pub(super) irqs: Vec<IrqRow>,
    pub(super) planes: Vec<PlaneRow>,
}

impl ProbeReport {
    fn regions(&self) -> Table {
        let mut table = Table::new(&[
            ("region", Align::Left),
            ("size", Align::Right),
            ("access", Align::Left),
            ("capabilities", Align::Left),
        ]);
        for region in self
            .regions
            .iter()
            .filter(|region| region.size > 0 || region.error.is_some())
        {
            let capabilities = region.capabilities.iter().map(RegionCap::text);
            table.row(vec![
                region.name.clone(),
                size(region.size),
                region.flags.join(" "),
                capabilities
                    .chain(region.error.clone())
                    .collect::<Vec<_>>()
                    .join(", "),
            ]);
        }
        table
    }

    fn irqs(&self) -> Table {
        let mut table = Table::new(&[
            ("interrupt", Align::Left),
            ("count", Align::Right),
            ("trigger", Align::Left),
            ("flags", Align::Left),
            ("capabilities", Align::Left),
        ]);
        for irq in self
            .irqs
            .iter()
            .filter(|irq| irq.count > 0 || irq.error.is_some())
        {
            let capabilities = irq.capabilities.iter().map(IrqCap::text);
            table.row(vec![
                format!("{} {}", irq.index, irq.name),
                irq.count.to_string(),
                irq.trigger.to_owned(),
                irq.flags.join(" "),
                capabilities
                    .chain(irq.error.clone())
                    .collect::<Vec<_>>()
                    .join(", "),
            ]);
        }
        table
    }

    fn planes(&self) -> Table {
        let mut table = Table::new(&[
            ("plane", Align::Left),
            ("as", Align::Left),
            ("picture", Align::Left),
        ]);
        for plane in &self.planes {
            let picture = match plane.enabled {
                true => format!("{}x{} {}", plane.width, plane.height, plane.format),
                false => "disabled".to_owned(),
            };
            let compared = plane.same_pixels.map(|same| same.text().to_owned());
            let words = [Some(picture), compared, plane.error.clone()];
            table.row(vec![
                plane.plane.to_owned(),
                plane.transport.to_owned(),
                words.into_iter().flatten().collect::<Vec<_>>().join(", "),
            ]);
        }
        table
    }
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.device)?;
        writeln!(f, "{}", self.regions())?;
        writeln!(f, "{}", self.irqs())?;
        if !self.planes.is_empty() {
            writeln!(f, "{}", self.planes())?;
        }
        writeln!(
            f,
            "Regions and interrupts that the device lacks are left out here; --json has them."
        )
    }
}

/// Bytes in the largest unit that divides them.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}
