//! The vblanks of a vGPU at the other end of a vfio-user socket, by its display interrupt.
//!
//! What the vGPU signalled is known from its frame counter (`design/vgpu-registers.md`): vblanks
//! come to an eventfd from unmask to mask, and one at the unmask if there was one behind the mask
//! (`design/display-irq.md`). Masks are set in the middle of a frame, so that no vblank falls
//! between a look at the counter and the mask. A vblank that the vGPU itself was late for is not
//! told apart from one that merged, nor is one that came while a mask was changed, where the machine
//! was too busy to hit the middle: either way as many count as produced as can have been.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use irqbroker::Mask;
use irqbroker::Producer;
use irqbroker_vfio::IndexProducers;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::VfioProducer;
use irqbroker_vfio::abi::Device;
use irqbroker_vfio::abi::DisplayEventKind;
use irqbroker_vfio::abi::IrqType;
use irqbroker_vfio::abi::RegionIndex;
use irqbroker_vfio_user::Client;
use irqbroker_vfio_user::ClientOptions;

use super::feed::Feed;
use super::feed::Line;
use super::feed::Stamps;

/// The block's registers in BAR2.
const MAGIC: u64 = 0x800;
const HEADS: u64 = 0x808;
const HEAD_OFFSET: u64 = 0x80c;
/// Those of a head.
const FRAME: u64 = 0x08;
const REFRESH: u64 = 0x18;

/// No display is slower than this.
const LONGEST_FRAME: Duration = Duration::from_secs(1);

/// A frame counter that stands still for longer has stopped; until then its server may merely be
/// kept from running.
const STANDSTILL: Duration = Duration::from_secs(60);

/// The vblanks of all heads.
pub(super) struct DisplayFeed {
    lines: Vec<Line>,
    heads: Vec<Head>,
    /// After the lines: unbinds them.
    _index: IndexProducers,
}

struct Head {
    device: Arc<dyn Device>,
    producer: Arc<VfioProducer>,
    registers: u64,
    /// The last frame that was certainly before the mask was put on.
    masked_at: u64,
    /// The last frame that was certainly before the mask was taken off.
    started_at: u64,
    signalled: u64,
}

impl DisplayFeed {
    /// Connects to a server and binds its vblanks.
    pub(super) fn connect(socket: &Path) -> anyhow::Result<Self> {
        let client = Client::connect(socket, ClientOptions::default())?;
        let device: Arc<dyn Device> = Arc::new(client);
        let name = socket.file_name().unwrap_or_default().to_string_lossy();
        let device = ProducerDevice::new(name, device, None)
            .context("the device does not say what it is")?;
        let info = device.find(IrqType::GFX_DISPLAY)?;
        let info = info.context("the device has no display interrupt")?;
        let events = info
            .display_events()
            .context("the display interrupt has no events")?;
        let index = device.index(info.index)?;
        let mut feed = (Vec::new(), Vec::new());
        let vblanks = events
            .iter()
            .filter(|event| event.kind == DisplayEventKind::VBLANK);
        for event in vblanks {
            let producers = index.bind(event.sub_index..event.sub_index + 1)?;
            let producer = producers.into_iter().next().context("nothing was bound")?;
            feed.0.push(Line {
                name: format!("head{}.vblank", event.head),
                token: producer.token().clone(),
                producer: Arc::clone(&producer) as Arc<dyn Producer>,
            });
            feed.1
                .push(Head::new(device.device(), producer, event.head)?);
        }
        ensure!(!feed.0.is_empty(), "the device signals no vblanks");
        Ok(Self {
            lines: feed.0,
            heads: feed.1,
            _index: index,
        })
    }
}

impl Head {
    fn new(
        device: &Arc<dyn Device>,
        producer: Arc<VfioProducer>,
        head: u32,
    ) -> anyhow::Result<Self> {
        let read = |at| read_u32(&**device, at);
        ensure!(
            read(MAGIC)?.to_le_bytes() == *b"VGPU",
            "the device has no frame counter, so that nothing can be judged"
        );
        let (heads, first) = (read(HEADS)?, read(HEAD_OFFSET)?);
        ensure!(head < heads & 0xffff, "head {head} has no registers");
        Ok(Self {
            device: Arc::clone(device),
            producer,
            registers: u64::from(first) + u64::from(head) * u64::from(heads >> 16),
            masked_at: 0,
            started_at: 0,
            signalled: 0,
        })
    }

    fn hush(&mut self) -> anyhow::Result<()> {
        (self.masked_at, _) = self.within_a_frame(|mask| mask.mask())?;
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        (self.started_at, _) = self.within_a_frame(|mask| mask.unmask())?;
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let (_, end) = self.within_a_frame(|mask| mask.mask())?;
        let behind_the_mask = u64::from(self.started_at > self.masked_at);
        self.signalled = end - self.started_at + behind_the_mask;
        Ok(())
    }

    /// Changes the mask in the middle of a frame, and tells which one that was, before and after.
    fn within_a_frame(
        &self,
        change: impl FnOnce(&dyn Mask) -> Result<(), irqbroker::PeerError>,
    ) -> anyhow::Result<(u64, u64)> {
        let millihertz = read_u32(&*self.device, self.registers + REFRESH)?;
        let frame = Duration::from_secs(1000) / millihertz.max(1);
        let old = self.frame()?;
        let deadline = Instant::now() + STANDSTILL;
        while self.frame()? == old {
            ensure!(Instant::now() < deadline, "the frame counter stands still");
        }
        // The vblank that has just been is signalled a moment after the counter has moved.
        std::thread::sleep(frame.min(LONGEST_FRAME) / 3);
        let before = self.frame()?;
        let mask = self
            .producer
            .mask_control()
            .context("the vblank cannot be masked")?;
        change(mask)?;
        Ok((before, self.frame()?))
    }

    fn frame(&self) -> anyhow::Result<u64> {
        let mut bytes = [0; 8];
        let read =
            self.device
                .region_read(RegionIndex::BAR2, self.registers + FRAME, &mut bytes)?;
        ensure!(read == bytes.len(), "the frame counter is cut off");
        Ok(u64::from_le_bytes(bytes))
    }
}

fn read_u32(device: &dyn Device, at: u64) -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    let read = device.region_read(RegionIndex::BAR2, at, &mut bytes)?;
    ensure!(read == bytes.len(), "register {at:#x} is cut off");
    Ok(u32::from_le_bytes(bytes))
}

impl Feed for DisplayFeed {
    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn hush(&mut self) -> anyhow::Result<()> {
        self.heads.iter_mut().try_for_each(Head::hush)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.heads.iter_mut().try_for_each(Head::start)
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.heads.iter_mut().try_for_each(Head::stop)
    }

    fn stamps(&self) -> Option<&Arc<Stamps>> {
        None
    }

    fn signalled(&self, line: usize) -> anyhow::Result<Option<u64>> {
        Ok(self.heads.get(line).map(|head| head.signalled))
    }

    fn missed(&self, _line: usize) -> u64 {
        0
    }
}
