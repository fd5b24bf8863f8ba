//! Heads that nobody listens to, and the wake-ups of the thread that would signal them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use irqbroker_core::Mask;
use irqbroker_vgpu::Granularity;
use irqbroker_vgpu::InstanceConfig;
use irqbroker_vgpu::Refresh;
use irqbroker_vgpu::VblankScheduler;
use irqbroker_vgpu::VgpuInstance;
use irqbroker_vgpu::VgpuParent;
use serde_json::Value;
use serde_json::json;

use crate::Failure;
use crate::listened_instance;

/// Why nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// No consumer.
    Unbound,
    /// A consumer that has masked.
    Masked,
}

/// What such heads cost.
#[derive(Debug)]
pub(crate) struct Idle {
    heads: usize,
    silence: Silence,
    seconds: f64,
    /// As the scheduler counts.
    scheduler_wakeups: u64,
    /// As the kernel counts: how often its thread gave up its core by itself.
    voluntary_switches: u64,
}

impl Idle {
    /// By whichever count.
    pub(crate) fn wakeups(&self) -> u64 {
        self.scheduler_wakeups.max(self.voluntary_switches)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "heads": self.heads,
            "silence": match self.silence {
                Silence::Unbound => "unbound",
                Silence::Masked => "masked",
            },
            "seconds": self.seconds,
            "scheduler_wakeups": self.scheduler_wakeups,
            "voluntary_switches": self.voluntary_switches,
        })
    }
}

/// So many heads each, for `length` each.
pub(crate) fn measure(heads: &[usize], length: Duration) -> Result<Vec<Idle>, Failure> {
    let mut idle = Vec::new();
    for &heads in heads {
        for silence in [Silence::Unbound, Silence::Masked] {
            idle.push(measure_one(heads, silence, length)?);
        }
    }
    Ok(idle)
}

fn measure_one(heads: usize, silence: Silence, length: Duration) -> Result<Idle, Failure> {
    let parent = VgpuParent::new(VblankScheduler::new(Granularity::Exact));
    let thread = parent.scheduler().spawn()?;
    let mut instances: Vec<Arc<VgpuInstance>> = Vec::new();
    for _ in 0..heads {
        instances.push(match silence {
            Silence::Unbound => parent.create(InstanceConfig {
                name: None,
                heads: vec![Refresh::HZ_60],
            })?,
            Silence::Masked => {
                let instance = listened_instance(&parent)?;
                instance.heads()[0].producer().mask()?;
                instance
            }
        });
    }
    // The sleep that the first of them had broken off ends with a deadline that was theirs.
    std::thread::sleep(Duration::from_millis(50));
    let count = || -> Result<(u64, u64), Failure> {
        Ok((parent.scheduler().counters().wakeups, switches()?))
    };
    let before = count()?;
    std::thread::sleep(length);
    let after = count()?;
    drop(thread);
    Ok(Idle {
        heads,
        silence,
        seconds: length.as_secs_f64(),
        scheduler_wakeups: after.0 - before.0,
        voluntary_switches: after.1 - before.1,
    })
}

/// Of the one thread of this process that is called so.
fn switches() -> Result<u64, Failure> {
    for task in fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        if fs::read_to_string(folder.join("comm"))? != "vblank\n" {
            continue;
        }
        let status = fs::read_to_string(folder.join("status"))?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        return Ok(count.ok_or("no count")?.trim().parse()?);
    }
    Err("no vblank thread".into())
}
