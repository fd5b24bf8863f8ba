//! A head that shows the test card: drawn at each vblank, as a guest with two buffers would.
//!
//! At the vblank of frame n the buffer that was committed before is shown, which says n. The other
//! one, which nobody looks at any more, is painted with n + 1 and committed, and so shown from the
//! next vblank on. A painter that is late skips numbers; it never paints what is shown.
//!
//! It paints on a thread of its own, as a guest does on its vCPUs: no vblank of another head and
//! nobody who was told of this one waits for it.

mod thread;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use irqbroker_vfio_abi::Errno;
use irqbroker_vfio_abi::RegionIndex;

use crate::device::UnknownHead;
use crate::device::VgpuDevice;
use crate::device::gfx_user::PAGE;
use crate::device::state::Life;
use crate::device::test_card::thread::PaintThread;
use crate::device::test_card::thread::Work;
use crate::head::HeadId;
use crate::scanout::PixelFormat;
use crate::scanout::Scanout;
use crate::test_picture::Part;
use crate::test_picture::TestPicture;

/// Words of the Bochs display interface, and bits of its fourth.
const DISPI: u64 = 0x500;
const ENABLED_KEEPING_MEMORY: u16 = 0xc1;
/// The plane registers of head 0 in the register BAR, and the distance to the next head's.
const PLANE: u64 = 0x920;
const HEAD_STRIDE: u64 = 0x40;

