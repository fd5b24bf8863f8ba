//! An in-process vGPU's vblanks.

use std::sync::Arc;
use std::task::Waker;

use irqbroker::vgpu::Granularity;
use irqbroker::vgpu::InstanceConfig;
use irqbroker::vgpu::MonotonicTime;
use irqbroker::vgpu::Refresh;
use irqbroker::vgpu::Vblank;
use irqbroker::vgpu::VblankObserver;
use irqbroker::vgpu::VblankScheduler;
use irqbroker::vgpu::VblankThread;
use irqbroker::vgpu::VgpuInstance;
use irqbroker::vgpu::VgpuParent;

use super::feed::Feed;
use super::feed::Line;
use super::feed::Stamps;

/// A vGPU whose heads are the lines.
pub(super) struct VgpuFeed {
    scheduler: VblankScheduler,
    vgpu: Arc<VgpuInstance>,
    stamps: Arc<Stamps>,
    lines: Vec<Line>,
    running: Option<VblankThread>,
}

/// Stamps each vblank on the thread that signals it.
#[derive(Debug)]
struct Stamper(Arc<Stamps>);

impl VblankObserver for Stamper {
    fn vblank(&self, vblank: &Vblank) {
        self.0.stamp(vblank.head.0.into());
    }
}

impl VgpuFeed {
    pub(super) fn new(heads: usize, refresh: Refresh) -> anyhow::Result<Self> {
        let scheduler = VblankScheduler::new(Granularity::Exact);
        let stamps = Arc::new(Stamps::new(heads));
        scheduler.observe(Arc::new(Stamper(Arc::clone(&stamps))))?;
        let vgpu = VgpuParent::new(scheduler.clone()).create(InstanceConfig {
            name: None,
            heads: vec![refresh; heads],
        })?;
        let line = |head: &irqbroker::vgpu::Head| {
            let producer = head.producer();
            Line {
                name: format!("head{}.vblank", head.id()),
                token: producer.token().clone(),
                producer,
            }
        };
        Ok(Self {
            lines: vgpu.heads().iter().map(line).collect(),
            scheduler,
            vgpu,
            stamps,
            running: None,
        })
    }
}

impl Feed for VgpuFeed {
    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.running = Some(self.scheduler.spawn()?);
        Ok(())
    }

    /// What is due by now is signalled, or missed, even if the thread was late for it.
    fn stop(&mut self) -> anyhow::Result<()> {
        self.running = None;
        let mut driver = self.scheduler.drive(Waker::noop().clone())?;
        driver.run_due(MonotonicTime::now());
        Ok(())
    }

    fn stamps(&self) -> Option<&Arc<Stamps>> {
        Some(&self.stamps)
    }

    fn signalled(&self, line: usize) -> anyhow::Result<Option<u64>> {
        Ok(self.vgpu.heads().get(line).map(|head| head.signalled()))
    }

    fn missed(&self, line: usize) -> u64 {
        self.vgpu.heads().get(line).map_or(0, |head| head.missed())
    }
}
