//! Stories of the `irqbroker` command: what it prints, and how it ends.
//!
//! A story that needs what the machine lacks is reported as ignored with the reason in its name;
//! `IRQBROKER_REQUIRE=kvm` (a comma list) turns that into a failure.

mod activation;
mod bystander;
mod causes;
mod client_refusals;
mod client_scopes;
mod command;
mod config_texts;
mod daemon;
mod deadline;
mod demo;
mod doctor;
mod endings;
mod hosted_vnc;
mod hosting;
mod hosting_destroy;
mod hosting_failure;
mod hosting_order;
mod hosting_room;
mod latency;
mod need;
mod operator;
mod operator_input;
mod peer;
mod quotas;
mod refusals;
mod report;
mod serve;
mod serve_contract;
mod serve_death;
mod serve_files;
mod serve_flood;
mod serve_hostile;
mod serve_input;
mod serve_level;
mod serve_life;
mod serve_masks;
mod serve_moves;
mod serve_peers;
mod serve_python;
mod serve_rig;
mod serve_switch;
mod serve_users;
mod service;
mod set_path;
mod silent_daemon;
mod terminal;
mod vgpu;
mod vgpu_card;
mod vgpu_clients;
mod vgpu_crowd;
mod vgpu_life;
mod vgpu_sockets;
mod viewer;
mod vmm;
mod vnc;
mod watch;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use libtest_mimic::Trial;

fn main() -> ExitCode {
    if let Some(ended) = vmm::in_this_process() {
        return ended;
    }
    let mut arguments = Arguments::from_args();
    // Side by side, the spinning device of one story would make the vblanks of another late, and a
    // process that one starts would have the sockets of another until it runs its own program.
    arguments.test_threads.get_or_insert(1);
    let stories: Vec<Trial> = [
        activation::stories(),
        client_refusals::stories(),
        client_scopes::stories(),
        config_texts::stories(),
        demo::stories(),
        latency::stories(),
        doctor::stories(),
        endings::stories(),
        quotas::stories(),
        refusals::stories(),
        causes::stories(),
        vgpu::stories(),
        vgpu_card::stories(),
        vgpu_clients::stories(),
        vgpu_crowd::stories(),
        vgpu_life::stories(),
        vgpu_sockets::stories(),
        vnc::stories(),
        operator::stories(),
        operator_input::stories(),
        service::stories(),
        set_path::stories(),
        silent_daemon::stories(),
        terminal::stories(),
        watch::stories(),
        hosted_vnc::stories(),
        hosting::stories(),
        hosting_destroy::stories(),
        hosting_order::stories(),
        hosting_failure::stories(),
        hosting_room::stories(),
        serve::stories(),
        serve_contract::stories(),
        serve_death::stories(),
        serve_files::stories(),
        serve_flood::stories(),
        serve_hostile::stories(),
        serve_input::stories(),
        serve_level::stories(),
        serve_life::stories(),
        serve_masks::stories(),
        serve_moves::stories(),
        serve_peers::stories(),
        serve_python::stories(),
        serve_switch::stories(),
        serve_users::stories(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, stories).exit_code()
}
