//! A guest sets a mode and commits frames; a display hears of one flip a vblank.
//!
//! The guest is played here by the register writes of Linux's bochs driver. The display binds an
//! eventfd to the flip's sub-index, as it does with any VFIO device.

use std::error::Error;
use std::os::fd::AsFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneMask;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use rustix::event::EventfdFlags;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let vgpu = VgpuType::find("medium").ok_or("no such type")?;
    let device = parent.create_device(&vgpu, None)?;

    // The display finds the sub-index by what it is for.
    let index = IrqIndex(IrqIndex::PCI_NUM);
    let capabilities = device.irq_info(index)?.capabilities;
    let flip = capabilities.iter().find_map(|capability| match capability {
        IrqCapability::Display(events) => events.iter().find(|event| {
            event.kind == DisplayEventKind::FLIP && event.planes == PlaneMask::PRIMARY
        }),
        _ => None,
    });
    let flip = flip.ok_or("no flips")?.sub_index;
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    device.set_irqs(&IrqSet::bind(index, flip, &[Some(event.as_fd())]))?;
    let _thread = parent.scheduler().spawn()?;

    let write =
        |offset, value: u16| device.region_write(RegionIndex::BAR2, offset, &value.to_le_bytes());
    // Off, 32 bits, 1280x800, lines of 1280 pixels, on.
    for (offset, value) in [(0x508, 0), (0x506, 32), (0x502, 1280), (0x504, 800)] {
        write(offset, value)?;
    }
    for (offset, value) in [(0x50c, 1280), (0x510, 0), (0x512, 0), (0x508, 0x41)] {
        write(offset, value)?;
    }
    // Two pictures by turns; each is committed by its y offset, here twice a vblank.
    for frame in 1..=5 {
        for y in [800, 0] {
            write(0x512, y)?;
        }
        let mut count = [0; 8];
        rustix::io::read(&event, &mut count)?;
        let flips = u64::from_ne_bytes(count);
        println!(
            "frame {frame}: {flips} flip at vblank {}",
            device.instance().heads()[0].frame()
        );
    }
    let counters = device.counters(HeadId(0)).ok_or("no head")?;
    println!(
        "{} commits, {} coalesced, {} flips",
        counters.commits, counters.coalesced, counters.flips
    );
    println!("{} wake-ups", parent.scheduler().counters().wakeups);
    println!("shown: {:?}", device.scanout(HeadId(0)));
    Ok(())
}
