//! MSI formats, posted-interrupt descriptors and interrupt remapping.
//!
//! No I/O and no `unsafe`: everything here is layouts and decisions.
#![forbid(unsafe_code)]

mod msi;

pub use msi::DeliveryMode;
pub use msi::MsiAddress;
pub use msi::MsiData;
pub use msi::ext_dest_id_to_x2apic;
