//! A vCPU that is preempted, blocked and woken while a device posts to it.
//!
//! Run with `cargo run -p posted-irq --example vcpu`.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use posted_irq::Blocked;
use posted_irq::Notification;
use posted_irq::NotificationVectors;
use posted_irq::PiVcpu;
use posted_irq::Post;
use posted_irq::Processor;
use posted_irq::VcpuId;

const VECTORS: NotificationVectors = NotificationVectors::LINUX;
const ROUNDS: u32 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let processors = [1, 2].map(|ndst| Arc::new(Processor::new(ndst)));
    let mut vcpu = PiVcpu::new(VcpuId(0), VECTORS);
    vcpu.load(&processors[0]);

    let (host, interrupts) = channel::<Notification>();
    let (wakeups, woken) = channel::<VcpuId>();
    let (drained, answers) = channel::<()>();
    let handler = thread::spawn({
        let processors = processors.clone();
        move || {
            for interrupt in interrupts {
                let here = |one: &&Arc<Processor>| one.ndst() == interrupt.destination;
                if let Some(processor) = processors.iter().find(here)
                    && interrupt.vector == VECTORS.wakeup
                {
                    processor.wake(|vcpu| _ = wakeups.send(vcpu));
                }
            }
        }
    });
    let device = thread::spawn({
        let desc = Arc::clone(vcpu.desc());
        move || {
            let mut notified = 0;
            for round in 0..ROUNDS {
                // Any of 200 vectors; each is answered before the next one.
                let vector = u8::try_from(0x20 + round % 200).unwrap_or(u8::MAX);
                if let Post::Notify(interrupt) = desc.post(vector) {
                    notified += 1;
                    _ = host.send(interrupt);
                }
                if answers.recv().is_err() {
                    break;
                }
            }
            notified
        }
    });

    let (mut taken, mut slept) = (0, 0);
    while taken < ROUNDS {
        vcpu.preempt()?;
        vcpu.load(&processors[usize::from(taken % 2 == 0)]);
        while !vcpu.desc().is_pending() {
            if vcpu.block()? == Blocked::Sleep {
                slept += 1;
                woken.recv()?;
            }
            vcpu.load(&processors[0]);
        }
        for _ in vcpu.desc().drain().vectors() {
            taken += 1;
            drained.send(())?;
        }
    }
    let notified = device.join().map_err(|_| "the device panicked")?;
    handler.join().map_err(|_| "the handler panicked")?;
    println!("{taken} of {ROUNDS} posts taken, {notified} notifications, asleep {slept} times");
    Ok(())
}
