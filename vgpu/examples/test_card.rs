//! Watches the test card of a vGPU for a second and says what it saw.
//!
//! With a file name it writes the last picture there, as a PPM.

use std::io::Write;
use std::os::fd::AsFd;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vfio_abi::RegionIndex;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::HeadEvent;
use irqbroker_vgpu::HeadId;
use irqbroker_vgpu::TestReading;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuParent;
use irqbroker_vgpu::VgpuType;
use rustix::event::EventfdFlags;

const HEAD: HeadId = HeadId(0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let medium = VgpuType::find("medium").ok_or("no such type")?;
    let device = parent.create_device(&medium, None)?;
    let view = device.head_view(HEAD)?;
    let flip = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    view.set_irqs(&IrqSet {
        index: IrqIndex(0),
        start: HeadEvent::Flip.sub_index(HEAD),
        action: IrqAction::Trigger,
        data: IrqData::Eventfds(&[Some(flip.as_fd())]),
    })?;
    let card = device.show_test_card(HEAD)?;
    let _vblanks = parent.scheduler().spawn()?;
    let picture = card.picture();
    let width = usize::try_from(picture.width())?;
    let mut bytes = vec![0; width * usize::try_from(picture.height())? * 4];
    let (mut whole, mut torn, mut skipped, mut last) = (0, 0, 0, None);
    for _ in 0..60 {
        rustix::io::read(&flip, &mut [0; 8])?;
        // Whole, unless the next flip comes before it is read.
        view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)?;
        view.region_read(RegionIndex(0), 0, &mut bytes)?;
        let (pixels, _) = bytes.as_chunks::<4>();
        let at = |x: u32, y: u32| usize::try_from(y).unwrap_or(0) * width + x as usize;
        match picture.read(|x, y| pixels[at(x, y)]) {
            TestReading::Frame(frame) => {
                whole += 1;
                skipped += last.map_or(0, |last| frame - last - 1);
                last = Some(frame);
            }
            TestReading::Torn { .. } | TestReading::Foreign => torn += 1,
        }
    }
    let painted = device.counters(HEAD).map_or(0, |counters| counters.flips);
    let frames = device.instance().head(HEAD).map_or(0, |head| head.frame());
    println!("{painted} painted of {frames} frames");
    println!("{whole} whole, {torn} overtaken, {skipped} not looked at");
    if let Some(path) = std::env::args().nth(1) {
        let mut file = std::fs::File::create(path)?;
        writeln!(file, "P6 {} {} 255", picture.width(), picture.height())?;
        let rgb = bytes
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]);
        file.write_all(&rgb.collect::<Vec<u8>>())?;
    }
    Ok(())
}
