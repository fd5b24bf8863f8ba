//! A VMM that shows the guest's memory in place: it asks for the plane and copies nothing.

use std::os::fd::AsFd;
use std::time::Duration;
use std::time::Instant;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::GfxSurface;
use irqbroker_vfio_abi::GfxTransport;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneType;
use irqbroker_vgpu::HeadEvent;
use rustix::event::EventfdFlags;

use crate::Failure;
use crate::HEAD;
use crate::Stage;
use crate::last_vblank;
use crate::seen::Seen;
use crate::wait;

/// The display interrupt of a view.
const EVENTS: IrqIndex = IrqIndex(0);

/// Asks for the plane at each flip, and where in which file its picture is.
pub(crate) fn plane(stage: &Stage<'_>, length: Duration) -> Result<Seen, Failure> {
    let head = stage.device.instance().head(HEAD).ok_or("no head")?;
    let view = stage.device.head_view(HEAD)?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let flipped = rustix::event::eventfd(0, flags)?;
    let fds = [Some(flipped.as_fd())];
    let flip = HeadEvent::Flip.sub_index(HEAD);
    view.set_irqs(&IrqSet::bind(EVENTS, flip, &fds))?;
    let mut seen = Seen::default();
    let mut first = None;
    let mut shown = None;
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let Some(woken) = wait(&flipped, left)? else {
            break;
        };
        rustix::io::read(&flipped, &mut [0; 8])?;
        let (vblank, (_, flips)) = (last_vblank(head), stage.wakeups_and_flips());
        seen.wakeups += 1;
        let plane = view.query_gfx_plane(GfxTransport::Region, PlaneType::PRIMARY)?;
        let GfxSurface::Region(region) = plane.surface else {
            return Err("no region".into());
        };
        let region = view.region_info(region)?;
        // Where in the file the picture begins is all that differs.
        if shown.replace(region.offset) != Some(region.offset) {
            seen.flipped(stage.commits.shown_at(vblank), vblank, Some(woken));
            seen.taken = seen.changes - 1;
            seen.flips = flips - *first.get_or_insert(flips);
        }
    }
    Ok(seen)
}
