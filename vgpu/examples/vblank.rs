//! Two heads of a vGPU, and how many vblanks each has in a second.
//!
//! The eventfds are read directly here; in a VMM the producers go into a registry instead.

use std::error::Error;
use std::time::Duration;
use std::time::Instant;

use irqbroker_core::ConsumerInfo;
use irqbroker_core::Delivers;
use irqbroker_core::Producer;
use irqbroker_core::Reason;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::InstanceConfig;
use irqbroker_vgpu::Refresh;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuParent;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let instance = parent.create(InstanceConfig {
        name: None,
        heads: vec![Refresh::HZ_60, Refresh::new(144_000, 1001)?],
    })?;
    let producers: Vec<_> = instance
        .heads()
        .iter()
        .map(|head| head.producer())
        .collect();
    for producer in &producers {
        // Nothing ticks before somebody listens.
        producer.add_consumer(&ConsumerInfo {
            delivers: Delivers::Relay(Reason::UserSpaceConsumer),
            resample: None,
            device_id: None,
        })?;
    }

    let _thread = parent.scheduler().spawn()?;
    let mut vblanks = vec![0; producers.len()];
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let tokens = producers.iter().map(|producer| producer.token());
        let mut fds: Vec<_> = tokens
            .map(|token| PollFd::new(token, PollFlags::IN))
            .collect();
        rustix::event::poll(&mut fds, Some(&Timespec::try_from(left)?))?;
        for (head, producer) in producers.iter().enumerate() {
            if fds[head].revents().contains(PollFlags::IN) {
                let mut count = [0; 8];
                rustix::io::read(producer.token(), &mut count)?;
                vblanks[head] += u64::from_ne_bytes(count);
            }
        }
    }

    for (head, vblanks) in instance.heads().iter().zip(vblanks) {
        let name = head.producer().name();
        println!(
            "{name} at {}: {vblanks} vblanks, {} missed",
            head.refresh(),
            head.missed()
        );
    }
    let counters = parent.scheduler().counters();
    println!(
        "{} wake-ups, latest by {:?}",
        counters.wakeups, counters.max_lateness
    );
    Ok(())
}