/// Why a head shows no test card.
#[derive(Debug, thiserror::Error)]
pub enum TestCardError {
    /// The head is not there.
    #[error("no head for a test card")]
    Head(#[source] UnknownHead),
    /// It shows one.
    #[error("head {head} shows a test card already")]
    Shown {
        /// The head.
        head: HeadId,
    },
    /// The VRAM does not hold two pictures for each head up to this one.
    #[error("the vram has no room for two pictures of head {head}")]
    Room {
        /// The head.
        head: HeadId,
    },
    /// The host has no thread to give.
    #[error("cannot start the thread that paints the test card of head {head}")]
    Thread {
        /// The head.
        head: HeadId,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
}

/// A test card that a head shows. Dropping it ends the movement and leaves the last picture; it waits
/// for the picture that is being painted.
#[derive(Debug)]
pub struct TestCard {
    device: Arc<VgpuDevice>,
    head: HeadId,
    picture: TestPicture,
    thread: Option<PaintThread>,
}

impl TestCard {
    /// What is painted.
    #[must_use]
    pub const fn picture(&self) -> TestPicture {
        self.picture
    }
}

impl Drop for TestCard {
    fn drop(&mut self) {
        let place = usize::from(self.head.0);
        let set = |card| {
            let mut state = self.device.lock();
            if let Some(head) = state.heads.get_mut(place) {
                head.card = card;
            }
            state.rearm(&self.device.instance, place);
        };
        // The thread ends once no painter is left that it could be sent. Another card would be taken
        // for the one that is being painted, so none comes before.
        set(Card::Ending);
        drop(self.thread.take());
        set(Card::Off);
    }
}

/// The test card of a head.
#[derive(Debug, Default)]
pub(crate) enum Card {
    /// None.
    #[default]
    Off,
    /// To be painted at the next vblank.
    Waiting(Box<Painter>),
    /// Being painted.
    Painting,
    /// Perhaps still being painted, for the last time.
    Ending,
}

impl Card {
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Takes the painter, to paint with no lock held.
    pub(crate) fn take(&mut self) -> Option<Box<Painter>> {
        match std::mem::take(self) {
            Self::Waiting(painter) => {
                *self = Self::Painting;
                Some(painter)
            }
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What is known of the two buffers.
#[derive(Debug)]
pub(crate) struct Painter {
    head: u8,
    picture: TestPicture,
    /// The frame each buffer holds.
    holds: [Option<u64>; 2],
    /// The one that was committed last.
    front: usize,
    bytes: Vec<u8>,
    /// Where it is sent to paint; none: where the vblank comes.
    thread: Option<Sender<Work>>,
}

impl Painter {
    fn scanout(&self, buffer: usize) -> Scanout {
        let (width, height) = (self.picture.width(), self.picture.height());
        Scanout {
            offset: buffer_at(width, height, self.head, buffer),
            stride: width * PixelFormat::Xrgb8888.bytes(),
            width,
            height,
            format: PixelFormat::Xrgb8888,
        }
    }

    /// Paints the buffer that is not shown, and commits it.
    fn paint(&mut self, device: &VgpuDevice, frame: u64) -> Result<(), Errno> {
        let shown = device.scanout(HeadId(self.head));
        if shown != Some(self.scanout(self.front)) {
            // The beginning, or somebody has reset the device: memory and mode are gone.
            self.holds = [None; 2];
        }
        let back = 1 - self.front;
        let parts = match self.holds[back].take() {
            Some(before) => self.picture.changes(before, frame),
            None => vec![self.picture.whole()],
        };
        let scanout = self.scanout(back);
        for part in parts {
            self.paint_part(device, &scanout, frame, &part)?;
        }
        commit(device, self.head, &scanout, shown.is_none())?;
        self.holds[back] = Some(frame);
        self.front = back;
        Ok(())
    }

    fn paint_part(
        &mut self,
        device: &VgpuDevice,
        scanout: &Scanout,
        frame: u64,
        part: &Part,
    ) -> Result<(), Errno> {
        let pixel = u64::from(scanout.format.bytes());
        let mut before = None;
        for line in part.lines.clone() {
            let band = Some(self.picture.band(line));
            if std::mem::replace(&mut before, band) != band {
                self.bytes.clear();
                self.picture
                    .line(frame, part.columns.clone(), line, &mut self.bytes);
            }
            let start = u64::from(line) * u64::from(scanout.stride);
            let offset = scanout.offset + start + u64::from(part.columns.start) * pixel;
            device.vram.write(offset, &self.bytes)?;
        }
        Ok(())
    }
}

/// Where a buffer of a head begins: two for each head before it come first. Those of head 0 follow
/// each other line by line, as its registers want them; all others begin with a page.
fn buffer_at(width: u32, height: u32, head: u8, buffer: usize) -> u64 {
    let len = u64::from(width) * u64::from(height) * u64::from(PixelFormat::Xrgb8888.bytes());
    let pages = len.next_multiple_of(PAGE);
    match head {
        0 => len * buffer as u64,
        head => pages * (2 * u64::from(head) + buffer as u64),
    }
}

/// Shows a buffer, by the registers that a guest has.
fn commit(device: &VgpuDevice, head: u8, scanout: &Scanout, off: bool) -> Result<(), Errno> {
    let write = |offset: u64, bytes: &[u8]| {
        let written = device.write_region(RegionIndex::BAR2, offset, bytes);
        written.map(drop)
    };
    if head > 0 {
        // Offset, stride and size; then control, which takes them over.
        let plane = PLANE + u64::from(head) * HEAD_STRIDE;
        let size = scanout.height << 16 | scanout.width;
        let offset = u32::try_from(scanout.offset).map_err(|_| Errno::EOVERFLOW)?;
        for (place, word) in (0..).zip([offset, scanout.stride, size, 1]) {
            write(plane + 4 * place, &word.to_le_bytes())?;
        }
        return Ok(());
    }
    let narrow = |value: u32| u16::try_from(value).map_err(|_| Errno::EOVERFLOW);
    let lines = scanout.offset / u64::from(scanout.stride);
    let line = u16::try_from(lines).map_err(|_| Errno::EOVERFLOW)?;
    let (width, height) = (narrow(scanout.width)?, narrow(scanout.height)?);
    let word = |word: u64, value: u16| write(DISPI + 2 * word, &value.to_le_bytes());
    if off {
        for (at, value) in [(4, 0), (3, 32), (1, width), (2, height), (6, width), (8, 0)] {
            word(at, value)?;
        }
        // The picture is taken over as it will be: nothing else is shown in between.
        word(9, line)?;
        return word(4, ENABLED_KEEPING_MEMORY);
    }
    word(9, line)
}

impl VgpuDevice {
    /// Has a head show the test card, drawn by the device itself at each of its vblanks: in the
    /// preferred mode, in two buffers that are flipped as a guest would. For a head that no guest
    /// drives.
    ///
    /// It is drawn on a thread that ends with the card, whether or not anybody looks; on a clock of the
    /// embedder's, which no thread can follow, by the one who drives the scheduler.
    ///
    /// # Errors
    ///
    /// See [`TestCardError`]. The head shows what it did.
    pub fn show_test_card(self: &Arc<Self>, head: HeadId) -> Result<TestCard, TestCardError> {
        let (width, height) = (u32::from(self.vgpu.width), u32::from(self.vgpu.height));
        let Some(timed) = self.instance.head(head) else {
            return Err(TestCardError::Head(UnknownHead { head }));
        };
        let room = || TestCardError::Room { head };
        // A preferred mode is never smaller than the card.
        let picture = TestPicture::new(width, height).ok_or_else(room)?;
        let end = buffer_at(width, height, head.0, 1) + self.picture_len();
        if end > self.vram.size() {
            return Err(room());
        }
        let place = usize::from(head.0);
        let mut state = self.lock();
        state.advance(&self.instance, place);
        let card = match state.heads.get_mut(place).map(|known| &mut known.card) {
            Some(card @ Card::Off) => card,
            _ => return Err(TestCardError::Shown { head }),
        };
        let started = match timed.has_own_clock() {
            true => None,
            false => Some(PaintThread::start(self, head)),
        };
        let started = started.transpose();
        let started = started.map_err(|source| TestCardError::Thread { head, source })?;
        let (thread, work) = started.unzip();
        *card = Card::Waiting(Box::new(Painter {
            head: head.0,
            picture,
            holds: [None; 2],
            front: 0,
            bytes: Vec::new(),
            thread: work,
        }));
        state.rearm(&self.instance, place);
        drop(state);
        Ok(TestCard {
            device: Arc::clone(self),
            head,
            picture,
            thread,
        })
    }

    fn picture_len(&self) -> u64 {
        let pixels = u64::from(self.vgpu.width) * u64::from(self.vgpu.height);
        pixels * u64::from(PixelFormat::Xrgb8888.bytes())
    }

    /// The vblank of `frame` has come, at which there is something to paint; with no lock held.
    pub(crate) fn card_due(&self, head: usize, painter: Box<Painter>, frame: u64) {
        match painter.thread.clone() {
            None => self.paint_card(head, painter, frame),
            Some(thread) => {
                // It is gone only after the card is: nobody has any use for the painter then.
                let _ = thread.send(Work { painter, frame });
            }
        }
    }

    /// Paints what is to be shown from the vblank after `frame` on; with no lock held.
    fn paint_card(&self, head: usize, mut painter: Box<Painter>, frame: u64) {
        // One that was saved stays as it is, or has painted what is not shown yet; it goes on with the alarm
        // that comes with its life.
        let running = self.lock().life == Life::Running;
        let painted = match running {
            true => painter.paint(self, frame + 1),
            false => Ok(()),
        };
        let mut state = self.lock();
        if let Err(error) = painted {
            tracing::warn!(%error, name = self.instance.name(), "cannot paint the test card");
            state.bindings.signal_err();
        }
        if let Some(state) = state.heads.get_mut(head)
            && matches!(state.card, Card::Painting)
        {
            state.card = Card::Waiting(painter);
        }
        if state.life == Life::Running {
            state.rearm(&self.instance, head);
        }
    }
}
