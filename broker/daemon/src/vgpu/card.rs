//! Waiting for a head's test card.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use irqbroker::Wait;
use irqbroker::vgpu::HeadId;
use irqbroker::vgpu::VgpuDevice;
use irqbroker_display::Display;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;

/// How long a test card is waited for: hundreds of frames.
const LIMIT: Duration = Duration::from_secs(10);

/// What came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The card, or the end of the time that it is waited for.
    Card,
    /// A signal that ends this process.
    End,
}

/// Returns when a head shows its card: who looks then finds it, in its size. Earlier if `end` is
/// readable.
///
/// # Errors
///
/// Nobody can look at the head.
pub(super) fn wait(
    device: &Arc<VgpuDevice>,
    head: HeadId,
    end: &UnixStream,
) -> anyhow::Result<Came> {
    let view = device.head_view(head)?;
    let mut display = Display::open(Arc::new(view), head.0.into())?;
    let deadline = Instant::now() + LIMIT;
    loop {
        display.service(Wait::No)?;
        if display.frame().is_some() {
            return Ok(Came::Card);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tracing::warn!(%head, "the test card is late");
            return Ok(Came::Card);
        }
        let mut fds = [
            PollFd::new(end, PollFlags::IN),
            PollFd::from_borrowed_fd(display.poll_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(Came::End);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use irqbroker::vgpu::Granularity;
    use irqbroker::vgpu::VblankScheduler;
    use irqbroker::vgpu::VgpuParent;
    use irqbroker::vgpu::VgpuType;

    use super::*;

    #[test]
    fn card_that_does_not_come_is_waited_for_until_a_signal_ends_it() {
        let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
        let small = VgpuType::find("small").unwrap();
        let device = parent.create_device(&small, None).unwrap();
        let (end, mut to_end) = UnixStream::pair().unwrap();
        to_end.write_all(&[1]).unwrap();
        assert_eq!(wait(&device, HeadId(0), &end).unwrap(), Came::End);
    }
}
