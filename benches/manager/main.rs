//! What a guest's interrupt set-up costs through the manager, and bare.
//!
//! * `restore`: 50 VMs with 60 vectors each, as a host does that starts them from a snapshot
//! * `bring-up`: one VM, 8 devices with 65 vectors each, brought up one after the other
//! * `unmask`: on the guest's thread, as a ratio to the write of an eventfd and to the wake-up of
//!   the service loop that is part of it, at several table sizes
//!
//! The first two have two references, both with no book-keeping at all. `per-vector` is the fewest
//! calls that follow the guest's writes one by one: an eventfd, a whole table and an irqfd for
//! each. `bare` has one table for all, which nothing can be below. Ours is all of it: registers,
//! eventfds, identities, links, promotion by the service loop. VMs and devices are made before the
//! clock starts; devices answer at once. Each round makes every case once, in random order; ratios
//! are taken within the round.
//!
//! The gate is exact and comes first: one table a VM restored, one a device brought up, no ioctl
//! of KVM's for an unmask.
//!
//! `--json` prints one JSON object. Without `--bench` (under `cargo test`) all is cut short.
//! Without /dev/kvm there is nothing to measure, which is a failure only if `IRQBROKER_REQUIRE`
//! names `kvm`. Run with `cargo bench --bench manager`.

mod bare;
mod device;
mod load;
#[path = "../median.rs"]
mod median;
#[path = "../on_kvm.rs"]
mod on_kvm;
mod unmask;
mod vm;

use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use crate::load::Load;
use crate::load::Way;
use crate::load::compare;
use crate::unmask::unmask;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let kvm = match on_kvm::open("manager") {
        Ok(kvm) => kvm,
        Err(ended) => return Ok(ended),
    };
    // An odd number of rounds, so that the median is one of them.
    let measured = has("--bench") && !has("--test");
    let (rounds, vms, sizes) = match measured {
        true => (7, 50, [64, 512, 2048].as_slice()),
        false => (1, 2, [16].as_slice()),
    };
    on_kvm::raise_fd_limit().context("cannot raise the limit of open files")?;
    let restore = Load {
        vms,
        devices: 1,
        vectors: 60,
    };
    let bring_up = Load {
        vms: 1,
        devices: 8,
        vectors: 65,
    };
    let mut rows = vec![
        compare("restore", rounds, restore, Way::Restored, &kvm)?,
        compare("bring-up", rounds, bring_up, Way::BroughtUp, &kvm)?,
    ];
    for &vectors in sizes {
        rows.push(unmask(&kvm, vectors, rounds)?);
    }
    if has("--json") {
        println!(
            "{}",
            json!({ "bench": "manager", "rounds": rounds, "rows": rows })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{rounds} rounds; one table a VM restored, one a device brought up");
    for row in &rows {
        let number = |key: &str| row[key].as_f64();
        let ratio = match (number("per_vector_ratio"), number("eventfd_write_ratio")) {
            (Some(per_vector), _) => format!(
                "per-vector way {per_vector:.2}x of ours, ours {:.2}x of the bare one",
                number("bare_ratio").unwrap_or(f64::NAN)
            ),
            (None, Some(write)) => format!(
                "{write:.2}x an eventfd write, {:.2}x a wake-up",
                number("wake_ratio").unwrap_or(f64::NAN)
            ),
            (None, None) => String::new(),
        };
        println!(
            "{:<9}{:>3} vms {:>2} devices {:>5} vectors {:>10.4} ms  {}",
            row["name"].as_str().unwrap_or_default(),
            row["vms"],
            row["devices"],
            row["vectors"],
            number("ms").unwrap_or(f64::NAN),
            ratio,
        );
    }
    Ok(ExitCode::SUCCESS)
}
