//! Stories across the crates, one file each.
//!
//! A story that needs what the machine lacks is reported as ignored with the reason in its name;
//! `IRQBROKER_REQUIRE=kvm` (a comma list) turns that into a failure.

mod bench;
mod dependencies;
mod design_tables;
mod need;
mod no_loss;
mod world;

use libtest_mimic::Arguments;
use libtest_mimic::Trial;

fn main() {
    let arguments = Arguments::from_args();
    let stories: Vec<Trial> = [
        dependencies::stories(),
        design_tables::stories(),
        no_loss::stories(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, stories).exit();
}
