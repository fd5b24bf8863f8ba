//! The thread that a test card is painted on.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::MonotonicTime;
use crate::device::VgpuDevice;
use crate::device::test_card::Painter;
use crate::head::Head;
use crate::head::HeadId;

/// It begins this part of a period after the vblank: whoever shows the picture that was flipped to
/// then has fetched it, on a machine where both do not run at once.
const HEAD_START: u32 = 4;

/// A painter, at the vblank of a frame.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) painter: Box<Painter>,
    pub(crate) frame: u64,
}

/// A thread that paints. It ends when all that can send it work are gone, painters included; dropping
/// this waits for that.
#[derive(Debug)]
pub(super) struct PaintThread(Option<JoinHandle<()>>);

impl PaintThread {
    pub(super) fn start(
        device: &Arc<VgpuDevice>,
        head: HeadId,
    ) -> io::Result<(Self, Sender<Work>)> {
        let (sender, work) = mpsc::channel();
        let device = Arc::clone(device);
        let thread = std::thread::Builder::new()
            .name("test-card".into())
            .spawn(move || paint(&device, head, &work))?;
        Ok((Self(Some(thread)), sender))
    }
}

impl Drop for PaintThread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Fails only if it panicked, which was reported then.
            let _ = thread.join();
        }
    }
}

fn paint(device: &VgpuDevice, head: HeadId, work: &Receiver<Work>) {
    let Some(timed) = device.instance().head(head) else {
        return;
    };
    while let Ok(Work { painter, frame }) = work.recv() {
        std::thread::sleep(head_start(timed, frame));
        // A vblank that was slept through is the one before what is painted.
        let frame = timed.frame().max(frame);
        device.paint_card(usize::from(head.0), painter, frame);
    }
}

/// How long it is until a frame is to be painted after.
fn head_start(timed: &Head, frame: u64) -> Duration {
    let cadence = timed.cadence();
    let vblank = cadence.deadline(frame);
    let period = cadence.deadline(frame + 1).saturating_since(vblank);
    let gone = MonotonicTime::now().saturating_since(vblank);
    (period / HEAD_START).saturating_sub(gone)
}
