//! A VFIO device's interrupts: raised from here through VFIO's loopback, or by the device itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::anyhow;
use anyhow::bail;
use irqbroker::vgpu::Refresh;
use irqbroker_vfio::DeviceAddress;
use irqbroker_vfio::FireError;
use irqbroker_vfio::HostIrq;
use irqbroker_vfio::IndexProducers;
use irqbroker_vfio::ProducerDevice;
use irqbroker_vfio::abi::Errno;
use irqbroker_vfio::abi::IrqFlags;
use irqbroker_vfio::abi::IrqIndex;

use super::feed::Feed;
use super::feed::Line;
use super::feed::Stamps;

/// More interrupts of one index than this are left alone: what the guest has vectors for.
const LINES_MAX: u32 = 128;

/// Who raises the interrupts.
pub(super) enum Raise {
    /// We do, each one at this rate (`VFIO_IRQ_SET_ACTION_TRIGGER` without data).
    Loopback(Refresh),
    /// The device does, whenever it likes.
    Device,
}

/// The interrupts of one index of a device.
pub(super) struct VfioFeed {
    lines: Vec<Line>,
    raising: Raising,
    /// After the lines: disables the index, which they are bound to.
    index: Arc<IndexProducers>,
}

enum Raising {
    Loopback(Loopback),
    /// What the host's kernel counts of each line.
    Device(Vec<HostIrq>),
}

struct Loopback {
    refresh: Refresh,
    stamps: Arc<Stamps>,
    /// Why it ended before it was told to.
    failure: Arc<Mutex<Option<FireError>>>,
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl VfioFeed {
    /// Opens the device and binds an index: the one asked for, or the best it has.
    pub(super) fn open(
        address: &DeviceAddress,
        irq: Option<u32>,
        raise: Raise,
    ) -> anyhow::Result<Self> {
        let opened = irqbroker_vfio::open(address)?;
        let device = opened
            .producers()
            .context("the device does not say what it is")?;
        if opened.source_id.is_some() {
            irqbroker_vfio::enable_bus_master(&*opened.device)
                .context("bus mastering cannot be enabled")?;
        }
        Self::of(&device, irq, raise)
    }

    fn of(device: &Arc<ProducerDevice>, irq: Option<u32>, raise: Raise) -> anyhow::Result<Self> {
        let index = match irq {
            Some(index) => device.index(IrqIndex(index))?,
            None => best_index(device)?,
        };
        let level = index.info().flags.contains(IrqFlags::AUTOMASKED);
        if level && matches!(raise, Raise::Device) {
            bail!(
                "{} is a level line, and the demo's guest cannot serve the device behind it; leave \
                 --listen out, or choose another index with --irq",
                index.name()
            );
        }
        let producers = index.bind(0..index.info().count.min(LINES_MAX))?;
        let lines: Vec<Line> = producers
            .into_iter()
            .map(|producer| Line {
                name: format!("{}[{}]", index.name(), producer.sub_index()),
                token: producer.token().clone(),
                producer,
            })
            .collect();
        let raising = match raise {
            Raise::Loopback(refresh) => Raising::Loopback(Loopback {
                refresh,
                stamps: Arc::new(Stamps::new(lines.len())),
                failure: Arc::default(),
                running: None,
            }),
            Raise::Device => Raising::Device(host_irqs(device, &index, &lines)?),
        };
        Ok(Self {
            lines,
            raising,
            index: Arc::new(index),
        })
    }
}

/// What the host's kernel counts of each line.
fn host_irqs(
    device: &ProducerDevice,
    index: &IndexProducers,
    lines: &[Line],
) -> anyhow::Result<Vec<HostIrq>> {
    (0..)
        .take(lines.len())
        .map(|line| HostIrq::of(device.name(), index.info().index, line))
        .collect::<Option<_>>()
        .with_context(|| {
            format!(
                "the host counts no interrupts of {}, and without a count of what the device sent \
                 nothing can be judged; leave --listen out",
                index.name()
            )
        })
}

/// MSI-X before MSI before INTx; of a device without those the first index it has.
fn best_index(device: &Arc<ProducerDevice>) -> anyhow::Result<IndexProducers> {
    let pci = [IrqIndex::MSIX, IrqIndex::MSI, IrqIndex::INTX];
    let others = (0..device.info().num_irqs.min(LINES_MAX)).map(IrqIndex);
    pci.into_iter()
        .chain(others)
        .find_map(|index| device.index(index).ok())
        .ok_or_else(|| anyhow!("{} has no interrupts", device.name()))
}

impl Loopback {
    fn start(&mut self, index: &Arc<IndexProducers>, lines: usize) -> anyhow::Result<()> {
        let (stop, stopped) = channel::<()>();
        let index = Arc::clone(index);
        let stamps = Arc::clone(&self.stamps);
        let failure = Arc::clone(&self.failure);
        let period =
            Duration::from_secs(self.refresh.denominator().into()) / self.refresh.numerator();
        let fire = move || {
            let mut next = Instant::now() + period;
            while stopped.recv_timeout(next.saturating_duration_since(Instant::now()))
                == Err(RecvTimeoutError::Timeout)
            {
                for (line, sub_index) in (0..lines).zip(0..) {
                    stamps.stamp(line);
                    if let Err(error) = index.fire(sub_index..sub_index + 1) {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
                next += period;
            }
        };
        let thread = std::thread::Builder::new()
            .name("loopback".into())
            .spawn(fire)?;
        self.running = Some((stop, thread));
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread
                .join()
                .map_err(|_| anyhow!("the loopback thread panicked"))?;
        }
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match failure {
            Some(error) if error.source == Errno::ENODEV => {
                Err(error).context("the device is gone")
            }
            Some(error) => Err(error).context("the device takes no loopback"),
            None => Ok(()),
        }
    }
}

impl Feed for VfioFeed {
    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn start(&mut self) -> anyhow::Result<()> {
        match &mut self.raising {
            Raising::Loopback(loopback) => loopback.start(&self.index, self.lines.len()),
            Raising::Device(_) => Ok(()),
        }
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        match &mut self.raising {
            Raising::Loopback(loopback) => loopback.stop(),
            // The device goes on as it likes; the account is closed at one moment.
            Raising::Device(_) => Ok(()),
        }
    }

    fn signal_once(&self, line: usize) -> anyhow::Result<bool> {
        let Raising::Loopback(loopback) = &self.raising else {
            return Ok(false);
        };
        let sub_index = u32::try_from(line)?;
        loopback.stamps.stamp(line);
        self.index.fire(sub_index..sub_index + 1)?;
        Ok(true)
    }

    fn stamps(&self) -> Option<&Arc<Stamps>> {
        match &self.raising {
            Raising::Loopback(loopback) => Some(&loopback.stamps),
            Raising::Device(_) => None,
        }
    }

    fn signalled(&self, line: usize) -> anyhow::Result<Option<u64>> {
        match &self.raising {
            Raising::Loopback(_) => Ok(None),
            Raising::Device(lines) => Ok(lines.get(line).map(HostIrq::count).transpose()?),
        }
    }

    fn missed(&self, _line: usize) -> u64 {
        0
    }
}
