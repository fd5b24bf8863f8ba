//! The picture of a head, taken again where another one came while it was read.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::PlaneType;
use rustix::event::EventfdFlags;

use crate::fetch::for_each_line;
use crate::picture::Picture;
use crate::plan::Plan;
use crate::plane::Plane;
use crate::screenshot_error::ScreenshotError;
use crate::source::Shown;
use crate::source::Source;
use crate::transport_choice::TransportChoice;

/// Takes the picture that a head shows, whole: once more each time the device tells of another one
/// before this one is read, for as long as `limit`.
///
/// It binds the events of the head that tell so, and unbinds them at the end: nobody else may have
/// bound them. Of a device that does not tell, the picture is taken as it comes. What a guest
/// draws meanwhile in the picture that is shown may be in it by half.
///
/// # Errors
///
/// See [`ScreenshotError`].
pub fn whole_screenshot(
    device: &dyn Device,
    head: u32,
    choice: TransportChoice,
    limit: Duration,
) -> Result<Picture, ScreenshotError> {
    let transport = choice
        .probe(device)
        .map_err(|source| ScreenshotError::Transport { choice, source })?;
    whole(device, head, &mut Source::new(transport), limit)
}

fn whole(
    device: &dyn Device,
    head: u32,
    source: &mut Source,
    limit: Duration,
) -> Result<Picture, ScreenshotError> {
    let start = Instant::now();
    let flips = Flips::bind(device, head)?;
    let mut pixels = Pixels::default();
    let mut times = 0;
    loop {
        let plane = pixels.read(device, source)?;
        if !flips.take() {
            return pixels.picture(&plane);
        }
        times += 1;
        if start.elapsed() >= limit {
            return Err(ScreenshotError::Overtaken { times });
        }
    }
}

/// Whether another picture has come.
struct Flips<'a> {
    device: &'a dyn Device,
    index: IrqIndex,
    /// What was bound of it.
    bound: Vec<u32>,
    event: OwnedFd,
}

impl<'a> Flips<'a> {
    fn bind(device: &'a dyn Device, head: u32) -> Result<Self, ScreenshotError> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| ScreenshotError::Fd { source })?;
        let mut flips = Self {
            device,
            index: IrqIndex(0),
            bound: Vec::new(),
            event,
        };
        // A device without such an interrupt is read as it is.
        let Ok(plan) = Plan::find(device, head) else {
            return Ok(flips);
        };
        flips.index = plan.index;
        for binding in plan.bindings.iter().filter(|one| one.fetches.primary) {
            let (index, sub_index) = (plan.index, binding.sub_index);
            let fds = [Some(flips.event.as_fd())];
            // What was bound before this fails is unbound by the drop.
            device
                .set_irqs(&IrqSet::bind(index, sub_index, &fds))
                .map_err(|source| ScreenshotError::Bind {
                    index,
                    sub_index,
                    source,
                })?;
            flips.bound.push(sub_index);
        }
        Ok(flips)
    }

    /// Whether one has come since this was asked last.
    fn take(&self) -> bool {
        // Whatever it counts, it says "at least one"; EAGAIN says none.
        rustix::io::read(&self.event, &mut [0; 8]).is_ok()
    }
}

impl Drop for Flips<'_> {
    fn drop(&mut self) {
        for &sub_index in &self.bound {
            let unbind = IrqSet::bind(self.index, sub_index, &[None]);
            // A device that is gone signals nothing either.
            let _ = self.device.set_irqs(&unbind);
        }
    }
}

/// What a plane shows, as the device has it: it is converted only once it is known to be whole.
#[derive(Debug, Default)]
pub(crate) struct Pixels {
    /// Line by line, without gaps.
    lines: Vec<u8>,
    buffer: Vec<u8>,
}

impl Pixels {
    pub(crate) fn read(
        &mut self,
        device: &dyn Device,
        source: &mut Source,
    ) -> Result<Plane, ScreenshotError> {
        let shown = source.shown(device, PlaneType::PRIMARY)?;
        let Shown { plane, surface, .. } = shown.ok_or(ScreenshotError::Disabled)?;
        let lines = &mut self.lines;
        lines.clear();
        for_each_line(&mut self.buffer, &surface, &plane, |_, line| {
            lines.extend_from_slice(line);
        })?;
        Ok(plane)
    }

    pub(crate) fn picture(&self, plane: &Plane) -> Result<Picture, ScreenshotError> {
        let mut rgb = Vec::new();
        plane.layout.append(&self.lines, &mut rgb);
        Picture::new(plane.width.into(), plane.height.into(), rgb).ok_or(plane.size_error())
    }
}

#[cfg(test)]
mod tests;
