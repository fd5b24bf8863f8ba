//! Stories across the crates, one file each.
//!
//! A story that needs what the machine lacks is reported as ignored with the reason in its name;
//! `IRQBROKER_REQUIRE=kvm` (a comma list) turns that into a failure.

mod bench;
mod conformance;
mod dependencies;
mod design_tables;
mod display;
mod display_overtaken;
mod display_tearing;
mod errno_table;
mod exact;
mod explain;
mod guest_rig;
mod ioctl_face;
mod level;
mod manager;
mod manager_adapters;
mod manager_costs;
mod manager_counts;
mod manager_guards;
mod manager_intx;
mod manager_overflow;
mod manager_random;
mod manager_refused;
mod manager_remapped;
mod manager_remapped_amd;
mod manager_remapped_guards;
mod manager_remapped_masks;
mod manager_remapped_messages;
mod manager_remapped_random;
mod manager_remapped_rig;
mod manager_remapped_soak;
mod manager_rig;
mod manager_saved;
mod manager_split;
mod manager_stuck;
mod manager_table;
mod need;
mod no_loss;
mod posted;
mod posted_guest;
mod posted_soak;
mod refusals;
mod remapping;
mod remapping_rig;
mod remapping_soak;
mod soak;
mod ticker;
mod vgpu_idle;
mod vgpu_move;
mod vgpu_tearing;
mod world;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use libtest_mimic::Trial;

fn main() -> ExitCode {
    if refusals::is_foreign_process() {
        return match refusals::foreign_process() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if vgpu_move::is_server() {
        return match vgpu_move::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = Arguments::from_args();
    let stories: Vec<Trial> = [
        dependencies::stories(),
        design_tables::stories(),
        display::stories(),
        display_overtaken::stories(),
        display_tearing::stories(),
        conformance::stories(),
        errno_table::stories(),
        exact::stories(),
        explain::stories(),
        level::stories(),
        manager::stories(),
        manager_adapters::stories(),
        manager_costs::stories(),
        manager_counts::stories(),
        manager_guards::stories(),
        manager_intx::stories(),
        manager_overflow::stories(),
        manager_random::stories(),
        manager_refused::stories(),
        manager_remapped::stories(),
        manager_remapped_amd::stories(),
        manager_remapped_guards::stories(),
        manager_remapped_masks::stories(),
        manager_remapped_messages::stories(),
        manager_remapped_random::stories(),
        manager_remapped_soak::stories(),
        manager_saved::stories(),
        manager_split::stories(),
        manager_stuck::stories(),
        manager_table::stories(),
        refusals::stories(),
        remapping::stories(),
        remapping_soak::stories(),
        no_loss::stories(),
        posted::stories(),
        vgpu_idle::stories(),
        vgpu_move::stories(),
        vgpu_tearing::stories(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, stories).exit_code()
}
